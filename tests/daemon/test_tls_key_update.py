"""A peer that changes its keys and wants ours changed, while both directions are full (RFC 8446 §4.6.3).

Our own ends never ask for it, and pyOpenSSL has no call for it: the peer here is a record layer written from the RFC.
"""

import struct

import attrs
import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from OpenSSL import SSL

from tests.daemon.channel_helpers import Transports, identity, lockstep_pair, shake, tcp_pair, wrap
from volly_fed.channel import FEDERATION
from volly_fed.daemon.tls import make_context
from volly_fed.daemon.tls_stream import PqStream

HANDSHAKE, DATA, KEY_UPDATE = 22, 23, 24


def expand(secret: bytes, label: bytes, size: int) -> bytes:
    full = b"tls13 " + label
    return HKDFExpand(SHA384(), size, struct.pack("!HB", size, len(full)) + full + b"\0").derive(secret)


@attrs.define
class Keys:
    """One direction's: RFC 8446 §7.2, §7.3, §5.2."""

    secret: bytes
    sequence: int = 0

    def update(self) -> None:
        self.secret, self.sequence = expand(self.secret, b"traffic upd", 48), 0

    def _cipher(self) -> tuple[AESGCM, bytes]:
        mask = int.from_bytes(expand(self.secret, b"iv", 12), "big") ^ self.sequence
        self.sequence += 1
        return AESGCM(expand(self.secret, b"key", 32)), mask.to_bytes(12, "big")

    def seal(self, kind: int, content: bytes) -> bytes:
        cipher, nonce = self._cipher()
        head = b"\x17\x03\x03" + (len(content) + 17).to_bytes(2, "big")
        return head + cipher.encrypt(nonce, content + bytes((kind,)), head)

    def open(self, record: bytes) -> tuple[int, bytes]:
        cipher, nonce = self._cipher()
        inner = cipher.decrypt(nonce, record[5:], record[:5])
        return inner[-1], inner[:-1]


@attrs.define
class Peer:
    """The client's end after its handshake, record by record."""

    stream: trio.abc.Stream
    write: Keys
    read: Keys
    asked: int = 0
    answered: int = 0
    _buffer: bytes = b""

    async def say(self, data: bytes) -> None:
        await self.stream.send_all(self.write.seal(DATA, data))

    async def ask_for_keys(self) -> None:
        self.asked += 1
        await self.stream.send_all(self.write.seal(HANDSHAKE, bytes((KEY_UPDATE, 0, 0, 1, 1))))
        self.write.update()

    async def hear(self) -> bytes:
        """The next data; a change of the server's keys is followed."""
        while True:
            while len(self._buffer) < 5 or len(self._buffer) < 5 + int.from_bytes(self._buffer[3:5], "big"):
                more = await self.stream.receive_some(65536)
                assert more, "the server has ended the connection"
                self._buffer += more
            size = 5 + int.from_bytes(self._buffer[3:5], "big")
            record, self._buffer = self._buffer[:size], self._buffer[size:]
            kind, content = self.read.open(record)
            if kind == DATA:
                return content
            if content[0] == KEY_UPDATE:
                assert content == bytes((KEY_UPDATE, 0, 0, 1, 0))
                self.answered += 1
                self.read.update()


async def met(transports: Transports) -> tuple[Peer, PqStream]:
    """A peer in the place of a client whose handshake is over, and the server's stream."""
    secrets: dict[bytes, bytes] = {}

    def note(_: SSL.Connection, line: bytes) -> None:
        label, _random, secret = line.split()
        secrets[label] = bytes.fromhex(secret.decode())

    client = make_context(FEDERATION, server=False, identity=identity("client.test"))
    client.openssl.set_keylog_callback(note)
    near, far = await transports()
    _, server = await shake(wrap((near, far), client))
    peer = Peer(near, Keys(secrets[b"CLIENT_TRAFFIC_SECRET_0"]), Keys(secrets[b"SERVER_TRAFFIC_SECRET_0"]))
    return peer, server


@pytest.mark.parametrize("transports", [lockstep_pair, tcp_pair])
async def test_a_request_for_new_keys_is_read_past_while_the_writer_is_stuck(transports: Transports) -> None:
    peer, server = await met(transports)
    sent = bytes(range(256)) * 65_536  # more than the kernel buffers
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.send_all, sent)  # nobody reads: it is stuck
            await trio.testing.wait_all_tasks_blocked(0.02)
            for letter in (b"a", b"b"):
                async with trio.open_nursery() as meanwhile:
                    meanwhile.start_soon(peer.ask_for_keys)
                    meanwhile.start_soon(expect, server, letter)
                    await trio.testing.wait_all_tasks_blocked(0.01)
                    meanwhile.start_soon(peer.say, letter)
            heard = bytearray()
            while len(heard) < len(sent):
                heard += await peer.hear()
        assert heard == sent
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.send_all, b"under new keys")
            assert await peer.hear() == b"under new keys"
    assert peer.answered >= 1  # one answer may stand for both requests
    await peer.stream.aclose()
    await trio.aclose_forcefully(server)


async def expect(server: PqStream, data: bytes) -> None:
    assert await server.receive_some() == data


@pytest.mark.spec("channel-26")
async def test_both_directions_go_on_under_many_changes_of_keys() -> None:
    peer, server = await met(tcp_pair)
    with trio.fail_after(20):
        for number in range(50):
            await peer.ask_for_keys()
            await peer.say(b"%d" % number)
            assert await server.receive_some() == b"%d" % number
            await server.send_all(b"%d" % number)
            assert await peer.hear() == b"%d" % number
    assert peer.answered == peer.asked
    await peer.stream.aclose()
    await trio.aclose_forcefully(server)
