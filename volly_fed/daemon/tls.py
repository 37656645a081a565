"""TLS set up as the channel profiles demand, and a self-test that this machine's library obeys.

in: a profile, our identity or certificate files, whom to believe; out: a `TlsContext` that makes connections.
Never: falls back. What cannot be set, or is not obeyed, is a LocalError at start, not a weaker connection.
With `tls_stream`, the only user of pyOpenSSL; the private parts of it that are used are listed here.
Source: RFC 8446, RFC 7301, draft-ietf-tls-ecdhe-mlkem; a certificate reloads by making a new context.
"""

import enum
import hashlib
import ipaddress
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
from OpenSSL import SSL, crypto
from OpenSSL._util import ffi, lib

from volly_fed import limits
from volly_fed.channel import FEDERATION, ChannelProfile, Negotiated, check_negotiated
from volly_fed.crypto.certificate import TlsKey, spki_of
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage, ChannelError, LocalError

_NO_WILDCARD_PARTS = 0x4  # X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS
_CLASSICAL = ("X25519", "P-256")


@attrs.frozen(kw_only=True)
class TlsIdentity:
    """Our ML-DSA-65 certificate (DER) and its private key (PKCS#8 DER)."""

    certificate: bytes = attrs.field(repr=False)
    key: Secret

    @classmethod
    def from_key(cls, key: TlsKey, name: str, now: datetime) -> "TlsIdentity":
        """A fresh certificate for `key`, valid from a day before `now` (which carries a time zone)."""
        lifetime = timedelta(seconds=limits.TLS_CERTIFICATE)
        return cls(certificate=key.self_signed(name, now - timedelta(days=1), lifetime), key=Secret(key.pkcs8_der()))


@attrs.frozen(kw_only=True)
class TlsFiles:
    """An ordinary certificate for devices: PEM files, the chain leaf first."""

    certificate: Path
    key: Path


class PeerTrust(enum.Enum):
    """How a dialler comes to believe the server's certificate."""

    KEY = "key"
    """TLS takes any; the caller compares the key with TLSA records or an enrolment before it sends anything."""
    ROOTS = "roots"
    """TLS demands a chain to a trusted root and the host's name in the certificate, as browsers do."""


@attrs.frozen(kw_only=True, eq=False)
class TlsContext:
    """One end's settings, shared by all its connections; make a new one when a certificate changes."""

    profile: ChannelProfile
    server: bool
    trust: PeerTrust
    own_spki_sha256: bytes
    """Empty where we show no certificate."""
    openssl: SSL.Context = attrs.field(repr=False)

    def connection(self, host: str = "") -> SSL.Connection:
        """A connection over memory buffers, ready for its handshake. `host` is the server's name, for diallers.

        Raises LocalError where names are to be checked and there is none.
        """
        connection = SSL.Connection(self.openssl, None)
        if self.server:
            connection.set_accept_state()
            return connection
        connection.set_connect_state()
        if host and not _is_address(host):
            connection.set_tlsext_host_name(host.encode("ascii"))
        if self.trust is PeerTrust.ROOTS:
            _demand_name(connection, host)
        return connection

    def negotiated(self, connection: SSL.Connection) -> Negotiated:
        """What `connection`'s finished handshake agreed on. Raises ChannelError for a certificate without a key."""
        shown = connection.get_peer_certificate()
        certificate = crypto.dump_certificate(crypto.FILETYPE_ASN1, shown) if shown else b""
        try:
            spki = spki_of(certificate) if certificate else b""
        except BadMessage as error:
            raise ChannelError("the key in the peer's certificate cannot be read") from error
        return Negotiated(
            version=connection.get_protocol_version_name(),
            group=connection.get_group_name() or "",
            alpn=connection.get_alpn_proto_negotiated(),
            cipher=connection.get_cipher_name() or "",
            peer_certificate_der=certificate,
            peer_spki=spki,
            peer_spki_sha256=hashlib.sha256(spki).digest() if spki else b"",
            own_spki_sha256=self.own_spki_sha256,
        )


class NoCommonProtocol(Exception):
    """Raised inside OpenSSL's ALPN callback to end the handshake; `tls_stream` turns it into a ChannelError."""


def make_context(
    profile: ChannelProfile,
    *,
    server: bool,
    identity: TlsIdentity | TlsFiles | None = None,
    trust: PeerTrust = PeerTrust.KEY,
    roots: Path | None = None,
) -> TlsContext:
    """Settings for one end of `profile`; `roots` (PEM) stand in for the system's where `trust` is ROOTS.

    Raises LocalError when a file cannot be used, key and certificate do not belong together, an identity is
    missing, or OpenSSL does not know what the profile names.
    """
    if identity is None and (server or profile.mutual):  # [channel-6]
        raise LocalError(f"a {profile.name} {'listener' if server else 'dialler'} needs a TLS certificate")
    context = SSL.Context(SSL.TLS_SERVER_METHOD if server else SSL.TLS_CLIENT_METHOD)
    _set_policy(context, profile)
    own = _load(context, identity)
    _set_alpn(context, profile, server=server)
    _set_verification(context, profile, server=server, trust=trust, roots=roots)
    return TlsContext(profile=profile, server=server, trust=trust, own_spki_sha256=own, openssl=context)


def _set_policy(context: SSL.Context, profile: ChannelProfile) -> None:  # [channel-1] [channel-2]
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_max_proto_version(SSL.TLS1_3_VERSION)
    context.set_tls13_ciphersuites(":".join(profile.ciphers).encode("ascii"))
    raw: Any = context._context  # noqa: SLF001 - pyOpenSSL has no public setter for either list
    _demand(lib.SSL_CTX_set1_curves_list(raw, ":".join(profile.groups).encode("ascii")), "key exchange groups")
    _demand(lib.SSL_CTX_set1_sigalgs_list(raw, ":".join(profile.signatures).encode("ascii")), "signature algorithms")
    # Tickets would let a peer come back without its certificate. OpenSSL still sends two; both are useless.
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | lib.SSL_OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # [channel-5]
    context.set_mode(lib.SSL_MODE_RELEASE_BUFFERS)  # 32 KiB less for each idle connection


def _demand(result: int, what: str) -> None:
    if result != 1:
        lib.ERR_clear_error()
        raise LocalError(
            f"OpenSSL cannot use the {what} this protocol needs; "
            "note: install the versions of cryptography and pyOpenSSL that volly-fed asks for"
        )


def _load(context: SSL.Context, identity: TlsIdentity | TlsFiles | None) -> bytes:
    """Put certificate and key into `context`; the SHA-256 of the certificate's SPKI, or nothing without one."""
    if identity is None:
        return b""
    try:
        der = _load_identity(context, identity) if isinstance(identity, TlsIdentity) else _load_files(context, identity)
        context.check_privatekey()
        return hashlib.sha256(spki_of(der)).digest()
    except (OSError, SSL.Error, crypto.Error, BadMessage) as error:
        source = (
            f"files {identity.certificate} and {identity.key}" if isinstance(identity, TlsFiles) else "own identity"
        )
        raise LocalError(
            f"the TLS certificate ({source}) cannot be used: {error_text(error)}; "
            "note: it must be readable, and certificate and key must belong together"
        ) from error


def _load_identity(context: SSL.Context, identity: TlsIdentity) -> bytes:
    certificate = crypto.load_certificate(crypto.FILETYPE_ASN1, identity.certificate)
    context.use_certificate(certificate.to_cryptography())
    key = crypto.load_privatekey(crypto.FILETYPE_ASN1, identity.key.reveal())
    with warnings.catch_warnings():
        # pyOpenSSL 26.4 deprecates its own key objects, but refuses cryptography's ML-DSA keys (TypeError)
        warnings.simplefilter("ignore", DeprecationWarning)
        context.use_privatekey(key)
    return identity.certificate


def _load_files(context: SSL.Context, files: TlsFiles) -> bytes:
    leaf = crypto.load_certificate(crypto.FILETYPE_PEM, files.certificate.read_bytes())
    context.use_certificate_chain_file(files.certificate)
    context.use_privatekey_file(files.key)
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, leaf)


def _set_alpn(context: SSL.Context, profile: ChannelProfile, *, server: bool) -> None:
    if not server:
        context.set_alpn_protos([profile.alpn])
        return

    def choose(_connection: SSL.Connection, offered: list[bytes]) -> bytes | Any:
        if profile.alpn in offered:
            return profile.alpn
        if profile.alpn_required:
            # [channel-4]
            raise NoCommonProtocol  # only this aborts: the sentinel below would let the handshake go on without ALPN
        return SSL.NO_OVERLAPPING_PROTOCOLS

    context.set_alpn_select_callback(choose)


def _set_verification(
    context: SSL.Context, profile: ChannelProfile, *, server: bool, trust: PeerTrust, roots: Path | None
) -> None:
    if server and not profile.mutual:
        context.set_verify(SSL.VERIFY_NONE)
    elif trust is PeerTrust.ROOTS:
        _load_roots(context, roots)
        context.set_verify(SSL.VERIFY_PEER)
    else:
        # DANE-EE (RFC 7671 §5.1) ignores chain, name and dates; the proof of possession is TLS's own, and whose
        # key it is, the caller decides from `Negotiated`: the acceptor does not know yet who claims to call.
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)  # [channel-8]


def _load_roots(context: SSL.Context, roots: Path | None) -> None:
    try:
        if roots is None:
            context.set_default_verify_paths()
        else:
            context.load_verify_locations(str(roots))
    except SSL.Error as error:
        raise LocalError(f"the trusted roots in {roots or 'the system'} cannot be read") from error


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _demand_name(connection: SSL.Connection, host: str) -> None:
    """Make OpenSSL compare the certificate's names with `host`; pyOpenSSL has no public call for it."""
    if not host:
        raise LocalError("a certificate that is verified by trusted roots needs a host name to compare with")
    parameters = lib.SSL_get0_param(connection._ssl)  # noqa: SLF001 - see above
    lib.X509_VERIFY_PARAM_set_hostflags(parameters, _NO_WILDCARD_PARTS)
    if _is_address(host):
        packed = ipaddress.ip_address(host).packed
        _demand(lib.X509_VERIFY_PARAM_set1_ip(parameters, packed, len(packed)), "name check")
    else:
        name = host.encode("ascii")
        _demand(lib.X509_VERIFY_PARAM_set1_host(parameters, name, len(name)), "name check")


def error_text(error: BaseException) -> str:
    """What OpenSSL says went wrong, as one line without its function names."""
    if isinstance(error, NoCommonProtocol):
        return "no common application protocol (ALPN)"
    if isinstance(error, SSL.Error | crypto.Error) and error.args and isinstance(error.args[0], list):
        reasons = [reason or library for library, _function, reason in error.args[0]]
        return ", ".join(dict.fromkeys(filter(None, reasons))) or type(error).__name__
    return str(error) or type(error).__name__


def queued_errors() -> str:
    """Empty OpenSSL's error queue of this thread into one line."""
    reasons: list[str] = []
    while code := lib.ERR_get_error():
        reason = lib.ERR_reason_error_string(code)
        reasons.append(ffi.string(reason).decode("ascii", "replace") if reason else f"error {code:#x}")
    return ", ".join(dict.fromkeys(reasons)) or "unknown error"


# --- self-test -----------------------------------------------------------------------------------------------------


def self_test(profile: ChannelProfile = FEDERATION) -> None:
    """Shake hands with ourselves and see the policy at work; run once at start, 20 ms.

    The handshake must come out as FEDERATION demands, and clients without the hybrid key exchange must be refused.
    `profile` is what to set up; another one than FEDERATION shows that the test can fail.
    Raises LocalError when this library does not do what the protocol's security rests on.
    """
    identity = TlsIdentity.from_key(TlsKey.generate(), "self-test", datetime.now(UTC))
    server = make_context(profile, server=True, identity=identity)
    try:
        client = make_context(profile, server=False, identity=identity)
        for end, context in zip(_shake(client, server), (client, server), strict=True):
            check_negotiated(FEDERATION, context.negotiated(end))
    except (SSL.Error, ChannelError) as error:
        raise _unfit(f"a hybrid post-quantum handshake with ourselves failed ({error_text(error)})") from error
    for group in _CLASSICAL:
        classical = make_context(attrs.evolve(profile, groups=(group,)), server=False, identity=identity)
        try:
            _shake(classical, server)
        except SSL.Error:
            continue
        raise _unfit(f"a client with nothing but {group} was not refused")


def _unfit(what: str) -> LocalError:
    version = SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode("ascii", "replace")
    return LocalError(
        f"this TLS library ({version}) does not keep the protocol's promise: {what}; "
        "note: install the versions of cryptography and pyOpenSSL that volly-fed asks for, and unset OPENSSL_CONF"
    )


def _shake(client: TlsContext, server: TlsContext) -> tuple[SSL.Connection, SSL.Connection]:
    """Both ends of a handshake in memory; raises SSL.Error when either refuses."""
    ends = (client.connection(), server.connection())
    done = [False, False]
    for _ in range(2 * 4):  # both ends, two flights each, and room
        for index, end in enumerate(ends):
            try:
                end.do_handshake()
                done[index] = True
            except SSL.WantReadError:
                pass
            _carry(end, ends[1 - index])
        if all(done):
            return ends
    raise SSL.Error([("", "", "the handshake did not finish")])


def _carry(source: SSL.Connection, sink: SSL.Connection) -> None:
    try:
        sink.bio_write(source.bio_read(limits.TLS_SCRATCH))
    except SSL.WantReadError:
        return
