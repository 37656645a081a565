"""`volly-fed dns`: the records that make this homeserver reachable.

in: the configuration and the public side of its keys; out: records as a zone file, in generic form, or as JSON.
Never: asks the DNS, or changes a zone.
"""

from pathlib import Path

import click

from volly_fed.cli.options import config_option, json_option, print_json
from volly_fed.config.records import json_records, records_of, zone_text
from volly_fed.daemon.material import load_published, read_homeserver_config


@click.group()
def dns() -> None:
    """The DNS records to publish."""


@dns.command("print")
@config_option()
@click.option(
    "--format",
    "form",
    type=click.Choice(["zone", "generic", "json"]),
    default="zone",
    show_default=True,
    help="A zone file; the same with TLSA as TYPE52, for panels that do not know TLSA; or JSON.",
)
@json_option
def print_records(config_path: Path, form: str, as_json: bool) -> None:
    """Print the SRV, TXT and TLSA records to publish."""
    config = read_homeserver_config(config_path)
    records = records_of(config, load_published(config))
    if as_json or form == "json":
        print_json({"domain": config.server.domain, "records": json_records(records)})
    else:
        print(zone_text(config, records, generic=form == "generic"), end="")
