"""The files of a new homeserver or edge node: keys, certificates and annotated configuration, all or none.

in: where, and the options that differ from their defaults; out: the configuration as it was written.
Never: overwrites anything, or leaves half of it behind. Commands and the test network both come here.
"""

import os
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from volly_fed.config.example import edge_text, homeserver_text
from volly_fed.config.keys import KeyKind, format_key
from volly_fed.config.load import parse_edge, parse_homeserver
from volly_fed.config.model import EdgeConfig, HomeserverConfig
from volly_fed.crypto.certificate import TlsKey
from volly_fed.crypto.signature import IdentityKey
from volly_fed.daemon import material
from volly_fed.daemon.files import PUBLIC_FILE, Creation
from volly_fed.errors import LocalError
from volly_fed.trust.policy import EXAMPLE as TRUST_EXAMPLE

_CERTIFICATE_LIFETIME = timedelta(days=3650)
"""Nobody looks at it (RFC 7671 §5.1): the TLSA record says what is valid. Long, so that no other tool complains."""
_BACKDATE = timedelta(days=1)


def create_homeserver(
    path: Path, values: Mapping[str, object], *, trust: str = TRUST_EXAMPLE, now: datetime | None = None
) -> HomeserverConfig:
    """Make the configuration `path` and all that it names. `values` maps "section.option" to what to set.

    Raises ConfigError for bad values and LocalError for files that exist or cannot be written; nothing is left then.
    """
    text = homeserver_text(values)
    config = parse_homeserver(text, path)
    data = config.server.data_dir
    _refuse_existing(path, config.server.trust_file, *(data / name for name in _ALL))
    with Creation() as new:
        new.folder(path.parent)
        _identity(new, data)
        host = config.federation.host
        create_tls(new, data / material.TLS_KEY, data / material.TLS_CERTIFICATE, host, now)
        create_tls(new, data / material.NEXT_TLS_KEY, data / material.NEXT_TLS_CERTIFICATE, host, now)
        new.folder(config.server.trust_file.parent)
        new.file(config.server.trust_file, trust, PUBLIC_FILE)
        new.file(path, text, PUBLIC_FILE)
    return config


def create_edge(path: Path, values: Mapping[str, object], *, now: datetime | None = None) -> EdgeConfig:
    """Make the configuration `path` of an edge node, and its keys; like `create_homeserver` otherwise."""
    text = edge_text(values)
    config = parse_edge(text, path, ready=False)  # the operator may add TLS for devices afterwards
    data = config.edge.data_dir
    _refuse_existing(path, *(data / name for name in _ALL))
    with Creation() as new:
        new.folder(path.parent)
        _identity(new, data)
        create_tls(new, data / material.TLS_KEY, data / material.TLS_CERTIFICATE, config.edge.name, now)
        new.file(path, text, PUBLIC_FILE)
    return config


_ALL = (
    material.IDENTITY_KEY,
    material.TLS_KEY,
    material.TLS_CERTIFICATE,
    material.NEXT_TLS_KEY,
    material.NEXT_TLS_CERTIFICATE,
)


def _refuse_existing(*paths: Path) -> None:
    there = [str(path) for path in paths if path.exists()]
    if there:
        raise LocalError(
            f"will not overwrite {', '.join(there)}\n"
            "note: nothing was changed; choose another folder with --dir, or move these files away"
        )


def _identity(new: Creation, data: Path) -> None:
    new.folder(data)
    new.file(data / material.IDENTITY_KEY, format_key(KeyKind.IDENTITY, IdentityKey.generate(os.urandom).seed))


def create_tls(new: Creation, key_path: Path, certificate_path: Path, name: str, now: datetime | None = None) -> None:
    """A new TLS key and a certificate for it in the name of `name`, made by `new`. Raises LocalError."""
    key = TlsKey.generate()
    since = (now or datetime.now(UTC)).replace(microsecond=0) - _BACKDATE
    certificate = key.self_signed(name, since, _CERTIFICATE_LIFETIME)
    new.file(key_path, format_key(KeyKind.TLS, key.seed))
    new.file(certificate_path, ssl.DER_cert_to_PEM_cert(certificate), PUBLIC_FILE)
