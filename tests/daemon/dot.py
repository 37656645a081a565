"""A resolver over TLS on loopback, with a certificate of its own authority, that counts connections and misbehaves."""

import datetime
import ssl
from functools import partial
from pathlib import Path

import attrs
import dns.message
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from volly_fed.daemon.dns.tls import frame, read_frame
from volly_fed.errors import BadMessage
from volly_fed.testing.world_server import Names

NAME = "dns.test"


def certificate(folder: Path, name: str = NAME) -> Path:
    """A self-signed certificate for `name` and its key in one PEM file; it is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / f"{name}.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + pem)
    return path


@attrs.define
class DotServer:
    """Answers for `names`."""

    names: Names
    pem: Path
    connections: int = 0
    open: int = 0
    queries: int = 0
    hang_up_after: int = 0
    """Answers on one connection before it is closed; 0: never."""
    gather: int = 1
    """Queries to wait for before they are answered, the last one first."""
    silent: bool = False
    never: str = ""
    """No query for a name that ends so is answered."""

    async def serve(self, *, task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem)
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, partial(self._connection, context), [listener])
            task_status.started(("127.0.0.1", listener.socket.getsockname()[1]))

    async def _connection(self, context: ssl.SSLContext, transport: trio.SocketStream) -> None:
        stream = trio.SSLStream(transport, context, server_side=True, https_compatible=True)
        received, waiting, answered = bytearray(), list[bytes](), 0
        try:
            await stream.do_handshake()
            self.connections += 1
            self.open += 1
            while not self.hang_up_after or answered < self.hang_up_after:
                waiting.append(await read_frame(stream, received))
                self.queries += 1
                if self.silent or len(waiting) < self.gather:
                    continue
                for answer in filter(None, map(self._answer, reversed(waiting))):
                    await stream.send_all(frame(answer))
                    answered += 1
                waiting.clear()
        except (trio.BrokenResourceError, BadMessage):
            pass  # the other end went away
        finally:
            self.open -= 1
            await trio.aclose_forcefully(stream)

    def _answer(self, wire: bytes) -> bytes | None:
        query = dns.message.from_wire(wire)
        if self.never and str(query.question[0].name).endswith(self.never):
            return None
        response = self.names.reply(query, udp=False)
        assert isinstance(response, dns.message.Message)
        return response.to_wire(max_size=65535)
