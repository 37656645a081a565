"""`volly-fed watch`: the running homeserver, live, over one connection.

in: a volly-fed.toml; out: a table that is drawn again each second, or a line for each change: JSON with --json, words
where no terminal is. Exit code 0 at Ctrl-C, 3 when the homeserver has gone.
Never: prints what comes from outside as anything but text.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from volly_fed.cli.failure import OK, UNKNOWN
from volly_fed.cli.options import config_option, shown
from volly_fed.cli.status import STYLES, next_text, queue_text, state_text
from volly_fed.cli.watch_changes import Change, Look, beginning, changes
from volly_fed.daemon.admin import client as admin_client
from volly_fed.daemon.material import read_homeserver_config
from volly_fed.daemon.wording import duration


@click.command()
@config_option()
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each change, the first says how it is.")
def watch(config_path: Path, as_json: bool) -> int:
    """Follow the running homeserver: its peers, queues, edge nodes and problems, until Ctrl-C.

    Where the output is no terminal, or with --json, a line is printed for each change: link_up, link_down, edge_up,
    edge_down, queue_grows, queue_empty, held, released, draining_began, draining_ended, problem, problem_ended.
    What comes and goes between two looks, a second apart, is not seen, but for a link that is another one now.
    Exit code 3: the homeserver has gone.
    """
    config, console = read_homeserver_config(config_path), Console(highlight=False)
    try:
        with admin_client.following(config, "watch") as looks:
            if as_json or not console.is_terminal:
                for change in _all_changes(looks):
                    click.echo(_json_line(change) if as_json else _words(change))
            else:
                with _table(console) as draw:
                    for look in looks:
                        draw(look)
    except KeyboardInterrupt:
        return OK
    click.echo("The homeserver has gone.", err=True)
    return UNKNOWN


def _all_changes(looks: Iterator[Look]) -> Iterator[Change]:
    last: Look | None = None
    for look in looks:
        if last is None:
            yield beginning(look)
        else:
            yield from changes(last, look)
        last = look


def _json_line(change: Change) -> str:
    return json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **change}, ensure_ascii=False)


def _words(change: Change) -> str:
    time, event = datetime.now().astimezone().strftime("%H:%M:%S"), change.pop("event")
    parts = [
        f"{name} {_word(value)}" for name, value in change.items() if value is not False and value not in ("", [], None)
    ]
    return f"{time} {event.replace('_', ' ')}: {', '.join(parts)}" if parts else f"{time} {event.replace('_', ' ')}"


def _word(value: object) -> str:
    return shown(" ".join(map(str, value)) if isinstance(value, list) else str(value).partition("\n")[0])


@contextmanager
def _table(console: Console) -> Iterator[Callable[[Look], None]]:
    with Live(console=console, auto_refresh=False) as live:
        yield lambda look: live.update(render(look), refresh=True)


def render(look: Look) -> RenderableType:
    """One look as a few lines and a table; those for whom something waits first."""
    status = look["status"]
    linked = [edge["name"] for edge in status["edges"] if edge["linked_s"] is not None]
    head = f"{status['domain']}  up for {duration(status['up_s'])}  {queue_text(status['queue'])}"
    lines = [Text(head), Text(f"edges {len(linked)} of {len(status['edges'])}: {', '.join(linked)}")]
    lines += [Text(f"problem {shown(problem)}", style="red") for problem in status["problems"]]
    return Group(*lines, _peers(look["peers"]))


def _peers(peers: list[Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("domain", "level", "state", "since", "waiting", "next attempt, last error"):
        table.add_column(title, overflow="fold")
    for peer in sorted(peers, key=lambda peer: (-peer["queue"]["envelopes"], peer["domain"])):
        since = "" if peer["linked_s"] is None else duration(peer["linked_s"])
        state = Text(state_text(peer), style=STYLES.get(peer["state"], ""))
        cells = (peer["domain"], peer["level"], state, since, queue_text(peer["queue"]), next_text(peer))
        table.add_row(*[cell if isinstance(cell, Text) else Text(cell) for cell in cells])
    return table
