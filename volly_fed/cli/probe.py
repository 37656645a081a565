"""`volly-fed probe DOMAIN`: every step from its records to its identity, with verdict, reason and milliseconds.

in: a domain; out: a line a step as it happens, or one JSON document.
With --config, the probe is made in the name of that server and sees the peer prove its identity.
"""

from datetime import UTC, datetime
from pathlib import Path

import attrs
import click
import trio
from rich.console import Console
from rich.text import Text

from volly_fed.channel import FEDERATION
from volly_fed.cli.options import DOMAIN, PATH, Parsed, json_option, print_json
from volly_fed.codepoints import Extension
from volly_fed.config.values import Server, read_resolver
from volly_fed.crypto.certificate import TlsKey
from volly_fed.daemon import material
from volly_fed.daemon.credentials import tls_identity
from volly_fed.daemon.dns.configured import make_resolver
from volly_fed.daemon.dns.resolver import Resolver, system_resolvers, trust_anchors
from volly_fed.daemon.files import read_text
from volly_fed.daemon.prober import FAILED, OK, SKIPPED, Caller, ProbeStep
from volly_fed.daemon.prober import probe as run_probe
from volly_fed.daemon.tls import TlsIdentity, make_context
from volly_fed.handshake import Party
from volly_fed.names import DomainName

_STRANGER = "probe.invalid"
_STYLES = {OK: "green", "secure": "green", FAILED: "red", "bogus": "red", SKIPPED: "yellow"}
RESOLVER: Parsed[Server] = Parsed("ADDRESS[:PORT][#NAME]", read_resolver)


@click.command()
@click.argument("domain", type=DOMAIN)
@click.option("--config", "config_path", type=PATH, metavar="FILE", help="Probe in the name of this homeserver.")
@click.option("--resolver", "resolvers", type=RESOLVER, multiple=True, help="DNS server, instead of the system's.")
@click.option("--anchors", type=PATH, metavar="FILE", help="DNSSEC trust anchors, instead of the root's.")
@click.option("--allow-private-addresses", "allow_private", is_flag=True, help="Believe DNS about private addresses.")
@json_option
def probe(
    domain: DomainName,
    config_path: Path | None,
    resolvers: tuple[Server, ...],
    anchors: Path | None,
    allow_private: bool,
    as_json: bool,
) -> int:
    """Every step from the records of DOMAIN to its identity, each with its verdict.

    Exit codes: 0 all fine, 1 something was not checked or one target of several is broken, 2 failed, 3 could not tell.
    """
    if config_path is not None:
        resolver, caller = _as_homeserver(config_path)
    else:
        resolver, caller = _as_stranger(resolvers, anchors, allow_private), stranger()
    steps: list[ProbeStep] = []
    console = Console(highlight=False, soft_wrap=True)

    def report(step: ProbeStep) -> None:
        steps.append(step)
        if not as_json:
            console.print(_line(step))

    code = trio.run(run_probe, domain, resolver, caller, report)
    if as_json:
        print_json({"domain": domain, "exit_code": code, "steps": [attrs.asdict(step) for step in steps]})
    return code


def _as_homeserver(config_path: Path) -> tuple[Resolver, Caller]:
    config = material.read_homeserver_config(config_path)
    keys = material.load_material(config.server.data_dir)
    party = Party(name=config.server.domain, key=keys.identity, extensions={Extension.PROBE: b""})
    context = make_context(FEDERATION, server=False, identity=tls_identity(keys))
    return make_resolver(config), Caller(context=context, party=party)


def _as_stranger(resolvers: tuple[Server, ...], anchors: Path | None, allow_private: bool) -> Resolver:
    trusted = trust_anchors(read_text(anchors, "trust anchors"), str(anchors)) if anchors else trust_anchors()
    servers = list(resolvers) or system_resolvers()
    return Resolver(servers, trusted, allow_private=allow_private)


def stranger() -> Caller:
    """TLS wants a certificate of every caller; one made for the occasion will do."""
    identity = TlsIdentity.from_key(TlsKey.generate(), _STRANGER, datetime.now(UTC))
    return Caller(context=make_context(FEDERATION, server=False, identity=identity), party=None)


def _line(step: ProbeStep) -> Text:
    line = Text()
    line.append(f"{step.verdict:<13}", style=_STYLES.get(step.verdict, "yellow"))
    line.append(f"{step.milliseconds:8.1f} ms  {step.what}")
    if step.reason:
        line.append(f"  {step.reason}", style="dim")
    return line
