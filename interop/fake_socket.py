"""A WebSocket by hand, from either end: each frame as the script wants it, and each that comes as it was.

in: a stream (TLS, or whatever a test has); out: Frames, and how it ended.
Never: refuses what it is sent, or repairs what it sends. Written from RFC 6455 alone, so that a fault of the library
that the implementation under test may use is not the fake's fault too.
"""

import base64
import enum
import hashlib
import os
import struct
from typing import Final

import attrs
import trio

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_END_OF_HEAD: Final = b"\r\n\r\n"
_MOST: Final = 65536


class Opcode(enum.IntEnum):
    """Kinds of frame (RFC 6455 §5.2)."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


@attrs.frozen(kw_only=True)
class Frame:
    """One frame, with what an honest one would have as defaults."""

    opcode: int = Opcode.BINARY
    payload: bytes = attrs.field(default=b"", repr=lambda payload: f"{len(payload)} bytes")
    fin: bool = True
    reserved: int = 0
    mask: bytes | None = None
    length: int | None = None
    """What the head says instead of the payload's length."""
    wide: bool = False
    """The length stands in eight bytes, however short it is."""

    def encode(self) -> bytes:
        """The frame's bytes."""
        size = len(self.payload) if self.length is None else self.length
        masked = 0x80 if self.mask is not None else 0
        if size > 0xFFFF or self.wide:
            tail = bytes([masked | 127]) + struct.pack("!Q", size)
        elif size > 125:
            tail = bytes([masked | 126]) + struct.pack("!H", size)
        else:
            tail = bytes([masked | size])
        head = bytes([(0x80 if self.fin else 0) | self.reserved << 4 | self.opcode]) + tail
        return head + (self.payload if self.mask is None else self.mask + masked_with(self.mask, self.payload))

    @property
    def close_code(self) -> int | None:
        """Of a close frame; 1005 where it has none, None for other frames."""
        if self.opcode != Opcode.CLOSE:
            return None
        return int.from_bytes(self.payload[:2], "big") if len(self.payload) > 1 else 1005

    def __str__(self) -> str:
        names = {kind.value: kind.name for kind in Opcode}
        text = f"frame {names.get(self.opcode, f'{self.opcode:#x}')}"
        if self.opcode == Opcode.CLOSE:
            text += f" {self.close_code} {self.payload[2:].decode('utf-8', 'replace')!r}"
        else:
            text += f" of {len(self.payload)} bytes"
        text += "" if self.fin else ", not the last"
        return text + (f", reserved bits {self.reserved}" if self.reserved else "")


def masked_with(mask: bytes, payload: bytes) -> bytes:
    """RFC 6455 §5.3, both ways."""
    size = len(payload)
    long = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return (int.from_bytes(payload, "big") ^ long).to_bytes(size, "big")


def close_frame(code: int | None = 1000, reason: bytes = b"") -> Frame:
    """A close frame, without a code where that is None."""
    return Frame(opcode=Opcode.CLOSE, payload=b"" if code is None else struct.pack("!H", code) + reason)


class Ended(Exception):
    """The stream brings nothing more; `cut` unless TLS has said goodbye."""

    def __init__(self, how: str, *, cut: bool) -> None:
        super().__init__(how)
        self.cut = cut


@attrs.define(eq=False)
class RawSocket:
    """Frames over `stream`; `client` decides whether ours are masked where the script does not say."""

    stream: trio.abc.Stream
    client: bool
    _arrived: bytearray = attrs.field(factory=bytearray, init=False, repr=False)

    async def send(self, frame: Frame) -> None:
        """Send one frame: masked if this is the client, unless it brings a mask itself."""
        if self.client and frame.mask is None:
            frame = attrs.evolve(frame, mask=os.urandom(4))
        await self.send_bytes(frame.encode())

    async def send_bytes(self, data: bytes) -> None:
        """Send `data` as it is. Raises Ended."""
        try:
            await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Ended(f"the connection broke under what was sent: {error}", cut=True) from None

    async def receive(self) -> Frame:
        """The next frame; being cancelled loses nothing. Raises Ended."""
        while (frame := self._parse()) is None:
            await self._more()
        return frame

    def _parse(self) -> Frame | None:
        """The first of the frames that have arrived, if it is complete."""
        data, at = self._arrived, 2
        if len(data) < at:
            return None
        size = data[1] & 0x7F
        if size > 125:
            wide = 2 if size == 126 else 8
            size, at = int.from_bytes(data[at : at + wide], "big"), at + wide
        mask = bytes(data[at : at + 4]) if data[1] & 0x80 else None
        at += 4 if mask is not None else 0
        if len(data) < at + size:
            return None
        payload, first = bytes(data[at : at + size]), data[0]
        del data[: at + size]
        return Frame(
            opcode=first & 0x0F,
            payload=payload if mask is None else masked_with(mask, payload),
            fin=bool(first & 0x80),
            reserved=first >> 4 & 7,
            mask=mask,
        )

    async def receive_head(self) -> str:
        """An HTTP request or answer up to its empty line. Raises Ended."""
        while (end := self._arrived.find(_END_OF_HEAD)) < 0:
            await self._more()
        head = self._arrived[: end + len(_END_OF_HEAD)].decode("latin-1")
        del self._arrived[: len(head)]
        return head

    async def receive_end(self) -> bytes:
        """Everything until the other end says that nothing more comes, or is gone."""
        try:
            while True:
                await self._more()
        except Ended:
            rest, self._arrived = bytes(self._arrived), bytearray()
            return rest

    async def _more(self) -> None:
        try:
            data = await self.stream.receive_some(_MOST)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Ended(f"the connection broke: {error}", cut=True) from None
        if not data:
            raise Ended("the other end has said that nothing more comes", cut=False)
        self._arrived += data


@attrs.frozen(kw_only=True)
class Opening:
    """A WebSocket's opening request; a header that is None is left out."""

    path: str
    subprotocol: str | None
    host: str
    method: str = "GET"
    version: str | None = "13"
    upgrade: str | None = "websocket"
    key: str = attrs.field(factory=lambda: base64.b64encode(os.urandom(16)).decode())
    extra: tuple[str, ...] = ()
    """Whole header lines."""

    def encode(self) -> bytes:
        """The request's bytes."""
        headers = {
            "Host": self.host,
            "Upgrade": self.upgrade,
            "Connection": "Upgrade" if self.upgrade else None,
            "Sec-WebSocket-Key": self.key,
            "Sec-WebSocket-Version": self.version,
            "Sec-WebSocket-Protocol": self.subprotocol,
        }
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items() if v is not None)]
        return "\r\n".join([*lines, *self.extra, "", ""]).encode("latin-1")


def accept_value(key: str) -> str:
    """What the listener answers to `key` (RFC 6455 §4.2.2)."""
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def headers_of(head: str) -> dict[str, str]:
    """The header fields of a request or an answer, names in lower case."""
    fields = (line.partition(":") for line in head.split("\r\n")[1:] if ":" in line)
    return {name.strip().lower(): value.strip() for name, _, value in fields}
