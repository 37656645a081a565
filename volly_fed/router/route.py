"""Where an envelope goes: to a mailbox here, to a peer, or nowhere.

in: its domain and where it came from; out: a Route. The call site of the gate `relay`, in both directions.
Never: looks at a mailbox or a capability (that is the gate `deliver`), or passes an envelope from peer to peer.
"""

from typing import TypeAlias

import attrs

from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.names import DomainName
from volly_fed.trust import gates
from volly_fed.trust.levels import Direction
from volly_fed.trust.policy import Policy


@attrs.frozen
class Local:
    """To a mailbox of ours."""


@attrs.frozen
class Peer:
    """To the homeserver of `domain`."""

    domain: DomainName


@attrs.frozen
class Refused:
    """Nowhere: what to answer, and the reason for our own log."""

    code: ErrorCode
    reason: str


Route: TypeAlias = Local | Peer | Refused

_LOCAL = Local()


class Router:
    """The routes of one homeserver. Make a new one when the policy is reloaded."""

    def __init__(self, own: DomainName, policy: Policy) -> None:
        self._own = own
        self._policy = policy

    def from_device(self, domain: DomainName) -> Route:
        """The route of an envelope for `domain` that one of our edges submits. Refused: code POLICY."""
        if domain == self._own:
            return _LOCAL
        return self._gated(self._policy, domain, Direction.OUT, Peer(domain))  # [router-1]

    def from_peer(self, peer: DomainName, level: TrustLevel, domain: DomainName) -> Route:
        """The route of an envelope for `domain` that `peer` sends, whose session was established on `level`.

        Refused: code UNKNOWN_DOMAIN if it is not for us, POLICY if nothing is taken from `peer`.
        """
        if domain != self._own:
            # [router-2]
            return Refused(ErrorCode.UNKNOWN_DOMAIN, f"{peer} sends for {domain}, which is not served here")
        return self._gated(level, peer, Direction.IN, _LOCAL)  # [router-4]

    def _gated(self, policy: Policy | TrustLevel, peer: DomainName, direction: Direction, route: Route) -> Route:
        decision = _decide(policy, peer, direction)
        return route if decision.allowed else Refused(ErrorCode.POLICY, decision.reason)  # [trust-6]


def may_leave(peer: DomainName, level: TrustLevel) -> bool:
    """Whether what is queued for `peer` may leave on a session of `level`; else it waits, until it expires."""
    return _decide(level, peer, Direction.OUT).allowed  # [trust-14]


def _decide(policy: Policy | TrustLevel, peer: DomainName, direction: Direction) -> gates.Decision:
    return gates.relay(policy, peer, direction)  # [router-9]
