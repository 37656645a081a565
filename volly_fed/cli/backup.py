"""`volly-fed backup`: one file with everything that a homeserver needs to go on, and a check of such a file.

in: a volly-fed.toml, running or not, and a destination; out: the file, or what is wrong with it.
Never: shows a key, overwrites a file, or stops a homeserver.
"""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from volly_fed.cli.failure import OK, WARNINGS
from volly_fed.cli.options import PATH, config_option, json_option, print_json, shown
from volly_fed.cli.progress import progress
from volly_fed.cli.signals import interruptible
from volly_fed.daemon.backup.create import create as create_backup
from volly_fed.daemon.backup.manifest import Manifest
from volly_fed.daemon.backup.restore import verify as verify_backup
from volly_fed.daemon.material import read_homeserver_config
from volly_fed.daemon.wording import size
from volly_fed.names import fingerprint_text


class _BackupGroup(click.Group):
    """`backup DEST` is short for `backup create DEST`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["create", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_BackupGroup)
def backup() -> None:
    """Back up a homeserver, running or not: `backup DEST`; check a backup: `backup verify FILE`."""


@backup.command()
@click.argument("destination", type=PATH, metavar="DEST")
@config_option()
@json_option
def create(destination: Path, config_path: Path, as_json: bool) -> int:
    """Write configuration, policy, enrolments, keys and store into the new file DEST.

    The word `create` can be left out. A running homeserver goes on meanwhile. Exits with 1 if something was left out.
    """
    with interruptible(), progress() as tell:
        made = create_backup(config_path, destination, int(time.time()), tell)
    code = WARNINGS if made.left_out else OK
    if as_json:
        left_out = list(made.left_out)
        print_json(plain(made.manifest) | {"file": str(destination), "running": made.running, "left_out": left_out})
        return code
    data = read_homeserver_config(config_path).server.data_dir
    print(f"Backed up {made.manifest.domain} to {destination}{', while it ran' if made.running else ''}:")
    print_manifest(made.manifest)
    for name in made.left_out:
        print(f"{'left out':<10} {shown(name)}")
    print(f"The keys are in {data}, and now in this file too: keep it like a key, and not on this machine only.")
    print(f"`volly-fed backup verify {destination}` checks it.")
    return code


@backup.command()
@click.argument("file", type=PATH)
@json_option
def verify(file: Path, as_json: bool) -> None:
    """Check all of the backup FILE: digests, keys, configuration, policy and store. Restores nothing."""
    with interruptible(), progress() as tell:
        manifest = verify_backup(file, tell)
    if as_json:
        print_json(plain(manifest) | {"file": str(file)})
        return
    print(f"{file} is whole, a backup of {manifest.domain}:")
    print_manifest(manifest)


def print_manifest(manifest: Manifest) -> None:
    """What a backup says of itself, for people."""
    print(f"{'identity':<10} {fingerprint_text(manifest.identity)}")
    print(f"{'made':<10} {date_text(manifest.made_at)}, by volly-fed {manifest.program}")
    store = f"schema {manifest.schema}" if manifest.schema else "none: the homeserver has not run yet"
    print(f"{'store':<10} {store}")
    print(f"{'files':<10} {len(manifest.members)}, {size(manifest.bytes)}")


def plain(manifest: Manifest) -> dict[str, Any]:
    """The same for programs."""
    return {
        "domain": manifest.domain,
        "identity": fingerprint_text(manifest.identity),
        "made_at": date_text(manifest.made_at),
        "program": manifest.program,
        "schema": manifest.schema,
        "members": [{"name": each.name, "size": each.size, "sha256": each.sha256} for each in manifest.members],
    }


def date_text(seconds: int) -> str:
    """Unix seconds in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
