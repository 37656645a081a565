"""`volly-fed trust`: whom to federate with and how far, and why.

in: trust.toml; out: its rules, the one that decides about a domain, or the file with one rule changed.
Never: loses the operator's comments, or writes a file that would not load.
"""

import signal
from pathlib import Path

import click

from volly_fed.cli.options import DOMAIN, PATTERN, config_option, json_option, print_json
from volly_fed.codepoints import TrustLevel
from volly_fed.config.model import HomeserverConfig
from volly_fed.config.policy import set_level
from volly_fed.daemon.files import PUBLIC_FILE, locked, read_text, write_text
from volly_fed.daemon.material import load_policy, read_homeserver_config
from volly_fed.names import DomainName
from volly_fed.trust.levels import RIGHTS

_RELOAD = f"A running homeserver takes it over on {signal.SIGHUP.name}."


@click.group()
def trust() -> None:
    """Whom to federate with, and how far: full, selective, metadata, none."""


@trust.command("list")
@config_option()
@json_option
def list_rules(config_path: Path, as_json: bool) -> None:
    """List the rules."""
    policy = load_policy(read_homeserver_config(config_path))
    allow = None if policy.allow is None else sorted(policy.allow)
    levels = {name: str(level) for name, level in sorted(policy.levels.items())}
    if as_json:
        print_json({"default": str(policy.default), "deny": sorted(policy.deny), "allow": allow, "levels": levels})
        return
    print(f"{'everybody else':<40} {policy.default}")
    for name, level in levels.items():
        print(f"{name:<40} {level}")
    for name in sorted(policy.deny):
        print(f"{name:<40} none (deny)")
    if allow is not None:
        print(f"{'not in allow':<40} none; allow has {', '.join(allow) or 'nobody'}")


@trust.command("set")
@click.argument("name", type=PATTERN)
@click.argument("level", type=click.Choice([str(level) for level in TrustLevel]))
@config_option()
@json_option
def set_rule(name: str, level: str, config_path: Path, as_json: bool) -> None:
    """Give DOMAIN (or "*.suffix", every name below it) a level."""
    _change(config_path, name, TrustLevel(level), as_json)


@trust.command("unset")
@click.argument("name", type=PATTERN)
@config_option()
@json_option
def unset_rule(name: str, config_path: Path, as_json: bool) -> None:
    """Remove the level of DOMAIN: the next rule that fits decides then."""
    _change(config_path, name, None, as_json)


@trust.command()
@click.argument("domain", type=DOMAIN)
@config_option()
@json_option
def explain(domain: DomainName, config_path: Path, as_json: bool) -> None:
    """Name the rule that decides about DOMAIN, and what follows from it."""
    level, rule = load_policy(read_homeserver_config(config_path)).level_of(domain)
    rights = RIGHTS[level]
    if as_json:
        follows = {"link": rights.link, "relay_out": rights.relay_out, "relay_in": rights.relay_in}
        print_json({"domain": domain, "level": str(level), "rule": rule} | follows | {"deliver": str(rights.deliver)})
        return
    print(f"{domain} is `{level}`, because {rule}.")
    print(f"  a link to or from it             {_yes(rights.link)}, once it has proved its identity")
    print(f"  envelopes of our users to it     {_yes(rights.relay_out)}")
    print(f"  envelopes from it to our users   {_yes(rights.relay_in)}, to {rights.deliver.value}")


def _change(config_path: Path, name: str, level: TrustLevel | None, as_json: bool) -> None:
    config = read_homeserver_config(config_path)
    path = config.server.trust_file
    with locked(path.parent):
        text = read_text(path, "trust policy", "restore it from your backup")
        write_text(path, set_level(text, name, level, path), PUBLIC_FILE)
    _report(config, name, level, as_json)


def _report(config: HomeserverConfig, name: str, level: TrustLevel | None, as_json: bool) -> None:
    policy = load_policy(config)
    effective = None if name.startswith("*.") else policy.level_of(DomainName(name))
    if as_json:
        now = None if effective is None else {"level": str(effective.level), "rule": effective.rule}
        print_json({"name": name, "set": None if level is None else str(level), "effective": now})
        return
    print(f"{name}: {f'set to {level}' if level else 'no rule of its own any more'}. {_RELOAD}")
    if effective is not None and effective.level != level:
        print(f"It is `{effective.level}` now, because {effective.rule}.")


def _yes(allowed: bool) -> str:
    return "yes" if allowed else "no"
