"""What a mailbox lets in: hashed delivery capabilities, each with the domains that may use it.

in: the bytes that a device proved together with its claim; out: a Registration.
Wire form: CBOR `[1, [[SHA-256(label | capability), [scope, …]], …]]`, grants sorted by hash, scopes sorted; a scope is
a domain or "*".
Never: holds a capability in the clear.
"""

import itertools
from collections.abc import Mapping

import attrs

from volly_fed import limits
from volly_fed.codepoints import Label
from volly_fed.crypto.kdf import digest
from volly_fed.errors import BadMessage
from volly_fed.wire import codec, fields
from volly_fed.wire.messages import DIGEST_BYTES

REGISTRATION_VERSION = 1
ANYBODY = "*"
"""The scope that every domain is in."""


def _scope(value: object) -> str:
    return ANYBODY if value == ANYBODY else fields.domain(value)


_check = fields.record(
    fields.uint,
    fields.array(
        fields.record(
            fields.bstr(size=DIGEST_BYTES),
            fields.array(_scope, limit=limits.SCOPES_PER_CAPABILITY),
        ),
        limit=limits.CAPABILITIES_PER_MAILBOX,
    ),
)


@attrs.frozen(kw_only=True)
class Grant:
    """One capability, hashed, and the domains whose users may use it (`*`: all). No scopes: nobody."""

    hash: bytes = attrs.field(repr=False)
    scopes: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Registration:
    """The grants of one mailbox; at most one for a capability."""

    grants: tuple[Grant, ...] = ()
    _by_hash: Mapping[bytes, tuple[str, ...]] = attrs.field(init=False, repr=False, eq=False)

    @_by_hash.default
    def _index(self) -> Mapping[bytes, tuple[str, ...]]:
        return {grant.hash: grant.scopes for grant in self.grants}

    def scopes(self, capability: bytes) -> tuple[str, ...] | None:
        """The scopes granted to who shows `capability`, or None when it is not registered.

        The look-up is by hash: its timing tells about a hash that the asker cannot steer, not about the capability.
        """
        return self._by_hash.get(capability_hash(capability))


NOTHING = Registration()
"""What a mailbox that nobody registered lets in; asked like any other, so that it takes the same path."""


def capability_hash(capability: bytes) -> bytes:
    """The 32 bytes under which the homeserver knows a 16-byte capability."""
    return digest(Label.CAPABILITY, capability)


def make_registration(grants: Mapping[bytes, tuple[str, ...]]) -> Registration:
    """The registration for these capabilities (in the clear, the device's side) and their scopes."""
    hashed = (Grant(hash=capability_hash(c), scopes=tuple(sorted(s))) for c, s in grants.items())
    return Registration(grants=tuple(sorted(hashed, key=lambda grant: grant.hash)))


def encode_registration(registration: Registration) -> bytes:
    """The bytes that a device proves and the homeserver stores."""
    return codec.encode([REGISTRATION_VERSION, [[g.hash, list(g.scopes)] for g in registration.grants]])


def parse_registration(data: bytes) -> Registration:
    """The registration `data` spells.

    Raises BadMessage, and nothing else; also for grants out of order or twice, so that there is one spelling.
    """
    version, grants = _check(codec.decode(data, limit=limits.MAX_ENVELOPE))
    if version != REGISTRATION_VERSION:
        raise BadMessage("a registration of an unknown version")  # [versioning-2]
    hashes = [entry[0] for entry in grants]
    if any(first >= second for first, second in itertools.pairwise(hashes)):
        raise BadMessage("grants are sorted by hash, one for a capability")  # [edge-24]
    if any(list(scopes) != sorted(set(scopes)) for _, scopes in grants):
        raise BadMessage("scopes are sorted and named once")
    return Registration(grants=tuple(Grant(hash=entry[0], scopes=entry[1]) for entry in grants))
