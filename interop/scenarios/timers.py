"""Timers: what a homeserver does with an end that says nothing any more, at each point of a connection."""

import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from interop.fake_line import NORMAL
from interop.fake_peer import Peer
from interop.fake_socket import Ended, Opcode
from interop.rogue import Depth, Play, Rogue, leave, rogue
from interop.scenario import Failed, check, scenario
from interop.stage import Stage
from volly_fed.codepoints import ErrorCode, Label
from volly_fed.wire import parse_message
from volly_fed.wire.messages import (
    Ack,
    Batch,
    Close,
    Open,
    Ping,
    Pong,
    PresenceDelta,
    PresenceRequest,
    PresenceResume,
    PresenceSnapshot,
    Refuse,
)

_SLACK: Final = 6.0
"""Seconds that a busy machine may be late; what is early is wrong at once."""
Row = tuple[str, Play]


async def _timed(least: float, most: float, wait: Callable[[], Awaitable[object]]) -> None:
    began = trio.current_time()
    with trio.move_on_after(most + _SLACK) as scope:
        await wait()
    took = trio.current_time() - began
    check(not scope.cancelled_caught, f"the end within {most} s")
    check(took >= least, f"at least {least} s, not {took:.1f} s")


async def _silent(depth: Depth, least: float, most: float, reach: str, rogue: Rogue) -> None:
    """No word after `depth`: in the handshake there may be a REFUSE with TIMEOUT, and then there is the end."""
    async with getattr(rogue, reach)(depth) as peer:
        await _timed(least, most, partial(_end_or_timeout, peer, depth))


async def _end_or_timeout(peer: Peer, depth: Depth) -> None:
    if depth < Depth.OPEN:
        await peer.socket.receive_end()
        return
    while True:
        try:
            frame = await peer.socket.receive()
        except Ended:
            return
        if frame.opcode == Opcode.BINARY and isinstance(refuse := parse_message(frame.payload), Refuse):
            check(refuse.code is ErrorCode.TIMEOUT, f"REFUSE with TIMEOUT, not {refuse.code.name}")
        elif frame.opcode == Opcode.CLOSE:
            check(frame.close_code == NORMAL, f"close code 1000, not {frame.close_code}")


async def _refused_for_silence(depth: Depth, rogue: Rogue) -> None:
    """The server has called, and is answered nothing: after 15 seconds it says REFUSE with TIMEOUT, and goes."""
    async with rogue.called(depth) as peer:
        peer.patience = 15 + _SLACK
        if depth is Depth.OPEN:
            await peer.expect_hello()
        else:
            await peer.expect_proof()
        await _timed(13, 15, lambda: peer.expect_refuse(ErrorCode.TIMEOUT))


async def _dead(rogue: Rogue) -> None:
    """A link on which nothing comes: PING after 20 seconds, and the end 10 seconds later, without a word."""
    async with rogue.calling(Depth.BEGUN) as peer:
        peer.patience = 20 + _SLACK
        await _timed(18, 20, lambda: peer.expect(Ping))
        await _timed(9, 10, peer.socket.receive_end)


async def _alive(rogue: Rogue) -> None:
    """The same, and PING is answered: the link is there after 30 seconds. The second PING has another number."""
    async with rogue.calling(Depth.BEGUN) as peer:
        peer.patience = 20 + _SLACK
        first = await peer.expect(Ping)
        await peer.send(Pong(token=first.token))
        await peer.expect_quiet(11)
        await peer.send(Pong(token=first.token))  # late, or twice: no error
        await peer.send(Ping(token=7))
        check((await peer.expect(Pong)).token == 7, "a link that goes on")
        await leave(peer)


async def _half_closed(rogue: Rogue) -> None:
    """The server has sent what we never acknowledge, and we close: it waits for 10 seconds, and goes."""
    async with rogue.called(Depth.BEGUN) as peer:
        await peer.expect(Batch)
        await peer.send(Close(code=ErrorCode.NONE, text=""))
        await peer.expect(Close)
        peer.patience = 10 + _SLACK
        await _timed(8, 10, lambda: peer.expect_websocket_close(NORMAL))


async def _not_opened(rogue: Rogue) -> None:
    """Our CLOSE comes before its cursor is told: it waits for no longer than 10 seconds."""
    async with rogue.called(Depth.PROVED) as peer:
        await peer.expect(Open)
        await peer.send(Close(code=ErrorCode.NONE, text=""))
        peer.patience = 10 + _SLACK
        peer.allow(Ack)
        await peer.expect(Close)
        await _timed(0, 10, lambda: peer.expect_websocket_close(NORMAL))


async def _asked_again(rogue: Rogue) -> None:
    """A second question for a filter is answered after 10 seconds; one from the future, under another key."""
    async with rogue.calling(Depth.BEGUN) as peer:
        peer.allow(PresenceDelta)
        await peer.send(PresenceRequest())
        first = await peer.expect(PresenceSnapshot)
        await peer.send(PresenceRequest())
        peer.patience = 10 + _SLACK
        await _timed(8, 10, lambda: peer.expect(PresenceSnapshot))
        await leave(peer)
    async with rogue.calling(Depth.BEGUN) as peer:
        peer.allow(PresenceDelta)
        name = hashlib.sha256(Label.PRESENCE_FILTER + first.key).digest()[:8]
        await peer.send(PresenceResume(filter=name, sequence=first.sequence + 1000))
        peer.patience = 10 + _SLACK
        check((await peer.expect(PresenceSnapshot)).key != first.key, "a filter under another key")
        await leave(peer)


_ROWS: Final[list[Row]] = [
    ("a caller after TCP", partial(_silent, Depth.TCP, 4, 15, "calling")),
    ("a caller after TLS", partial(_silent, Depth.TLS, 4, 15, "calling")),
    ("a caller after the opening", partial(_silent, Depth.OPEN, 12, 15, "calling")),
    ("a caller after HELLO", partial(_silent, Depth.HELLOS, 12, 15, "calling")),
    ("the one called after TCP", partial(_silent, Depth.TCP, 8, 10, "called")),
    ("the one called after TLS", partial(_silent, Depth.TLS, 4, 5, "called")),
    ("the one called after the opening", partial(_refused_for_silence, Depth.OPEN)),
    ("the one called after HELLO", partial(_refused_for_silence, Depth.HELLOS)),
    ("a link on which nothing comes", _dead),
    ("a link on which only PING is answered", _alive),
    ("a link that is half closed", _half_closed),
    ("a link that is closed before it has begun", _not_opened),
]


async def _play_at_once(stage: Stage, rows: list[Row]) -> None:
    edge, failed = await stage.edge(stage.servers[0]), list[str]()
    strangers = [await rogue(stage, edge=edge) for _ in rows]

    async def run(name: str, play: Play, stranger: Rogue) -> None:
        try:
            await play(stranger)
            await (stranger.be_called_honestly() if stranger.owed else stranger.call_honestly())
        except Exception as error:  # the other rows are played too
            failed.append(f"row {name!r}: {type(error).__name__}: {error}")

    async with trio.open_nursery() as nursery:
        for (name, play), stranger in zip(rows, strangers, strict=True):
            nursery.start_soon(run, name, play, stranger)
    if failed:
        raise Failed("\n\n".join([f"{len(failed)} rows failed", *failed]))


@scenario(
    "timers/silence-for-30-seconds",
    servers=1,
    covers=(
        *("handshake-38", "handshake-22", "session-28", "session-30", "session-31", "session-34", "channel-28"),
        "handshake-27",
    ),
    seconds=75,
)
async def silence(stage: Stage) -> None:
    """Nothing is said, by a caller, by the one called, or on a link: at each point the connection ends in its time, and
    not before; who is silent and answers PING is kept. Afterwards each of them gets through.
    """
    await _play_at_once(stage, _ROWS)


@scenario(
    "timers/filters-10-seconds-apart",
    servers=1,
    needs=("presence",),
    covers=("presence-19", "presence-20"),
    seconds=45,
)
async def filters(stage: Stage) -> None:
    """A peer that asks for one filter after the other is shown them 10 seconds apart."""
    await _play_at_once(stage, [("questions", _asked_again)])
