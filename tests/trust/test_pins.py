"""Identities and their changes as tables: who shows what, what DNS says, what was signed, how long it waits."""

from typing import Any

import attrs
import pytest

from volly_fed import limits
from volly_fed.names import DomainName, Fingerprint
from volly_fed.trust import IdentityVerdict, Pin, Shown, Standing, Statement, accept_identity, judge_identity
from volly_fed.trust.pins import Change, How, Judgement, Quarantine

PEER, OTHER = DomainName("peer.example"), DomainName("other.example")
A, B, C, D = (Fingerprint(bytes([n]) * 32) for n in (1, 2, 3, 4))
NOW = 1_800_000_000.0
HOUR, DAY = 3600.0, 86400.0
COOL_OFF = 3 * DAY
V = IdentityVerdict


def pin(fingerprint: Fingerprint = A, **changes: Any) -> Pin:
    facts: dict[str, Any] = {
        "domain": PEER,
        "fingerprint": fingerprint,
        "first_seen": NOW - DAY,
        "last_seen": NOW - HOUR,
    }
    return Pin(**(facts | changes))


def statement(old: Fingerprint = A, new: Fingerprint = B, **changes: Any) -> Statement:
    facts: dict[str, Any] = {
        "domain": PEER,
        "sequence": int(NOW),
        "not_before": int(NOW),
        "not_after": int(NOW + 90 * DAY),
    }
    return Statement(**(facts | {"old": old, "new": new} | changes))


def judge(
    shown: Fingerprint,
    published: tuple[Fingerprint, Fingerprint | None],
    standing: Standing,
    signed: Statement | None = None,
    now: float = NOW,
    **more: Any,
) -> Judgement:
    seen = Shown(domain=PEER, fingerprint=shown, published=published, statement=signed)
    return judge_identity(seen, standing, now=now, cool_off=COOL_OFF, **more)


HELD = Standing(pin=pin())


def cooling(how: How = How.SWITCHED, **changes: Any) -> Standing:
    """Pinned to A, on the way to B since NOW."""
    facts: dict[str, Any] = {
        "fingerprint": B,
        "since": NOW,
        "ready_at": NOW + COOL_OFF,
        "sequence": int(NOW),
        "not_after": NOW + 90 * DAY,
        "how": how,
    }
    return Standing(pin=pin(), change=Change(**(facts | changes)))


# --- without a change ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "published", "held", "verdict"),
    [
        (A, (A, None), None, V.FIRST_CONTACT),
        (B, (A, B), None, V.FIRST_CONTACT),
        (A, (A, None), A, V.MATCH),
        (B, (A, B), B, V.MATCH),
        (B, (B, None), A, V.QUARANTINED),
        (A, (A, B), B, V.QUARANTINED),
        (A, (A, B), C, V.QUARANTINED),
        (C, (A, B), None, V.NOT_PUBLISHED),
        (C, (A, B), C, V.NOT_PUBLISHED),  # pinned, but withdrawn from the zone
    ],
)
def test_without_a_statement(
    shown: Fingerprint,
    published: tuple[Fingerprint, Fingerprint | None],
    held: Fingerprint | None,
    verdict: IdentityVerdict,
) -> None:
    before = Standing(pin=None if held is None else pin(held))
    judgement = judge(shown, published, before)
    assert judgement.verdict is verdict
    after = judgement.standing.pin
    assert (after and after.fingerprint) == (shown if held is None and verdict.trusted else held)


@pytest.mark.spec("trust-15")
def test_these_verdicts_are_trusted() -> None:
    assert {v for v in V if v.trusted} == {V.FIRST_CONTACT, V.MATCH, V.ANNOUNCED, V.WITHDRAWN, V.READY}


def test_a_pin_met_again_keeps_its_first_time_and_never_goes_back() -> None:
    assert pin().seen(NOW + 9) == pin(last_seen=NOW + 9)
    assert pin().seen(NOW - DAY).last_seen == NOW - HOUR
    assert pin().seen(NOW, known=True).known
    assert pin(known=True).seen(NOW).known


@pytest.mark.parametrize("dialled", [False, True])
def test_whom_we_dialled_is_known(dialled: bool) -> None:
    for standing in (Standing(), HELD):
        after = judge(A, (A, None), standing, dialled=dialled).standing.pin
        assert after is not None
        assert after.known is dialled


# --- what an attacker can have ----------------------------------------------------------------------------------------


def test_forged_dns_alone_is_quarantined() -> None:
    judgement = judge(C, (C, None), HELD)
    assert judgement.verdict is V.QUARANTINED
    assert judgement.standing == Standing(
        pin=HELD.pin, quarantine=Quarantine(fingerprint=C, since=NOW, reason="there was no continuity statement")
    )
    again = judge(C, (C, None), judgement.standing, now=NOW + DAY)
    assert again.standing == judgement.standing  # nothing to tell the operator a second time


@pytest.mark.spec("trust-17")
def test_a_stolen_old_key_alone_is_not_published() -> None:
    signed = statement(A, C)
    assert judge(C, (A, None), HELD, signed).verdict is V.NOT_PUBLISHED
    shows_old = judge(A, (A, None), HELD, signed)
    assert shows_old.verdict is V.MATCH
    assert shows_old.standing.change is None


def test_both_together_begin_a_cool_off_and_the_owner_can_end_it() -> None:
    begun = judge(C, (C, None), HELD, statement(A, C))
    assert begun.verdict is V.COOLING
    assert not begun.verdict.trusted
    assert begun.standing.change is not None
    assert begun.standing.change.ready_at == NOW + COOL_OFF
    assert begun.standing.pin == HELD.pin
    ended = judge(A, (A, None), begun.standing, now=NOW + DAY)
    assert ended.verdict is V.WITHDRAWN
    assert ended.standing.change is None
    # and the same statement begins a whole new cool-off
    again = judge(C, (C, None), ended.standing, statement(A, C), now=NOW + 2 * DAY)
    assert again.standing.change is not None
    assert again.standing.change.ready_at == NOW + 2 * DAY + COOL_OFF


def test_forged_dns_alone_does_not_end_a_cool_off() -> None:
    judgement = judge(C, (C, None), cooling(), now=NOW + DAY)
    assert judgement.verdict is V.QUARANTINED
    assert judgement.standing.change == cooling().change


BAD = {
    "another domain": statement(domain=OTHER),
    "another old identity": statement(old=D),
    "another new identity": statement(new=D),
    "expired": statement(not_before=1, not_after=2, sequence=2),
    "not valid yet": statement(not_before=int(NOW + DAY), not_after=int(NOW + 9 * DAY)),
    "expires before the cool-off is over": statement(not_after=int(NOW + DAY)),
    "the sequence that was accepted": statement(sequence=7),
    "an older sequence": statement(sequence=6),
    "a sequence of the future": statement(sequence=int(NOW + DAY)),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("shown", [A, B])
@pytest.mark.spec("trust-20")
def test_a_statement_that_does_not_count_begins_nothing(name: str, shown: Fingerprint) -> None:
    before = Standing(pin=pin(sequence=7))
    judgement = judge(shown, (A, B), before, BAD[name])
    assert judgement.standing.change is None
    assert judgement.verdict is (V.MATCH if shown == A else V.QUARANTINED)
    assert judge(shown, (A, B), before, statement(sequence=8)).standing.change is not None
    if shown == B:
        assert judgement.standing.quarantine is not None
        assert "statement" in judgement.standing.quarantine.reason
        assert judgement.standing.quarantine.reason in judgement.reason


@pytest.mark.spec("trust-22")
def test_a_replay_after_the_way_back_is_refused() -> None:
    there = judge(B, (B, None), cooling(), now=NOW + COOL_OFF).standing
    assert there.pin is not None
    assert (there.pin.fingerprint, there.pin.sequence) == (B, int(NOW))
    back = accept_identity(there, PEER, A, NOW + 4 * DAY)  # B was lost, and the operator decided
    assert judge(B, (B, None), back, statement(), now=NOW + 5 * DAY).verdict is V.QUARANTINED


# --- an honest change ------------------------------------------------------------------------------------------------


def test_announced_then_seamless() -> None:
    announced = judge(A, (A, B), HELD, statement())
    assert announced.verdict is V.ANNOUNCED
    assert announced.verdict.trusted
    assert announced.standing.change == cooling(How.ANNOUNCED).change
    still = judge(A, (A, B), announced.standing, statement(), now=NOW + DAY)
    assert still.verdict is V.MATCH
    assert still.standing.change == announced.standing.change  # the same statement does not begin anew
    newer = judge(A, (A, B), announced.standing, statement(sequence=int(NOW) + 1), now=NOW + DAY)
    assert newer.standing.change == announced.standing.change  # nor does a newer one for the same identity
    switched = judge(B, (B, None), still.standing, statement(), now=NOW + COOL_OFF)
    assert switched.verdict is V.READY
    assert switched.standing == Standing(
        pin=pin(B, last_seen=NOW + COOL_OFF, sequence=int(NOW)),
    )
    assert judge(B, (B, None), switched.standing, statement(), now=NOW + 9 * DAY).verdict is V.MATCH
    assert judge(A, (A, B), switched.standing, now=NOW + 9 * DAY).verdict is V.QUARANTINED


def test_switched_without_announcement_waits() -> None:
    begun = judge(B, (B, None), HELD, statement())
    assert begun.verdict is V.COOLING
    assert begun.standing == cooling()
    assert "2027-01-18 08:00 UTC" in begun.reason
    waiting = judge(B, (B, None), begun.standing, now=NOW + COOL_OFF - 1)  # the statement need not come again
    assert waiting.verdict is V.COOLING
    assert waiting.standing == begun.standing
    assert judge(B, (B, None), begun.standing, now=NOW + COOL_OFF).verdict is V.READY


def test_first_contact_in_the_middle_of_a_change() -> None:
    judgement = judge(A, (A, B), Standing(), statement())
    assert judgement.verdict is V.FIRST_CONTACT
    assert judgement.standing.change is not None
    assert judge(B, (A, B), Standing(), statement()).standing.change is None


def test_the_old_identity_stays_good_while_dns_names_it() -> None:
    judgement = judge(A, (A, B), cooling(), now=NOW + 9 * DAY)
    assert judgement.verdict is V.MATCH
    assert judgement.standing.change == cooling().change
    assert judge(A, (B, None), cooling(), now=NOW + 9 * DAY).verdict is V.NOT_PUBLISHED


def test_showing_the_pinned_identity_ends_a_quarantine() -> None:
    before = attrs.evolve(HELD, quarantine=Quarantine(fingerprint=C, since=NOW, reason="x"))
    assert judge(A, (A, None), before).standing.quarantine is None


def test_a_change_that_is_not_completed_in_time_is_void() -> None:
    late = cooling(not_after=NOW + 5 * DAY)
    assert judge(B, (B, None), late, now=NOW + 5 * DAY).verdict is V.READY
    judgement = judge(B, (B, None), late, now=NOW + 5 * DAY + 1)
    assert judgement.verdict is V.QUARANTINED
    assert judgement.standing.change is None


@pytest.mark.parametrize(
    ("sequence", "published", "begins"),
    [
        (int(NOW) - 1, (C, None), True),  # DNS has given B up
        (int(NOW) - 1, (C, B), False),
        (int(NOW), (C, B), False),
        (int(NOW) + 1, (C, B), True),
    ],
)
def test_another_change_takes_the_place_of_a_pending_one(
    sequence: int, published: tuple[Fingerprint, Fingerprint | None], begins: bool
) -> None:
    judgement = judge(C, published, cooling(), statement(A, C, sequence=sequence), now=NOW + DAY)
    change = judgement.standing.change
    assert change is not None
    assert (change.fingerprint, change.ready_at) == ((C, NOW + DAY + COOL_OFF) if begins else (B, NOW + COOL_OFF))
    assert judgement.verdict is (V.COOLING if begins else V.QUARANTINED)


# --- the clock -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", How)
@pytest.mark.spec("trust-18")
def test_a_clock_set_back_never_shortens_the_wait_nor_makes_it_endless(how: How) -> None:
    before = cooling(how)
    past = NOW - 30 * DAY
    judgement = judge(B, (A, B), before, now=past)
    assert judgement.verdict is V.COOLING
    assert judgement.standing.change is not None
    assert judgement.standing.change.ready_at == past + COOL_OFF
    assert judge(B, (A, B), judgement.standing, now=past + COOL_OFF - 1).verdict is V.COOLING
    assert judge(B, (A, B), judgement.standing, now=past + COOL_OFF).verdict is V.READY


def test_skew_lets_no_statement_live_much_longer() -> None:
    end = int(NOW + COOL_OFF)
    assert judge(B, (B, None), HELD, statement(not_after=end)).verdict is V.COOLING
    assert limits.CLOCK_SKEW < COOL_OFF
    assert judge(B, (B, None), HELD, statement(not_after=end), now=NOW + 1).verdict is V.QUARANTINED


# --- the operator ----------------------------------------------------------------------------------------------------


def test_the_operators_decision_ends_everything_else() -> None:
    before = attrs.evolve(cooling(), quarantine=Quarantine(fingerprint=C, since=NOW, reason="x"))
    after = accept_identity(before, PEER, C, NOW)
    assert after == Standing(pin=pin(C, last_seen=NOW, known=True, sequence=int(NOW)))
    assert judge(C, (C, None), after).verdict is V.MATCH
    fresh = accept_identity(Standing(), PEER, C, NOW)
    assert fresh.pin == Pin(domain=PEER, fingerprint=C, first_seen=NOW, last_seen=NOW, known=True)


def test_a_statement_that_the_operators_decision_has_settled_does_not_count_again() -> None:
    """Its identity was accepted early, and then given up: who has stolen that key has the statement too."""
    early = accept_identity(cooling(), PEER, B, NOW)
    back = accept_identity(early, PEER, A, NOW + DAY)
    assert judge(B, (B, None), back, statement(), NOW + 2 * DAY).verdict is V.QUARANTINED
    later = statement(new=D, sequence=int(NOW + 2 * DAY))
    assert judge(D, (D, None), back, later, NOW + 2 * DAY).verdict is V.COOLING
