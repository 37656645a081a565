"""CONTRACT.toml: how an implementation under test is started, and what it does not do.

in: the path of the file; out: a Contract, or a ContractError that names the key and the next step.
Never: starts anything. The contract itself is README.md.
"""

import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import attrs

from volly_fed.errors import LocalError

ABILITIES: Final = ("discovery", "presence", "rotation")
"""What an implementation may lack, and a scenario may need."""
READY_WITHIN: Final = 30.0
MAX_READY_WITHIN: Final = 600.0
_REQUIRED: Final = ("name", "argv")
_OPTIONAL: Final = ("environment", "build", "lacks", "ready_within")
_NEXT: Final = "note: interop/README.md says what belongs there"


class ContractError(LocalError):
    """A CONTRACT.toml that cannot be used."""


@attrs.frozen(kw_only=True)
class Contract:
    """One implementation. Commands run in `folder`, where the file is."""

    name: str
    folder: Path
    argv: tuple[str, ...]
    environment: dict[str, str] = attrs.field(factory=dict)
    build: tuple[str, ...] = ()
    lacks: frozenset[str] = frozenset()
    ready_within: float = READY_WITHIN

    def command(self, site: Path) -> list[str]:
        """The command line for the homeserver of `site`."""
        return [part.replace("{site}", str(site)).replace("{python}", sys.executable) for part in self.argv]


def read_contract(path: Path) -> Contract:
    """The contract in `path`, or in the CONTRACT.toml of that folder. Raises ContractError."""
    file = path / "CONTRACT.toml" if path.is_dir() else path
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ContractError(f"{file} cannot be read: {error.strerror}\nnote: name a CONTRACT.toml") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ContractError(f"{file}: {error}\n{_NEXT}") from error
    return _parse(values, file)


def _parse(values: dict[str, Any], file: Path) -> Contract:
    for key in values:
        if key not in (*_REQUIRED, *_OPTIONAL):
            raise ContractError(f"{file}: {key}: there is no such key\n{_NEXT}")
    for key in _REQUIRED:
        if key not in values:
            raise ContractError(f"{file}: {key} is missing\n{_NEXT}")
    reader = _Reader(values, file)
    contract = Contract(
        name=reader.text("name"),
        folder=file.parent.resolve(),
        argv=reader.texts("argv"),
        environment=reader.environment(),
        build=reader.texts("build"),
        lacks=frozenset(reader.texts("lacks")),
        ready_within=reader.seconds("ready_within"),
    )
    if not any("{site}" in part for part in contract.argv):
        raise reader.wrong("argv", "must hand over {site}")
    if unknown := contract.lacks.difference(ABILITIES):
        raise reader.wrong("lacks", f"{', '.join(sorted(unknown))}: must be of {', '.join(ABILITIES)}")
    return contract


@attrs.frozen
class _Reader:
    values: dict[str, Any]
    file: Path

    def wrong(self, key: str, why: str) -> ContractError:
        return ContractError(f"{self.file}: {key}: {why}\n{_NEXT}")

    def text(self, key: str) -> str:
        value = self.values[key]
        if not (isinstance(value, str) and value and value.isprintable()):
            raise self.wrong(key, "must be a string, and not an empty one")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.values.get(key, [])
        if not (isinstance(value, list) and all(isinstance(part, str) and part for part in value)):
            raise self.wrong(key, "must be an array of strings")
        return tuple(value)

    def environment(self) -> dict[str, str]:
        value = self.values.get("environment", {})
        if not (isinstance(value, dict) and all(isinstance(part, str) for part in value.values())):
            raise self.wrong("environment", "must be a table of strings")
        return dict(value)

    def seconds(self, key: str) -> float:
        value = self.values.get(key, READY_WITHIN)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_READY_WITHIN:
            raise self.wrong(key, f"must be seconds, at most {MAX_READY_WITHIN:.0f}")
        return float(value)
