"""What a handshake tells: its events, and the Outcome that a session is built on.

in: checked messages; out: frozen values. Only Outcome inside Established speaks of a peer that proved itself to us
and to whom our proof went out; everything else is a claim, or half of it.
"""

from collections.abc import Mapping

import attrs

from volly_fed.codepoints import Role
from volly_fed.errors import RemoteError
from volly_fed.names import DomainName, Fingerprint
from volly_fed.wire.messages import Hello


@attrs.frozen(kw_only=True)
class Outcome:
    """Who is at the other end. `role` is ours; `extensions` are what the peer offered, by number.

    `statement`: the continuity statement that came with the peer's proof, unread; empty where there was none.
    """

    peer: DomainName
    identity: bytes = attrs.field(repr=False)
    fingerprint: Fingerprint
    version: int
    extensions: Mapping[int, bytes]
    role: Role
    statement: bytes = attrs.field(default=b"", repr=False)


@attrs.frozen(kw_only=True)
class Claimed:
    """Acceptor: a caller claims `domain` and the identity with `fingerprint`. Answer with Accept or Reject.

    Before Accept, in this order: the `accept` gate, ClaimGuard, discovery of `domain`, the caller's TLS key in the TLSA
    records of any of its targets.
    """

    domain: DomainName
    fingerprint: Fingerprint
    hello: Hello = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Greeted:
    """Dialler: the answer bears the expected name and identity, not proved yet. Answer with Prove or Reject."""

    domain: DomainName
    fingerprint: Fingerprint
    hello: Hello = attrs.field(repr=False)


@attrs.frozen
class Proved:
    """Acceptor: the caller proved its identity. The `establish` gate is asked now; answer with Prove or Reject."""

    outcome: Outcome


@attrs.frozen
class Established:
    """Both sides proved themselves. The dialler asks the `establish` gate now, before the session begins."""

    outcome: Outcome


@attrs.frozen
class Expired:
    """The deadline passed; `error` (code TIMEOUT) can be sent with `refusal`."""

    error: RemoteError


Event = Claimed | Greeted | Proved | Established | Expired
