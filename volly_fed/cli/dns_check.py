"""`volly-fed dns check [DOMAIN]`: what the world sees of the records, and whether it is right.

in: the configuration and the public side of its keys, or a foreign domain; out: findings as a table or as JSON.
Never: changes anything, or asks for more than DNS.
"""

from functools import partial
from pathlib import Path

import click
import trio

from volly_fed.cli.findings import print_findings, with_patience
from volly_fed.cli.options import DOMAIN, config_option, json_option, print_json
from volly_fed.daemon.dns.configured import make_resolver
from volly_fed.daemon.material import load_published, read_homeserver_config
from volly_fed.daemon.upkeep.findings import exit_code, plain
from volly_fed.daemon.upkeep.records_check import check as check_own
from volly_fed.daemon.upkeep.records_check import check_domain
from volly_fed.names import DomainName


@click.command()
@click.argument("domain", type=DOMAIN, required=False)
@config_option()
@json_option
def check(domain: DomainName | None, config_path: Path, as_json: bool) -> int:
    """Check this homeserver's records in the DNS, or another DOMAIN's.

    Every record is validated, and every authoritative server is asked at every address. Exit codes: 0 all fine,
    1 warnings, 2 something is wrong, 3 could not tell.
    """
    config = read_homeserver_config(config_path)
    resolver = make_resolver(config)
    subject = domain or config.server.domain
    if subject == config.server.domain:
        work = partial(check_own, config, load_published(config), resolver)
    else:
        work = partial(check_domain, subject, resolver, port=config.dns.authoritative_port)
    findings = trio.run(with_patience, f"asking every server of {subject}", work)
    code = exit_code(findings)
    if as_json:
        print_json({"domain": subject, "exit_code": code, "findings": plain(findings)})
    else:
        print_findings(findings)
    return code
