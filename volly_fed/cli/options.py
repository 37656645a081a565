"""What commands share: --config and --json, arguments that are checked as they are read, and output.

in: what the operator typed, text from elsewhere; out: checked values, text that is safe to print, one JSON document
where it was asked for.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import click

from volly_fed.config.values import read_listen, read_remote
from volly_fed.names import Fingerprint, parse_domain, parse_fingerprint
from volly_fed.trust.policy import parse_pattern

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
HOMESERVER_FILE = "volly-fed.toml"
EDGE_FILE = "edge.toml"
_SYSTEM = Path("/etc/volly-fed")


class Parsed(click.ParamType, Generic[T]):  # type: ignore[type-arg]  # generic only in newer versions of click
    """A kind of argument: whatever `parse` makes of the text; its ValueError says what is wrong."""

    def __init__(self, name: str, parse: Callable[[str], T]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> T:
        """`value` checked; the process ends with a message about `param` if it is wrong."""
        try:
            return self._parse(value)
        except ValueError as error:
            return self.fail(str(error), param, ctx)


_SHIELD = "fingerprint "
_HYPHEN_FIRST = re.compile(r"-[A-Za-z0-9_-]{42}")


class FingerprintCommand(click.Command):
    """A command that takes a fingerprint as an argument: one of 64 begins with a hyphen, and is no option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it, with such a fingerprint shielded."""
        return super().parse_args(ctx, [f"{_SHIELD}{arg}" if _HYPHEN_FIRST.fullmatch(arg) else arg for arg in args])


def _read_fingerprint(text: str) -> Fingerprint:
    return parse_fingerprint(text.removeprefix(_SHIELD))


DOMAIN = Parsed("DOMAIN", parse_domain)
PATTERN = Parsed("DOMAIN", parse_pattern)
FINGERPRINT = Parsed("FINGERPRINT", _read_fingerprint)
LISTEN = Parsed("HOST:PORT", read_listen)
REMOTE = Parsed("HOST:PORT", read_remote)
PORT = click.IntRange(1, 65535)
PATH = click.Path(path_type=Path)


def config_option(name: str = HOMESERVER_FILE) -> Callable[[F], F]:
    """`--config FILE`: the command gets `config_path`. Without it, the usual places are searched for `name`."""
    return click.option(
        "--config",
        "config_path",
        type=PATH,
        metavar="FILE",
        callback=lambda _ctx, _param, value: value or find_config(name),
        help=f"The configuration.  [default: ./{name}, then the configuration folders of the user and the system]",
    )


def json_option(function: F) -> F:
    """`--json`: the command gets `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(function)


def find_config(name: str) -> Path:
    """The first `name` there is: here, in the user's configuration folder, in /etc/volly-fed; else the one here."""
    places = [Path(name), Path(click.get_app_dir("volly-fed")) / name, _SYSTEM / name]
    return next((place for place in places if place.is_file()), places[0])


def print_json(document: object) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def shown(text: str) -> str:
    """`text` with everything replaced that is not printable, line ends too: a message is one line."""
    return "".join(character if character.isprintable() else "�" for character in text)
