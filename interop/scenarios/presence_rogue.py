"""Presence that goes wrong between homeservers: what a peer asks in the wrong moment, and shows in the wrong form."""

import hashlib
import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import attrs
import numpy as np
import trio

from interop.fake_hands import altered
from interop.fake_peer import Peer
from interop.rogue import Depth, Play, Rogue, leave, play_calling, rogue
from interop.scenario import Failed, check, equal, scenario
from interop.stage import Stage
from volly_fed.codepoints import ErrorCode, Label
from volly_fed.presence.delta import encode_delta
from volly_fed.wire import Message, parse_message
from volly_fed.wire.messages import (
    PresenceDelta,
    PresenceRequest,
    PresenceResume,
    PresenceSnapshot,
    PresenceWithdraw,
    Shown,
    Unwatch,
    Watch,
)

Row = tuple[str, Play]
_EPOCH: Final = 1800
_BYTES: Final = (8192, 32768, 131072)
"""Of filters of class 0, 1 and 2."""
_PIECE: Final = 65536
_QUIET: Final = 0.3


def _epoch() -> int:
    return int(time.time()) // _EPOCH


def _id(key: bytes) -> bytes:
    return hashlib.sha256(Label.PRESENCE_FILTER + key).digest()[:8]


def _shown(size: int = 0, **changes: Any) -> PresenceSnapshot:
    """The first piece of a filter in which nobody is, under a fresh key."""
    honest: dict[str, Any] = {
        "epoch": _epoch(),
        "key": os.urandom(32),
        "size": size,
        "sequence": 0,
        "offset": 0,
        "bits": bytes(min(_BYTES[size] if size < 3 else _PIECE, _PIECE)),
    }
    return PresenceSnapshot(**{**honest, **changes})


def _step(shown: PresenceSnapshot, **changes: Any) -> PresenceDelta:
    """A step after `shown` in which nobody comes or goes."""
    honest: dict[str, Any] = {"filter": _id(shown.key), "sequence": shown.sequence + 1, "changes": bytes(64)}
    return PresenceDelta(**{**honest, **changes})


# --- the showing side is under test ----------------------------------------------------------------------------------


async def _filter(peer: Peer) -> PresenceSnapshot:
    """A whole filter, and that its pieces are right; the first of them."""
    first = piece = await peer.expect(PresenceSnapshot)
    size = _BYTES[first.size]
    at = len(first.bits)
    while at < size:
        piece = await peer.expect(PresenceSnapshot)
        equal((piece.key, piece.epoch, piece.size, piece.sequence, piece.offset), (*_same(first), at), "the next piece")
        at += len(piece.bits)
    equal(at, size, "bytes of the filter")
    check(abs(first.epoch - _epoch()) <= 1, "the filter's epoch")
    return first


def _same(first: PresenceSnapshot) -> tuple[bytes, int, int, int]:
    return first.key, first.epoch, first.size, first.sequence


async def _ask(ask: Callable[[Peer], Awaitable[None]], rogue: Rogue) -> None:
    async with rogue.calling(Depth.BEGUN) as peer:
        await ask(peer)


async def _asked_once(peer: Peer) -> None:
    """One filter for the question; another question soon after is not answered at once."""
    await peer.send(PresenceRequest())
    first = await _filter(peer)
    ones = sum(byte.bit_count() for byte in first.bits)
    check(0.3 < ones / (8 * len(first.bits)) < 0.45, "a filter full of dummies")
    peer.allow(PresenceDelta)
    await peer.send(PresenceRequest())
    await peer.expect_quiet(_QUIET)
    await leave(peer)


async def _unknown_filter(peer: Peer) -> None:
    """A filter that the server has never shown is answered with one."""
    await peer.send(PresenceResume(filter=os.urandom(8), sequence=7))
    await _filter(peer)
    peer.allow(PresenceDelta)
    await leave(peer)


async def _resumed(rogue: Rogue) -> None:
    """On another link the filter goes on, with nothing where nothing has changed."""
    async with rogue.calling(Depth.BEGUN) as peer:
        await peer.send(PresenceRequest())
        first = await _filter(peer)
        await leave(peer)
    async with rogue.calling(Depth.BEGUN) as peer:
        peer.allow(PresenceDelta)
        await peer.send(PresenceResume(filter=_id(first.key), sequence=first.sequence))
        await peer.expect_quiet(_QUIET)
        await leave(peer)


async def _ticks(peer: Peer) -> None:
    """At the pace of ticks a step comes every 2 s, though nobody has come or gone."""
    await peer.send(PresenceRequest())
    first = await _filter(peer)
    for sequence in (1, 2):
        step = await peer.expect(PresenceDelta)
        equal((step.filter, step.sequence), (_id(first.key), first.sequence + sequence), "the next step")
    await leave(peer)


async def _wrong_question(said: list[Message | bytes], code: ErrorCode, rogue: Rogue) -> None:
    async with rogue.calling(Depth.BEGUN) as peer:
        for kind in (PresenceSnapshot, PresenceDelta):
            peer.allow(kind)
        await peer.send(*said)
        await peer.expect_close(code)


_RESUME: Final = PresenceResume(filter=bytes(8), sequence=0)
_QUESTIONS: Final[dict[str, tuple[list[Message | bytes], ErrorCode]]] = {
    "RESUME after REQUEST": ([PresenceRequest(), _RESUME], ErrorCode.UNEXPECTED),
    "RESUME twice": ([_RESUME, _RESUME], ErrorCode.UNEXPECTED),
    "a filter that nobody has asked for": ([_shown()], ErrorCode.UNEXPECTED),
    "a step that nobody has asked for": ([_step(_shown())], ErrorCode.UNEXPECTED),
    "a withdrawal that nobody has asked for": ([PresenceWithdraw()], ErrorCode.UNEXPECTED),
    "RESUME of 7 bytes": ([altered(_RESUME, {1: bytes(7)})], ErrorCode.MALFORMED),
    "RESUME without a number": ([altered(_RESUME, {2: None})], ErrorCode.MALFORMED),
    "a filter without a key": ([altered(_shown(), {2: None})], ErrorCode.MALFORMED),
    "a filter with a key of 31 bytes": ([altered(_shown(), {2: bytes(31)})], ErrorCode.MALFORMED),
    "a filter of text": ([altered(_shown(), {6: "bits"})], ErrorCode.MALFORMED),
    "a step without changes": ([altered(_step(_shown()), {3: None})], ErrorCode.MALFORMED),
    "a step of a filter of 9 bytes": ([altered(_step(_shown()), {1: bytes(9)})], ErrorCode.MALFORMED),
}


@scenario(
    "presence/questions-of-a-peer",
    servers=1,
    needs=("presence",),
    covers=(
        *("presence-9", "presence-11", "presence-16", "presence-17", "presence-18", "presence-19"),
        "presence-23",
    ),
)
async def questions(stage: Stage) -> None:
    """A peer asks what it may, and is shown filters of the right form; then it asks, or shows, what it may not."""
    rows: list[Row] = [(name, partial(_wrong_question, *row)) for name, row in _QUESTIONS.items()]
    await play_calling(stage, rows)
    # A peer that was shown a filter waits for the next: each of these is asked for the first time.
    good: dict[str, Play] = {
        "one question": partial(_ask, _asked_once),
        "a filter that nobody knows": partial(_ask, _unknown_filter),
        "a filter from another link": _resumed,
    }
    for name, play in good.items():
        await play_calling(stage, [(name, play)], strangers=1)
    await _ask(_ticks, await rogue(stage, level="selective", presence="tick"))


# --- the viewing side is under test ----------------------------------------------------------------------------------


@attrs.define
class Watched:
    """A rogue whose domain a device watches: the server calls, and asks."""

    rogue: Rogue

    async def show(self, messages: list[Message | bytes], code: ErrorCode | None) -> None:
        """Answer the question with these, and be told `code`; or, where there is none, be taken."""
        async with self.rogue.door.caller(self.rogue.server.site.domain) as peer:
            await peer.secure()
            await peer.upgrade()
            peer.hold_hands()
            await peer.shake()
            await self._wait_for_question(peer)
            await peer.send(*messages)
            if code is not None:
                await peer.expect_close(code)
                return
            await self.seen(messages)

    async def _wait_for_question(self, peer: Peer) -> None:
        asked: list[Message] = []

        async def note(message: Message) -> None:
            asked.append(message)

        for kind in (PresenceRequest, PresenceResume):
            peer.allow(kind, note)
        await peer.begin()
        if not asked:
            await peer.expect(PresenceRequest, PresenceResume)

    async def seen(self, messages: list[Message | bytes]) -> None:
        """The edge is shown the last of them."""
        edge, domain = self.rogue.edge, self.rogue.domain
        assert edge is not None

        def arrived() -> bool:
            shown = [each for each in edge.shown if isinstance(each, Shown) and each.domain == domain]
            return messages[-1] in [parse_message(each.message) for each in shown]

        await edge.until(arrived)


_FULL: Final = b"\xff" * 3800 + bytes(8192 - 3800)
"""46.4 % of the bits of class 0."""


def _many() -> bytes:
    changes = encode_delta(np.arange(0, 65536, 2, dtype=np.int64), 65536)
    assert changes is not None
    return changes


def _two(**changes: Any) -> list[Message | bytes]:
    """Two pieces of a filter of class 2, the second with these changes."""
    first = _shown(2)
    return [first, attrs.evolve(first, **{"offset": _PIECE, **changes})]


def _then(*changes: dict[str, Any], **first: Any) -> list[Message | bytes]:
    """A good filter, and steps after it with these changes."""
    shown = _shown(**first)
    return [shown, *(_step(shown, **each) for each in changes)]


def _again(**changes: Any) -> list[Message | bytes]:
    shown = _shown(sequence=5)
    return [shown, attrs.evolve(shown, **changes)]


_BAD, _OUT, _WHEN = ErrorCode.BAD_FILTER, ErrorCode.OUT_OF_STEP, ErrorCode.WRONG_EPOCH
_SHOWN: Final[dict[str, tuple[Callable[[], list[Message | bytes]], ErrorCode]]] = {
    "an unknown class": (lambda: [_shown(5)], _BAD),
    "a filter that is too short": (lambda: [_shown(bits=bytes(8191))], _BAD),
    "a filter that is too long": (lambda: [_shown(bits=bytes(8193))], _BAD),
    "an empty filter": (lambda: [_shown(bits=b"")], _BAD),
    "a filter that is too full": (lambda: [_shown(bits=_FULL)], _BAD),
    "two pieces as one": (lambda: [_shown(2, bits=bytes(131072))], _BAD),
    "a first piece that is too short": (lambda: [_shown(2, bits=bytes(65535))], _BAD),
    "a second piece that is too short": (lambda: _two(bits=bytes(65535)), _BAD),
    "an epoch that is over": (lambda: [_shown(epoch=_epoch() - 2)], _WHEN),
    "an epoch to come": (lambda: [_shown(epoch=_epoch() + 2)], _WHEN),
    "an epoch beyond all time": (lambda: [_shown(epoch=2**64 - 1)], _WHEN),
    "a second piece with another key": (lambda: _two(key=bytes(32)), _OUT),
    "a second piece of another epoch": (lambda: _two(epoch=_epoch() + 1), _OUT),
    "a second piece of another class": (lambda: _two(size=3), _OUT),
    "a second piece with another number": (lambda: _two(sequence=1), _OUT),
    "a piece left out": (lambda: [first := _shown(3), attrs.evolve(first, offset=2 * _PIECE)], _OUT),
    "a second piece that overlaps": (lambda: _two(offset=_PIECE - 1), _OUT),
    "a step between pieces": (lambda: [first := _shown(2), _step(first)], ErrorCode.UNEXPECTED),
    "a step of another filter": (lambda: _then({"filter": bytes(8)}), _OUT),
    "a step left out": (lambda: _then({"sequence": 2}), _OUT),
    "a step to where it is": (lambda: _then({"sequence": 0}), _OUT),
    "a step twice": (lambda: _then({"sequence": 1}, {"sequence": 1}), _OUT),
    "changes of 63 bytes": (lambda: _then({"changes": bytes(63)}), ErrorCode.MALFORMED),
    "changes of no size that there is": (lambda: _then({"changes": bytes(65)}), ErrorCode.MALFORMED),
    "changes that take more than they need": (lambda: _then({"changes": bytes(96)}), ErrorCode.MALFORMED),
    "changes without an end": (lambda: _then({"changes": b"\x05" + bytes(63)}), ErrorCode.MALFORMED),
    "more changes than there are bits": (lambda: _then({"changes": b"\xff" * 64}), ErrorCode.MALFORMED),
    "a one too many": (lambda: _then({"changes": bytes(63) + b"\x01"}), ErrorCode.MALFORMED),
    "a step that fills the filter": (lambda: _then({"changes": _many()}), _BAD),
    "the same key, and a smaller number": (lambda: _again(sequence=4), _OUT),
    "a filter too many": (lambda: [_shown() for _ in range(17)], ErrorCode.BUSY),
}


async def _watched(make: Callable[[], list[Message | bytes]], code: ErrorCode, rogue: Rogue) -> None:
    """The bad filter ends the link; the server calls again and asks again, and what is good then is shown."""
    assert rogue.edge is not None
    rogue.edge.send(Watch(domain=rogue.domain))
    watched = Watched(rogue)
    await watched.show(make(), code)
    if code is not ErrorCode.BUSY:  # which lasts for the epoch
        await watched.show([_shown()], None)


_GOOD: Final[dict[str, Callable[[], list[Message | bytes]]]] = {
    "one piece": lambda: [_shown()],
    "two pieces": lambda: _two(),
    "steps": lambda: _then({}, {"sequence": 2}),
    "a filter before the former one was complete": lambda: [_shown(2), _shown()],
    "the same key, and a greater number": lambda: _again(sequence=6),
    "a withdrawal": lambda: [_shown(), PresenceWithdraw()],
    "nothing to be withdrawn, and then a filter": lambda: [PresenceWithdraw(), _shown()],
    "unknown fields": lambda: [altered(shown := _shown(), {99: b"x"}), _step(shown)],
}


async def _taken(make: Callable[[], list[Message | bytes]], rogue: Rogue) -> None:
    assert rogue.edge is not None
    rogue.edge.send(Watch(domain=rogue.domain))
    await Watched(rogue).show(make(), None)


async def _each(stage: Stage, rows: list[Row]) -> None:
    """Each row has a stranger of its own: a filter, or a bad one, is remembered."""
    edge, failed = await stage.edge(stage.servers[0]), list[str]()
    strangers = [await rogue(stage, edge=edge) for _ in rows]

    async def run(name: str, play: Play, stranger: Rogue) -> None:
        try:
            await play(stranger)
        except Exception as error:  # the other rows are played too
            failed.append(f"row {name!r}: {type(error).__name__}: {error}")
        edge.send(Unwatch(domain=stranger.domain))

    async with trio.open_nursery() as nursery:
        for (name, play), stranger in zip(rows, strangers, strict=True):
            nursery.start_soon(run, name, play, stranger)
    if failed:
        raise Failed("\n\n".join([f"{len(failed)} rows failed", *failed]))


@scenario(
    "presence/filters-that-are-none",
    servers=1,
    needs=("presence",),
    covers=(
        *("presence-13", "presence-15", "presence-16", "presence-33", "presence-34", "presence-35", "presence-36"),
        *("presence-37", "presence-38", "presence-39"),
    ),
    seconds=40,
)
async def filters(stage: Stage) -> None:
    """A device watches domains that show filters and steps of a wrong form, at the wrong time, or out of step. The
    link ends with the code; the server asks again, and hands on what is right.
    """
    await _each(stage, [(name, partial(_watched, *row)) for name, row in _SHOWN.items()])


@scenario(
    "presence/filters-that-are-odd-and-right",
    servers=1,
    needs=("presence",),
    covers=("presence-31", "presence-32", "presence-40", "presence-41", "wire-14"),
)
async def odd_filters(stage: Stage) -> None:
    """What a peer may show, and seldom does, is handed on to the edge as it came."""
    await _each(stage, [(name, partial(_taken, make)) for name, make in _GOOD.items()])
