"""What must hold when an honest end is done: that the one it names was there, and that both mean the same by it.

in: an end that is done, with what it heard, and all ends that have signed; out: Agreement, disagreements.
"""

import enum
from typing import NamedTuple

from tests.handshake.model.ends import Choice, sent
from tests.handshake.model.network import End
from tests.handshake.model.world import identity_of


class Agreement(enum.Enum):
    """One thing that the two ends must agree on; the value says what is so when they do not."""

    PEER = "impersonation: who holds the proved identity has signed nothing that could be meant"
    IDENTITIES = "the other end believes in another identity at this end"
    DOMAINS = "the other end has another domain in mind"
    ROLES = "both ends have the same role"
    VERSION = "the ends speak different versions"
    EXTENSIONS = "an end believes in other extensions than were offered"
    TLS_KEYS = "the ends have seen different TLS keys"
    ALPN = "the ends speak different protocols"
    GROUP = "the ends have used different key exchanges"
    CONNECTION = "the ends are not on one connection"
    ONCE = "one proof has served for two sessions"


ALL = frozenset(Agreement)


class Met(NamedTuple):
    """An end and the HELLO it heard."""

    end: End
    choice: Choice

    @property
    def peer(self) -> str:
        """The domain that it believes to talk to."""
        return self.choice.heard.own

    @property
    def version(self) -> int:
        """The highest that both have."""
        return min(sent(self.end).versions, self.choice.heard.versions)


def disagreements(this: Met, signed: list[Met], taken: set[int], expected: frozenset[Agreement]) -> list[Agreement]:
    """What does not hold of `expected`, in view of the end among `signed` that suits best; empty: all does.

    `taken` are the numbers of ends whose proof has been counted for another session.
    """
    candidates = [other for other in signed if identity_of(other.end.own) == this.choice.heard.identity]
    if not candidates:
        return [Agreement.PEER] if Agreement.PEER in expected else []
    found = [[what for what in _between(this, other, taken) if what in expected] for other in candidates]
    return min(found, key=len)


def best_partner(this: Met, signed: list[Met], taken: set[int]) -> int:
    """The number of the end that suits best."""
    candidates = [other for other in signed if identity_of(other.end.own) == this.choice.heard.identity]
    return min(candidates, key=lambda other: len(_between(this, other, taken))).end.number


def _between(this: Met, other: Met, taken: set[int]) -> list[Agreement]:
    one, two = this.choice.view, other.choice.view
    ours, theirs = sent(this.end), sent(other.end)
    same = {
        Agreement.IDENTITIES: other.choice.heard.identity == identity_of(this.end.own),
        Agreement.DOMAINS: (this.peer, this.end.own) == (other.end.own, other.peer),
        Agreement.ROLES: this.end.role != other.end.role,
        Agreement.VERSION: this.version == other.version,
        Agreement.EXTENSIONS: (this.choice.heard.extensions, other.choice.heard.extensions)
        == (theirs.extensions, ours.extensions),
        Agreement.TLS_KEYS: (one.dialler_key, one.acceptor_key) == (two.dialler_key, two.acceptor_key),
        Agreement.ALPN: one.alpn == two.alpn,
        Agreement.GROUP: one.group == two.group,
        Agreement.CONNECTION: this.end.connection == other.end.connection,
        Agreement.ONCE: other.end.number not in taken,
    }
    return [what for what, holds in same.items() if not holds]
