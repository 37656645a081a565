"""Whom a homeserver links with: the gates, the discovery, and the identity to which it holds a domain."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from interop.fake_peer import Peer
from interop.rogue import Depth, Play, Rogue, leave, letter, rogue
from interop.scenario import check, scenario
from interop.site import Keys
from interop.stage import Stage
from volly_fed.codepoints import ErrorCode, Role
from volly_fed.crypto.signature import IdentityKey
from volly_fed.names import fingerprint_text
from volly_fed.testing.world import Flaw
from volly_fed.trust.continuity import make_statement
from volly_fed.wire import codec

Row = tuple[str, Play]
_DAY: Final = 86400
_YEAR: Final = 366 * _DAY
_COOL_OFF: Final = 259_200

# --- gates and discovery ---------------------------------------------------------------------------------------------


async def _turned_away(stranger: Rogue, code: ErrorCode) -> None:
    async with stranger.calling(Depth.OPEN) as peer:
        await peer.send(peer.hands.hello())
        refuse = await peer.expect_refuse(code)
        for word in ("none", "deny", "default"):
            check(word not in refuse.text.lower().split(), f"nothing of the policy in {refuse.text!r}")


@scenario("trust/callers-that-are-not-let-in", servers=1, covers=("trust-3", "trust-5", "handshake-15"))
async def not_let_in(stage: Stage) -> None:
    """Domains whose level is none, by name and by default, call: POLICY, and nothing about why. At the other levels
    the link comes about.
    """
    await _turned_away(await rogue(stage, level="none"), ErrorCode.POLICY)
    await _turned_away(await rogue(stage, known=False), ErrorCode.POLICY)
    for level in ("metadata", "selective", "full"):
        caller = await rogue(stage, level=level)
        async with caller.calling(Depth.BEGUN) as peer:
            await leave(peer)


_UNDISCOVERED: Final[dict[str, dict[str, Any]]] = {
    "no zone": {"published": False},
    "an unsigned zone": {"signed": False},
    "wrong signatures": {"flaws": Flaw.BAD_SIGNATURE},
    "old signatures": {"flaws": Flaw.EXPIRED},
    "no identity record": {"records": lambda lines: [line for line in lines if " TXT " not in line]},
    "two identity records": {"records": lambda lines: [*lines, '_volly-fed IN TXT "v=vf1 id=x"']},
    "no SRV record": {"records": lambda lines: [line for line in lines if " SRV " not in line]},
    "no address": {"records": lambda lines: [line for line in lines if " A " not in line]},
    "no TLSA record": {"records": lambda lines: [line for line in lines if " TLSA " not in line]},
}


@scenario(
    "trust/callers-that-cannot-be-discovered",
    servers=1,
    needs=("discovery",),
    covers=("handshake-16", "discovery-29"),
    seconds=30,
)
async def undiscovered(stage: Stage) -> None:
    """Callers that are trusted and whose records are missing, not signed, or signed wrongly: DISCOVERY."""
    for name, options in _UNDISCOVERED.items():
        try:
            await _turned_away(await rogue(stage, **options), ErrorCode.DISCOVERY)
        except AssertionError as error:
            raise AssertionError(f"row {name!r}: {error}") from None


@scenario("trust/nobody-is-dialled-who-is-not-trusted", servers=1, covers=("trust-1", "trust-2", "trust-6"))
async def not_dialled(stage: Stage) -> None:
    """An edge submits envelopes for domains at each level. Where envelopes may not leave, it is told POLICY and the
    domain sees no connection; where they may, the domain is called.
    """
    edge = await stage.edge(stage.servers[0])
    strangers = {level: await rogue(stage, level=level, edge=edge) for level in ("none", "metadata", "selective")}
    frames = [letter(stranger.domain) for stranger in strangers.values()]
    answers = [answer and answer[0] for answer in await edge.submit(*frames, letter("nobody-at-all.test"))]
    check(answers[0] is answers[1] is ErrorCode.POLICY, f"POLICY for none and metadata: {answers}")
    check(answers[2] is None, f"an envelope for a domain at selective taken: {answers}")
    strangers["selective"].owed = 1
    await strangers["selective"].be_called_honestly()
    for level in ("none", "metadata"):
        try:
            async with strangers[level].door.caller(patience=0.3):
                called = True
        except AssertionError:
            called = False
        check(not called, f"no connection to a domain at level {level}")


# --- identities ------------------------------------------------------------------------------------------------------


@attrs.define
class Changing:
    """A domain that publishes two identities, and shows the one or the other."""

    rogue: Rogue
    old: IdentityKey
    new: IdentityKey

    async def show(self, key: IdentityKey, statement: bytes, let_in: bool, role: Role) -> None:
        """Show `key` with `statement`, as a caller or to the server that calls."""
        self.rogue.persona = attrs.evolve(self.rogue.persona, identity=key)
        self.rogue.door.persona = self.rogue.persona
        reach = self.rogue.calling if role is Role.DIALLER else self.rogue.called
        async with reach(Depth.HELLOS) as peer:
            if role is Role.ACCEPTOR:
                await peer.expect_proof()
            await peer.send(peer.hands.auth(statement=statement))
            if not let_in:
                await peer.expect_refuse(ErrorCode.IDENTITY_MISMATCH)
                return
            await self._go_on(peer)

    async def _go_on(self, peer: Peer) -> None:
        if peer.role is Role.DIALLER:
            await peer.expect_proof()
        await peer.begin()
        await self.rogue.take_all(peer)
        await leave(peer)

    def statement(self, **changes: Any) -> bytes:
        """From old to new, for a year, from now on; `changes` are arguments of `make_statement`."""
        now = int(time.time())
        honest = {
            "domain": self.rogue.domain,
            "sequence": now,
            "not_before": now - _DAY,
            "not_after": now - _DAY + _YEAR,
            "old": self.old,
            "new": self.new,
        }
        return make_statement(**{**honest, **changes})


async def _changing(stage: Stage, **options: Any) -> Changing:
    old, new = Keys.new("old"), Keys.new("new")

    def both(lines: list[str]) -> list[str]:
        more = f" next={fingerprint_text(new.fingerprint)}"
        return [f'{line[:-1]}{more}"' if " TXT " in line else line for line in lines]

    keys = attrs.evolve(old)
    who = await rogue(stage, records=both, keys=keys, **options)
    return Changing(who, old.identity, new.identity)


Steps = Callable[[Changing], Sequence[tuple[IdentityKey, bytes, bool]]]

_STORIES: Final[dict[str, Steps]] = {
    "another identity without a statement": lambda c: [
        (c.old, b"", True),
        (c.new, b"", False),
        (c.new, b"", False),
        (c.old, b"", True),
    ],
    "another identity with a statement": lambda c: [
        (c.old, b"", True),
        (c.new, c.statement(), False),
        (c.new, b"", False),
        (c.old, c.statement(), True),
        (c.new, c.statement(), False),
    ],
    "a change that is announced": lambda c: [
        (c.old, c.statement(), True),
        (c.old, b"", True),
        (c.new, c.statement(), False),
        (c.old, b"", True),
    ],
    "the next identity at first contact": lambda c: [
        (c.new, b"", True),
        (c.old, b"", False),
        (c.old, c.statement(old=c.new, new=c.old), False),
        (c.new, b"", True),
    ],
}


async def _tell(stage: Stage, role: Role, names: Sequence[str]) -> None:
    edge = await stage.edge(stage.servers[0]) if role is Role.ACCEPTOR else None
    for name in names:
        changing = await _changing(stage, edge=edge)
        for number, (key, statement, let_in) in enumerate(_STORIES[name](changing), 1):
            try:
                await changing.show(key, statement, let_in, role)
            except AssertionError as error:
                raise AssertionError(f"row {name!r}, step {number}: {error}") from None


@scenario(
    "trust/identities-of-callers",
    servers=1,
    needs=("discovery", "rotation"),
    covers=("trust-15", "trust-16", "trust-18", "handshake-20", "handshake-32"),
    seconds=30,
)
async def of_callers(stage: Stage) -> None:
    """A domain publishes two identities. The one that it showed first is let in; the other is not, whether it comes
    with a statement or without, for the cool-off lasts three days; and the first one still is.
    """
    await _tell(stage, Role.DIALLER, [*_STORIES])


@scenario(
    "trust/identities-of-those-called",
    servers=1,
    needs=("discovery", "rotation"),
    covers=("trust-15", "trust-16", "handshake-12", "handshake-20"),
    seconds=30,
)
async def of_called(stage: Stage) -> None:
    """The same where the server calls: it refuses after both proofs, begins no session, and keeps what is waiting."""
    await _tell(stage, Role.ACCEPTOR, ["another identity without a statement", "a change that is announced"])


def _spoilt(statement: bytes, at: int) -> bytes:
    parts = codec.decode(statement)
    assert isinstance(parts, list)
    part = parts[at]
    assert isinstance(part, bytes)
    parts[at] = part[:100] + bytes([part[100] ^ 1]) + part[101:]
    return codec.encode(parts)


def _bad_statements(c: Changing) -> dict[str, bytes]:
    now, right = int(time.time()), c.statement()
    third = Keys.new("third").identity
    return {
        "no CBOR": b"\xff" * 50,
        "an empty array": b"\x80",
        "as long as a statement may be": bytes(12288),
        "cut short": right[:-1],
        "the old key's signature wrong": _spoilt(right, 1),
        "the new key's signature wrong": _spoilt(right, 2),
        "the body wrong": _spoilt(right, 0),
        "about another domain": c.statement(domain="somebody-else.test"),
        "from another key": c.statement(old=third),
        "to another key": c.statement(new=third),
        "backwards": c.statement(old=c.new, new=c.old),
        "not valid yet": c.statement(not_before=now + _DAY),
        "expired": c.statement(not_before=now - 9 * _DAY, not_after=now - _DAY),
        "over before the cool-off": c.statement(not_after=now + _COOL_OFF - _DAY),
        "of the future": c.statement(sequence=now + _DAY),
    }


@scenario(
    "trust/statements-that-do-not-count",
    servers=1,
    covers=("handshake-33", "handshake-34"),
)
async def no_statements(stage: Stage) -> None:
    """A domain shows the identity that it always had, with statements that do not count: it is let in each time."""
    c = Changing(who := await rogue(stage), who.persona.identity, Keys.new("new").identity)
    for name, statement in _bad_statements(c).items():
        try:
            await c.show(c.old, statement, True, Role.DIALLER)
        except AssertionError as error:
            raise AssertionError(f"row {name!r}: {error}") from None


@scenario("trust/identity-that-is-not-published-any-more", servers=1, covers=("trust-15", "trust-17"), seconds=40)
async def not_published(stage: Stage) -> None:
    """A domain is known by one identity, then publishes another, and the server is started anew, which clears what it
    remembers of the DNS and not whom it knows. The former identity is refused because it is not published, the other
    because it is not the one that the domain is held to, though a statement says so.
    """
    lines: list[str] = []

    def keep(records: list[str]) -> list[str]:
        lines.extend(records)
        return records

    (server,) = stage.servers
    who = await rogue(stage, records=keep)
    c = Changing(who, who.persona.identity, (new := Keys.new("new")).identity)
    await c.show(c.old, b"", True, Role.DIALLER)
    text = f'"v=vf1 id={fingerprint_text(new.fingerprint)}"'
    stage.publish(who.stranger, [line.partition('"')[0] + text if " TXT " in line else line for line in lines])
    server.site.peers[who.domain].identity = new.fingerprint
    await server.restart()
    async with who.calling(Depth.OPEN) as peer:
        await peer.send(peer.hands.hello(identity=c.old.public))
        await peer.expect_refuse(ErrorCode.IDENTITY_MISMATCH)
    for statement in (b"", c.statement()):
        await c.show(c.new, statement, False, Role.DIALLER)
