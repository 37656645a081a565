"""`volly-fed keys rotate`: change the identity of a homeserver so that peers follow without being asked.

in: a volly-fed.toml; out: the phase, what to publish and what to do next; files in the data folder.
Never: shows anything secret, or changes a zone.
"""

import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
import trio

from volly_fed import limits
from volly_fed.cli.findings import with_patience
from volly_fed.cli.options import config_option, json_option, print_json
from volly_fed.config.model import HomeserverConfig
from volly_fed.config.records import records_of
from volly_fed.daemon.admin import client as admin_client
from volly_fed.daemon.dns.configured import make_resolver
from volly_fed.daemon.material import load_edges, load_published, read_homeserver_config
from volly_fed.daemon.upkeep import rotation
from volly_fed.daemon.upkeep.rotation import Phase, Rotation
from volly_fed.names import fingerprint_text

_HOUR = 3600

after_option = click.option(
    "--after",
    type=click.FloatRange(min=0),
    default=limits.COOL_OFF / _HOUR,
    show_default=True,
    metavar="HOURS",
    help="How long peers wait before they accept a changed identity.",
)


@click.group()
def rotate() -> None:
    """Change the identity: start, wait for the peers' cool-off, finish."""


@rotate.command()
@click.option("--force", is_flag=True, help="Even while peers are still told of the change before this one.")
@config_option()
@json_option
def start(config_path: Path, force: bool, as_json: bool) -> None:
    """Make the next identity and the continuity statement; say what to publish."""
    config = read_homeserver_config(config_path)
    at = rotation.start(config.server.domain, config.server.data_dir, time.time(), force=force)
    _report(config, at, limits.COOL_OFF, as_json, reloaded=_reload(config))


@rotate.command()
@after_option
@config_option()
@json_option
def status(config_path: Path, after: float, as_json: bool) -> None:
    """Show how far the change is, and what comes next."""
    config = read_homeserver_config(config_path)
    _report(config, rotation.look(config.server.data_dir, time.time()), after * _HOUR, as_json)


@rotate.command()
@after_option
@click.option("--now", "at_once", is_flag=True, help="Do not wait, and do not look whether the record announces it.")
@config_option()
@json_option
def finish(config_path: Path, after: float, at_once: bool, as_json: bool) -> None:
    """Use the next identity from now on. Refused before peers can have accepted it."""
    config = read_homeserver_config(config_path)
    data, now, wait = config.server.data_dir, time.time(), 0.0 if at_once else after * _HOUR
    at = rotation.look(data, now)
    if at.phase is not Phase.SWITCHED and not at_once:
        following = rotation.demand_ready(at, now, wait)
        domain = config.server.domain
        work = partial(rotation.demand_announced, make_resolver(config), domain, following)
        trio.run(with_patience, f"looking for the record of {domain}", work)
    at = rotation.finish(data, now, after=wait)
    _report(config, at, wait, as_json, reloaded=_reload(config))


def _reload(config: HomeserverConfig) -> bool:
    """Let the running homeserver show the keys as they are now; False where none runs."""
    try:
        admin_client.call(config, "reload")
    except admin_client.NotRunning:
        return False
    return True


def _report(
    config: HomeserverConfig, at: Rotation, after: float, as_json: bool, *, reloaded: bool | None = None
) -> None:
    ready = rotation.ready_at(at, after) if at.phase is Phase.ANNOUNCED else None
    if as_json:
        print_json(_plain(config, at, ready, reloaded))
        return
    print(f"{'phase':<10} {at.phase}")
    print(f"{'identity':<10} {fingerprint_text(at.identity)}")
    if at.following is not None:
        print(f"{'next':<10} {fingerprint_text(at.following)}")
    if at.previous is not None:
        kept = config.server.data_dir / rotation.kept_name(at.previous)
        print(f"{'before':<10} {fingerprint_text(at.previous)}, kept in {kept}")
        print(f"{'statement':<10} shown to peers until {_date(at.expires)}")
    for line in _steps(config, at, ready):
        print(line)
    if reloaded is not None:
        print("The running homeserver has taken it over." if reloaded else "No homeserver runs here now.")


def _steps(config: HomeserverConfig, at: Rotation, ready: float | None) -> list[str]:
    edges = ", ".join(sorted(load_edges(config)))
    record = _record(config)
    by = " (`volly-fed dns publish --rfc2136` does it)" if config.dns_update.server is not None else ""
    if at.phase is Phase.PREPARED:
        return ["The statement is missing: run `volly-fed keys rotate start` again."]
    if at.phase is Phase.ANNOUNCED and at.following is not None and ready is not None:
        steps = [
            f"- back up {config.server.data_dir}: it holds the next key",
            f"- publish this record now{by}:",
            f"  {record}",
        ]
        if edges:
            steps += [
                f"- on each edge node ({edges}), put into edge.toml below [edge], and restart it:",
                f'  homeserver_identity_next = "{fingerprint_text(at.following)}"',
            ]
        return [*steps, f"- not before {_date(ready)}: `volly-fed keys rotate finish`"]
    if at.phase is Phase.SWITCHED:
        steps = [f"- publish this record now{by}:", f"  {record}"]
        if edges:
            steps += [
                f"- on each edge node ({edges}), when convenient, without homeserver_identity_next:",
                f'  homeserver_identity = "{fingerprint_text(at.identity)}"',
            ]
        return steps
    return ["No change is under way; `volly-fed keys rotate start` begins one."]


def _plain(config: HomeserverConfig, at: Rotation, ready: float | None, reloaded: bool | None) -> dict[str, Any]:
    return {
        "phase": str(at.phase),
        "identity": fingerprint_text(at.identity),
        "next": None if at.following is None else fingerprint_text(at.following),
        "previous": None if at.previous is None else fingerprint_text(at.previous),
        "announced": _time(at.announced),
        "ready_at": _time(ready),
        "expires": _time(at.expires),
        "record": _record(config),
        "edges": sorted(load_edges(config)),
        "reloaded": reloaded,
    }


def _record(config: HomeserverConfig) -> str:
    """The identity record as it must be published now."""
    return next(record.line() for record in records_of(config, load_published(config)) if record.type == "TXT")


def _time(seconds: float | None) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds else None


def _date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
