"""`volly-fed dns roll`: a new TLS key without a moment in which peers cannot prove it.

in: the configuration, the data folder, what DNS shows; out: where the roll is, what was done, what is next and when.
Never: switches before every authoritative server has shown the new record for twice its TTL.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
import trio
from rich.console import Console
from rich.table import Table
from rich.text import Text

from volly_fed.cli import failure
from volly_fed.cli.findings import with_patience
from volly_fed.cli.options import config_option, json_option, print_json
from volly_fed.config.model import HomeserverConfig
from volly_fed.daemon.dns.configured import make_resolver
from volly_fed.daemon.material import read_homeserver_config
from volly_fed.daemon.upkeep.roll import Look, Phase, Roll, Shown, look
from volly_fed.daemon.upkeep.roll_steps import Step
from volly_fed.daemon.upkeep.roll_steps import finish as run_finish
from volly_fed.daemon.upkeep.roll_steps import start as run_start

_SHOWS = {True: "yes", False: "no", None: "unknown"}


@click.group()
def roll() -> None:
    """Replace the TLS key: start, status, finish, finish again.

    The first `finish` switches to the new key, the second takes the old record away. A spare key is published
    beside the current one since `init`, so that the wait may be over before it is needed.
    """


@roll.command()
@config_option()
@json_option
def start(config_path: Path, as_json: bool) -> None:
    """Begin: make sure that there is a spare key, and publish its TLSA record (or print what to publish)."""
    config = read_homeserver_config(config_path)
    work = partial(run_start, config, time.time())
    _report(config, trio.run(with_patience, _publishing(config), work), as_json)


@roll.command()
@config_option()
@json_option
def status(config_path: Path, as_json: bool) -> int:
    """Ask every authoritative server, and say how long still.

    Looking often makes the wait certain, looking once before an emergency makes it short: what is seen is remembered.

    Exit codes: 0 as it should be, 1 a server does not show the new record or does not answer, 3 none could be asked.
    """
    config = read_homeserver_config(config_path)
    now = time.time()
    seen = trio.run(with_patience, _asking(config), partial(look, config, make_resolver(config), now))
    if as_json:
        print_json(_status_document(config, seen, now))
    else:
        _print_status(seen, now)
    if all(shown.shows is None for shown in seen.servers):
        return failure.UNKNOWN
    return failure.OK if all(shown.shows for shown in (*seen.servers, seen.validated)) else failure.WARNINGS


@roll.command()
@config_option()
@click.option(
    "--emergency",
    is_flag=True,
    help="For a stolen key: switch without `start` and without servers that do not answer, if the spare has been seen "
    "for long enough; once more, and the old record goes at once.",
)
@json_option
def finish(config_path: Path, emergency: bool, as_json: bool) -> int:
    """Switch to the new key once that is safe; after twice the TTL, once more: retire the old one.

    Exit codes: 0 done, 2 refused: too early, and until when.
    """
    config = read_homeserver_config(config_path)
    work = partial(run_finish, config, make_resolver(config), time.time, emergency=emergency)
    step = trio.run(with_patience, _asking(config), work)
    _report(config, step, as_json)
    return failure.FAILED if step.refused else failure.OK


def _asking(config: HomeserverConfig) -> str:
    return f"asking every server of {config.federation.host}"


def _publishing(config: HomeserverConfig) -> str:
    return f"publishing at {config.dns_update.server}" if config.dns_update.server else "making keys"


def _report(config: HomeserverConfig, step: Step, as_json: bool) -> None:
    if as_json:
        lists = {"refused": list(step.refused), "changed": list(step.changed), "publish": list(step.wanted)}
        document = _document(config, step.roll) | {"done": step.done, "until": _when(step.until)} | lists
        print_json(document | {"next": _next(step.roll)})
        return
    for reason in step.refused:
        click.echo(f"refused: {reason}", err=True)
    if step.until is not None:
        click.echo(f"note: try again after {_when(step.until)}", err=True)
    if step.done:
        print(step.done)
    if step.changed:
        print("; published", *step.changed, sep="\n")
    if step.wanted:
        print("; the TLSA records that must be published now, and no others at that name", *step.wanted, sep="\n")
    if not step.refused:
        print(f"next: {_next(step.roll)}")


def _status_document(config: HomeserverConfig, seen: Look, now: float) -> dict[str, Any]:
    objections = seen.objections(now) if seen.roll.phase in (Phase.IDLE, Phase.WAITING) else []
    servers = [
        {
            "server": shown.server,
            "address": shown.address,
            "shows": shown.shows,
            "ttl": shown.ttl,
            "reason": shown.reason,
        }
        for shown in seen.servers
    ]
    return _document(config, seen.roll) | {
        "ready": seen.roll.phase in (Phase.IDLE, Phase.WAITING) and not objections,
        "objections": objections,
        "servers": servers,
        "validated": {"shows": seen.validated.shows, "reason": seen.validated.reason},
        "next": _next(seen.roll),
    }


def _document(config: HomeserverConfig, state: Roll) -> dict[str, Any]:
    return {
        "domain": config.server.domain,
        "phase": str(state.phase),
        "new": state.new.hex(),
        "ttl": state.ttl,
        "wait_seconds": state.wait,
        "seen_since": _when(state.seen_since),
        "ready_at": _when(state.ready_at),
        "retire_at": _when(state.retire_at),
    }


def _print_status(seen: Look, now: float) -> None:
    shown_by = (*seen.servers, seen.validated)
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(_table(shown_by))
    else:
        for shown in shown_by:
            server = f"{shown.server} {shown.address}".rstrip()
            ttl = "" if shown.ttl is None else f" (TTL {shown.ttl})"
            print(f"{_SHOWS[shown.shows]:<8} {server}: {shown.reason}{ttl}")
    print(f"phase: {seen.roll.phase}, key {seen.roll.new.hex() or 'none'}")
    if seen.roll.phase in (Phase.IDLE, Phase.WAITING):
        for objection in seen.objections(now):
            print(f"wait: {objection}")
    print(f"next: {_next(seen.roll)}")


def _table(shown_by: Sequence[Shown]) -> Table:
    table = Table("new record", "server", "address", "TTL", box=None, padding=(0, 2, 0, 0))
    table.add_column("reason", overflow="fold")
    for shown in shown_by:
        ttl = "" if shown.ttl is None else str(shown.ttl)
        table.add_row(_SHOWS[shown.shows], Text(shown.server), shown.address, ttl, Text(shown.reason))
    return table


def _next(state: Roll) -> str:
    """The next step of an operator, in words."""
    if state.phase is Phase.WAITING:
        if state.ready_at is None:
            return "`volly-fed dns roll status` until all servers show the new record"
        return f"`volly-fed dns roll finish` after {_when(state.ready_at)}"
    if state.phase is Phase.SWITCHING:
        return "`volly-fed dns roll finish`: the switch was cut short"
    if state.phase is Phase.RETIRING:
        after = f" after {_when(state.retire_at)}" if state.retire_at is not None else ""
        return f"`volly-fed dns roll finish`{after}, which takes the old record away"
    return "`volly-fed dns roll start`, whenever a new key is wanted"


def _when(at: float | None) -> str | None:
    """A time as people and programs read it, rounded up: it is never too early."""
    return None if at is None else datetime.fromtimestamp(int(at) + 1, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
