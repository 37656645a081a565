"""Certificates, contexts and pairs of streams for the tests of TLS and WebSocket."""

import functools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import trio
import trio.testing
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from volly_fed.channel import DEVICE, FEDERATION, ChannelProfile
from volly_fed.crypto.certificate import TlsKey
from volly_fed.crypto.secret import Secret
from volly_fed.daemon.tls import PeerTrust, TlsContext, TlsFiles, TlsIdentity, make_context
from volly_fed.daemon.tls_stream import PqStream

Pair = tuple[PqStream, PqStream]
Transports = Callable[[], Awaitable[tuple[trio.abc.Stream, trio.abc.Stream]]]


@functools.cache
def tls_key(name: str) -> TlsKey:
    return TlsKey.generate()


@functools.cache
def identity(name: str) -> TlsIdentity:
    return TlsIdentity.from_key(tls_key(name), name, datetime.now(UTC))


@functools.cache
def context(*, server: bool, profile: ChannelProfile = FEDERATION) -> TlsContext:
    return make_context(profile, server=server, identity=identity("server.test" if server else "client.test"))


def evolved(*, server: bool = False, **changes: Any) -> TlsContext:
    return context(server=server, profile=attrs.evolve(FEDERATION, **changes))


def classical_certificate(key: Any, name: str = "server.test") -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def _private_bytes(key: Any, encoding: serialization.Encoding) -> bytes:
    raw: bytes = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return raw


@functools.cache
def ed25519_identity() -> TlsIdentity:
    key = ed25519.Ed25519PrivateKey.generate()
    der = classical_certificate(key).public_bytes(serialization.Encoding.DER)
    return TlsIdentity(certificate=der, key=Secret(_private_bytes(key, serialization.Encoding.DER)))


def write_files(folder: Path, kind: str = "ecdsa", name: str = "server.test") -> TlsFiles:
    key: Any
    if kind == "rsa":
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    else:
        key = ec.generate_private_key(ec.SECP256R1())
    files = TlsFiles(certificate=folder / f"{kind}-{name}.pem", key=folder / f"{kind}-{name}.key")
    files.certificate.write_bytes(classical_certificate(key, name).public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(_private_bytes(key, serialization.Encoding.PEM))
    return files


def device_client(profile: ChannelProfile = DEVICE, roots: Path | None = None) -> TlsContext:
    trust = PeerTrust.ROOTS if roots else PeerTrust.KEY
    return make_context(profile, server=False, trust=trust, roots=roots)


async def memory_pair() -> tuple[trio.abc.Stream, trio.abc.Stream]:
    return trio.testing.memory_stream_pair()


async def lockstep_pair() -> tuple[trio.abc.Stream, trio.abc.Stream]:
    return trio.testing.lockstep_stream_pair()


async def tcp_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        client = await trio.testing.open_stream_to_socket_listener(listener)
        return client, await listener.accept()


def wrap(
    transports: tuple[trio.abc.Stream, trio.abc.Stream],
    client: TlsContext | None = None,
    server: TlsContext | None = None,
    host: str = "server.test",
) -> Pair:
    near, far = transports
    return (
        PqStream(near, client or context(server=False), host),
        PqStream(far, server or context(server=True)),
    )


async def shake(pair: Pair) -> Pair:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair[0].handshake)
        nursery.start_soon(pair[1].handshake)
    return pair


async def connected(
    transports: Transports = memory_pair, client: TlsContext | None = None, server: TlsContext | None = None
) -> Pair:
    return await shake(wrap(await transports(), client, server))


async def outcomes(
    client: TlsContext | None = None, server: TlsContext | None = None, host: str = "server.test"
) -> list[Exception | None]:
    """What either end's handshake raised; a client that got through still waits for the server's first byte."""
    pair = wrap(await memory_pair(), client, server, host)
    raised: list[Exception | None] = [None, None]

    async def one(index: int) -> None:
        try:
            await pair[index].handshake()
            await (pair[index].send_all(b"x") if index else pair[index].receive_some(1))
        except Exception as error:
            raised[index] = error
        finally:
            if raised[index] is not None:
                await pair[index].aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, 0)
        nursery.start_soon(one, 1)
    for stream in pair:
        await trio.aclose_forcefully(stream)
    return raised
