"""Who is seen in what a domain shows: a Show feeds the device, and everything that may go wrong on the way."""

import os

import pytest

from tests.edge.net import WALL
from tests.edge.shows import Showing
from volly_fed import limits_presence
from volly_fed.client.sightings import Presence, Sighting, Sightings
from volly_fed.crypto.secret import Secret
from volly_fed.names import DomainName, Fingerprint
from volly_fed.presence import bounds, epoch_of, presence_tag
from volly_fed.wire.presence import Shown

OWN, FAR = DomainName("home.test"), DomainName("far.test")
BOB, CAROL = Fingerprint(b"b" * 32), Fingerprint(b"c" * 32)
KEYS = {BOB: Secret(b"B" * 32), CAROL: Secret(b"C" * 32)}
NOW = epoch_of(WALL)
ONLINE, OFFLINE, UNKNOWN = Presence.ONLINE, Presence.OFFLINE, Presence.UNKNOWN


def tag(who: Fingerprint, scope: str = "*", epoch: int = NOW) -> bytes:
    return presence_tag(KEYS[who], epoch, scope)


@pytest.fixture
def showing() -> Showing:
    return Showing(FAR, WALL)


@pytest.fixture
def sightings() -> Sightings:
    made = Sightings(OWN)
    made.look_for({FAR: KEYS})
    made.connected()
    return made


def feed(sightings: Sightings, messages: list[Shown], wall: float = WALL) -> dict[Fingerprint, Presence]:
    for message in messages:
        assert sightings.shown(message.domain, message.message, wall)
    return said(sightings)


def said(sightings: Sightings) -> dict[Fingerprint, Presence]:
    return {event.identity: event.presence for event in sightings.events()}


def test_everybody_is_said_once_and_then_who_comes_and_goes(sightings: Sightings, showing: Showing) -> None:
    showing.tags.add(tag(BOB))
    assert feed(sightings, showing.watched()) == {BOB: ONLINE, CAROL: OFFLINE}
    assert feed(sightings, showing.join(os.urandom(16))) == {}
    assert feed(sightings, showing.join(tag(CAROL))) == {CAROL: ONLINE}
    assert feed(sightings, showing.leave(tag(BOB))) == {BOB: OFFLINE}


@pytest.mark.spec("presence-53")
def test_a_contact_is_looked_for_under_our_domain_and_under_everybody_and_no_other(
    sightings: Sightings, showing: Showing
) -> None:
    showing.tags |= {tag(BOB, OWN), tag(CAROL, "third.test")}
    assert feed(sightings, showing.watched()) == {BOB: ONLINE, CAROL: OFFLINE}


@pytest.mark.spec("presence-53")
def test_tags_are_those_of_the_filters_epoch_not_of_the_clock(sightings: Sightings) -> None:
    late = (NOW + 1) * bounds.EPOCH + 1.0
    showing = Showing(FAR, NOW * bounds.EPOCH + 1.0)
    showing.tags |= {tag(BOB, epoch=NOW), tag(CAROL, epoch=NOW + 1)}
    assert feed(sightings, showing.watched(), late) == {BOB: ONLINE, CAROL: OFFLINE}
    following = Showing(FAR, late)
    following.tags |= {tag(CAROL, epoch=NOW + 1)}
    assert feed(sightings, following.watched(), late) == {BOB: OFFLINE, CAROL: ONLINE}


def test_a_withdrawal_and_an_epoch_without_a_new_filter_mean_that_nothing_is_known(
    sightings: Sightings, showing: Showing
) -> None:
    assert feed(sightings, showing.watched()) == {BOB: OFFLINE, CAROL: OFFLINE}
    assert feed(sightings, [showing.withdraw()]) == {BOB: UNKNOWN, CAROL: UNKNOWN}
    assert feed(sightings, [showing.withdraw()]) == {}
    assert feed(sightings, showing.watched()) == {BOB: OFFLINE, CAROL: OFFLINE}
    sightings.tick((NOW + 1) * bounds.EPOCH)
    assert said(sightings) == {}
    sightings.tick((NOW + 1) * bounds.EPOCH + 2.0 * bounds.EPOCH_GRACE)
    assert said(sightings) == {BOB: UNKNOWN, CAROL: UNKNOWN}


@pytest.mark.spec("presence-54")
def test_a_domain_that_shows_nothing_from_the_beginning_is_unknown(sightings: Sightings, showing: Showing) -> None:
    assert feed(sightings, [showing.withdraw()]) == {BOB: UNKNOWN, CAROL: UNKNOWN}


def test_a_domain_of_which_nobody_says_anything_is_unknown_after_a_while(
    sightings: Sightings, showing: Showing
) -> None:
    for wall in (WALL, WALL + limits_presence.VIEW_WAIT - 1):
        sightings.tick(wall)
        assert said(sightings) == {}
    sightings.tick(WALL + limits_presence.VIEW_WAIT)
    assert said(sightings) == {BOB: UNKNOWN, CAROL: UNKNOWN}
    assert feed(sightings, showing.watched()) == {BOB: OFFLINE, CAROL: OFFLINE}
    sightings.tick(WALL + 2 * limits_presence.VIEW_WAIT)
    assert said(sightings) == {}


def test_a_gap_is_to_be_asked_about_and_the_answer_is_taken(sightings: Sightings, showing: Showing) -> None:
    showing.tags.add(tag(BOB))
    feed(sightings, showing.watched())
    assert not sightings.shown(FAR, showing.gap().message, WALL)
    assert said(sightings) == {BOB: UNKNOWN, CAROL: UNKNOWN}
    assert feed(sightings, showing.join(tag(CAROL))) == {}  # it belongs to what is forgotten
    assert feed(sightings, showing.watched()) == {BOB: ONLINE, CAROL: ONLINE}


def test_a_filter_older_than_ours_is_taken_without_asking(sightings: Sightings, showing: Showing) -> None:
    """The homeserver was started anew and has lost the last steps; nobody says "unknown" for that."""
    old = showing.watched()
    feed(sightings, old)
    assert feed(sightings, showing.join(tag(BOB))) == {BOB: ONLINE}
    assert feed(sightings, old) == {BOB: OFFLINE}


@pytest.mark.parametrize("encoded", [b"", b"\xff", b"\xa1\x00\x14", bytes(40)])
def test_bytes_that_are_no_message_are_a_gap(sightings: Sightings, encoded: bytes) -> None:
    assert not sightings.shown(FAR, encoded, WALL)


def test_pieces_of_a_former_answer_are_passed_over(
    sightings: Sightings, showing: Showing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "SNAPSHOT_PIECE", 1024)
    first, *others = showing.watched()
    feed(sightings, [first])
    sightings.connected()
    assert feed(sightings, others) == {}
    assert feed(sightings, [first, *others]) == {BOB: OFFLINE, CAROL: OFFLINE}


def test_a_short_break_says_nothing_and_a_long_one_that_nothing_is_known(
    sightings: Sightings, showing: Showing
) -> None:
    showing.tags.add(tag(BOB))
    feed(sightings, showing.watched())
    sightings.lost(WALL)
    sightings.lost(WALL + 30)
    sightings.tick(WALL + limits_presence.VIEW_STALE - 1)
    sightings.connected()
    sightings.tick(WALL + 2 * limits_presence.VIEW_STALE)
    assert said(sightings) == {}
    assert feed(sightings, showing.watched()) == {}
    sightings.lost(WALL)
    sightings.tick(WALL + limits_presence.VIEW_STALE)
    assert said(sightings) == {BOB: UNKNOWN, CAROL: UNKNOWN}


def test_a_refusal_says_why(sightings: Sightings) -> None:
    sightings.refused(FAR, "it is not heard (POLICY)")
    sightings.refused(DomainName("third.test"), "no")
    assert sightings.events() == [
        Sighting(domain=FAR, identity=who, presence=UNKNOWN, reason="it is not heard (POLICY)") for who in (BOB, CAROL)
    ]


def test_a_reason_is_said_also_where_nothing_was_known_before_and_once(sightings: Sightings, showing: Showing) -> None:
    feed(sightings, showing.watched())
    assert feed(sightings, [showing.withdraw()]) == {BOB: UNKNOWN, CAROL: UNKNOWN}
    for reason, news in (("no", True), ("no", False), ("for another reason", True)):
        sightings.refused(FAR, reason)
        assert {event.reason for event in sightings.events()} == ({reason} if news else set())
    assert feed(sightings, showing.watched()) == {BOB: OFFLINE, CAROL: OFFLINE}
    sightings.refused(FAR, "for another reason")
    assert {event.reason for event in sightings.events()} == {"for another reason"}


def test_whom_to_look_for_may_change(sightings: Sightings, showing: Showing) -> None:
    showing.tags |= {tag(BOB), tag(CAROL)}
    sightings.look_for({FAR: {BOB: KEYS[BOB]}})
    assert feed(sightings, showing.watched()) == {BOB: ONLINE}
    sightings.look_for({FAR: KEYS})
    assert said(sightings) == {CAROL: ONLINE}
    sightings.look_for({FAR: KEYS | {BOB: Secret(b"n" * 32)}})
    assert said(sightings) == {BOB: OFFLINE}
    sightings.look_for({})
    assert sightings.domains == []
    assert feed(sightings, showing.watched()) == {}


def test_one_in_880_who_are_away_look_online_by_chance(showing: Showing) -> None:
    crowd = {Fingerprint(n.to_bytes(32, "big")): Secret(n.to_bytes(32, "big")) for n in range(20_000)}
    sightings = Sightings(OWN)
    sightings.look_for({FAR: crowd})
    seen = feed(sightings, showing.watched())
    found = sum(presence is ONLINE for presence in seen.values())
    assert 20_000 / 880 - 24 < found < 20_000 / 880 + 24  # five standard deviations
