"""The annotated configuration files, generated from the model so that they cannot disagree with it.

in: a class of the model and the values to set; out: the text of a TOML file with every option and its documentation.
Never: writes a file. Options that are left at their default stand there commented out.
"""

import enum
import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from volly_fed.config.model import DOC, EXAMPLE, EdgeConfig, HomeserverConfig
from volly_fed.config.values import HostPort, Server
from volly_fed.names import fingerprint_text

_WIDTH = 100
_FINGERPRINT_BYTES = 32
_HEADS = {
    HomeserverConfig: "volly-fed.toml: a homeserver. Changes need a restart; trust.toml needs `volly-fed reload` only.",
    EdgeConfig: "edge.toml: an edge node. Changes need a restart.",
}


def homeserver_text(values: Mapping[str, object] | None = None) -> str:
    """An annotated volly-fed.toml. `values` maps "section.option" to what to set; without it, example values stand."""
    return _file_text(HomeserverConfig, values)


def edge_text(values: Mapping[str, object] | None = None) -> str:
    """An annotated edge.toml; like `homeserver_text` otherwise."""
    return _file_text(EdgeConfig, values)


def _file_text(kind: type, values: Mapping[str, object] | None) -> str:
    chosen = dict(values or {})
    lines = [*_comment(_HEADS[kind])]
    for section in attrs.fields(kind):
        lines += ["", *_comment(section.metadata[DOC]), f"[{section.name}]"]
        for option in attrs.fields(section.type):
            lines += _option_lines(option, chosen.pop(f"{section.name}.{option.name}", None), values is None)
    if chosen:
        raise KeyError(f"no such option: {', '.join(sorted(chosen))}")
    return "\n".join(lines) + "\n"


def _option_lines(option: Any, chosen: object, example: bool) -> list[str]:
    mandatory = option.default is attrs.NOTHING
    if chosen is None and mandatory and not example:
        raise KeyError(f"{option.name} must be set")
    shown = chosen if chosen is not None else option.metadata[EXAMPLE]
    if shown is None:
        shown = option.default
    active = chosen is not None or mandatory
    return ["", *_comment(option.metadata[DOC]), f"{'' if active else '# '}{option.name} = {toml_value(shown)}"]


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH)]


def toml_value(value: object) -> str:
    """`value` as TOML writes it. Knows the kinds of value that the model has."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float) and not isinstance(value, enum.Enum):
        return f"{value:_}" if isinstance(value, int) and value >= 100_000 else f"{value:g}"
    if isinstance(value, HostPort | Server | Path | str):
        return _quoted(str(value))
    if isinstance(value, bytes) and len(value) == _FINGERPRINT_BYTES:
        return _quoted(fingerprint_text(value))  # type: ignore[arg-type]  # the only bytes of the model
    if isinstance(value, tuple | list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    raise TypeError(f"{type(value).__name__} has no TOML form here")


def _quoted(text: str) -> str:
    # JSON's escapes are a subset of those of TOML's basic strings (TOML 1.0, "String"); DEL must be escaped too
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
