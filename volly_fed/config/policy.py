"""trust.toml, read with its name in every problem, and edited without losing the operator's comments.

in: the text of the file and one change; out: a Policy, or the new text, which has been read back and compared.
Never: writes a text that says anything but the wanted change; what it cannot edit it leaves to the operator.
"""

import re
from pathlib import Path

import attrs

from volly_fed.codepoints import TrustLevel
from volly_fed.config.load import parse_toml
from volly_fed.errors import ConfigError, LocalError
from volly_fed.trust.policy import Policy, parse_pattern, parse_policy

_NEXT = "correct it; `volly-fed config example trust` shows what can stand there"
_SECTION = re.compile(r"\s*\[")
_LEVELS = re.compile(r"\s*\[\s*levels\s*\]\s*(#.*)?")


def parse_policy_text(text: str, source: str | Path) -> Policy:
    """The policy in `text`; raises ConfigError whose every problem begins with `source`, and has the line or key."""
    try:
        tables = parse_toml(text, source)
    except ConfigError as error:
        raise ConfigError([f"{problem}\nnote: {_NEXT}" for problem in error.problems]) from error
    try:
        return parse_policy(tables)
    except ConfigError as error:
        note = f"\nnote: {_NEXT}" if len(error.problems) == 1 else ""
        raise ConfigError([f"{source}: {problem}{note}" for problem in error.problems]) from error


def set_level(text: str, name: str, level: TrustLevel | None, source: str | Path) -> str:
    """`text` with `name` (a domain or `*.suffix`) at `level`, or without a line of its own if `level` is None.

    Raises BadName, ConfigError for a file that has problems already, and LocalError if it cannot be edited.
    """
    pattern = parse_pattern(name)
    before = parse_policy_text(text, source)
    levels = {known: value for known, value in before.levels.items() if known != pattern}
    wanted = attrs.evolve(before, levels=levels if level is None else levels | {pattern: level})
    after = _edit(text, pattern, level)
    try:
        faithful = parse_policy_text(after, source) == wanted
    except ConfigError:
        faithful = False
    if not faithful:
        line = f'"{pattern}" = "{level}"' if level else f'no line for "{pattern}"'
        raise LocalError(f"{source} is written in a way this command cannot edit\nnote: put {line} under [levels]")
    return after


def _edit(text: str, pattern: str, level: TrustLevel | None) -> str:
    lines = text.splitlines()
    start = next((index for index, line in enumerate(lines) if _LEVELS.fullmatch(line)), None)
    if start is None:
        lines += ["", "[levels]"]
        start = len(lines) - 1
    end = next((i for i in range(start + 1, len(lines)) if _SECTION.match(lines[i])), len(lines))
    old = re.compile(rf"""\s*(["']?){re.escape(pattern)}\.?\1\s*=\s*["']\w+["']""", re.IGNORECASE)
    inside = [line for line in lines[start + 1 : end] if not old.match(line)]
    if level is not None:
        place = next((i for i, line in enumerate(lines[start + 1 : end]) if old.match(line)), len(inside))
        if place == len(inside):
            place = max((i + 1 for i, line in enumerate(inside) if line.strip()), default=0)
        comment = next((_trailing(line) for line in lines[start + 1 : end] if old.match(line)), "")
        inside.insert(place, f'"{pattern}" = "{level}"{comment}')
    return "\n".join([*lines[: start + 1], *inside, *lines[end:]]) + "\n"


def _trailing(line: str) -> str:
    _, mark, comment = line.partition("#")
    return f"  {mark}{comment}" if mark else ""
