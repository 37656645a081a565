"""`volly-fed dns publish`: bring the zone to what `dns print` prints, by signed dynamic updates.

in: the configuration with [dns_update], the public side of its keys; out: the difference, and what was done about it.
Never: changes what it has not shown, or records of others at the same names.
"""

from functools import partial
from pathlib import Path

import click
import trio

from volly_fed.cli.findings import with_patience
from volly_fed.cli.options import config_option, json_option, print_json
from volly_fed.config.records import TTL, records_of
from volly_fed.daemon.material import load_published, read_homeserver_config
from volly_fed.daemon.upkeep.publish import differences, load_primary
from volly_fed.daemon.upkeep.publish import publish as send
from volly_fed.daemon.upkeep.rfc2136 import Change, Primary

_MAX_TTL = 2**31 - 1  # RFC 2181 §8


@click.command()
@config_option()
@click.option("--rfc2136", is_flag=True, required=True, help="By dynamic update, to the server in [dns_update].")
@click.option("--dry-run", is_flag=True, help="Show the difference and change nothing.")
@click.option("--ttl", type=click.IntRange(1, _MAX_TTL), default=TTL, show_default=True, help="Of new RRsets.")
@json_option
def publish(config_path: Path, rfc2136: bool, dry_run: bool, ttl: int, as_json: bool) -> None:  # noqa: ARG001 - the one way
    """Publish the records by dynamic update; show the changes.

    Exit codes: 0 the zone is as it must be (or, with --dry-run, compared), 2 refused, 3 no answer.
    """
    config = read_homeserver_config(config_path)
    records = records_of(config, load_published(config), ttl=ttl)
    primary = load_primary(config.dns_update)
    asking = f"asking {primary}"
    changes = trio.run(with_patience, asking, partial(differences, config.dns_update, primary, records))
    if not as_json:
        _print(primary, changes)
    if changes and not dry_run:
        changes = trio.run(with_patience, asking, partial(send, config.dns_update, primary, records))
    if as_json:
        lines = {
            "removed": [line[2:] for change in changes for line in change.removed],
            "added": [line[2:] for change in changes for line in change.added],
        }
        zones = sorted({change.zone.to_text() for change in changes})
        print_json({"domain": config.server.domain, "zones": zones, "changed": bool(changes) and not dry_run} | lines)
    elif changes:
        print("nothing was changed" if dry_run else f"published; {primary} has agreed and shows the records")


def _print(primary: Primary, changes: list[Change]) -> None:
    if not changes:
        print(f"{primary} has all records as they must be")
    for zone in dict.fromkeys(change.zone for change in changes):
        print(f"; zone {zone}")
        for change in changes:
            if change.zone == zone:
                print(*change.removed, *change.added, sep="\n")
