"""Pinned identities: what a domain showed before, against what it shows and publishes now, and how it may change.

in: the fingerprint shown, the published ones, a continuity statement, what is remembered, the time;
out: a Judgement: the verdict, its reason, and what is to be remembered from now on.
Never: stores anything, lets a changed identity through without both DNS and a statement, or shortens a cool-off.
Source: docs/architecture.md layer 4.
"""

# Two keys guard an identity: the zone (DNSSEC) and the old identity key. Either alone changes nothing: a forged zone
# gets QUARANTINED, a stolen key is not published. Both together begin a cool-off, in which both operators can see what
# happens, and which ends early in one case only: whoever shows the old identity while DNS no longer names the new one
# withdraws the change. The zone stays the root of recovery: where the old key is lost, the operator decides.

import enum
from datetime import UTC, datetime

import attrs

from volly_fed.names import DomainName, Fingerprint
from volly_fed.trust.continuity import Statement


class How(enum.StrEnum):
    """How a change of identity became known."""

    ANNOUNCED = "announced"
    """The domain still showed the old identity."""
    SWITCHED = "switched"
    """It showed the new one already."""


@attrs.frozen(kw_only=True)
class Pin:
    """The identity a domain is held to; times are seconds since 1970, since pins outlive processes.

    `first_seen` is when the domain was met first, maybe with an earlier identity. `sequence` is that of the last
    accepted continuity statement. `known`: we have dialled it, or an operator decided: it is not forgotten for the sake
    of mere callers.
    """

    domain: DomainName
    fingerprint: Fingerprint
    first_seen: float
    last_seen: float
    sequence: int = 0
    known: bool = False

    def seen(self, now: float, *, known: bool = False) -> "Pin":
        """The same pin, met again at `now`; a clock that runs backwards changes nothing."""
        return attrs.evolve(self, last_seen=max(now, self.last_seen), known=self.known or known)


@attrs.frozen(kw_only=True)
class Change:
    """A change that DNS and a statement agree on: accepted when `ready_at` has come, and no later than `not_after`."""

    fingerprint: Fingerprint
    since: float
    ready_at: float
    sequence: int
    not_after: float
    how: How


@attrs.frozen(kw_only=True)
class Quarantine:
    """An identity that the domain really showed, and that waits for the operator's decision; `since` its first time."""

    fingerprint: Fingerprint
    since: float
    reason: str


@attrs.frozen(kw_only=True)
class Standing:
    """All that is remembered of a domain's identity."""

    pin: Pin | None = None
    change: Change | None = None
    quarantine: Quarantine | None = None


class IdentityVerdict(enum.Enum):
    """What to make of a shown identity; the value says it in words."""

    FIRST_CONTACT = "first contact: the identity is the published one and gets pinned"
    MATCH = "the identity is the pinned one, and is published"
    ANNOUNCED = "the identity is the pinned one, and its successor is announced: the cool-off begins"
    WITHDRAWN = "the identity is the pinned one, and DNS no longer names the announced successor: withdrawn"
    READY = "the identity follows the pinned one, and the cool-off is over: it is pinned from now on"
    COOLING = "the identity follows the pinned one by DNS and statement; the cool-off is not over"
    QUARANTINED = "the identity is published, but differs from the pinned one: quarantined until the operator decides"
    NOT_PUBLISHED = "the identity is not the one the domain publishes"

    @property
    def trusted(self) -> bool:
        """Whether a link may be established on it."""
        # [trust-15]
        return self not in (IdentityVerdict.COOLING, IdentityVerdict.QUARANTINED, IdentityVerdict.NOT_PUBLISHED)


@attrs.frozen(kw_only=True)
class Judgement:
    """A verdict, why, and what is remembered from now on."""

    verdict: IdentityVerdict
    reason: str
    standing: Standing


@attrs.frozen(kw_only=True)
class Shown:
    """What a domain showed and publishes: `published` are the (current, next) fingerprints.

    `statement` came along; `statement_problem` says what was wrong with the one that did, or that there was none.
    """

    domain: DomainName
    fingerprint: Fingerprint
    published: tuple[Fingerprint, Fingerprint | None]
    statement: Statement | None = None
    statement_problem: str = "there was no continuity statement"


def judge_identity(
    shown: Shown, standing: Standing, *, now: float, cool_off: float, dialled: bool = False
) -> Judgement:
    """The verdict on `shown`; times are seconds, `now` since 1970. `dialled`: we called the domain, it did not call us.

    The zone has to name the identity in every case: a pin alone does not let a withdrawn identity back in.
    """
    if shown.fingerprint not in shown.published:  # [trust-17]
        return _judgement(IdentityVerdict.NOT_PUBLISHED, standing)
    pin = standing.pin or Pin(domain=shown.domain, fingerprint=shown.fingerprint, first_seen=now, last_seen=now)
    change = _still_counting(standing.change, now, cool_off)
    if pin.fingerprint != shown.fingerprint:
        standing = attrs.evolve(standing, pin=pin, change=change)
        return _judge_successor(shown, standing, pin, now=now, cool_off=cool_off, dialled=dialled)
    verdict, change = _judge_known(shown, pin, change, now=now, cool_off=cool_off)
    if standing.pin is None:
        verdict = IdentityVerdict.FIRST_CONTACT
    # Showing the pinned identity proves that its key is not lost: nothing is left to decide.
    return _judgement(verdict, Standing(pin=pin.seen(now, known=dialled), change=change))


def accept_identity(standing: Standing, domain: DomainName, fingerprint: Fingerprint, now: float) -> Standing:
    """The operator's decision: `domain` is held to `fingerprint` from now on, whatever was pending.

    The last sequence stays, a pending change's included: no statement that was accepted before, or is older, counts
    again.
    """
    pin = standing.pin or Pin(domain=domain, fingerprint=fingerprint, first_seen=now, last_seen=now)
    sequence = pin.sequence if standing.change is None else max(pin.sequence, standing.change.sequence)
    return Standing(pin=attrs.evolve(pin.seen(now, known=True), fingerprint=fingerprint, sequence=sequence))


def _judge_known(
    shown: Shown, pin: Pin, change: Change | None, *, now: float, cool_off: float
) -> tuple[IdentityVerdict, Change | None]:
    """The pinned identity is shown: what becomes of a pending change, or whether one is announced."""
    successors = {f for f in shown.published if f is not None and f != pin.fingerprint}
    withdrawn = change is not None and change.fingerprint not in successors
    kept = None if withdrawn else change
    for successor in successors:
        begun, _ = _begin(shown, pin, kept, successor, now=now, cool_off=cool_off, how=How.ANNOUNCED)
        if begun is not None:
            return IdentityVerdict.ANNOUNCED, begun
    return IdentityVerdict.WITHDRAWN if withdrawn else IdentityVerdict.MATCH, kept


def _judge_successor(
    shown: Shown, standing: Standing, pin: Pin, *, now: float, cool_off: float, dialled: bool
) -> Judgement:
    """Another identity than the pinned one is shown, and published."""
    change, successor = standing.change, shown.fingerprint
    begun, problem = _begin(shown, pin, change, successor, now=now, cool_off=cool_off, how=How.SWITCHED)
    if begun is not None:
        return _judgement(IdentityVerdict.COOLING, Standing(pin=pin, change=begun))
    if change is not None and change.fingerprint == successor:
        if now < change.ready_at:
            return _judgement(IdentityVerdict.COOLING, Standing(pin=pin, change=change))
        seen = pin.seen(now, known=dialled)
        # [trust-22]
        return _judgement(
            IdentityVerdict.READY, Standing(pin=attrs.evolve(seen, fingerprint=successor, sequence=change.sequence))
        )
    waiting = standing.quarantine
    since = waiting.since if waiting is not None and waiting.fingerprint == successor else now
    quarantine = Quarantine(fingerprint=successor, since=since, reason=problem)
    return _judgement(IdentityVerdict.QUARANTINED, attrs.evolve(standing, quarantine=quarantine))


def _begin(
    shown: Shown, pin: Pin, change: Change | None, successor: Fingerprint, *, now: float, cool_off: float, how: How
) -> tuple[Change | None, str]:
    """A change to `successor`, if the statement begins one; else None, and why not."""
    if shown.statement is None:
        return None, shown.statement_problem
    statement = shown.statement
    problem = statement.check(
        domain=shown.domain, pinned=pin.fingerprint, new=successor, last_sequence=pin.sequence, now=now
    )
    if not problem and now + cool_off > statement.not_after:  # [trust-20]
        problem = "the continuity statement expires before the cool-off would be over"
    if not problem and change is not None and not _gives_way(change, statement, shown):
        problem = "another change was begun, with a later statement"
    if problem:
        return None, problem
    begun = Change(
        fingerprint=successor,
        since=now,
        ready_at=now + cool_off,
        sequence=statement.sequence,
        not_after=statement.not_after,
        how=how,
    )
    return begun, ""


def _gives_way(change: Change, statement: Statement, shown: Shown) -> bool:
    """Whether the pending `change` is replaced by what `statement` says: never by the same, which would begin anew."""
    if change.fingerprint == statement.new:
        return False
    return change.fingerprint not in shown.published or change.sequence < statement.sequence


def _still_counting(change: Change | None, now: float, cool_off: float) -> Change | None:
    """`change` unless its statement has expired: what was signed once must not lie about for ever.

    A clock that was set back must not make the wait endless; a whole cool-off from now is never too short.
    """
    if change is None or now > change.not_after:
        return None
    return change if change.since <= now else attrs.evolve(change, since=now, ready_at=now + cool_off)  # [trust-18]


def _judgement(verdict: IdentityVerdict, standing: Standing) -> Judgement:
    reason = verdict.value
    if verdict is IdentityVerdict.QUARANTINED and standing.quarantine is not None:
        reason += f" ({standing.quarantine.reason})"
    if verdict in (IdentityVerdict.COOLING, IdentityVerdict.ANNOUNCED) and standing.change is not None:
        reason += f" (until {utc(standing.change.ready_at)})"
    return Judgement(verdict=verdict, reason=reason, standing=standing)


def utc(seconds: float) -> str:
    """`seconds` since 1970 for people, to the minute."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
