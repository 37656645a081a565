"""The files of the TLS keys during a roll: the current key, the spare, the old one.

in: the data folder; out: digests, and each step of a switch done whole.
Never: loses a key: a step that was cut short is taken again and finds what it left. A certificate is written before
its key, whose file says that the pair is there. The current pair alone has two names to change, the key's first:
`material.load_material` takes the spare's certificate in between.
"""

import ssl
from datetime import datetime, timedelta
from pathlib import Path

from volly_fed import limits
from volly_fed.config.keys import KeyKind, format_key, parse_key
from volly_fed.config.model import HomeserverConfig
from volly_fed.crypto.certificate import TlsKey
from volly_fed.daemon import material
from volly_fed.daemon.files import PUBLIC_FILE, read_private_text, read_text, there_is, write_text
from volly_fed.errors import LocalError

_BACKDATE = timedelta(days=1)
"""Nobody looks at the dates (RFC 7671 §5.1); this keeps other tools from complaining of clocks."""


def current(data_dir: Path) -> bytes:
    """SHA-256 over the public key in use, as in its TLSA record. Raises LocalError."""
    return _digest(data_dir / material.TLS_KEY)


def spare(data_dir: Path) -> bytes | None:
    """The same for the next key, or None if there is none."""
    path = data_dir / material.NEXT_TLS_KEY
    return _digest(path) if there_is(path) else None


def old(data_dir: Path) -> bytes | None:
    """The same for the key before, until it is retired."""
    path = data_dir / material.OLD_TLS_KEY
    return _digest(path) if there_is(path) else None


def make_spare(config: HomeserverConfig, now: datetime) -> bytes:
    """A spare, unless there is one; its digest."""
    data = config.server.data_dir
    there = spare(data)
    if there is not None:
        return there
    key = TlsKey.generate()
    certificate = key.self_signed(config.federation.host, now - _BACKDATE, timedelta(seconds=limits.TLS_CERTIFICATE))
    write_text(data / material.NEXT_TLS_CERTIFICATE, ssl.DER_cert_to_PEM_cert(certificate), PUBLIC_FILE)
    write_text(data / material.NEXT_TLS_KEY, format_key(KeyKind.TLS, key.seed))
    return key.spki_sha256


def switch(config: HomeserverConfig, new: bytes, now: datetime) -> None:
    """The spare `new` becomes the current key, the current one the old, and there is a new spare.

    Can be repeated after it was cut short anywhere. Raises LocalError if the files are not those of this switch.
    """
    data = config.server.data_dir
    if current(data) != new:
        if spare(data) != new:
            raise LocalError(
                f"{data / material.NEXT_TLS_KEY} is not the key whose record was waited for\n"
                "note: restore it from your backup, or begin again with `volly-fed dns roll start`"
            )
        _copy(data / material.TLS_CERTIFICATE, data / material.OLD_TLS_CERTIFICATE, PUBLIC_FILE)
        _copy_key(data / material.TLS_KEY, data / material.OLD_TLS_KEY)
        _copy_key(data / material.NEXT_TLS_KEY, data / material.TLS_KEY)
    if spare(data) == new:
        _copy(data / material.NEXT_TLS_CERTIFICATE, data / material.TLS_CERTIFICATE, PUBLIC_FILE)
        (data / material.NEXT_TLS_KEY).unlink()
    make_spare(config, now)


def forget_old(data_dir: Path) -> None:
    """Remove the old key; none is no error."""
    (data_dir / material.OLD_TLS_KEY).unlink(missing_ok=True)
    (data_dir / material.OLD_TLS_CERTIFICATE).unlink(missing_ok=True)


def published(data_dir: Path) -> tuple[bytes, ...]:
    """The digests that TLSA records must show now: the current key's, the spare's, the old one's. Raises LocalError."""
    found = (current(data_dir), spare(data_dir), old(data_dir))
    return tuple(dict.fromkeys(digest for digest in found if digest is not None))


def _digest(path: Path) -> bytes:
    text = read_private_text(path, "key file", "restore it from your backup")
    return TlsKey.from_seed(parse_key(text, KeyKind.TLS, path)).spki_sha256


def _copy_key(source: Path, target: Path) -> None:
    write_text(target, read_private_text(source, "key file"))


def _copy(source: Path, target: Path, mode: int) -> None:
    write_text(target, read_text(source, "certificate"), mode)
