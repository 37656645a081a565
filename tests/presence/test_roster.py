"""Who is shown to whom, level by level and scope by scope; and which tags come and go with each change."""

from collections.abc import Iterator, Mapping

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volly_fed import limits_presence
from volly_fed.codepoints import TrustLevel
from volly_fed.names import DomainName
from volly_fed.presence.roster import NO_TAGS, Change, Roster, reach
from volly_fed.trust import gates

B, C = DomainName("b.test"), DomainName("c.test")
FULL, SELECTIVE, METADATA, NONE = TrustLevel.FULL, TrustLevel.SELECTIVE, TrustLevel.METADATA, TrustLevel.NONE
ANN, BOB = (1, 1), (1, 2)
E = 7
WIDE, NAMED, OTHER = b"everybody's tag.", b"the tag for b...", b"the tag for c..."


@pytest.mark.parametrize(("level", "scopes"), [(FULL, (B, "*")), (METADATA, (B, "*")), (SELECTIVE, (B,)), (NONE, ())])
def test_the_scopes_that_reach_a_peer(level: TrustLevel, scopes: tuple[str, ...]) -> None:
    assert reach(level, B) == scopes


@pytest.mark.parametrize(
    ("tags", "full", "selective"),
    [
        ({}, None, None),
        ({"*": WIDE}, WIDE, None),
        ({B: NAMED}, NAMED, NAMED),
        ({C: OTHER}, None, None),
        ({"*": WIDE, B: NAMED}, NAMED, NAMED),
        ({"*": WIDE, C: OTHER}, WIDE, None),
    ],
)
@pytest.mark.parametrize("level", list(TrustLevel))
@pytest.mark.spec("presence-14")
def test_what_a_peer_is_shown_of_one_user(
    level: TrustLevel, tags: dict[str, bytes], full: bytes | None, selective: bytes | None
) -> None:
    roster = Roster()
    change = roster.announce(ANN, E, tags)
    assert change is not None
    expected = {FULL: full, METADATA: full, SELECTIVE: selective, NONE: None}[level]
    scopes = reach(level, B)
    assert roster.tags(E, B, scopes) == ({expected} if expected else set())
    assert roster.difference(change, B, scopes) == (None, expected)
    assert roster.tags(E + 1, B, scopes) == set()
    (gone,) = roster.retract(ANN) if tags else (Change(E, NO_TAGS, NO_TAGS),)
    assert roster.difference(gone, B, scopes) == (expected, None)
    assert roster.tags(E, B, scopes) == set()


@pytest.mark.parametrize(
    ("before", "after", "domains"),
    [
        ({}, {"*": WIDE}, None),
        ({"*": WIDE}, {"*": WIDE}, set()),
        ({"*": WIDE}, {"*": WIDE, B: NAMED}, {B}),
        ({B: NAMED}, {C: OTHER}, {B, C}),
        ({B: NAMED, "*": WIDE}, {B: NAMED}, None),
    ],
)
def test_whom_a_change_may_concern(before: dict[str, bytes], after: dict[str, bytes], domains: set[str] | None) -> None:
    assert Change(E, before, after).domains == domains


def test_a_tag_that_two_announce_goes_with_the_last() -> None:
    roster, scopes = Roster(), reach(FULL, B)
    roster.announce(ANN, E, {"*": WIDE})
    second = roster.announce(BOB, E, {"*": WIDE})
    assert second is not None
    assert roster.difference(second, B, scopes) == (None, None)
    (gone,) = roster.retract(ANN)
    assert roster.difference(gone, B, scopes) == (None, None)
    (gone,) = roster.retract(BOB)
    assert roster.difference(gone, B, scopes) == (WIDE, None)


def test_an_announcement_replaces_that_of_its_epoch_only() -> None:
    roster = Roster()
    roster.announce(ANN, E, {"*": WIDE})
    roster.announce(ANN, E + 1, {"*": OTHER})
    change = roster.announce(ANN, E, {B: NAMED})
    assert change == Change(E, {"*": WIDE}, {B: NAMED})
    assert roster.difference(change, B, (B, "*")) == (WIDE, NAMED)
    assert roster.difference(change, C, (C, "*")) == (WIDE, None)
    assert roster.tags(E + 1, B, (B, "*")) == {OTHER}
    assert [change.epoch for change in roster.retract(ANN)] == [E, E + 1]
    assert list(roster.retract(ANN)) == []


def test_an_epoch_that_is_over_is_forgotten_and_its_room_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_presence, "ANNOUNCED_TAGS_PER_EDGE", 3)
    roster = Roster()
    assert roster.announce(ANN, E, {"*": WIDE, B: NAMED})
    assert roster.announce(ANN, E + 1, {"*": WIDE})
    assert roster.announce(ANN, E + 2, {"*": WIDE}) is None
    assert roster.announce((2, 1), E, {"*": WIDE}), "another edge has room of its own"
    assert roster.announce(ANN, E, {C: OTHER}), "less than before always has room"
    roster.expire(E + 1)
    assert roster.tags(E, B, (B, "*")) == set()
    assert roster.announce(ANN, E + 2, {"*": WIDE, B: NAMED})
    assert list(roster.retract(BOB)) == []
    assert [change.epoch for change in roster.retract(ANN)] == [E + 1, E + 2]
    assert roster.announce(BOB, E + 1, {"*": WIDE, B: NAMED, C: OTHER})


@pytest.mark.spec("presence-52")
def test_there_are_no_more_announcers_than_the_largest_filter_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_presence, "ANNOUNCERS", 2)
    roster = Roster()
    assert roster.announce(ANN, E, {"*": WIDE})
    assert roster.announce((2, 1), E, {"*": OTHER})
    assert roster.announce(BOB, E, {"*": NAMED}) is None
    assert roster.announce(ANN, E + 1, {"*": WIDE})
    assert roster.numbers(2) == [1]
    assert len(list(roster.retract((2, 1)))) == 1
    roster.forget_link(2)
    assert roster.numbers(2) == []
    assert roster.announce(BOB, E, {"*": NAMED})


# --- whatever is announced, each peer's tags are those of the definition ---------------------------------------------

PEERS = [(domain, level) for domain in (B, C) for level in TrustLevel]
some_tags = st.dictionaries(st.sampled_from(["*", B, C]), st.sampled_from([WIDE, NAMED, OTHER]))
steps = st.tuples(st.integers(1, 4), st.sampled_from([E, E + 1]), some_tags)


@attrs.define
class Model:
    """The definition: of everybody the one tag that the gate gives, as a set."""

    announced: dict[tuple[int, int], Mapping[str, bytes]] = attrs.field(factory=dict)

    def tags(self, epoch: int, domain: DomainName, level: TrustLevel) -> set[bytes]:
        """One tag of each who may be seen: that for this peer rather than that for everybody."""
        seen = [
            tags for (_, at), tags in self.announced.items() if at == epoch and gates.show(level, domain, tags).allowed
        ]
        return {tags[domain] if domain in tags else tags["*"] for tags in seen}


def changes(roster: Roster, model: Model, number: int, epoch: int, tags: Mapping[str, bytes]) -> Iterator[Change]:
    """One step; nothing at all means that the announcer goes."""
    if tags:
        model.announced[number, epoch] = tags
        change = roster.announce((1, number), epoch, tags)
        assert change is not None
        yield change
        return
    model.announced = {key: value for key, value in model.announced.items() if key[0] != number}
    yield from roster.retract((1, number))


@given(st.lists(steps, max_size=12))
def test_what_comes_and_goes_adds_up_to_what_is_shown(history: list[tuple[int, int, dict[str, bytes]]]) -> None:
    roster, model = Roster(), Model()
    shown: dict[tuple[int, DomainName, TrustLevel], set[bytes]] = {
        (epoch, *peer): set() for epoch in (E, E + 1) for peer in PEERS
    }
    for step in history:
        for change in changes(roster, model, *step):
            for domain, level in PEERS:
                mine = shown[change.epoch, domain, level]
                gone, come = roster.difference(change, domain, reach(level, domain))
                concerned = change.domains is None or domain in change.domains
                assert concerned or gone is come is None
                assert gone is None or gone in mine
                assert come is None or come not in mine
                mine -= {gone}
                mine |= {come} if come else set()
        for (epoch, domain, level), mine in shown.items():
            assert mine == model.tags(epoch, domain, level) == roster.tags(epoch, domain, reach(level, domain))
