"""`volly-fed dns`: the records that make this homeserver reachable: print, check, publish, roll.

in: the configuration and the public side of its keys; out: records as a zone file, in generic form, as JSON, as a
script for nsupdate, or as the commands that check them. Never: asks the DNS, or changes a zone (`print` does not; the
other commands are modules of their own, imported when they are used).
"""

import importlib
from pathlib import Path
from typing import Final

import click

from volly_fed.cli.options import DOMAIN, config_option, json_option, print_json
from volly_fed.config.model import HomeserverConfig
from volly_fed.config.record_text import check_text, json_records, nsupdate_text, zone_text
from volly_fed.config.records import SRV_PRIORITY, SRV_WEIGHT, TTL, Record, opt_out, records_of
from volly_fed.config.values import HostPort
from volly_fed.daemon.material import load_published, read_homeserver_config
from volly_fed.names import DomainName

_MODULES: Final = {"check": "dns_check", "publish": "dns_publish", "roll": "dns_roll"}
_MAX_TTL: Final = 2**31 - 1  # RFC 2181 §8
_SIXTEEN_BITS: Final = click.IntRange(0, 65535)


class _Group(click.Group):
    """Commands of other modules are imported when they are used: `dns print` must not load the whole daemon."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in alphabetical order."""
        return sorted([*super().list_commands(ctx), *_MODULES])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command; None if there is no such."""
        if cmd_name not in _MODULES:
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(f"volly_fed.cli.{_MODULES[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command


@click.group(cls=_Group)
def dns() -> None:
    """The DNS records: print, check, publish, roll the TLS key."""


@dns.command("print")
@config_option()
@click.option(
    "--format",
    "form",
    type=click.Choice(["zone", "generic", "json", "nsupdate", "check"]),
    default="zone",
    show_default=True,
    help="A zone file; the same with TLSA as TYPE52, for panels that do not know TLSA; JSON; a script for nsupdate "
    "and knsupdate; or the delv and kdig commands that check the records, with what they must print.",
)
@click.option("--ttl", type=click.IntRange(1, _MAX_TTL), default=TTL, show_default=True, help="Of all records.")
@click.option("--priority", type=_SIXTEEN_BITS, default=SRV_PRIORITY, show_default=True, help="Of the SRV record.")
@click.option("--weight", type=_SIXTEEN_BITS, default=SRV_WEIGHT, show_default=True, help="Of the SRV record.")
@click.option("--zone", "zones", type=DOMAIN, multiple=True, help="A zone, for nsupdate.  [default: the domain]")
@click.option("--opt-out", "opting_out", is_flag=True, help="The one record that says: this domain does not federate.")
@json_option
def print_records(
    config_path: Path,
    form: str,
    ttl: int,
    priority: int,
    weight: int,
    zones: tuple[DomainName, ...],
    opting_out: bool,
    as_json: bool,
) -> None:
    """Print the SRV, TXT and TLSA records to publish."""
    config = read_homeserver_config(config_path)
    if opting_out:
        records = [opt_out(config.server.domain, ttl=ttl)]
    else:
        records = records_of(config, load_published(config), ttl=ttl, priority=priority, weight=weight)
    if as_json or form == "json":
        print_json({"domain": config.server.domain, "records": json_records(records)})
    else:
        print(_text(config, records, form, zones), end="")


def _text(config: HomeserverConfig, records: list[Record], form: str, zones: tuple[DomainName, ...]) -> str:
    if form == "nsupdate":
        update = config.dns_update
        server = None if update.server is None else HostPort(update.server, update.port)
        known = zones or ((update.zone,) if update.zone is not None else (config.server.domain,))
        return nsupdate_text(records, known, server)
    if form == "check":
        return check_text(records)
    return zone_text(config, records, generic=form == "generic")
