"""`volly-fed reload`: let the running homeserver read policy, enrolments and keys again.

in: a volly-fed.toml; out: what it shows now, or why it stays with what it had.
Never: changes a file.
"""

from pathlib import Path

import click

from volly_fed.cli.options import config_option, json_option, print_json
from volly_fed.daemon.admin import client as admin_client
from volly_fed.daemon.material import read_homeserver_config


@click.command()
@config_option()
@json_option
def reload(config_path: Path, as_json: bool) -> None:
    """Let the running homeserver read policy, enrolments and keys again."""
    answer = admin_client.call(read_homeserver_config(config_path), "reload")
    if as_json:
        print_json(answer)
        return
    print(f"{'identity':<14} {answer['identity']}")
    print(f"{'TLS key':<14} {answer['tls_spki_sha256']}  (SHA-256 of the public key)")
    print(f"{'continuity':<14} {'shown to peers' if answer['continuity'] else 'no change of identity is under way'}")
    print(f"{'links ended':<14} {answer['ended']}")
    for change in answer["levels"]:
        print(f"{'level':<14} {change['domain']}: {change['old']} -> {change['new']}")
