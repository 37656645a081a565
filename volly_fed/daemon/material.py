"""What a process needs from its files before it can start: configuration, keys, certificate, policy, edges.

in: the path of a configuration file, or a configuration; out: checked values in memory.
Never: starts with a key that others can read, is damaged or does not fit its certificate. Every error is a LocalError
that names the file and the next step.
"""

import hashlib
import ssl
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import attrs

from volly_fed.config.edges import Enrolment, parse_edges
from volly_fed.config.keys import KeyKind, parse_key
from volly_fed.config.load import parse_edge, parse_homeserver
from volly_fed.config.model import AnchorSource, EdgeConfig, HomeserverConfig
from volly_fed.config.policy import parse_policy_text
from volly_fed.config.records import Published
from volly_fed.crypto.certificate import TlsKey, is_mldsa65, spki_of
from volly_fed.crypto.secret import Secret
from volly_fed.crypto.signature import IdentityKey, fingerprint
from volly_fed.daemon.files import read_bytes, read_private_text, read_text, there_is
from volly_fed.errors import BadMessage, LocalError
from volly_fed.names import DomainName, Fingerprint
from volly_fed.trust.continuity import Statement, parse_statement
from volly_fed.trust.policy import Policy

IDENTITY_KEY = "identity.key"
NEXT_IDENTITY_KEY = "identity-next.key"
CONTINUITY = "continuity.cbor"
TLS_KEY = "tls.key"
TLS_CERTIFICATE = "tls.crt"
NEXT_TLS_KEY = "tls-next.key"
NEXT_TLS_CERTIFICATE = "tls-next.crt"
OLD_TLS_KEY = "tls-old.key"
OLD_TLS_CERTIFICATE = "tls-old.crt"
"""After a switch of keys, until nobody can have cached records without the new one (`volly-fed dns roll`)."""
EDGES = "edges.toml"
SYSTEM_ANCHORS = (
    Path("/usr/share/dns/root.key"),  # dns-root-data
    Path("/var/lib/unbound/root.key"),  # kept by unbound-anchor
    Path("/etc/trusted-key.key"),
    Path("/usr/share/dns/root-anchors.xml"),
)
_INIT = "run `volly-fed init DOMAIN` (or `volly-fed edge init`), or restore it from your backup"


@attrs.frozen(kw_only=True)
class TlsMaterial:
    """A TLS key and the certificate (DER) that carries it."""

    key: TlsKey
    certificate: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Material:
    """The keys of a homeserver or an edge node."""

    identity: IdentityKey
    fingerprint: Fingerprint
    tls: TlsMaterial


def read_homeserver_config(path: Path) -> HomeserverConfig:
    """The configuration in `path`; raises LocalError, and ConfigError with every problem in it."""
    missing = "run `volly-fed init DOMAIN`, or name the file with --config"
    return parse_homeserver(read_text(path, "configuration", missing), path)


def read_edge_config(path: Path) -> EdgeConfig:
    """The configuration of an edge node in `path`; raises like `read_homeserver_config`."""
    missing = "run `volly-fed edge init`, or name the file with --config"
    return parse_edge(read_text(path, "configuration", missing), path)


def load_material(data_dir: Path) -> Material:
    """Identity, TLS key and certificate from `data_dir`."""
    identity = IdentityKey.from_seed(_seed(data_dir / IDENTITY_KEY, KeyKind.IDENTITY))
    tls = _current_tls(data_dir)
    return Material(identity=identity, fingerprint=fingerprint(identity.public), tls=tls)


def load_next_identity(data_dir: Path) -> IdentityKey | None:
    """The identity that `volly-fed keys rotate` has prepared; None where no change is under way."""
    path = data_dir / NEXT_IDENTITY_KEY
    return IdentityKey.from_seed(_seed(path, KeyKind.IDENTITY)) if there_is(path) else None


def load_statement(data_dir: Path) -> tuple[bytes, Statement] | None:
    """The continuity statement there is, as bytes and parsed; None where there is none. It may have expired.

    Raises LocalError for a damaged one.
    """
    path = data_dir / CONTINUITY
    if not there_is(path):
        return None
    content = read_bytes(path, "continuity statement")
    try:
        return content, parse_statement(content)
    except BadMessage as error:
        note = "restore it from your backup, or run `volly-fed keys rotate start` again"
        raise LocalError(f"continuity statement {path} is damaged: {error}\nnote: {note}") from error


def load_continuity(data_dir: Path, now: float) -> bytes:
    """The continuity statement to show to peers at `now` (seconds since 1970); empty outside its validity.

    Raises LocalError for one that is damaged or that is about other keys than the one in `data_dir`.
    """
    found = load_statement(data_dir)
    if found is None:
        return b""
    content, statement = found
    own = fingerprint(IdentityKey.from_seed(_seed(data_dir / IDENTITY_KEY, KeyKind.IDENTITY)).public)
    if own not in {statement.old, statement.new}:
        raise LocalError(
            f"continuity statement {data_dir / CONTINUITY} does not name the key in {IDENTITY_KEY}\n"
            "note: restore both from the same backup, or move the statement away"
        )
    return content if statement.not_before <= now < statement.not_after else b""


class OtherCertificate(LocalError):
    """A TLS key and a certificate that do not belong together."""


def _current_tls(data_dir: Path) -> TlsMaterial:
    """The pair in use. A switch of keys changes two files: cut short between them, the spare's certificate fits."""
    key = data_dir / TLS_KEY
    try:
        return load_tls(key, data_dir / TLS_CERTIFICATE)
    except OtherCertificate as error:
        try:
            return load_tls(key, data_dir / NEXT_TLS_CERTIFICATE)
        except LocalError:
            raise error from None


def load_tls(key_path: Path, certificate_path: Path) -> TlsMaterial:
    """A TLS key with its certificate; raises OtherCertificate if they do not belong together."""
    key = TlsKey.from_seed(_seed(key_path, KeyKind.TLS))
    certificate = certificate_der(read_text(certificate_path, "certificate", _INIT), certificate_path)
    if not is_mldsa65(certificate) or spki_of(certificate) != key.spki:
        raise OtherCertificate(
            f"certificate {certificate_path} is not that of {key_path}\n"
            "note: restore both from the same backup; peers would refuse this pair"
        )
    return TlsMaterial(key=key, certificate=certificate)


def load_spare(data_dir: Path) -> TlsMaterial | None:
    """The TLS key that is published beside the one in use; None where there is none."""
    key = data_dir / NEXT_TLS_KEY
    return load_tls(key, data_dir / NEXT_TLS_CERTIFICATE) if there_is(key) else None


def load_policy(config: HomeserverConfig) -> Policy:
    """The trust policy; raises LocalError, ConfigError. A missing file is an error: nobody is trusted by accident."""
    path = config.server.trust_file
    missing = 'restore it from your backup; a file with the one line `default = "none"` trusts nobody'
    return parse_policy_text(read_text(path, "trust policy", missing), path)


def load_edges(config: HomeserverConfig) -> Mapping[DomainName, Enrolment]:
    """The enrolled edge nodes by name. No file is not an error: then none is enrolled."""
    path = config.server.data_dir / EDGES
    return parse_edges(read_text(path, "list of edges"), path) if there_is(path) else {}


def load_anchors(config: HomeserverConfig) -> tuple[str, Path] | None:
    """The text of the configured trust anchors and where it is from; None for the built-in ones of the root zone.

    Raises LocalError: the file cannot be read, or the system keeps none.
    """
    path = config.dns.anchors_file
    if path is not None:
        return read_text(path, "trust anchors", "correct dns.anchors_file in the configuration"), path
    return _system_anchors() if config.dns.anchors is AnchorSource.SYSTEM else None


def _system_anchors() -> tuple[str, Path]:
    for path in SYSTEM_ANCHORS:
        with suppress(LocalError):
            return read_text(path, "trust anchors"), path
    raise LocalError(
        f"no trust anchors can be read in {', '.join(map(str, SYSTEM_ANCHORS))}\n"
        'note: install dns-root-data, or set dns.anchors = "iana" for those that came with this program'
    )


def load_published(config: HomeserverConfig) -> Published:
    """The public digests for `config.records`, from the key files and the configured device certificate."""
    data = config.server.data_dir
    material = load_material(data)
    following = load_next_identity(data)
    keys = [material.tls.key]
    for key, certificate in ((NEXT_TLS_KEY, NEXT_TLS_CERTIFICATE), (OLD_TLS_KEY, OLD_TLS_CERTIFICATE)):
        if there_is(data / key):
            keys.append(load_tls(data / key, data / certificate).key)
    return Published(
        identity=material.fingerprint,
        identity_next=None if following is None else fingerprint(following.public),
        tls=tuple(key.spki_sha256 for key in keys),
        device_tls=_device_digest(config.devices.tls_certificate),
    )


def certificate_der(text: str, path: Path) -> bytes:
    """The first certificate in the PEM `text`, as DER."""
    begin = text.find(ssl.PEM_HEADER)
    end = text.find(ssl.PEM_FOOTER, max(begin, 0))
    try:
        return ssl.PEM_cert_to_DER_cert(text[max(begin, 0) : end + len(ssl.PEM_FOOTER)])
    except ValueError:
        raise LocalError(f"certificate {path} is damaged: it is not PEM\nnote: restore it from your backup") from None


def _seed(path: Path, kind: KeyKind) -> Secret:
    return parse_key(read_private_text(path, "key file", _INIT), kind, path)


def _device_digest(path: Path | None) -> bytes | None:
    if path is None:
        return None
    certificate = certificate_der(read_text(path, "device certificate", "correct devices.tls_certificate"), path)
    try:
        return hashlib.sha256(spki_of(certificate)).digest()
    except BadMessage as error:
        raise LocalError(f"device certificate {path}: {error}\nnote: check devices.tls_certificate") from error
