"""`volly-fed drain`: empty the running homeserver before it is upgraded or moved.

in: a volly-fed.toml; out: what waits still, as it becomes less; exit code 0 when nothing does, 3 when time is over.
Never: leaves anybody in doubt whether things are taken again: they are after --cancel, and after a restart.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from volly_fed import limits_admin
from volly_fed.cli.failure import OK, UNKNOWN
from volly_fed.cli.options import config_option, json_option, print_json, shown
from volly_fed.cli.status import count_text
from volly_fed.config.model import HomeserverConfig
from volly_fed.daemon.admin import client as admin_client
from volly_fed.daemon.material import read_homeserver_config
from volly_fed.errors import LocalError

_NAMED = 5
"""Peers that are named in one line: those for whom most waits."""
_STILL = "It takes nothing new until `volly-fed drain --cancel`, or a restart."


@click.command()
@click.option(
    "--timeout",
    type=click.FloatRange(0),
    default=limits_admin.DRAIN_PATIENCE,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait until nothing waits any more.",
)
@click.option("--stop", is_flag=True, help="End the homeserver once nothing waits.")
@click.option("--cancel", is_flag=True, help="Take everything again.")
@config_option()
@json_option
def drain(timeout: float, stop: bool, cancel: bool, config_path: Path, as_json: bool) -> int:
    """Let the running homeserver take nothing new, and deliver what waits for other homeservers.

    Devices that submit are told to try again later (OVERLOADED); what peers have for us waits with them. Deliveries to
    devices go on. Peers that are held, or whose level lets nothing out, are not waited for: what waits for them stays
    in the store.

    Exit code 0: nothing waits. 3: time is over; it still takes nothing new, and is not stopped. After a restart
    everything is taken again, and nothing is lost by one, whatever waits.
    """
    if cancel and stop:
        raise click.UsageError("--cancel and --stop do not go together")
    config = read_homeserver_config(config_path)
    if cancel:
        return _cancel(config, as_json)
    try:
        report = _follow(config, timeout, tell=(lambda _: None) if as_json else _print_progress)
    except KeyboardInterrupt:
        click.echo(_STILL, err=True)
        raise
    if not report["draining"]:
        raise LocalError("somebody has taken this back\nnote: `volly-fed drain` begins again")
    stopped = stop and report["empty"] and _stop(config)
    if as_json:
        print_json(report | {"stopped": stopped})
    else:
        _print_end(report, stopped)
    return OK if report["empty"] else UNKNOWN


def _follow(config: HomeserverConfig, timeout: float, tell: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
    """The last report: nothing waits, time is over, or it was taken back."""
    until = time.monotonic() + timeout
    with admin_client.following(config, "drain") as reports:
        last = None
        for report in reports:
            if report["empty"] or not report["draining"] or time.monotonic() >= until:
                return report
            if report != last:
                tell(report)
            last = report
    raise LocalError("the homeserver has ended meanwhile\nnote: see its log; what waited lies in its store")


def _cancel(config: HomeserverConfig, as_json: bool) -> int:
    answer = admin_client.call(config, "drain-cancel")
    if as_json:
        print_json(answer)
    else:
        print("Everything is taken again." if answer["was_draining"] else "It was not being drained.")
    return OK


def _stop(config: HomeserverConfig) -> bool:
    """Whether it has ended."""
    process = admin_client.process(config)
    admin_client.call(config, "stop")
    if not admin_client.wait_for_end(process, limits_admin.STOP_WAIT):
        raise LocalError(f"process {process} was told to stop, and goes on\nnote: see its log")
    return True


def _print_progress(report: Mapping[str, Any]) -> None:
    print(_waiting(report), flush=True)


def _print_end(report: Mapping[str, Any], stopped: bool) -> None:
    print("Nothing waits any more." if report["empty"] else f"Time is over: {_waiting(report)}")
    for one in report["kept"]:
        print(f"{count_text(one['envelopes'])} for {one['domain']} stay in the store: {one['why']}.")
    print("The homeserver has ended." if stopped else _STILL)


def _waiting(report: Mapping[str, Any]) -> str:
    most = sorted(report["peers"], key=lambda one: -one["envelopes"])
    parts = [
        f"{one['domain']} {one['envelopes']} ({one['state']}{_reason(one['last_error'])})" for one in most[:_NAMED]
    ]
    if len(most) > _NAMED:
        parts.append(f"{len(most) - _NAMED} peers more")
    return f"{count_text(report['envelopes'])} still to leave: {', '.join(parts)}"


def _reason(error: str) -> str:
    return f": {shown(error.splitlines()[0])}" if error else ""
