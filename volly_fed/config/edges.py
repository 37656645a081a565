"""edges.toml: the edge nodes that are enrolled with a homeserver.

in: the text of the file; out: enrolments by name, and back. The commands `edges enrol|revoke` write this file, nobody
else has to. Never: reads a file or a clock.
"""

from collections.abc import Mapping
from datetime import datetime

import attrs

from volly_fed.config.load import parse_toml, unknown_key
from volly_fed.config.values import read_domain, read_fingerprint
from volly_fed.errors import ConfigError
from volly_fed.names import DomainName, Fingerprint, fingerprint_text

_HEAD = "# Edge nodes enrolled with this homeserver. Written by `volly-fed edges enrol` and `volly-fed edges revoke`.\n"
_KEYS = ["fingerprint", "enrolled_at"]


@attrs.frozen(kw_only=True)
class Enrolment:
    """One edge node: its name, the fingerprint of its identity key, and when it was enrolled (UTC)."""

    name: DomainName
    fingerprint: Fingerprint
    enrolled_at: datetime


def parse_edges(text: str, source: object) -> Mapping[DomainName, Enrolment]:
    """The enrolments in `text`; raises ConfigError with every problem, two names with one fingerprint included."""
    problems: list[str] = []
    found: dict[DomainName, Enrolment] = {}
    seen: dict[Fingerprint, str] = {}
    for name, table in parse_toml(text, str(source)).items():
        try:
            enrolment = _read(name, table)
            if enrolment.fingerprint in seen:
                raise ValueError(f"fingerprint: is also that of {seen[enrolment.fingerprint]}")  # noqa: TRY301 - one list
            found[enrolment.name] = enrolment
            seen[enrolment.fingerprint] = name
        except ValueError as error:
            problems.append(f"{source}: {name}: {error}")
    if problems:
        raise ConfigError(problems)
    return found


def format_edges(edges: Mapping[DomainName, Enrolment]) -> str:
    """The text of edges.toml; `parse_edges` reads it back."""
    blocks = [
        f'\n["{name}"]\nfingerprint = "{fingerprint_text(edge.fingerprint)}"\n'
        f"enrolled_at = {edge.enrolled_at.isoformat(timespec='seconds').replace('+00:00', 'Z')}\n"
        for name, edge in sorted(edges.items())
    ]
    return _HEAD + "".join(blocks)


def _read(name: str, table: object) -> Enrolment:
    if not isinstance(table, dict):
        raise ValueError("must be a section of its own")  # noqa: TRY004 - collected with the others
    for key in table:
        if key not in _KEYS:
            raise ValueError(f"{key}: {unknown_key(key, _KEYS)}")
    enrolled_at = table.get("enrolled_at")
    if not isinstance(enrolled_at, datetime) or enrolled_at.tzinfo is None:
        raise ValueError("enrolled_at: must be a time with its zone, like 2026-01-31T12:00:00Z")
    return Enrolment(
        name=read_domain(name), fingerprint=read_fingerprint(table.get("fingerprint")), enrolled_at=enrolled_at
    )
