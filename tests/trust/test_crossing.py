"""Nothing crosses a gate that says no: two homeservers' pure parts, whose policies change all the time (seeded).

The parts are those of the daemon: router, session, admission, gates. What they do is compared with a reading of the
policy and of the table in docs/architecture.md that knows nothing of them.
"""

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from volly_fed.codepoints import EnvelopeClass, ErrorCode, TrustLevel
from volly_fed.edge.admission import REFUSAL, decide_admission
from volly_fed.edge.registration import make_registration
from volly_fed.names import DomainName
from volly_fed.router import Peer, Refused, Router, may_leave
from volly_fed.testing.session_pair import SessionPair
from volly_fed.trust import Evidence, Policy, gates, parse_policy
from volly_fed.wire.messages import Batch, Refusal, parse_message

NAMES = (DomainName("a.corp.example"), DomainName("b.c.org.example"))
"""Of side 0 and of side 1."""
CAPABILITY = bytes(16)
STEPS = 12_000
LEVELS = ("full", "selective", "metadata", "none")

# the table of docs/architecture.md, once more
LINK = {"full", "selective", "metadata"}
OUT = IN = {"full", "selective"}
HEAR = LINK
PATTERNS = (*NAMES, "*.corp.example", "*.org.example", "*.c.org.example", "*.example", "x.example", "*.x.example")


def level_by_the_book(tables: dict[str, Any], domain: str) -> str:
    """Deny, allow, exact name, longest suffix, default."""
    labels = domain.split(".")
    names = [domain, *("*." + ".".join(labels[n:]) for n in range(1, len(labels)))]
    if set(names) & set(tables.get("deny", [])):
        return "none"
    if "allow" in tables and not set(names) & set(tables["allow"]):
        return "none"
    levels: dict[str, str] = tables.get("levels", {})
    default: str = tables.get("default", "selective")
    return next((levels[name] for name in names if name in levels), default)


def delivers(level: str, sender: str, scope: tuple[str, ...]) -> bool:
    return level == "full" or (level == "selective" and (sender in scope or "*" in scope))


def shows(level: str, peer: str, scope: tuple[str, ...]) -> bool:
    return level != "none" and (peer in scope or ("*" in scope and level != "selective"))


@attrs.frozen
class Sent:
    """An envelope: where it was submitted, its class, and whom its mailbox lets in."""

    side: int
    urgency: EnvelopeClass
    scope: tuple[str, ...]


@attrs.define
class Crossing:
    """The two servers, and what was counted."""

    chance: random.Random
    tables: list[dict[str, Any]] = attrs.field(factory=lambda: [{}, {}])
    policies: list[Policy] = attrs.field(factory=lambda: [Policy(), Policy()])
    sent: list[Sent] = attrs.field(factory=list)
    accepted: set[bytes] = attrs.field(factory=set)
    refused: set[bytes] = attrs.field(factory=set)
    delivered: set[bytes] = attrs.field(factory=set)
    changes: int = 0
    seen: Counter[tuple[str, str, str, bool]] = attrs.field(factory=Counter)
    """By (level of the other side here, direction, class of traffic, whether it went through)."""
    pair: SessionPair = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.pair = SessionPair(self.chance.randbytes, judge=self.judge)
        self.link()

    # --- the book --------------------------------------------------------------------------------------------------

    def book(self, side: int) -> str:
        """The level that `side` gives to the other one."""
        return level_by_the_book(self.tables[side], NAMES[1 - side])

    def level(self, side: int) -> TrustLevel:
        """The same, as the code has it, and a session that was judged or judged again."""
        return self.policies[side].level_of(NAMES[1 - side]).level

    # --- what happens ----------------------------------------------------------------------------------------------

    def change_policy(self) -> None:
        side = self.chance.randrange(2)
        tables: dict[str, Any] = {"default": self.chance.choice(LEVELS)}
        if self.chance.random() < 0.3:
            tables["deny"] = self.chance.sample(PATTERNS, self.chance.randrange(3))
        if self.chance.random() < 0.2:
            tables["allow"] = self.chance.sample(PATTERNS, self.chance.randrange(6))
        chosen = self.chance.sample(PATTERNS, self.chance.randrange(4))
        tables["levels"] = {pattern: self.chance.choice(LEVELS) for pattern in chosen}
        self.tables[side], self.policies[side] = tables, parse_policy(tables)
        self.changes += 1
        assert self.level(side) == self.book(side)
        self.pair.nodes[side].outbound.hold(not may_leave(NAMES[1 - side], self.level(side)))
        if not gates.stay(self.level(side), NAMES[1 - side]).allowed:
            self.pair.cut()
        self.link()

    def link(self) -> None:
        """A new link, where there is none and the gates of both sides allow it."""
        dialler = self.chance.randrange(2)
        acceptor = 1 - dialler
        if self.pair.connected:
            return
        allowed = (
            gates.dial(self.policies[dialler], NAMES[acceptor]).allowed
            and gates.accept(self.policies[acceptor], NAMES[dialler]).allowed
            and all(self.establishes(side) for side in (0, 1))
        )
        assert allowed == all(self.book(side) in LINK for side in (0, 1))
        if allowed:
            self.pair.connect()

    def establishes(self, side: int) -> bool:
        peer = NAMES[1 - side]
        proved = Evidence(domain=peer, identity=bytes(32), ttl=60, obtained_at=0)  # type: ignore[arg-type]
        return gates.establish(self.policies[side], peer, proved, now=1).allowed

    def submit(self) -> None:
        side, urgency = self.chance.randrange(2), self.chance.choice(tuple(EnvelopeClass))
        there = NAMES[1 - side]
        scope = self.chance.choice([("*",), (NAMES[side],), ("x.example",), (), ("x.example", NAMES[side])])
        envelope = len(self.sent).to_bytes(8, "big")
        self.sent.append(Sent(side, urgency, scope))
        route = Router(NAMES[side], self.policies[side]).from_device(there)
        opens = self.book(side) in OUT
        self.seen[self.book(side), "out", urgency.name, opens] += 1
        if opens:
            assert route == Peer(there)
            self.pair.nodes[side].offer(envelope, urgency)
            self.accepted.add(envelope)
        else:
            assert isinstance(route, Refused)
            assert route.code is ErrorCode.POLICY

    def judge(self, sequence: int, envelope: bytes) -> Refusal | None:
        """What the receiving side says at the moment of storing, as `daemon.intake` asks it."""
        sent = self.sent[int.from_bytes(envelope, "big")]
        here, sender = 1 - sent.side, NAMES[sent.side]
        level, book = self.level(here), self.book(here)
        route = Router(NAMES[here], self.policies[here]).from_peer(sender, level, NAMES[here])
        registration = make_registration({CAPABILITY: sent.scope})
        admitted = decide_admission(registration, CAPABILITY, sender, own=NAMES[here], level=level).allowed
        goes_in = book in IN and delivers(book, sender, sent.scope)
        self.seen[book, "in", sent.urgency.name, goes_in] += 1
        if isinstance(route, Refused):
            assert book not in IN
            assert not admitted, "the next gate would have let it in"
            refusal: Refusal | None = (sequence, route.code, route.reason)
        else:
            refusal = None if admitted else (sequence, *REFUSAL)
        assert (refusal is None) == goes_in
        if refusal is None:
            assert envelope not in self.delivered
            self.delivered.add(envelope)
        else:
            assert envelope not in self.refused
            self.refused.add(envelope)
        return refusal

    def tell_presence(self) -> None:
        """Somebody of one side comes or goes: the other learns of it if both gates let it through."""
        side = self.chance.randrange(2)
        here, there = self.book(side), self.book(1 - side)
        scope = self.chance.choice([("*",), (NAMES[1 - side],), ("x.example",), ()])
        shown = {gates.show(s, NAMES[1 - side], scope).allowed for s in (self.policies[side], self.level(side))}
        heard = {gates.hear(s, NAMES[side]).allowed for s in (self.policies[1 - side], self.level(1 - side))}
        assert shown == {shows(here, NAMES[1 - side], scope)}
        assert heard == {there in HEAR}
        self.seen[here, "out", "PRESENCE", shown == {True}] += 1
        self.seen[there, "in", "PRESENCE", heard == {True}] += 1

    def write(self, side: int) -> None:
        """A message leaves `side`: no batch does where the gate `relay out` is closed."""
        if self.pair.write(side):
            message = parse_message(self.pair._links[side][-1])
            assert self.book(side) in LINK
            assert not isinstance(message, Batch) or self.book(side) in OUT, "an envelope crossed a closed gate"

    def work(self) -> None:
        for _ in range(self.chance.randrange(8)):
            side = self.chance.randrange(2)
            self.chance.choice((self.write, self.pair.deliver, self.pair.commit))(side)
        self.pair.pass_time()
        self.clear()

    def settle_down(self) -> None:
        """With both gates open, everything that waits arrives or is refused."""
        for side in (0, 1):
            self.tables[side], self.policies[side] = {"default": "full"}, parse_policy({"default": "full"})
            self.pair.nodes[side].outbound.hold(False)
        self.link()
        self.pair.settle_down()
        self.clear()

    def clear(self) -> None:
        """What has come is in `delivered`; the pair looks through its lists for each envelope."""
        for node in self.pair.nodes:
            assert node.duplicates == 0
            node.inbox.clear()
            node.events.clear()

    def envelopes_in(self, direction: str) -> int:
        return sum(n for (_, way, kind, _), n in self.seen.items() if way == direction and kind != "PRESENCE")


def cells(went_through: bool) -> Iterator[tuple[str, str, str, bool]]:
    """Which (level, direction, class) the table lets through at all, or stops at least for some."""
    for level in LEVELS:
        for urgency in EnvelopeClass:
            if (level in OUT) == went_through:
                yield level, "out", urgency.name, went_through
            if level in IN if went_through else level != "full":
                yield level, "in", urgency.name, went_through
        if (level in HEAR) == went_through:
            yield level, "in", "PRESENCE", went_through
        if not went_through or level != "none":
            yield level, "out", "PRESENCE", went_through


@pytest.mark.spec("trust-1")
def test_nothing_crosses_a_gate_that_says_no() -> None:
    world = Crossing(random.Random(20261122))
    for step in range(STEPS):
        world.change_policy()
        for _ in range(world.chance.randrange(4)):
            world.submit()
        world.tell_presence()
        world.work()
        if step % 500 == 499:
            world.settle_down()
            assert all(not node.owed for node in world.pair.nodes)
    assert world.changes >= 10_000
    assert len(world.sent) >= 10_000
    assert world.envelopes_in("out") == len(world.sent)
    # each that was taken was delivered once or refused once
    assert world.delivered | world.refused == world.accepted
    assert not world.delivered & world.refused
    # every level, direction and class was tried, both ways where the table has both
    assert set(world.seen) == {*cells(True), *cells(False)}
    assert min(world.seen.values()) >= 10, world.seen
