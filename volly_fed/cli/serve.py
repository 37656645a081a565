"""`volly-fed serve`: the homeserver.

in: the configuration; out: one ready line (JSON) on standard output, the log on standard error.
SIGTERM and Ctrl-C drain and stop, SIGHUP reloads.
"""

from pathlib import Path

import click

from volly_fed.cli.options import config_option, json_option


@click.command()
@config_option()
@json_option
def serve(config_path: Path, as_json: bool) -> None:  # noqa: ARG001 - the ready line is JSON either way
    """Run the homeserver: one ready line on standard output, then the log on standard error.

    SIGTERM drains and stops; SIGHUP or `volly-fed reload` reads trust.toml, edges.toml and the keys
    again.
    """
    from volly_fed.daemon.homeserver import run  # here, so that other commands do not load the daemon

    run(config_path)
