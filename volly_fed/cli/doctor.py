"""`volly-fed doctor`: everything about this installation that can be looked at, and what to do about it.

in: the configuration; out: findings as a table or as JSON.
Never: changes anything.
"""

from functools import partial
from pathlib import Path

import click
import trio

from volly_fed.cli.findings import print_findings, with_patience
from volly_fed.cli.options import config_option, json_option, print_json
from volly_fed.daemon.dns.configured import make_resolver
from volly_fed.daemon.material import read_homeserver_config
from volly_fed.daemon.upkeep.doctor import examine
from volly_fed.daemon.upkeep.findings import exit_code, plain


@click.command()
@config_option()
@json_option
def doctor(config_path: Path, as_json: bool) -> int:
    """Look at configuration, keys, ports, clock, resolvers, trust anchors and published records.

    Exit codes: 0 all fine, 1 warnings, 2 something is wrong, 3 could not tell.
    """
    config = read_homeserver_config(config_path)
    work = partial(examine, config, make_resolver(config))
    findings = trio.run(with_patience, f"looking at {config.server.domain} from all sides", work)
    code = exit_code(findings)
    if as_json:
        print_json({"domain": config.server.domain, "exit_code": code, "findings": plain(findings)})
    else:
        print_findings(findings)
    return code
