"""`volly-fed cache`: what the running homeserver remembers of the DNS, and how to make it ask again.

in: a volly-fed.toml; out: the entries with their verdicts, or how many were forgotten.
Never: asks the DNS itself.
"""

from pathlib import Path

import click

from volly_fed.cli.options import DOMAIN, config_option, json_option, print_json
from volly_fed.daemon.admin import client as admin_client
from volly_fed.daemon.material import read_homeserver_config
from volly_fed.names import DomainName


@click.group()
def cache() -> None:
    """The DNS cache of the running homeserver."""


@cache.command()
@click.argument("domain", type=DOMAIN, required=False)
@config_option()
@json_option
def show(domain: DomainName | None, config_path: Path, as_json: bool) -> None:
    """Show what is remembered: everything, or DOMAIN and what lies below it."""
    answer = admin_client.call(read_homeserver_config(config_path), "cache", domain=domain)
    if as_json:
        print_json(answer)
        return
    for entry in answer["entries"]:
        print(f"{entry['name']} {entry['type']}  {entry['status']}, {entry['expires_in']:.0f} s left")
        for line in (*entry["records"], entry["reason"]):
            if line:
                print(f"    {line}")
    if not answer["entries"]:
        print("Nothing is remembered.")


@cache.command()
@click.argument("domain", type=DOMAIN, required=False)
@config_option()
@json_option
def flush(domain: DomainName | None, config_path: Path, as_json: bool) -> None:
    """Forget everything, or DOMAIN and what lies below it: the next link asks the DNS again."""
    answer = admin_client.call(read_homeserver_config(config_path), "cache-flush", domain=domain)
    if as_json:
        print_json(answer)
        return
    count = answer["forgotten"]
    print(f"{count} {'entry is' if count == 1 else 'entries are'} forgotten.")
