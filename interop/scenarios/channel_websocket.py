"""WebSockets that are not as they should be, in both roles: the opening, the frames, the end."""

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

import trio

from interop.fake_peer import Peer
from interop.fake_socket import Ended, Frame, Opcode, close_frame, headers_of
from interop.rogue import TABLE, Depth, Play, Rogue, leave, other_source, play_called, play_calling
from interop.scenario import check, equal, scenario
from interop.stage import Stage
from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.wire import encode_message
from volly_fed.wire.messages import Batch, Ping, Pong

Row = tuple[str, Play]

# --- the opening -----------------------------------------------------------------------------------------------------


async def _opening(status: tuple[str, ...], changes: dict[str, object], rogue: Rogue) -> None:
    async with rogue.calling(Depth.TLS) as peer:
        await peer.request(**changes)
        with peer.limited("an answer"):
            head = await peer.socket.receive_head()
        peer.dialogue.came(head.partition("\r\n")[0])
        if head.split()[1] not in status:
            raise peer.dialogue.mismatch(f"one of {status} was to be answered")
        with peer.limited("the end after a refusal"):
            await peer.socket.receive_end()


_OPENINGS: Final[dict[str, tuple[tuple[str, ...], dict[str, object]]]] = {
    "another path": (("404",), {"path": "/edge/v1"}),
    "the root": (("404",), {"path": "/"}),
    "a path below": (("404",), {"path": "/federation/v1/"}),
    "a path with a question": (("404",), {"path": "/federation/v1?x=1"}),
    "no subprotocol": (("400",), {"subprotocol": None}),
    "another subprotocol": (("400",), {"subprotocol": "volly-edge.v1"}),
    "no WebSocket": (("400", "426"), {"upgrade": None}),
    "another version of WebSocket": (("400", "426"), {"version": "12"}),
}


async def _too_long(rogue: Rogue) -> None:
    """An opening of more than 16384 bytes, which is right otherwise, is not answered with 101."""
    async with rogue.calling(Depth.TLS) as peer:
        with suppress(Ended), peer.limited("the end of an opening that is too long"):
            await peer.request(extra=tuple(f"X-{number}: {'a' * 4000}" for number in range(5)))
            answer = await peer.socket.receive_head()
            check(not answer.startswith("HTTP/1.1 101"), "no WebSocket for an opening of 20 kB")


async def _extensions(rogue: Rogue) -> None:
    """Extensions that are offered are left out of the answer; several subprotocols are no reason to refuse."""
    async with rogue.calling(Depth.TLS) as peer:
        extra = ("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", "Cookie: a=b")
        await peer.request(extra=extra, subprotocol="volly-fed.v1, other", host="nobody.looks.at.it")
        fields = headers_of(await peer.expect_head("101"))
        check("sec-websocket-extensions" not in fields, "no extension agreed on")
        equal(fields.get("sec-websocket-protocol"), "volly-fed.v1", "the subprotocol")
        peer.hold_hands()
        await peer.shake()


@scenario("channel/opening-of-the-caller", servers=1, covers=("channel-14", "channel-15", "channel-16"), seconds=TABLE)
async def opening(stage: Stage) -> None:
    """Openings that are none: 404, 400 or 426, and the end. What is offered besides does no harm."""
    rows: list[Row] = [(name, partial(_opening, *row)) for name, row in _OPENINGS.items()]
    rows += [("an opening that is too long", _too_long), ("extensions are offered", _extensions)]
    await play_calling(stage, rows)


_ANSWERS: Final[dict[str, dict[str, str | None]]] = {
    "404": {"status": "404 Not Found", "Content_Length": "0"},
    "200": {"status": "200 OK", "Content_Length": "0"},
    "a redirect": {
        "status": "307 Temporary Redirect",
        "Location": "https://somebody-else.test/",
        "Content_Length": "0",
    },
    "no subprotocol": {"Sec_WebSocket_Protocol": None},
    "another subprotocol": {"Sec_WebSocket_Protocol": "volly-edge.v1"},
    "another key": {"Sec_WebSocket_Accept": "AAAAAAAAAAAAAAAAAAAAAAAAAAA="},
    "no key": {"Sec_WebSocket_Accept": None},
    "an extension": {"Sec_WebSocket_Extensions": "permessage-deflate"},
    "no upgrade": {"Upgrade": None},
}


async def _answered(changes: dict[str, str | None], rogue: Rogue) -> None:
    """The server goes without a HELLO."""
    async with rogue.called(Depth.TLS) as peer:
        await peer.upgrade(**changes)
        with suppress(Ended), peer.limited("the end after such an answer"):
            while True:
                frame = await peer.socket.receive()
                check(frame.opcode != Opcode.BINARY, "no HELLO after such an answer")


@scenario(
    "channel/opening-of-the-one-called", servers=1, covers=("channel-13", "channel-16", "channel-17"), seconds=TABLE
)
async def answers(stage: Stage) -> None:
    """The server calls, and its opening is answered with anything but 101 and the subprotocol: it goes."""
    await play_called(stage, [(name, partial(_answered, changes)) for name, changes in _ANSWERS.items()])


# --- frames ----------------------------------------------------------------------------------------------------------

_PING: Final = encode_message(Ping(token=5))
_TOO_LONG: Final = bytes(limits.MAX_MESSAGE + 1)
_ENDLESS: Final = limits.MAX_UNCLAIMED + (256 << 10)
"""Bytes, with room for who counts what has come since the last message by whole reads."""


def _raw(frame: Frame) -> bytes:
    return frame.encode()


def _masked(**changes: object) -> bytes:
    return Frame(mask=b"abcd", **changes).encode()  # type: ignore[arg-type] # fields of a frame


_FRAMES: Final[dict[str, tuple[int, bytes]]] = {
    "a text": (1003, _masked(opcode=Opcode.TEXT, payload=b"hello")),
    "a text in fragments": (1003, _masked(opcode=1, payload=b"a", fin=False) + _masked(opcode=0, payload=b"b")),
    "no mask": (1002, _raw(Frame(payload=_PING))),
    "reserved bits": (1002, _masked(payload=_PING, reserved=4)),
    "an unknown opcode": (1002, _masked(opcode=3, payload=_PING)),
    "an unknown control opcode": (1002, _masked(opcode=11, payload=b"")),
    "a continuation of nothing": (1002, _masked(opcode=0, payload=_PING)),
    "a message within a message": (1002, _masked(payload=b"a", fin=False) + _masked(payload=_PING)),
    "a ping in fragments": (1002, _masked(opcode=Opcode.PING, payload=b"", fin=False)),
    "a ping that is too long": (1002, _masked(opcode=Opcode.PING, payload=bytes(126))),
    "a close of one byte": (1002, _masked(opcode=Opcode.CLOSE, payload=b"\x03")),
    "a close with a code that nobody may send": (1002, _masked(opcode=Opcode.CLOSE, payload=b"\x03\xed")),
    "a message that is too long": (1009, _masked(payload=_TOO_LONG)),
    "a length that is too long, and nothing else": (1009, b"\x82\xff" + (1 << 40).to_bytes(8, "big") + b"abcd"),
    "fragments that are too long together": (
        1009,
        _masked(payload=_TOO_LONG[: 1 << 19], fin=False)
        + _masked(opcode=0, payload=_TOO_LONG[: 1 << 19], fin=False) * 2,
    ),
    "empty fragments without an end, and pings between them": (
        1008,
        _masked(payload=b"", fin=False)
        + (_masked(opcode=0, payload=b"", fin=False) * 2 + _masked(opcode=Opcode.PING, payload=bytes(125)))
        * (_ENDLESS // 143),
    ),
    "pings without an end": (1008, _masked(opcode=Opcode.PING, payload=bytes(125)) * (_ENDLESS // 131)),
}


async def _wrong_frame(code: int, data: bytes, rogue: Rogue) -> None:
    """On an established link, with what the other end says meanwhile passed over."""
    async with rogue.calling(Depth.BEGUN) as peer, trio.open_nursery() as nursery:

        async def flood() -> None:
            with suppress(Ended):
                await peer.socket.send_bytes(data)

        peer.dialogue.sent(f"{len(data)} bytes of frames")
        nursery.start_soon(flood)
        await _closed_with(peer, code)
        nursery.cancel_scope.cancel()


async def _closed_with(peer: Peer, code: int) -> None:
    with peer.limited(f"a close frame with {code}"):
        frame = await peer.or_mismatch(peer.socket.receive, f"a close frame with {code} was expected")
        while frame.opcode == Opcode.PONG:
            frame = await peer.or_mismatch(peer.socket.receive, f"a close frame with {code} was expected")
    peer.dialogue.came(str(frame))
    if frame.close_code != code:
        raise peer.dialogue.mismatch(f"a close frame with {code} was expected")
    with peer.limited("the end after a close frame"):
        await peer.socket.receive_end()


async def _wrong_mask(rogue: Rogue) -> None:
    """The same towards a client: no frame to it has a mask."""
    async with rogue.called(Depth.BEGUN) as peer:
        peer.allow(Batch)
        await peer.send_frame(Frame(payload=_PING, mask=b"abcd"))
        await peer.expect_websocket_close(1002)


async def _text_to_a_client(rogue: Rogue) -> None:
    async with rogue.called(Depth.BEGUN) as peer:
        peer.allow(Batch)
        await peer.send_frame(Frame(opcode=Opcode.TEXT, payload=b"hello"))
        await peer.expect_websocket_close(1003)


async def _masks(rogue: Rogue) -> None:
    """A client masks each frame, and never with the same four bytes."""
    async with rogue.called(Depth.OPEN) as peer:
        frame = await peer.socket.receive()
        peer.hands.hellos[peer.hands.far] = frame.payload
        await peer.send(peer.hands.hello())
        other = await peer.socket.receive()
        check(frame.mask and other.mask and frame.mask != other.mask, "two masks that differ")


Speak = Callable[[Peer], Awaitable[None]]


async def _fragments(peer: Peer) -> None:
    """A message in fragments, with a ping between them, and one in a frame that is longer than it has to be."""
    parts = [_masked(payload=_PING[:2], fin=False), _masked(opcode=Opcode.PING, payload=b"between")]
    parts += [_masked(opcode=0, payload=b"", fin=False), _masked(opcode=0, payload=_PING[2:])]
    await peer.send_raw(b"".join(parts), "PING in fragments, and a ping between them")
    await peer.expect_pong(b"between")
    equal((await peer.expect(Pong)).token, 5, "the number of PONG")


async def _pings(peer: Peer) -> None:
    await peer.send_raw(b"".join(_masked(opcode=Opcode.PING, payload=bytes([n])) for n in range(100)), "100 pings")
    while True:
        frame = await peer.socket.receive()
        check(frame.opcode == Opcode.PONG, "pongs, and nothing else")
        if frame.payload == bytes([99]):
            return


async def _unasked_pong(peer: Peer) -> None:
    await peer.send_raw(_masked(opcode=Opcode.PONG, payload=b"nobody has asked"), "a pong")
    await peer.send(_PING)
    await peer.expect(Pong)


async def _byte_by_byte(peer: Peer) -> None:
    for at in range(len(data := _masked(payload=_PING))):
        await peer.socket.send_bytes(data[at : at + 1])
    await peer.expect(Pong)


async def _frames_allowed(speak: Speak, rogue: Rogue) -> None:
    async with rogue.calling(Depth.BEGUN) as peer:
        await speak(peer)
        await leave(peer)


async def _longest(rogue: Rogue) -> None:
    """A message of exactly 1048576 bytes is read, and judged by what it says: here, nothing that is CBOR."""
    async with rogue.calling(Depth.BEGUN) as peer:
        await peer.send(os.urandom(limits.MAX_MESSAGE - 1) + b"\xff")
        await peer.expect_close(ErrorCode.MALFORMED)


async def _closes(code: int | None, rogue: Rogue) -> None:
    """Our close frame is answered, in whatever state the link is."""
    for depth in (Depth.OPEN, Depth.BEGUN):
        async with rogue.calling(depth) as peer:
            await peer.send_frame(close_frame(code))
            frame = await peer.or_mismatch(peer.socket.receive, "a close frame was expected")
            check(frame.opcode == Opcode.CLOSE, "a close frame as the answer")
            with peer.limited("the end"):
                await peer.socket.receive_end()


async def _cut(depth: Depth, rogue: Rogue) -> None:
    """Without a word: nothing is owed, and the next one gets through."""
    async with rogue.calling(depth, source=other_source()):
        pass


@scenario(
    "channel/frames",
    servers=1,
    covers=(
        "channel-18",
        "channel-19",
        "channel-20",
        "channel-21",
        "channel-22",
        "channel-23",
        "channel-24",
        "wire-1",
        "wire-2",
        "wire-4",
        "wire-5",
    ),
    seconds=TABLE,
)
async def frames(stage: Stage) -> None:
    """Frames that break RFC 6455 or a limit: 1002, 1003, 1008, 1009; frames that are odd and right are taken."""
    rows: list[Row] = [(name, partial(_wrong_frame, *row)) for name, row in _FRAMES.items()]
    speaks = {"fragments": _fragments, "pings": _pings, "a pong": _unasked_pong, "byte by byte": _byte_by_byte}
    rows += [(name, partial(_frames_allowed, speak)) for name, speak in speaks.items()]
    rows += [(f"closed with {code}", partial(_closes, code)) for code in (1000, 1001, None, 3000)]
    rows += [(f"cut after {depth.name}", partial(_cut, depth)) for depth in Depth]
    await play_calling(stage, [*rows, ("the longest message", _longest)], strangers=9)


@scenario("channel/frames-to-the-caller", servers=1, covers=("channel-18", "channel-19", "channel-21"), seconds=TABLE)
async def frames_called(stage: Stage) -> None:
    """The server is the WebSocket's client: it masks, takes no mask, and refuses texts as well."""
    rows: list[Row] = [("a mask", _wrong_mask), ("a text", _text_to_a_client), ("its own masks", _masks)]
    await play_called(stage, rows, strangers=3)
