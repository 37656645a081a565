"""TLS that is not as it should be, in both roles: which ends before anything is said, and what does no harm."""

from contextlib import suppress
from functools import partial
from typing import Final

import trio

from interop.fake_peer import Persona
from interop.fake_socket import Ended, headers_of
from interop.fake_tls import TlsHabits, classical_identity
from interop.rogue import TABLE, Depth, Play, Rogue, leave, play_called, play_calling
from interop.scenario import check, equal, scenario
from interop.stage import Stage
from volly_fed.codepoints import ALPN_EDGE, ErrorCode

Row = tuple[str, Play]
_OTHER: Final = Persona.create("somebody-else.test")

# --- TLS -------------------------------------------------------------------------------------------------------------

_WRONG_TLS: Final[dict[str, TlsHabits]] = {
    "X25519 alone": TlsHabits(groups=("X25519",)),
    "P-256 alone": TlsHabits(groups=("P-256",)),
    "X448 and P-384": TlsHabits(groups=("X448", "P-384")),
    "another hybrid": TlsHabits(groups=("SecP256r1MLKEM768",)),
    "ML-KEM alone": TlsHabits(groups=("MLKEM768",)),
    "TLS 1.2": TlsHabits(old=True),
    "TLS_AES_128_GCM_SHA256 alone": TlsHabits(ciphers=("TLS_AES_128_GCM_SHA256",)),
    "no certificate": TlsHabits(anonymous=True),
    "another protocol": TlsHabits(alpn=(b"http/1.1",)),
    "the protocol of edges": TlsHabits(alpn=(ALPN_EDGE,)),
    "a protocol in capitals": TlsHabits(alpn=(b"VOLLY-FED/1",)),
    "no protocol": TlsHabits(alpn=()),
}
_CLASSICAL_KEY: Final = TlsHabits(
    identity=classical_identity("fed.rogue.test"), signatures=("ed25519", "mldsa65", "ecdsa_secp256r1_sha256")
)
_GARBAGE: Final = {
    "HTTP": b"GET /federation/v1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "zeros": bytes(200),
    "an alert": b"\x15\x03\x03\x00\x02\x02\x28",
    "a record without an end": b"\x16\x03\x01\xff\xff" + bytes(70000),
    "a server's answer": b"\x16\x03\x03\x00\x04\x02\x00\x00\x00",
    "half a ClientHello": b"\x16\x03\x01\x00\x80\x01\x00\x00\x7c\x03\x03",
}


async def _no_tls(habits: TlsHabits, rogue: Rogue) -> None:
    async with rogue.calling(Depth.TCP) as peer:
        await peer.expect_no_tls(habits)


async def _garbage(data: bytes, rogue: Rogue) -> None:
    """Whatever it is, the connection ends; a half is given up by us."""
    async with rogue.calling(Depth.TCP) as peer:
        with suppress(Ended, trio.BrokenResourceError):  # it may be gone already
            await peer.socket.send_bytes(data)
            await peer.tcp.send_eof()
        with peer.limited("the end of a connection that is no TLS"):
            await peer.socket.receive_end()


async def _fair_tls(habits: TlsHabits, rogue: Rogue) -> None:
    """More is offered than the profile has; what the profile has is agreed on, and the link works."""
    async with rogue.calling(Depth.PROVED, habits) as peer:
        assert peer.negotiated is not None
        equal(peer.negotiated.group.lower(), "x25519mlkem768", "the group")
        equal(peer.negotiated.alpn, b"volly-fed/1", "the protocol")
        check(peer.negotiated.cipher != "TLS_AES_128_GCM_SHA256", "a cipher suite of the profile")
        equal(peer.negotiated.peer_spki_sha256, rogue.server.site.keys.tls.spki_sha256, "the listener's key")


_FAIR_TLS: Final[dict[str, TlsHabits]] = {
    "more groups": TlsHabits(groups=("X25519MLKEM768", "X25519", "P-256")),
    "more groups, the classical first": TlsHabits(groups=("X25519", "X25519MLKEM768")),
    "more protocols": TlsHabits(alpn=(b"volly-fed/1", b"http/1.1", b"h2")),
    "more cipher suites": TlsHabits(ciphers=("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384")),
    "ChaCha20 alone": TlsHabits(ciphers=("TLS_CHACHA20_POLY1305_SHA256",)),
    "another server name": TlsHabits(server_name="somebody-else.test"),
    "no server name": TlsHabits(server_name=""),
}


async def _resumed(rogue: Rogue) -> None:
    """A session of an earlier connection is offered: the handshake is a full one, certificates and all."""
    async with rogue.calling(Depth.BEGUN) as peer:
        session = peer.resumable
        await leave(peer)
    async with rogue.calling(Depth.BEGUN, TlsHabits(resume=session)) as peer:
        check(not peer.resumed, "a TLS handshake that resumes nothing")
        assert peer.negotiated is not None
        equal(peer.negotiated.peer_spki_sha256, rogue.server.site.keys.tls.spki_sha256, "the listener's key")
        await leave(peer)


async def _unpublished_key(rogue: Rogue) -> None:
    """A key of the right kind is let through TLS; that it is not the domain's, HELLO brings to light."""
    async with rogue.calling(Depth.OPEN, TlsHabits(identity=_OTHER.tls)) as peer:
        await peer.send(peer.hands.hello())
        await peer.expect_refuse(ErrorCode.KEY_MISMATCH)


@scenario(
    "channel/tls-of-the-caller",
    servers=1,
    covers=(
        "channel-2",
        "channel-3",
        "channel-4",
        "channel-6",
        "channel-7",
        "channel-8",
        "channel-11",
        "handshake-17",
        "channel-5",
    ),
    seconds=TABLE,
)
async def tls_calling(stage: Stage) -> None:
    """What callers offer in TLS: what is not of the profile ends in an alert; what is more than that does no harm."""
    rows: list[Row] = [(name, partial(_no_tls, habits)) for name, habits in _WRONG_TLS.items()]
    rows.append(("a certificate with an Ed25519 key", partial(_no_tls, _CLASSICAL_KEY)))
    rows += [(f"{name} in the place of TLS", partial(_garbage, data)) for name, data in _GARBAGE.items()]
    rows += [(name, partial(_fair_tls, habits)) for name, habits in _FAIR_TLS.items()]
    rows += [("a key that is not published", _unpublished_key), ("a session that is to be resumed", _resumed)]
    await play_calling(stage, rows)


_WRONG_ANSWERS: Final[dict[str, TlsHabits]] = {
    **{name: _WRONG_TLS[name] for name in ("X25519 alone", "TLS 1.2", "TLS_AES_128_GCM_SHA256 alone")},
    "a certificate with an Ed25519 key": _CLASSICAL_KEY,
    "a key that is not published": TlsHabits(identity=_OTHER.tls),
    "another protocol": TlsHabits(alpn=(b"http/1.1",)),
    "no protocol": TlsHabits(alpn=()),
}


async def _not_opened(habits: TlsHabits, rogue: Rogue) -> None:
    """The server has called: no byte of the WebSocket's opening comes."""
    async with rogue.called(Depth.TCP) as peer:
        await peer.expect_no_tls(habits)


async def _rubbish(rogue: Rogue) -> None:
    async with rogue.called(Depth.TCP) as peer:
        await peer.send_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with peer.limited("the end of a connection that is no TLS"):
            await peer.socket.receive_end()


async def _name_asked_for(rogue: Rogue) -> None:
    """The TLSA base domain is asked for; the offer holds nothing that is not of the profile (see what is refused)."""
    async with rogue.called(Depth.TLS) as peer:
        assert peer.tls is not None
        name = peer.tls._connection.get_servername()  # noqa: SLF001 - what the caller has asked for
        equal(name, rogue.persona.host.encode(), "the server name")
        head = await peer.expect_head("GET")
        equal(head.partition("\r\n")[0], "GET /federation/v1 HTTP/1.1", "the request")
        fields = headers_of(head)
        equal(fields["host"], rogue.persona.host, "the Host field")
        equal(fields["sec-websocket-protocol"], "volly-fed.v1", "the subprotocols")
        check("sec-websocket-extensions" not in fields, "no extension of WebSocket asked for")


@scenario(
    "channel/tls-of-the-one-called",
    servers=1,
    covers=("channel-1", "channel-3", "channel-6", "channel-7", "channel-9", "channel-12", "channel-16"),
    seconds=TABLE,
)
async def tls_called(stage: Stage) -> None:
    """The server calls, and what answers in TLS is not what it should be: it goes before it has said anything."""
    rows: list[Row] = [(name, partial(_not_opened, habits)) for name, habits in _WRONG_ANSWERS.items()]
    rows += [("no TLS at all", _rubbish), ("what it asks for", _name_asked_for)]
    await play_called(stage, rows)
