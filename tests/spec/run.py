"""One complete run between two homeservers, of which everything but signatures and TLS comes from a seed.

in: nothing, or a recording (spec/vectors/handshake/run.json); out: parties, records, machines on one channel, a
recording.
`python -m tests.spec.run` records anew: real TLS, real WebSockets, real machines. Signatures and exporters differ then.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio
import trio.testing

from volly_fed import limits
from volly_fed.channel import FEDERATION
from volly_fed.codepoints import EnvelopeClass
from volly_fed.crypto.certificate import TlsKey
from volly_fed.crypto.secret import Secret
from volly_fed.crypto.signature import IdentityKey, fingerprint
from volly_fed.daemon.tls import TlsIdentity, make_context
from volly_fed.daemon.tls_stream import PqStream
from volly_fed.daemon.websocket import Socket, accept_websocket, connect_websocket
from volly_fed.handshake import Accept, ChannelBinding, Initiator, Party, Prove, Responder, Start
from volly_fed.names import DomainName, Fingerprint, MailboxId, fingerprint_text
from volly_fed.relay.envelope import Envelope, encode_envelope
from volly_fed.session import Acknowledge, Next, Outbound, Received, Session, StreamOpened
from volly_fed.testing.world import World

RECORDING = Path(__file__).parents[2] / "spec" / "vectors" / "handshake" / "run.json"
NOW = 1_800_000_000
HOUR = 3600
Bytes = dict[str, Any]


def expand(label: str, size: int) -> bytes:
    """Bytes that look random: SHAKE-256 of the label."""
    return hashlib.shake_256(label.encode()).digest(size)


@attrs.frozen
class Server:
    """A homeserver of the run: name, keys and whatever it draws at random follow from its name."""

    name: str
    address: str

    @property
    def host(self) -> str:
        return f"fed.{self.name}"

    @property
    def identity(self) -> IdentityKey:
        return IdentityKey.from_seed(Secret(self.draw("identity", 64)))

    @property
    def tls(self) -> TlsKey:
        return TlsKey.from_seed(Secret(self.draw("tls", 32)))

    @property
    def party(self) -> Party:
        return Party(name=DomainName(self.name), key=self.identity)

    @property
    def expected(self) -> frozenset[Fingerprint]:
        return frozenset([fingerprint(self.identity.public)])

    def draw(self, what: str, size: int) -> bytes:
        return expand(f"{self.name} {what}", size)

    def records(self) -> list[str]:
        """What it publishes, as lines of its zone."""
        return [
            "_volly-fed._tcp IN SRV 0 5 5223 fed",
            f'_volly-fed IN TXT "v=vf1 id={fingerprint_text(fingerprint(self.identity.public))}"',
            f"fed IN AAAA {self.address}",
            f"_5223._tcp.fed IN TLSA 3 1 1 {self.tls.spki_sha256.hex()}",
        ]


A, B = Server("a.example", "2001:db8:a::1"), Server("b.example", "2001:db8:b::1")


def world() -> World:
    """The DNS of the run, signed as of NOW."""
    made = World("example", seed=b"the example run")
    for server in (A, B):
        made.zone(server.name, server.records())
    made.sign(NOW)
    return made


def envelope() -> bytes:
    """A first message for a mailbox at B. Its body stands for a sealed one."""
    return encode_envelope(
        Envelope(
            MailboxId(B.draw("mailbox", 32)),
            DomainName(B.name),
            A.draw("envelope", 16),
            NOW + HOUR,
            EnvelopeClass.SIGNAL,
            B.draw("capability", 16),
            A.draw("body", 1024),
        )
    )


def bindings(exporters: dict[str, str]) -> tuple[ChannelBinding, ChannelBinding]:
    """The channel as both ends see it; `exporters` by role number, in hex."""

    def export(_label: bytes, _size: int, context: bytes) -> bytes:
        return bytes.fromhex(exporters[str(context[0])])

    def end(own: Server, peer: Server) -> ChannelBinding:
        keys = {"own_spki_sha256": own.tls.spki_sha256, "peer_spki_sha256": peer.tls.spki_sha256}
        return ChannelBinding.of(export, alpn=FEDERATION.alpn, group=FEDERATION.group, **keys)

    return end(A, B), end(B, A)


def dialler(binding: ChannelBinding) -> Initiator:
    return Initiator(
        own=A.party,
        wanted=DomainName(B.name),
        expected=B.expected,
        binding=binding,
        random=partial(A.draw, "nonce"),
        deadline=limits.HANDSHAKE,
    )


def listener(binding: ChannelBinding) -> Responder:
    return Responder(own=B.party, binding=binding, random=partial(B.draw, "nonce"), deadline=limits.HANDSHAKE)


def session_messages() -> list[tuple[str, str, bytes]]:
    """(who, what, bytes) of the session's beginning: A has an envelope, B has nothing to say."""
    out: Outbound[int] = Outbound(partial(A.draw, "stream"))
    out.offer([(1, envelope())])
    near, far = Session(out, now=0.0), Session(Outbound[int](partial(B.draw, "stream")), now=0.0)
    sent = []
    for step in range(4):
        near.tick(step * limits.ACK_PACE)
        far.tick(step * limits.ACK_PACE)
        for who, one, other in (("dialler", near, far), ("listener", far, near)):
            while data := one.send(Next()):
                sent.append((who, {0x10: "open", 0x11: "batch", 0x12: "ack"}[data[2]], data))
                other.receive(data, step * limits.ACK_PACE)
                for event in other.events():
                    if isinstance(event, StreamOpened):
                        other.send(Acknowledge(stream=event.stream, cursor=0))
                    elif isinstance(event, Received):
                        other.send(Acknowledge(stream=event.stream, cursor=event.last))
    return sent


# --- recording -----------------------------------------------------------------------------------------------------


@attrs.define
class Tap(trio.abc.Stream):
    """A TLS stream whose plain bytes are noted."""

    stream: PqStream
    note: Callable[[bytes], None]

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.note(bytes(data))
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self.stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self.stream.aclose()


def _note(raw: list[tuple[str, bytes]], who: str, data: bytes) -> None:
    raw.append((who, data))


async def record() -> Bytes:
    """Play the run over real TLS; all that was said, and the exporters."""
    now = datetime.now(UTC)
    near, far = trio.testing.memory_stream_pair()
    ends = []
    for stream, server, acts in ((near, A, False), (far, B, True)):
        identity = TlsIdentity.from_key(server.tls, server.host, now)
        host = "" if acts else B.host
        ends.append(PqStream(stream, make_context(FEDERATION, server=acts, identity=identity), host))
    async with trio.open_nursery() as nursery:
        for end in ends:
            nursery.start_soon(end.handshake)
    raw: list[tuple[str, bytes]] = []
    taps = [Tap(end, partial(_note, raw, who)) for end, who in zip(ends, ROLES, strict=True)]
    exporters: dict[str, str] = {}

    def export(label: bytes, size: int, context: bytes) -> bytes:
        exporters[str(context[0])] = (made := ends[0].export(label, size, context)).hex()
        assert made == ends[1].export(label, size, context)
        return made

    keys = {"own_spki_sha256": A.tls.spki_sha256, "peer_spki_sha256": B.tls.spki_sha256}
    ChannelBinding.of(export, alpn=ends[0].negotiated.alpn, group=ends[0].negotiated.group, **keys)
    sent: list[Bytes] = []
    async with trio.open_nursery() as nursery:
        sockets: dict[str, Socket] = {}

        async def opened(who: str) -> None:
            if who == "dialler":
                sockets[who] = await connect_websocket(nursery, taps[0], FEDERATION, B.host)
            else:
                sockets[who] = await accept_websocket(nursery, taps[1], FEDERATION)

        async with trio.open_nursery() as opening:
            for who in ROLES:
                opening.start_soon(opened, who)
        for (who, data), what in zip(raw, ("request", "response"), strict=True):
            sent.append({"from": who, "what": what, "text": data.decode().split("\r\n")})
        for who, what, message in [*handshake_messages(exporters), *session_messages()]:
            await sockets[who].send(message)
            assert await sockets[ROLES[who == ROLES[0]]].receive() == message
            frame = raw[-1][1]
            head = len(frame) - len(message)
            sent.append({"from": who, "what": what, "frame": frame[:head].hex(), "message": message.hex()})
        nursery.cancel_scope.cancel()
    for end in ends:
        await trio.aclose_forcefully(end)
    return {"exporters": exporters, "sent": sent}


ROLES = ("dialler", "listener")


def handshake_messages(exporters: dict[str, str]) -> list[tuple[str, str, bytes]]:
    """(who, what, bytes) of the handshake."""
    ours, theirs = bindings(exporters)
    one, other = dialler(ours), listener(theirs)
    hello = one.send(Start())
    other.receive(hello, 0.0)
    answer = other.send(Accept(expected=A.expected))
    one.receive(answer, 0.0)
    proof = one.send(Prove())
    other.receive(proof, 0.0)
    last = other.send(Prove())
    one.receive(last, 0.0)
    first, second = ROLES
    return [(first, "hello", hello), (second, "hello", answer), (first, "auth", proof), (second, "auth", last)]


def described(server: Server) -> Bytes:
    """A server's part of the recording."""
    return {
        "name": server.name,
        "identity_seed": server.draw("identity", 64).hex(),
        "fingerprint": fingerprint(server.identity.public).hex(),
        "tls_seed": server.draw("tls", 32).hex(),
        "spki_sha256": server.tls.spki_sha256.hex(),
        "nonce": server.draw("nonce", 32).hex(),
        "records": server.records(),
    }


def document(recorded: Bytes) -> Bytes:
    """The file of vectors."""
    given = {
        "dialler": described(A),
        "listener": described(B),
        "alpn": FEDERATION.alpn.decode(),
        "group": FEDERATION.group,
        "exporters": recorded["exporters"],
        "stream": A.draw("stream", 8).hex(),
        "envelope": envelope().hex(),
    }
    case = {"id": "first-envelope", "flags": [], "given": given, "expect": {"accept": {"sent": recorded["sent"]}}}
    return {"spec": "overview v1", "kind": "run", "notes": {}, "cases": [case]}


def recording() -> Bytes:
    """The recorded run: what was given and what was sent."""
    [case] = json.loads(RECORDING.read_text())["cases"]
    return {**case["given"], "sent": case["expect"]["accept"]["sent"]}


if __name__ == "__main__":
    RECORDING.write_text(json.dumps(document(trio.run(record)), indent=1) + "\n")
