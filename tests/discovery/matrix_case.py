"""What a case of the matrix is, the world that all cases share, and how the daemon's resolver is asked about one."""

import enum
import time
from collections.abc import Callable
from functools import lru_cache

import attrs

from tests.discovery.matrix_zones import SEED, add_hooks, add_zones
from volly_fed.daemon.dns.resolver import Resolver
from volly_fed.discovery.dnssec import Outcome
from volly_fed.discovery.endpoint import Status
from volly_fed.errors import Bogus, DiscoveryError, Indeterminate, Insecure, NoRecords
from volly_fed.names import DomainName
from volly_fed.testing.world import World


class Found(enum.Enum):
    """What is proved, where the status is SECURE."""

    RECORDS = "records, or a whole endpoint"
    NOTHING = "that there are none"


class Change(enum.Enum):
    """What happens to the resolver in the course of the case."""

    NONE = "nothing"
    CLOCK = "after a first, secure answer the clock jumps by `clock`"
    REPLACED = "the first resolver is dead; another one takes its place at run time"


@attrs.frozen(kw_only=True)
class Verdict:
    """What came of a case."""

    status: Status
    found: Found | None
    """None where the status is not SECURE."""
    reason: str


@attrs.frozen(kw_only=True)
class Case:
    """One question (`ask`: owner and type) or one whole discovery (`discover`: a domain), and what must come of it."""

    name: str
    ask: tuple[str, str] | None = None
    discover: str | None = None
    status: Status
    found: Found | None = None
    reason: str
    """A regular expression, searched for."""
    served: bool = True
    """Whether zone files show it; else the misbehaviour is in the answers of the World's own server."""
    clock: float = 0.0
    """Seconds by which the validator's clock is ahead."""
    anchors: Callable[[World], str] = lambda world: world.anchor_text
    """The trust anchors' text."""
    allow_private: bool = True
    ipv6: bool = False
    """The resolver is reached at ::1."""
    change: Change = Change.NONE
    require_mldsa44: bool = False

    @property
    def judgeable(self) -> bool:
        """Whether any validator can be asked it: one question, with the world's own anchor and the right time."""
        ordinary = self.anchors is attrs.fields(Case).anchors.default and not self.require_mldsa44
        return self.ask is not None and ordinary and not self.clock and not self.ipv6 and self.change is Change.NONE


@lru_cache(maxsize=1)
def build() -> World:
    """The world of all cases; made and signed once in a process."""
    world = World(seed=SEED)
    add_zones(world)
    world.sign(time.time())
    add_hooks(world)
    return world


_STATUS: dict[type[DiscoveryError], Status] = {
    NoRecords: Status.SECURE,
    Insecure: Status.INSECURE,
    Bogus: Status.BOGUS,
    Indeterminate: Status.INDETERMINATE,
}


async def verdict(resolver: Resolver, case: Case) -> Verdict:
    """What `resolver` says about `case`."""
    if case.ask is not None:
        answer = await resolver.lookup(*case.ask)
        return Verdict(
            status=answer.status,
            found=_found(records=answer.outcome is Outcome.FOUND, status=answer.status),
            reason=answer.reason,
        )
    assert case.discover is not None
    try:
        endpoint = await resolver.discover(DomainName(case.discover))
    except DiscoveryError as error:
        status = _STATUS[type(error)]
        return Verdict(status=status, found=_found(records=False, status=status), reason=str(error))
    rejected = [target.reason for target in endpoint.rejected]
    shown = [f"{target.host}:{target.port} {' '.join(target.addresses)}" for target in endpoint.targets]
    return Verdict(status=Status.SECURE, found=Found.RECORDS, reason="\n".join([*shown, *rejected]))


def _found(*, records: bool, status: Status) -> Found | None:
    if status is not Status.SECURE:
        return None
    return Found.RECORDS if records else Found.NOTHING
