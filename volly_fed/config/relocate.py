"""Paths in a volly-fed.toml: which options are paths, and the same text with other ones.

in: the text of a configuration; out: its paths by option, or the text with some of them changed and all else kept.
Never: opens a file, or gives a text that says anything but the wanted change.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import attrs

from volly_fed.config.example import homeserver_text, toml_value
from volly_fed.config.load import parse_homeserver, parse_toml
from volly_fed.config.model import HomeserverConfig
from volly_fed.errors import ConfigError

_SECTION = re.compile(r"\s*\[\s*(\w+)\s*\]\s*(#.*)?")
_OPTION = re.compile(r"\s*(\w+)\s*=")


def paths_of(config: HomeserverConfig) -> dict[str, Path]:
    """The paths that `config` has, by "section.option"."""
    return {
        f"{section.name}.{option.name}": value
        for section in attrs.fields(HomeserverConfig)
        for option in attrs.fields(type(getattr(config, section.name)))
        if isinstance(value := getattr(getattr(config, section.name), option.name), Path)
    }


def with_paths(config: HomeserverConfig, paths: Mapping[str, Path]) -> HomeserverConfig:
    """`config` with these paths, by "section.option"."""
    for key, path in paths.items():
        section, _, option = key.partition(".")
        config = attrs.evolve(config, **{section: attrs.evolve(getattr(config, section), **{option: path})})
    return config


def inside(path: Path) -> PurePosixPath | None:
    """`path` as the configuration has it, if it stays below the folder that the file is in."""
    pure = PurePosixPath(path)
    return None if pure.is_absolute() or ".." in pure.parts else pure


def relocated(text: str, changes: Mapping[str, str]) -> str:
    """`text` with these paths. Where its form is beyond us, a newly annotated file that says the same.

    Raises ConfigError for a text that has problems already.
    """
    wanted = _with(parse_toml(text, ""), changes)
    edited = _edit(text, changes)
    try:
        if parse_toml(edited, "") == wanted:
            return edited
    except ConfigError:
        pass
    values = {f"{section}.{name}": value for section, options in wanted.items() for name, value in options.items()}
    made = homeserver_text(values)
    parse_homeserver(made, "")
    return made


def _with(document: dict[str, Any], changes: Mapping[str, str]) -> dict[str, Any]:
    result = {section: dict(options) for section, options in document.items()}
    for key, value in changes.items():
        section, _, option = key.partition(".")
        result.setdefault(section, {})[option] = value
    return result


def _edit(text: str, changes: Mapping[str, str]) -> str:
    waiting, section, lines = dict(changes), "", []
    for line in text.splitlines():
        found = _OPTION.match(line)
        key = f"{section}.{found[1]}" if found else ""
        if key in waiting:
            lines.append(f"{key.partition('.')[2]} = {toml_value(waiting.pop(key))}")
            continue
        lines.append(line)
        if header := _SECTION.fullmatch(line):
            section = header[1]
    for key, value in waiting.items():  # what stood at its default: behind the head of its section
        section, _, option = key.partition(".")
        at = next((n for n, line in enumerate(lines) if (h := _SECTION.fullmatch(line)) and h[1] == section), None)
        if at is None:
            lines += ["", f"[{section}]"]
            at = len(lines) - 1
        lines.insert(at + 1, f"{option} = {toml_value(value)}")
    return "\n".join(lines) + "\n"
