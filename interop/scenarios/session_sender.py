"""What a homeserver does that has envelopes for a peer: which it sends when, and what its peer may answer."""

from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from interop.fake_hands import altered
from interop.fake_peer import Peer
from interop.rogue import TABLE, Depth, Play, Rogue, leave, letter, play_called
from interop.scenario import check, equal, scenario
from interop.stage import Stage
from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass, ErrorCode
from volly_fed.relay.envelope import parse_envelope
from volly_fed.wire.messages import Ack, Batch, Close, Open, Refuse

Row = tuple[str, Play]
_QUIET: Final = 0.3
"""Seconds in which whatever is wrongly sent would come."""


async def _batch(peer: Peer, count: int) -> Batch:
    """The server's batch, or its batches as one, once `count` envelopes have come."""
    batch = await peer.expect(Batch)
    envelopes = [*batch.envelopes]
    while len(envelopes) < count:
        more = await peer.expect(Batch)
        equal(more.first, batch.first + len(envelopes), "the number at which the next batch begins")
        envelopes += more.envelopes
    equal(len(envelopes), count, "envelopes in flight")
    return Batch(stream=batch.stream, first=batch.first, envelopes=envelopes)


async def _offer(rogue: Rogue, *classes: EnvelopeClass) -> None:
    for each in classes:
        await rogue.be_wanted(urgency=each, again=True)


async def _settle(peer: Peer, rogue: Rogue, cursor: int, count: int) -> None:
    rogue.owed -= count
    rogue.cursors[peer.far_stream] = cursor
    await peer.send(Ack(stream=peer.far_stream, cursor=cursor))


def _base(rogue: Rogue, peer: Peer) -> int:
    return rogue.cursors.get(peer.far_stream, 0)


# --- wrong answers ---------------------------------------------------------------------------------------------------

Wrong = Callable[[bytes, int], Ack]
_WHY: Final = (ErrorCode.UNDELIVERABLE, "")

_WRONG: Final[dict[str, Wrong]] = {
    "a cursor beyond what was sent": lambda s, n: Ack(stream=s, cursor=n + 3),
    "a cursor below the last one": lambda s, n: Ack(stream=s, cursor=n - 1),
    "a refusal of the next number": lambda s, n: Ack(stream=s, cursor=n + 1, refusals=((n + 2, *_WHY),)),
    "a refusal of a settled number": lambda s, n: Ack(stream=s, cursor=n + 1, refusals=((n, *_WHY),)),
    "a refusal twice": lambda s, n: Ack(stream=s, cursor=n + 1, refusals=((n + 1, *_WHY), (n + 1, *_WHY))),
    "a refusal where nothing is settled": lambda s, n: Ack(stream=s, cursor=n, refusals=((n + 1, *_WHY),)),
}


async def _wrongly(make: Wrong, rogue: Rogue) -> None:
    """One of three envelopes is settled, and then comes an answer that cannot be: two are left, and come again."""
    await _offer(rogue, *[EnvelopeClass.SIGNAL] * (3 - rogue.owed))
    async with rogue.called(Depth.BEGUN) as peer:
        base = _base(rogue, peer)
        await _batch(peer, 3)
        await _settle(peer, rogue, base + 1, 1)
        await peer.send(make(peer.far_stream, base + 1))
        await peer.expect_close(ErrorCode.UNEXPECTED)


async def _wrongly_at_first(rogue: Rogue) -> None:
    """The answer to OPEN claims more than was ever carried."""
    async with rogue.called(Depth.PROVED) as peer:
        opened = await peer.expect(Open)
        await peer.send(Ack(stream=opened.stream, cursor=rogue.cursors.get(opened.stream, 0) + 100))
        await peer.expect_close(ErrorCode.UNEXPECTED)


@scenario("session/answers-that-cannot-be", servers=1, covers=("session-9", "session-20", "session-21"), seconds=TABLE)
async def wrong_answers(stage: Stage) -> None:
    """ACKs of what was not sent, that go back, or that refuse the wrong numbers: UNEXPECTED, and nothing is lost."""
    rows: list[Row] = [(name, partial(_wrongly, make)) for name, make in _WRONG.items()]
    await play_called(stage, [*rows, ("a first cursor beyond", _wrongly_at_first)], strangers=4)


# --- what is sent again ----------------------------------------------------------------------------------------------


async def _after_a_cut(settled: int, rogue: Rogue) -> None:
    """Two envelopes were carried and not acknowledged. Of `settled` the next link's cursor tells."""
    await _offer(rogue, *[EnvelopeClass.SIGNAL] * (2 - rogue.owed))
    async with rogue.called(Depth.BEGUN) as peer:
        stream, base = peer.far_stream, _base(rogue, peer)
        before = await _batch(peer, 2)
    rogue.cursors[stream] = base + settled
    rogue.owed -= settled
    if settled == 2:
        await _offer(rogue, EnvelopeClass.SIGNAL)
    async with rogue.called(Depth.BEGUN) as peer:
        equal(peer.far_stream, stream, "the stream on the next link")
        again = await _batch(peer, rogue.owed)
        equal(again.first, base + settled + 1, "the number of the first that is sent again")
        equal(again.envelopes[: 2 - settled], before.envelopes[settled:], "what is sent again")
        await _settle(peer, rogue, again.first + len(again.envelopes) - 1, rogue.owed)
        await leave(peer)


async def _cursor_lost(rogue: Rogue) -> None:
    """We have settled more than we say now: all that is left comes on a fresh stream, from 1, on the same link."""
    await rogue.be_called_honestly()
    await rogue.be_wanted()
    async with rogue.called(Depth.PROVED) as peer:
        former = await peer.expect(Open)
        known = rogue.cursors.pop(former.stream)
        await peer.send(Ack(stream=former.stream, cursor=0))
        opened = await peer.expect(Open)
        check(opened.stream != former.stream, "a fresh stream")
        await peer.send(Ack(stream=former.stream, cursor=known), Ack(stream=opened.stream, cursor=0))
        peer.far_stream = opened.stream
        equal((await _batch(peer, 1)).first, 1, "the first number of a fresh stream")
        await _settle(peer, rogue, 1, 1)
        await leave(peer)


async def _old_news(rogue: Rogue) -> None:
    """The first answer of a link repeats a refusal of what the server knows to be settled: that is passed over."""
    await rogue.be_called_honestly()
    async with rogue.called(Depth.PROVED) as peer:
        opened = await peer.expect(Open)
        peer.far_stream, base = opened.stream, rogue.cursors[opened.stream]
        await peer.send(Ack(stream=opened.stream, cursor=base, refusals=((base, *_WHY),)))
        await rogue.take_all(peer)
        await leave(peer)


async def _not_before(rogue: Rogue) -> None:
    """No batch before the cursor is told."""
    async with rogue.called(Depth.PROVED) as peer:
        await peer.expect(Open)
        await peer.expect_quiet(_QUIET)


async def _closed_and_acknowledged(rogue: Rogue) -> None:
    """After our CLOSE the server sends its own, and still takes the acknowledgement; then the link is over."""
    async with rogue.called(Depth.BEGUN) as peer:
        batch = await _batch(peer, rogue.owed)
        await peer.send(Close(code=ErrorCode.NONE, text=""))
        await peer.expect(Close)
        await _settle(peer, rogue, batch.first + len(batch.envelopes) - 1, rogue.owed)
        await peer.expect_websocket_close(1000)


@scenario(
    "session/sent-again",
    servers=1,
    covers=("session-3", "session-4", "session-7", "session-8", "session-33", "session-34", "session-5"),
    seconds=TABLE,
)
async def sent_again(stage: Stage) -> None:
    """Links break at each point: what is not settled comes again, under its numbers or on a fresh stream."""
    rows: list[Row] = [(f"{n} of 2 settled", partial(_after_a_cut, n)) for n in (0, 1, 2)]
    rows += [
        ("the cursor is lost", _cursor_lost),
        ("a refusal that is old news", _old_news),
        ("no cursor, no batch", _not_before),
        ("CLOSE, and then ACK", _closed_and_acknowledged),
    ]
    await play_called(stage, rows, strangers=3)


# --- windows, order, sizes -------------------------------------------------------------------------------------------


async def _windows(rogue: Rogue) -> None:
    """Nothing beyond what was granted: none, one by number, one by bytes, and the rest."""
    await _offer(rogue, *[EnvelopeClass.SIGNAL] * (4 - rogue.owed))
    async with rogue.called(Depth.PROVED) as peer:
        opened = await peer.expect(Open)
        stream, base = opened.stream, rogue.cursors.get(opened.stream, 0)
        peer.far_stream = stream
        for window, size in ((0, 1), (1, 0), (0, 0)):
            await peer.send(Ack(stream=stream, cursor=base, window=window, window_bytes=size))
            await peer.expect_quiet(_QUIET)
        await peer.send(Ack(stream=stream, cursor=base, window=1))
        equal(len((await peer.expect(Batch)).envelopes), 1, "envelopes for a window of one")
        await peer.expect_quiet(_QUIET)
        await peer.send(Ack(stream=stream, cursor=base + 1, window_bytes=1))
        equal(len((await peer.expect(Batch)).envelopes), 1, "envelopes for a window of one byte")
        await peer.expect_quiet(_QUIET)
        await peer.send(Ack(stream=stream, cursor=base + 2, window=1024))
        await _batch(peer, 2)
        await _settle(peer, rogue, base + 4, 4)
        await leave(peer)


async def _classes(rogue: Rogue) -> None:
    """What waits leaves in the order of its class, and each class in its own."""
    await rogue.be_called_honestly()
    ring, signal, bulk = EnvelopeClass
    async with rogue.called(Depth.PROVED) as peer:
        opened = await peer.expect(Open)
        peer.far_stream, base = opened.stream, rogue.cursors.get(opened.stream, 0)
        await peer.send(Ack(stream=opened.stream, cursor=base, window=0))
        await _offer(rogue, bulk, bulk, ring, signal, ring, bulk)
        await peer.send(Ack(stream=opened.stream, cursor=base))
        batch = await _batch(peer, 7)
        order = [parse_envelope(frame).urgency for frame in batch.envelopes]
        equal(order, [ring, ring, signal, signal, bulk, bulk, bulk], "the order of what waits")
        await _settle(peer, rogue, base + 7, 7)
        await leave(peer)


async def _no_overtaking(rogue: Rogue) -> None:
    """Where the next envelope does not fit, the batch ends: what is less urgent does not go before it for its size."""
    await rogue.be_called_honestly()
    ring, _, bulk = EnvelopeClass
    assert rogue.edge is not None
    async with rogue.called(Depth.PROVED) as peer:
        opened = await peer.expect(Open)
        peer.far_stream, base = opened.stream, rogue.cursors.get(opened.stream, 0)
        await peer.send(Ack(stream=opened.stream, cursor=base, window=0))
        large = [letter(rogue.domain, urgency=ring, body=65536) for _ in range(9)]
        small = letter(rogue.domain, urgency=bulk)
        equal(set(await rogue.edge.submit(*large, small)), {None}, "what the server says to large envelopes")
        rogue.owed += 10
        await peer.send(Ack(stream=opened.stream, cursor=base))
        batch = await _batch(peer, 11)
        order = [parse_envelope(frame).urgency for frame in batch.envelopes]
        equal(order, [*[ring] * 9, EnvelopeClass.SIGNAL, bulk], "the order of large and small ones")
        await _settle(peer, rogue, base + 11, 11)
        await leave(peer)


async def _sizes(count: int, body: int, rogue: Rogue) -> None:
    """No batch of more than 256 envelopes or 512 KiB; no more than the window in flight."""
    assert rogue.edge is not None
    for start in range(0, count, 128):
        frames = [letter(rogue.domain, body=body) for _ in range(min(128, count - start))]
        equal(set(await rogue.edge.submit(*frames)), {None}, "what the server says to many envelopes")
        rogue.owed += len(frames)
    in_flight: list[bytes] = []
    async with rogue.called(Depth.BEGUN) as peer:
        cursor = _base(rogue, peer)
        while rogue.owed:
            batch = await peer.expect(Batch)
            check(len(batch.envelopes) <= limits.BATCH_ENVELOPES, "at most 256 envelopes in a batch")
            check(sum(map(len, batch.envelopes)) <= limits.BATCH_BYTES, "at most 524288 bytes in a batch")
            in_flight += batch.envelopes
            check(len(in_flight) <= limits.WINDOW_ENVELOPES, "at most 1024 envelopes in flight")
            check(sum(map(len, in_flight)) <= limits.WINDOW_BYTES, "at most 1048576 bytes in flight")
            if len(in_flight) == rogue.owed or sum(map(len, in_flight)) + 70_000 > limits.WINDOW_BYTES:
                cursor += len(in_flight)
                await _settle(peer, rogue, cursor, len(in_flight))
                in_flight.clear()
        await leave(peer)


@scenario(
    "session/windows-and-order",
    servers=1,
    covers=("session-14", "session-16", "session-24", "session-25", "session-27", "relay-15"),
    seconds=TABLE,
)
async def windows(stage: Stage) -> None:
    """How much is sent at once, and what first, as the other end's window allows."""
    rows: list[Row] = [
        ("windows", _windows),
        ("classes", _classes),
        ("large ones first", _no_overtaking),
        ("many envelopes", partial(_sizes, 384, 1024)),
        ("large envelopes", partial(_sizes, 24, 65536)),
    ]
    await play_called(stage, rows, strangers=4)


# --- refusals, and staying away --------------------------------------------------------------------------------------


async def _final(code: int, rogue: Rogue) -> None:
    """The envelope is not offered again, and its edge is told."""
    async with rogue.called(Depth.BEGUN) as peer:
        batch = await _batch(peer, rogue.owed)
        last = batch.first + len(batch.envelopes) - 1
        refusals = [[number, code, "because"] for number in range(batch.first, last + 1)]
        await peer.send(altered(Ack(stream=batch.stream, cursor=last), {3: refusals}))
        rogue.owed, rogue.cursors[batch.stream] = 0, last
        assert rogue.edge is not None
        edge, name = rogue.edge, parse_envelope(batch.envelopes[0]).id
        await edge.until(lambda: name in edge.receipts)
        known = {*ErrorCode}
        equal(edge.receipts[name][0], code if code in known else ErrorCode.UNEXPECTED, "the code of the receipt")
        await peer.expect_quiet(_QUIET)
        await leave(peer)


async def _later(rogue: Rogue) -> None:
    """OVERLOADED: the same envelope comes again, under a new number, and not at once."""
    async with rogue.called(Depth.BEGUN) as peer:
        batch = await _batch(peer, rogue.owed)
        last = batch.first + len(batch.envelopes) - 1
        refused = tuple((number, ErrorCode.OVERLOADED, "") for number in range(batch.first, last + 1))
        await peer.send(Ack(stream=batch.stream, cursor=last, refusals=refused))
        await peer.expect_quiet(0.7)
        again = await _batch(peer, rogue.owed)
        equal(again.first, last + 1, "the number under which it comes again")
        equal(again.envelopes, batch.envelopes, "what comes again")
        await _settle(peer, rogue, again.first + len(again.envelopes) - 1, rogue.owed)
        await leave(peer)


async def _away(depth: Depth, rogue: Rogue) -> None:
    """BUSY with a time: the server stays away for about that."""
    async with rogue.called(depth) as peer:
        if depth is Depth.OPEN:
            await peer.expect_hello()
            await peer.send(Refuse(code=ErrorCode.BUSY, text="later", retry_after=2))
        else:
            peer.allow(Batch)
            await peer.send(Close(code=ErrorCode.BUSY, text="later", retry_after=2))
            await peer.expect(Close)
        await peer.hang_up()
    began = trio.current_time()
    await rogue.be_called_honestly()
    waited = trio.current_time() - began
    check(waited >= 1.4, f"a pause of 2 s times 0.8 to 1.4, not of {waited:.2f} s")


@scenario(
    "session/refusals-and-pauses",
    servers=1,
    covers=("session-22", "session-35", "handshake-26", "relay-21", "relay-22", "relay-23", "wire-19"),
    seconds=TABLE,
)
async def refusals(stage: Stage) -> None:
    """An envelope is refused, for good, with word to the edge, or for now; and a peer wants to be left alone."""
    codes = (ErrorCode.UNDELIVERABLE, ErrorCode.EXPIRED, ErrorCode.POLICY, ErrorCode.MALFORMED, 999)
    rows: list[Row] = [(f"refused with {code}", partial(_final, int(code))) for code in codes]
    rows += [
        ("refused with OVERLOADED", _later),
        ("REFUSE with BUSY", partial(_away, Depth.OPEN)),
        ("CLOSE with BUSY", partial(_away, Depth.BEGUN)),
    ]
    await play_called(stage, rows, strangers=4)
