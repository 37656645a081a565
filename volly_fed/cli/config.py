"""`volly-fed config`: the annotated files, and everything that is wrong with yours.

in: a configuration file and what it names; out: its problems and warnings, all at once.
Never: starts anything, or shows a key.
"""

from collections.abc import Callable
from pathlib import Path

import attrs
import click

from volly_fed.cli import failure
from volly_fed.cli.options import config_option, json_option, print_json
from volly_fed.config.example import edge_text, homeserver_text
from volly_fed.config.load import parse_edge, parse_homeserver, parse_toml
from volly_fed.config.model import EdgeConfig, HomeserverConfig
from volly_fed.daemon import material
from volly_fed.daemon.files import read_private_text, read_text
from volly_fed.errors import ConfigError, LocalError
from volly_fed.trust.policy import EXAMPLE as TRUST_EXAMPLE

_EXAMPLES = {"homeserver": homeserver_text, "edge": edge_text, "trust": lambda: TRUST_EXAMPLE}


@click.group()
def config() -> None:
    """The annotated configuration; all problems of yours."""


@config.command()
@click.argument("file", type=click.Choice(list(_EXAMPLES)), default="homeserver")
@json_option
def example(file: str, as_json: bool) -> None:
    """Print the annotated volly-fed.toml, edge.toml or trust.toml."""
    text = _EXAMPLES[file]()
    if as_json:
        print_json({"file": file, "text": text})
    else:
        print(text, end="")


@attrs.define
class Findings:
    """What a check has found so far."""

    problems: list[str] = attrs.field(factory=list)
    warnings: list[str] = attrs.field(factory=list)

    def attempt(self, step: Callable[[], object]) -> None:
        """Do `step`; what it complains about becomes a problem."""
        try:
            step()
        except ConfigError as error:
            self.problems += [_one_line(problem) for problem in error.problems]
        except LocalError as error:
            self.problems.append(_one_line(str(error)))

    def warn_if(self, condition: bool, text: str) -> None:
        """Note `text` if `condition` holds."""
        if condition:
            self.warnings.append(text)


def _one_line(text: str) -> str:
    message, note = failure.split(text)
    return f"{message} ({note})" if note else message


@config.command()
@config_option()
@json_option
@click.pass_context
def check(ctx: click.Context, config_path: Path, as_json: bool) -> None:
    """Check a volly-fed.toml or an edge.toml, with all the files it names.

    Exit codes: 0 no problem, 1 warnings only, 2 problems.
    """
    findings = Findings()
    findings.attempt(lambda: _check(config_path, findings))
    if as_json:
        print_json({"config": str(config_path)} | attrs.asdict(findings))
    else:
        _print(config_path, findings)
    ctx.exit(failure.FAILED if findings.problems else failure.WARNINGS if findings.warnings else failure.OK)


def _check(path: Path, findings: Findings) -> None:
    text = read_text(path, "configuration", "name the file with --config")
    if "edge" in parse_toml(text, path):
        _check_edge(parse_edge(text, path), findings)
    else:
        _check_homeserver(parse_homeserver(text, path), findings)


def _check_homeserver(found: HomeserverConfig, findings: Findings) -> None:
    data = found.server.data_dir
    findings.attempt(lambda: material.load_published(found))
    findings.attempt(lambda: material.load_policy(found))
    findings.attempt(lambda: material.load_edges(found))
    findings.attempt(lambda: material.load_anchors(found))
    if found.dns_update.server is not None:
        from volly_fed.daemon.upkeep.publish import load_primary  # here, so that `config example` does not load it

        findings.attempt(lambda: load_primary(found.dns_update))
    findings.warn_if(not (data / material.NEXT_TLS_KEY).exists(), "there is no next TLS key to roll over to")
    findings.warn_if(found.dns.allow_private_addresses, "dns.allow_private_addresses is for test networks only")
    findings.warn_if(found.dns.anchors_file is not None, "dns.anchors_file replaces the root's anchors: for tests only")


def _check_edge(found: EdgeConfig, findings: Findings) -> None:
    devices = found.devices
    findings.attempt(lambda: material.load_material(found.edge.data_dir))
    certificate, key = devices.tls_certificate, devices.tls_key
    if certificate is not None:
        where = "correct devices.tls_certificate"
        findings.attempt(
            lambda: material.certificate_der(read_text(certificate, "device certificate", where), certificate)
        )
    if key is not None:
        findings.attempt(lambda: read_private_text(key, "device key", "correct devices.tls_key"))
    findings.warn_if(devices.allow_classical, "devices.allow_classical: traffic recorded today can be read later")
    findings.warn_if(certificate is None, "devices connect without TLS: for test networks only")


def _print(path: Path, findings: Findings) -> None:
    for problem in findings.problems:
        print(f"problem: {problem}")
    for warning in findings.warnings:
        print(f"warning: {warning}")
    if not findings.problems:
        print(f"{path}: {'usable' if findings.warnings else 'fine'}; nothing was looked up in the DNS")
