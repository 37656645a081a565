"""What a homeserver does with a peer that breaks the rules of the session: each check, its CLOSE, and the end."""

import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from interop.fake_hands import altered
from interop.fake_peer import Peer
from interop.fake_spelling import NO_MAP, NO_TYPE, with_unknown_fields, wrong_spellings
from interop.rogue import Depth, Play, Rogue, leave, letter, play_calling
from interop.scenario import check, equal, scenario
from interop.stage import Stage
from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.names import DomainName
from volly_fed.wire import Message, encode_message
from volly_fed.wire import messages as wire
from volly_fed.wire.messages import Ack, Batch, Close, Open, Ping, Pong, Refuse

Row = tuple[str, Play]
Said = Message | bytes
Make = Callable[[Peer], list[Said]]
STREAM: Final = bytes(range(8))
_DOMAIN: Final = DomainName("a.test")
_BYTES: Final = {n: bytes(n) for n in (16, 32, 1120, 1216)}


def _batch(peer: Peer, first: int, *envelopes: bytes, stream: bytes | None = None) -> Batch:
    return Batch(stream=stream or peer.stream, first=first, envelopes=[*envelopes])


async def _closed(make: Make, code: ErrorCode, depth: Depth, rogue: Rogue) -> None:
    """Say it, and be answered with CLOSE."""
    async with rogue.calling(depth) as peer:
        for kind in (Ack, Open):
            peer.allow(kind)
        await peer.send(*make(peer))
        await peer.expect_close(code)


def _rows(table: dict[str, Make], code: ErrorCode, depth: Depth = Depth.BEGUN) -> list[Row]:
    return [(name, partial(_closed, make, code, depth)) for name, make in table.items()]


def _always(*said: Said) -> Make:
    return lambda _: [*said]


# --- form ------------------------------------------------------------------------------------------------------------


def _fields(message: Callable[[Peer], Message], **tables: dict[int, Any]) -> dict[str, Make]:
    def make(fields: dict[int, Any]) -> Make:
        return lambda peer: [altered(message(peer), fields)]

    return {name.replace("_", " "): make(fields) for name, fields in tables.items()}


def _malformed() -> dict[str, Make]:
    def ack(peer: Peer) -> Message:
        return Ack(stream=peer.far_stream, cursor=0)

    return {
        **_fields(lambda _: Open(stream=STREAM), OPEN_without_a_stream={1: None}, OPEN_of_7_bytes={1: bytes(7)}),
        **_fields(lambda _: Open(stream=STREAM), OPEN_of_9_bytes={1: bytes(9)}, OPEN_of_a_text={1: "12345678"}),
        **_fields(lambda p: _batch(p, 1, b"x"), BATCH_without_a_stream={1: None}, BATCH_without_a_number={2: None}),
        **_fields(lambda p: _batch(p, 1, b"x"), BATCH_without_envelopes={3: None}, BATCH_with_none={3: []}),
        **_fields(lambda p: _batch(p, 1, b"x"), BATCH_from_0={2: 0}, BATCH_of_257={3: [b""] * 257}),
        **_fields(lambda p: _batch(p, 1, b"x"), BATCH_of_a_text={3: ["x"]}, BATCH_that_is_one_envelope={3: b"x"}),
        **_fields(lambda p: _batch(p, 1, b"x"), an_envelope_of_66561_bytes={3: [bytes(limits.MAX_ENVELOPE + 1)]}),
        **_fields(ack, ACK_without_a_stream={1: None}, ACK_without_a_cursor={2: None}, ACK_up_to_a_text={2: "0"}),
        **_fields(ack, ACK_with_1025_refusals={3: [[n, 1, ""] for n in range(1025)]}, a_refusal_of_two={3: [[1, 1]]}),
        **_fields(ack, a_refusal_of_four={3: [[1, 1, "", 0]]}, a_refusal_that_is_a_number={3: [1]}),
        **_fields(ack, a_reason_of_513={3: [[1, 1, "a" * 513]]}, a_window_that_is_a_text={4: "1"}),
        **_fields(ack, a_reason_with_a_line_feed={3: [[1, 1, "a\n"]]}, bytes_that_are_true={5: True}),
        **_fields(lambda _: Ping(token=1), PING_without_a_number={1: None}, PING_of_bytes={1: b"1"}),
        **_fields(lambda _: Pong(token=1), PONG_without_a_number={1: None}),
        **_fields(
            lambda _: Close(code=ErrorCode.NONE, text=""),
            CLOSE_without_a_code={1: None},
            CLOSE_without_a_text={2: None},
            CLOSE_with_a_long_text={2: "a" * 513},
            CLOSE_with_an_escape={2: "\x1b[31m"},
            CLOSE_with_a_line_separator={2: "\u2028"},
            CLOSE_with_a_hidden_mark={2: "a\u200ea"},
            CLOSE_with_bytes={2: b""},
            CLOSE_with_seconds_that_are_text={3: "5"},
        ),
    }


def _misspelt() -> dict[str, Make]:
    wrong = [*wrong_spellings(encode_message(Ping(token=1)))]
    return {name: _always(data) for name, data in [*wrong[:12], *wrong[12::2], *NO_MAP.items()]}


@scenario(
    "session/malformed",
    servers=1,
    covers=("session-13", "session-14", "wire-10", "wire-12", "wire-13", "wire-21", "wire-25"),
)
async def malformed(stage: Stage) -> None:
    """A message of the session lacks a field or has one of another form: CLOSE with MALFORMED, close 1000, the end."""
    await play_calling(stage, _rows(_malformed(), ErrorCode.MALFORMED), strangers=6)


@scenario("session/misspelt", servers=1, covers=("wire-7", "wire-8", "wire-9", "wire-11", "wire-28"))
async def misspelt(stage: Stage) -> None:
    """A message on an established link is not of the one spelling, or no map, or of no known type."""
    unknown = {name: _always(data) for name, data in NO_TYPE.items()}
    rows = _rows(_misspelt(), ErrorCode.MALFORMED) + _rows(unknown, ErrorCode.UNEXPECTED)
    await play_calling(stage, rows, strangers=6)


# --- order -----------------------------------------------------------------------------------------------------------

_ELSEWHERE: Final[tuple[Message, ...]] = (
    wire.Hello(
        versions=(1, 1),
        own=_DOMAIN,
        wanted=_DOMAIN,
        identity=bytes(1984),
        nonce=_BYTES[32],
        extensions={},
    ),
    wire.Auth(signature=bytes(3373)),
    wire.Claim(request=1, key=_BYTES[1216]),
    wire.Challenge(request=1, ciphertext=_BYTES[1120], nonce=_BYTES[32], domain=_DOMAIN, edge=_BYTES[32], expiry=2**31),
    wire.Proof(request=1, mac=_BYTES[32], registration=b""),
    wire.Claimed(request=1, mailbox=_BYTES[32]),
    wire.NotClaimed(request=1, code=ErrorCode.BUSY, text=""),
    wire.Acknowledge(mailbox=_BYTES[32], ids=[_BYTES[16]], mac=_BYTES[32]),
    wire.Release(mailbox=_BYTES[32]),
    wire.Receipt(refused=((_BYTES[16], ErrorCode.BUSY, ""),)),
    wire.Announce(epoch=1, tags=()),
    wire.Retract(),
    wire.Watch(domain=_DOMAIN),
    wire.Unwatch(domain=_DOMAIN),
    wire.Shown(domain=_DOMAIN, message=b""),
    wire.Welcome(domain=_DOMAIN, edge=_BYTES[32]),
    wire.Submit(envelopes=[b""]),
    wire.Submitted(accepted=[]),
    wire.Deliver(envelopes=[b""]),
)
"""What has no place on a link between homeservers."""

_UNEXPECTED: Final[dict[str, Make]] = {
    "OPEN of the stream that is open": lambda p: [Open(stream=p.stream)],
    "BATCH of another stream": lambda p: [_batch(p, 1, b"x", stream=STREAM)],
    "BATCH of the server's stream": lambda p: [_batch(p, 1, b"x", stream=p.far_stream)],
    "BATCH with a gap at the beginning": lambda p: [_batch(p, 2, b"x")],
    "BATCH far beyond": lambda p: [_batch(p, 2**64 - 1, b"x")],
    "BATCH with a gap later": lambda p: [_batch(p, 1, b"x", b"y"), _batch(p, 4, b"z")],
    "BATCH of the former stream": lambda p: [Open(stream=STREAM), _batch(p, 1, b"x")],
    "ACK beyond what was carried": lambda p: [Ack(stream=p.far_stream, cursor=1)],
    "ACK far beyond": lambda p: [Ack(stream=p.far_stream, cursor=2**64 - 1)],
    "ACK of a stream that nobody has opened": lambda _: [Ack(stream=STREAM, cursor=0)],
    "ACK of one's own stream": lambda p: [Ack(stream=p.stream, cursor=0)],
    "a refusal of what was never sent": lambda p: [
        Ack(stream=p.far_stream, cursor=0, refusals=((1, ErrorCode.BUSY, ""),))
    ],
    "a refusal of number 0": lambda p: [Ack(stream=p.far_stream, cursor=0, refusals=((0, ErrorCode.BUSY, ""),))],
    "PONG that nobody has asked for": lambda _: [Pong(token=1)],
    "PONG with number 0": lambda _: [Pong(token=0)],
    **{f"{type(message).__name__} on this link": _always(message) for message in _ELSEWHERE},
}

_TOO_SOON: Final[dict[str, Make]] = {
    "BATCH before OPEN": lambda p: [_batch(p, 1, b"x")],
    "ACK of a stream before any was opened": lambda _: [Ack(stream=STREAM, cursor=0)],
}


async def _first_answer(cursor: int, rogue: Rogue) -> None:
    """The answer to the server's OPEN claims what the stream has never carried."""
    async with rogue.calling(Depth.PROVED) as peer:
        opened = await peer.expect(Open)
        await peer.send(Ack(stream=opened.stream, cursor=cursor))
        await peer.expect_close(ErrorCode.UNEXPECTED)


@scenario(
    "session/unexpected",
    servers=1,
    covers=("session-1", "session-9", "session-10", "session-11", "session-20", "session-21", "session-31", "wire-25"),
)
async def unexpected(stage: Stage) -> None:
    """Messages in the right form that are not due, or not of this link: CLOSE with UNEXPECTED, close 1000, the end."""
    rows = _rows(_UNEXPECTED, ErrorCode.UNEXPECTED)
    rows += _rows(_TOO_SOON, ErrorCode.UNEXPECTED, Depth.PROVED)
    rows += [(f"a first answer of {n}", partial(_first_answer, n)) for n in (1, 2**64 - 1)]
    await play_calling(stage, rows, strangers=6)


# --- what is allowed -------------------------------------------------------------------------------------------------


async def _settled(peer: Peer, cursor: int) -> list[int]:
    """Wait for the ACK up to `cursor`; the numbers that were refused on the way."""
    refused: list[int] = []
    while True:
        ack = await peer.expect(Ack)
        refused += [number for number, _, _ in ack.refusals]
        if ack.cursor == cursor:
            return refused


async def _pings(peer: Peer) -> None:
    for token in (0, 1, 2**64 - 1):
        await peer.send(Ping(token=token))
        equal((await peer.expect(Pong)).token, token, "the number of PONG")
    await peer.send(with_unknown_fields(encode_message(Ping(token=7))))
    equal((await peer.expect(Pong)).token, 7, "the number of PONG")


async def _many_pings(peer: Peer) -> None:
    """Of several that wait, the last is answered, and perhaps some before it."""
    await peer.send_raw(b"".join(_frame(Ping(token=n)) for n in range(50)), "50 times PING")
    while (await peer.expect(Pong)).token != 49:
        pass


def _frame(message: Message) -> bytes:
    data = encode_message(message)
    return bytes([0x82, 0x80 | len(data), 0, 0, 0, 0]) + data


async def _again(peer: Peer) -> None:
    """Numbers that came before are dropped, and what follows them is taken."""
    letters = [letter("a.test") for _ in range(4)]
    await peer.send(_batch(peer, 1, *letters[:2]))
    equal(await _settled(peer, 2), [1, 2], "refused")
    await peer.send(_batch(peer, 1, *letters[:2]), _batch(peer, 2, *letters[1:3]), _batch(peer, 1, *letters))
    equal(await _settled(peer, 4), [3, 4], "refused")


async def _another_stream(peer: Peer) -> None:
    """A further stream begins at 1, and takes the place of the one before."""
    await peer.send(_batch(peer, 1, letter("a.test")))
    await _settled(peer, 1)
    for _ in range(9):  # one more than are remembered
        peer.stream = os.urandom(8)
        await peer.send(Open(stream=peer.stream))
        ack = await peer.expect(Ack)
        equal((ack.stream, ack.cursor), (peer.stream, 0), "the answer to OPEN of a fresh stream")
        await peer.send(_batch(peer, 1, letter("a.test")))
        equal(await _settled(peer, 1), [1], "refused")


async def _most(peer: Peer) -> None:
    """As many envelopes as a batch has, and the longest."""
    await peer.send(_batch(peer, 1, *[b""] * limits.BATCH_ENVELOPES))
    equal(len(await _settled(peer, 256)), 256, "refused")
    await peer.send(_batch(peer, 257, bytes(limits.MAX_ENVELOPE)))
    equal(await _settled(peer, 257), [257], "refused")


async def _window_of_nothing(peer: Peer) -> None:
    """Windows change at any time, by an ACK with the same cursor; defaults may be spelt out."""
    for window, size in ((0, 0), (2**64 - 1, 2**64 - 1), (1024, 1048576)):
        await peer.send(Ack(stream=peer.far_stream, cursor=0, window=window, window_bytes=size))
    await peer.send(altered(Ack(stream=peer.far_stream, cursor=0), {3: [], 4: 1024, 5: 1048576}))
    await _pings(peer)


async def _unknown_code(peer: Peer) -> None:
    """A code from the future is one like UNEXPECTED; a CLOSE all the same."""
    await peer.send(altered(Close(code=ErrorCode.NONE, text="later"), {1: 999, 3: 0}))
    await peer.expect(Close)
    await peer.hang_up()


_ALLOWED: Final[dict[str, Callable[[Peer], Awaitable[None]]]] = {
    "PING is answered with its number": _pings,
    "of many PINGs the last is answered": _many_pings,
    "duplicates are dropped": _again,
    "another stream": _another_stream,
    "the greatest batch": _most,
    "windows that change": _window_of_nothing,
    "CLOSE with an unknown code": _unknown_code,
}


async def _allowed(play: Callable[[Peer], Awaitable[None]], rogue: Rogue) -> None:
    async with rogue.calling(Depth.BEGUN) as peer:
        await play(peer)
        if play is not _unknown_code:
            await leave(peer)


async def _on_another_link(rogue: Rogue) -> None:
    """A stream outlives its link: the cursor is told, and the refusals of the last numbers."""
    stream = os.urandom(8)
    for count in range(3):
        async with rogue.calling(Depth.PROVED) as peer:
            peer.stream = stream
            ack = await peer.begin()
            equal(ack.cursor, count, "the cursor of a stream that comes again")
            equal([n for n, _, _ in ack.refusals], [*range(1, count + 1)], "the refusals told once more")
            await peer.send(_batch(peer, count + 1, letter("a.test")))
            equal(await _settled(peer, count + 1), [count + 1], "refused")
            await leave(peer)


async def _refused_late(rogue: Rogue) -> None:
    """A dialler may judge late: its REFUSE in the place of the session's first message ends the link."""
    async with rogue.calling(Depth.PROVED) as peer:
        peer.allow(Open)
        peer.allow(Close)
        await peer.send(Refuse(code=ErrorCode.POLICY, text="on second thoughts"))
        await peer.expect_websocket_close(1000)


async def _replaced(rogue: Rogue) -> None:
    """The newer of two links that the same end has dialled is kept, and the older one closed with REPLACED."""
    async with rogue.calling(Depth.BEGUN) as old, rogue.calling(Depth.BEGUN) as new:
        equal((await old.expect(Close)).code, ErrorCode.REPLACED, "the code of the older link's CLOSE")
        await old.send(Close(code=ErrorCode.NONE, text=""))
        await old.expect_websocket_close(1000)
        await _pings(new)
        await leave(new)


async def _probed(rogue: Rogue) -> None:
    """A link whose dialler offered PROBE is closed when both have proved themselves."""
    async with rogue.calling(Depth.HELLOS, extensions={1: b""}) as peer:
        await peer.send(peer.hands.auth())
        await peer.expect_proof()
        await peer.expect_websocket_close(1000)


@scenario(
    "session/allowed",
    servers=1,
    covers=(
        *("session-2", "session-5", "session-6", "session-12", "session-17", "session-29", "session-34", "session-36"),
        *("handshake-28", "wire-14", "wire-16", "wire-19"),
    ),
)
async def allowed(stage: Stage) -> None:
    """What a peer may do, and seldom does: all of it is taken, and the link goes on or ends as it should."""
    rows: list[Row] = [(name, partial(_allowed, play)) for name, play in _ALLOWED.items()]
    rows += [
        ("a stream on other links", _on_another_link),
        ("REFUSE after the handshake", _refused_late),
        ("a second link", _replaced),
        ("a probe", _probed),
    ]
    check(len(rows) == 11, "all rows")
    await play_calling(stage, rows, strangers=4)
