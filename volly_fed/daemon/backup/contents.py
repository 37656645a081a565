"""What a backup of a homeserver consists of, besides its store: every file that its configuration leads to.

in: the path of a configuration; out: its bytes and those of policy, keys, enrolments, statements and named files.
All of them are read while no command changes a key. Never: leaves a file out without saying so.
"""

from pathlib import Path
from typing import Final

import attrs

from volly_fed import limits_backup
from volly_fed.config.model import HomeserverConfig
from volly_fed.config.relocate import paths_of
from volly_fed.daemon import material
from volly_fed.daemon.admin.client import SOCKET
from volly_fed.daemon.backup.manifest import CONFIG, DATA, FILES, TRUST, may_be_member
from volly_fed.daemon.files import locked, read_bytes
from volly_fed.errors import LocalError
from volly_fed.names import Fingerprint

STORE_FILE: Final = "store.db"
STORE_COPY: Final = "store-copy.db"
"""Where a copy of the store lies, in the data folder, until the command that wanted it has it."""
_DATA_DIR: Final = "server.data_dir"
_TRUST_FILE: Final = "server.trust_file"


@attrs.frozen(kw_only=True)
class Contents:
    """The small files of a backup by name; what lay there and is not among them."""

    config: HomeserverConfig
    identity: Fingerprint
    files: dict[str, bytes] = attrs.field(repr=False)
    left_out: tuple[str, ...]


def gather(config_path: Path) -> Contents:
    """Read them. Raises LocalError: something that is needed is missing or damaged, or there is too much."""
    config = material.read_homeserver_config(config_path)
    data = config.server.data_dir
    with locked(data):
        identity = material.load_material(data).fingerprint
        material.load_continuity(data, 0.0)
        material.load_policy(config)
        material.load_edges(config)
        found = {
            CONFIG: read_bytes(config_path, "configuration"),
            TRUST: read_bytes(config.server.trust_file, "trust policy"),
        }
        left_out = _read_data(data, config.server.trust_file, found)
    for option, path in paths_of(config).items():
        if option not in {_DATA_DIR, _TRUST_FILE}:
            _read_named(option, path, found, left_out)
    if len(found) >= limits_backup.MEMBERS:
        raise LocalError(
            f"there are more than {limits_backup.MEMBERS} files in {data}\nnote: move away what is not ours"
        )
    return Contents(config=config, identity=identity, files=found, left_out=tuple(left_out))


def _read_data(data: Path, trust_file: Path, found: dict[str, bytes]) -> list[str]:
    """All regular files there, whatever they are for; the names of those that are not taken."""
    left_out = []
    for path in sorted(data.iterdir()):
        name = DATA + path.name
        if path.name.startswith((STORE_FILE, STORE_COPY, ".", "store-schema-")) or path.name == SOCKET:
            continue
        if path.resolve() == trust_file.resolve():
            continue
        if not path.is_file() or not may_be_member(name):
            left_out.append(f"{path} (no file of ours)")
        elif path.stat().st_size > limits_backup.MEMBER_BYTES:
            left_out.append(f"{path} (too large to be ours)")
        else:
            found[name] = read_bytes(path, "file")
    return left_out


def _read_named(option: str, path: Path, found: dict[str, bytes], left_out: list[str]) -> None:
    try:
        found[FILES + option] = read_bytes(path, option)
    except LocalError as error:
        left_out.append(str(error).partition("\n")[0])
