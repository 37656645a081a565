"""TLS as a fake wants it: as the profile says, or wrong in one or more ways.

in: who the fake is, how it deviates; out: a context for `PqStream` that takes whatever the other end answers.
Never: judges the other end; what was negotiated is for the script to look at. Of OpenSSL only what it lets one set:
what it cannot say (two groups in one key share, a broken record) is sent as bytes, before or instead of TLS.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from volly_fed.channel import FEDERATION, ChannelProfile
from volly_fed.crypto.secret import Secret
from volly_fed.daemon.tls import TlsContext, TlsIdentity, make_context


@attrs.frozen(kw_only=True)
class TlsHabits:
    """What a fake does in TLS; None: as its profile says."""

    alpn: tuple[bytes, ...] | None = None
    """Empty: none is offered, or none is agreed on."""
    groups: tuple[str, ...] | None = None
    ciphers: tuple[str, ...] | None = None
    signatures: tuple[str, ...] | None = None
    old: bool = False
    """TLS 1.2 and nothing else."""
    identity: TlsIdentity | None = None
    """Another certificate and key than the fake's own."""
    anonymous: bool = False
    """A dialler shows no certificate, a listener asks for none."""
    server_name: str | None = None
    resume: "Resumable | None" = None
    """Of an earlier connection: a dialler offers to go on with it."""


HONEST = TlsHabits()


@attrs.frozen(eq=False)
class Resumable:
    """A TLS session, and the context without which OpenSSL takes it up no more."""

    context: TlsContext
    session: SSL.Session


def make_habitual(profile: ChannelProfile, habits: TlsHabits, identity: TlsIdentity, *, server: bool) -> TlsContext:
    """Settings for one end; its checks after the handshake accept all that can come of them."""
    wanted = attrs.evolve(
        profile,
        groups=habits.groups or profile.groups,
        ciphers=habits.ciphers or profile.ciphers,
        signatures=habits.signatures or profile.signatures,
        mutual=profile.mutual and not habits.anonymous,
    )
    shown = None if habits.anonymous and not server else habits.identity or identity
    context = make_context(wanted, server=server, identity=shown)
    if habits.old:
        context.openssl.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.openssl.set_max_proto_version(SSL.TLS1_2_VERSION)
    if habits.alpn is not None:
        _set_alpn(context.openssl, habits.alpn, server=server)
    return attrs.evolve(context, profile=_lenient(wanted, habits))


def _set_alpn(context: SSL.Context, alpn: tuple[bytes, ...], *, server: bool) -> None:
    if server:
        choice: Any = alpn[0] if alpn else SSL.NO_OVERLAPPING_PROTOCOLS
        context.set_alpn_select_callback(lambda _connection, _offered: choice)
    else:
        offered = b"".join(bytes([len(name)]) + name for name in alpn)
        raw: Any = context._context  # noqa: SLF001 - pyOpenSSL's own call refuses an empty list
        lib.SSL_CTX_set_alpn_protos(raw, offered or ffi.NULL, len(offered))


def _lenient(profile: ChannelProfile, habits: TlsHabits) -> ChannelProfile:
    """What `check_negotiated` shall find right: whatever these habits lead to."""
    return attrs.evolve(
        profile,
        version="TLSv1.2" if habits.old else profile.version,
        alpn=(habits.alpn or (profile.alpn,))[0],
        alpn_required=False,
        mutual=False,
    )


def classical_identity(name: str, now: datetime | None = None) -> TlsIdentity:
    """A certificate that is not of the profile: its key is Ed25519."""
    key = ed25519.Ed25519PrivateKey.generate()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = now or datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, None)
    )
    pkcs8 = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return TlsIdentity(certificate=certificate.public_bytes(serialization.Encoding.DER), key=Secret(pkcs8))


def spki_digest(spki: bytes) -> bytes:
    """As TLSA records and the handshake have it."""
    return hashlib.sha256(spki).digest()


__all__ = ["FEDERATION", "HONEST", "TlsHabits", "classical_identity", "make_habitual", "spki_digest"]
