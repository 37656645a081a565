"""A device's own keys, and whom its mailbox lets in.

in: randomness once, or the text of a device's key file; out: DeviceKeys, its text, cards, the registration.
A card carries a capability. The first is for everybody; one that was made for one contact, or some domains, can be
revoked without the others noticing, from the next claim on.
Never: prints a seed or a capability, except in the text that is stored.
"""

import base64
import json
import tomllib
from typing import Any

import attrs

from volly_fed import limits
from volly_fed.client.card import Card, check_name
from volly_fed.crypto import sizes
from volly_fed.crypto.kem import MailboxKey, mailbox_id
from volly_fed.crypto.secret import Secret
from volly_fed.crypto.signature import IdentityKey, fingerprint
from volly_fed.edge.registration import ANYBODY, encode_registration, make_registration
from volly_fed.errors import BadMessage, LocalError
from volly_fed.machine import RandomSource
from volly_fed.names import Address, BadName, DomainName, Fingerprint, parse_domain
from volly_fed.relay.envelope import CAPABILITY_BYTES

STATE_VERSION = 1
EVERYBODY = "everybody"
"""The label of the capability on cards for no contact in particular."""


@attrs.frozen(kw_only=True)
class Pass:
    """One capability: what it is called here, and the domains whose users may use it."""

    label: str
    capability: bytes = attrs.field(repr=False)
    scopes: tuple[str, ...] = (ANYBODY,)


@attrs.frozen(kw_only=True, eq=False)
class DeviceKeys:
    """What makes a device: who it is (`identity`), where it is reached (`mailbox` at `domain`), and by whom."""

    domain: DomainName
    name: str
    identity: IdentityKey = attrs.field(repr=False)
    mailbox: MailboxKey = attrs.field(repr=False)
    passes: tuple[Pass, ...]

    @classmethod
    def generate(cls, domain: DomainName, random: RandomSource, *, name: str = "") -> "DeviceKeys":
        """A new device of `domain`. Raises BadMessage when `name` cannot stand on a card."""
        return cls(
            domain=domain,
            name=check_name(name),
            identity=IdentityKey.generate(random),
            mailbox=MailboxKey.generate(random),
            passes=(Pass(label=EVERYBODY, capability=random(CAPABILITY_BYTES)),),
        )

    @property
    def address(self) -> Address:
        """`mailbox@domain`."""
        return Address(mailbox_id(self.mailbox.public), self.domain)

    @property
    def fingerprint(self) -> Fingerprint:
        """Of the identity that signs what this device sends."""
        return fingerprint(self.identity.public)

    @property
    def registration(self) -> bytes:
        """What the homeserver is to let in; proved with each claim."""
        return encode_registration(make_registration({p.capability: p.scopes for p in self.passes}))

    def card(self, label: str = EVERYBODY) -> Card:
        """The card to give away. Raises LocalError when there is no capability of this label."""
        for known in self.passes:
            if known.label == label:
                return Card(
                    domain=self.domain,
                    key=self.mailbox.public,
                    capability=known.capability,
                    identity=self.fingerprint,
                    name=self.name,
                )
        raise LocalError("no card was made under this label, or it was revoked; note: make one with --for")

    def with_pass(self, label: str, random: RandomSource, scopes: tuple[str, ...] = (ANYBODY,)) -> "DeviceKeys":
        """With one more capability; `label` is a line of text. Raises LocalError when there is one already."""
        if not label.isprintable() or not 0 < len(label) <= limits.MAX_CARD_NAME:
            raise LocalError(f"a label has 1 to {limits.MAX_CARD_NAME} printable characters")
        if any(known.label == label for known in self.passes):
            raise LocalError("there is a card under this label already; note: revoke it first to replace it")
        if len(self.passes) >= limits.CAPABILITIES_PER_MAILBOX or len(scopes) > limits.SCOPES_PER_CAPABILITY:
            raise LocalError("a mailbox has no room for more capabilities or scopes; note: revoke some")
        added = Pass(label=label, capability=random(CAPABILITY_BYTES), scopes=scopes)
        return attrs.evolve(self, passes=(*self.passes, added))

    def without_pass(self, label: str) -> "DeviceKeys":
        """Without the capability of this label. Raises LocalError when there is none."""
        self.card(label)
        return attrs.evolve(self, passes=tuple(known for known in self.passes if known.label != label))


def encode_device(keys: DeviceKeys) -> str:
    """The text to store, in a file that only its owner can read. TOML; its strings are JSON's."""
    lines = [
        "# The keys of a volly-fed device. Whoever reads this file is this device. Keep a copy in a safe place.",
        f"version = {STATE_VERSION}",
        f"domain = {_quoted(keys.domain)}",
        f"name = {_quoted(keys.name)}",
        f"identity_seed = {_quoted(_encoded(keys.identity.seed.reveal()))}",
        f"mailbox_seed = {_quoted(_encoded(keys.mailbox.seed.reveal()))}",
    ]
    for known in keys.passes:
        scopes = ", ".join(_quoted(scope) for scope in known.scopes)
        lines += [
            "",
            "[[pass]]",
            f"label = {_quoted(known.label)}",
            f"capability = {_quoted(_encoded(known.capability))}",
            f"scopes = [{scopes}]",
        ]
    return "\n".join(lines) + "\n"


def parse_device(text: str) -> DeviceKeys:
    """The inverse of `encode_device`. Raises BadMessage, and nothing else; never with what stands in the text."""
    try:
        values = tomllib.loads(text)
        if values["version"] != STATE_VERSION:
            raise BadMessage("a device of an unknown version; note: a newer volly-fed may read it")
        return DeviceKeys(
            domain=parse_domain(values["domain"]),
            name=check_name(values["name"]),
            identity=IdentityKey.from_seed(Secret(_decoded(values["identity_seed"], sizes.IDENTITY_SEED))),
            mailbox=MailboxKey.from_seed(Secret(_decoded(values["mailbox_seed"], sizes.MAILBOX_SEED))),
            passes=tuple(_parse_pass(entry) for entry in values["pass"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        # no cause: its text may quote the file
        raise BadMessage("this is not a device's key file; note: restore it from a copy") from None


def _parse_pass(entry: dict[str, Any]) -> Pass:
    scopes = tuple(scope if scope == ANYBODY else parse_domain(scope) for scope in entry["scopes"])
    label = entry["label"]
    if type(label) is not str:
        raise BadName("a label is text")
    return Pass(label=label, capability=_decoded(entry["capability"], CAPABILITY_BYTES), scopes=scopes)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii")


def _decoded(text: str, size: int) -> bytes:
    raw = base64.b64decode(text, altchars=b"-_", validate=True)
    if len(raw) != size:
        raise ValueError
    return raw
