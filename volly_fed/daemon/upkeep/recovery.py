"""When the identity key is lost and no backup has it: the best that can still be had, and a homeserver that can start.

in: a configuration, the time; out: how the identity came about, and the files of it. From the best to the worst: a
homeserver that runs still has the key in memory and writes it down; a next identity that the lost one has signed a
statement for takes its place, and peers follow; a new identity, which every peer's operator has to accept.
Never: touches a key that is whole, or takes one for lost because it cannot be read; removes anything.
"""

import enum
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from volly_fed.config.keys import DamagedKey, KeyKind, format_key, parse_key
from volly_fed.config.model import HomeserverConfig
from volly_fed.crypto.signature import IdentityKey, fingerprint
from volly_fed.daemon import material
from volly_fed.daemon.admin.server import Arguments, Handler
from volly_fed.daemon.files import Creation, locked, move_over, read_bytes, read_private_text, there_is, write_text
from volly_fed.daemon.setup import create_tls
from volly_fed.errors import LocalError
from volly_fed.names import Fingerprint, fingerprint_text

_TLS = (
    (material.TLS_KEY, material.TLS_CERTIFICATE),
    (material.NEXT_TLS_KEY, material.NEXT_TLS_CERTIFICATE),
)


class How(enum.StrEnum):
    """Where the identity is from."""

    THERE = "there"
    """Its key was not lost: nothing was changed."""
    SAVED = "saved"
    """The running homeserver has written it down: nobody notices anything."""
    ANNOUNCED = "announced"
    """It is the next one, with a statement by the lost key: peers follow after their cool-off."""
    NEW = "new"
    """Nothing connects it with the lost one: every peer's operator decides."""


@attrs.frozen(kw_only=True)
class Recovered:
    """What there is now. `aside`: what was damaged, or belonged to the lost key, under names of their own."""

    how: How
    identity: Fingerprint
    new_tls: bool = False
    aside: tuple[Path, ...] = ()


def outlook(data_dir: Path) -> How:
    """What `recover` would do. Raises LocalError for a key that is there and cannot be read."""
    if not _is_lost(data_dir / material.IDENTITY_KEY):
        return How.THERE
    return How.NEW if _announced(data_dir) is None else How.ANNOUNCED


def recover(config: HomeserverConfig, now: float) -> Recovered:
    """Make an identity key, and TLS keys where they are lost too. Cut short, it goes on when it is run again.

    No homeserver may be running. Raises LocalError for what cannot be read or written.
    """
    data = config.server.data_dir
    with Creation() as new:
        new.folder(data)
    with locked(data):
        how, aside = outlook(data), _Aside(now)
        new_tls = [_renew_tls(config, names, aside) for names in _TLS]
        if how is How.ANNOUNCED:
            aside.put(data / material.IDENTITY_KEY)
            move_over(data / material.NEXT_IDENTITY_KEY, data / material.IDENTITY_KEY)
        if how is How.NEW:
            for name in (material.CONTINUITY, material.NEXT_IDENTITY_KEY, material.IDENTITY_KEY):
                aside.put(data / name)
            seed = IdentityKey.generate(os.urandom).seed
            write_text(data / material.IDENTITY_KEY, format_key(KeyKind.IDENTITY, seed))
        identity = material.load_material(data).fingerprint
    return Recovered(how=how, identity=identity, new_tls=any(new_tls), aside=tuple(aside.moved))


def handlers(data_dir: Path, identity: Callable[[], IdentityKey]) -> Mapping[str, Handler]:
    """The command `save-identity` of a running homeserver, which uses `identity`."""

    async def save_identity(_arguments: Arguments) -> dict[str, str]:
        key, path = identity(), data_dir / material.IDENTITY_KEY
        if _is_lost(path):
            _Aside(time.time()).put(path)
            write_text(path, format_key(KeyKind.IDENTITY, key.seed))
        return {"identity": fingerprint_text(fingerprint(key.public))}

    return {"save-identity": save_identity}


@attrs.define
class _Aside:
    """Gives files other names, so that whoever knows more about a damaged one can still try."""

    now: float
    moved: list[Path] = attrs.Factory(list)

    def put(self, path: Path) -> None:
        if there_is(path):
            other = path.with_name(f"{path.stem}-lost-{int(self.now)}{path.suffix}")
            move_over(path, other)
            self.moved.append(other)


def _is_lost(path: Path, kind: KeyKind = KeyKind.IDENTITY) -> bool:
    """Whether there is no key, or a damaged one. Raises LocalError where that cannot be told."""
    if not there_is(path):
        return True
    try:
        parse_key(read_bytes(path, "key file").decode(), kind, path)
    except (UnicodeDecodeError, DamagedKey):
        return True
    read_private_text(path, "key file")  # whole, and perhaps not secret any more: that is another matter
    return False


def _announced(data_dir: Path) -> Fingerprint | None:
    """The next identity, where a statement of the lost one names it."""
    if _is_lost(data_dir / material.NEXT_IDENTITY_KEY):
        return None
    following = material.load_next_identity(data_dir)
    try:
        found = material.load_statement(data_dir)
    except LocalError:
        return None  # damaged: as good as none
    if following is None or found is None or found[1].new != fingerprint(following.public):
        return None
    return found[1].new


def _renew_tls(config: HomeserverConfig, names: tuple[str, str], aside: _Aside) -> bool:
    """Whether another key had to be made: for one that is lost, or whose certificate is."""
    key, certificate = (config.server.data_dir / name for name in names)
    if not _is_lost(key, KeyKind.TLS) and _fits(key, certificate):
        return False
    aside.put(key)
    aside.put(certificate)
    with Creation() as new:
        create_tls(new, key, certificate, config.federation.host)
    return True


def _fits(key: Path, certificate: Path) -> bool:
    try:
        material.load_tls(key, certificate)
    except LocalError:
        return False
    return True
