"""`volly-fed trust`: whom to federate with and how far, and why; which identity each domain is held to.

in: trust.toml; the running homeserver, or its store where none runs; out: the rules, the one that decides about a
domain, the file with one rule changed; identities, what was proved about them, a new one accepted.
Never: loses the operator's comments, writes a file that would not load, or accepts an identity without being told to.
"""

from pathlib import Path
from typing import Any

import click
import trio

from volly_fed.cli.failure import OK, WARNINGS
from volly_fed.cli.options import DOMAIN, FINGERPRINT, PATTERN, config_option, json_option, print_json
from volly_fed.cli.trust_explain import explanation, in_force, print_explanation
from volly_fed.codepoints import TrustLevel
from volly_fed.config.model import HomeserverConfig
from volly_fed.config.policy import set_level
from volly_fed.daemon.admin import client as admin_client
from volly_fed.daemon.backup.contents import STORE_FILE
from volly_fed.daemon.dns.configured import make_resolver
from volly_fed.daemon.files import PUBLIC_FILE, locked, read_text, write_text
from volly_fed.daemon.identities import Identities, handlers
from volly_fed.daemon.material import load_policy, read_homeserver_config
from volly_fed.daemon.store.store import Store
from volly_fed.errors import LocalError
from volly_fed.names import DomainName, Fingerprint, fingerprint_text
from volly_fed.observe.log import Log

_RELOAD = "A running homeserver takes it over on `volly-fed reload`."


@click.group()
def trust() -> None:
    """Whom to federate with, how far (full, selective, metadata, none), and held to which identity."""


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
def explain(domain: DomainName, config_path: Path, as_json: bool) -> int:
    """Name the rule that decides about DOMAIN, and what follows from it, gate by gate.

    Exits with 1 where the running homeserver has not read the file since this changed.
    """
    config = read_homeserver_config(config_path)
    found = explanation(domain, config.server.trust_file, load_policy(config))
    found |= {"running": _in_force(config, domain)}
    if as_json:
        print_json(found)
    else:
        print_explanation(found)
    return OK if in_force(found) else WARNINGS


@trust.command()
@config_option()
@json_option
def identities(config_path: Path, as_json: bool) -> None:
    """List the identities that other domains are held to, those first that change or want a decision."""
    answer = _ask(read_homeserver_config(config_path), "identities")
    if as_json:
        print_json(answer)
        return
    if not answer["identities"]:
        print("No other domain has proved an identity yet.")
    for known in answer["identities"]:
        print(f"{known['domain']:<40} {known['identity']}  {known['state']}")
        if known["change"]:
            print(f"  changes to {known['change']['identity']}, accepted from {known['change']['ready_at']} on")
        if known["quarantine"]:
            print(f"  shows      {known['quarantine']['identity']} since {known['quarantine']['since']}")
            print(f"  refused:   {known['quarantine']['reason']}")
    if not answer["complete"]:
        print("There are more; what changes or wants a decision stands first.")


@trust.command()
@click.argument("domain", type=DOMAIN)
@config_option()
@json_option
def evidence(domain: DomainName, config_path: Path, as_json: bool) -> None:
    """Print what DNS proved about DOMAIN, and when: records with their signatures, the newest first."""
    answer = _ask(read_homeserver_config(config_path), "evidence", domain=domain)
    if as_json:
        print_json(answer)
        return
    if not answer["evidence"]:
        print(f"Nothing is kept of {domain}: it has not proved an identity to this homeserver.")
    for row in answer["evidence"]:
        following = f", next {row['identity_next']}" if row["identity_next"] else ""
        print(f"; {row['obtained_at']}: identity {row['identity']}{following}")
        for line in row["proof"]:
            print(line)


@trust.command("accept-key")
@click.argument("domain", type=DOMAIN)
@click.option("--fingerprint", type=FINGERPRINT, help="The identity to accept.  [default: the one that waits]")
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option()
@json_option
def accept_key(
    domain: DomainName, fingerprint: Fingerprint | None, yes: bool, config_path: Path, as_json: bool
) -> None:
    """Hold DOMAIN to another identity from now on, without a statement of its old key and without a cool-off.

    Only an identity that DOMAIN publishes, or has really shown. Ask its operator first, by another way than this link.
    """
    if as_json and not yes:
        raise click.UsageError("--json asks nothing: give --yes too")
    config = read_homeserver_config(config_path)
    wanted = None if fingerprint is None else fingerprint_text(fingerprint)
    if not yes:
        plan = _ask(config, "accept-key", domain=domain, fingerprint=wanted, only_ask=True)
        _print_acceptance(plan)
        wanted = plan["accepted"]
        if not click.confirm("Accept it?"):
            raise LocalError(f"{domain} is held to the identity it was held to; nothing was changed")
    done = _ask(config, "accept-key", domain=domain, fingerprint=wanted)
    if as_json:
        print_json(done)
        return
    if yes:
        _print_acceptance(done)
    print(f"{domain} is held to the new identity. Envelopes that wait for it leave with the next attempt.")


def _print_acceptance(acceptance: dict[str, Any]) -> None:
    published = {True: "yes", False: "no", None: "DNS does not answer"}[acceptance["published"]]
    print(f"{acceptance['domain']}")
    print(f"  held to so far     {acceptance['previous'] or 'nothing'}")
    print(f"  to be accepted     {acceptance['accepted']}")
    print(f"  named by its DNS   {published}")
    print(f"  proved to hold it  {_yes(acceptance['shown'])}")


def _ask(config: HomeserverConfig, command: str, **arguments: object) -> dict[str, Any]:
    """What the running homeserver answers; where none runs, the same from its store."""
    try:
        return admin_client.call(config, command, **arguments)
    except admin_client.NotRunning:
        return trio.run(_ask_store, config, command, arguments)


def _in_force(config: HomeserverConfig, domain: DomainName) -> dict[str, Any] | None:
    """The level and its rule in the running homeserver; None: none runs."""
    try:
        return admin_client.call(config, "level", domain=domain)
    except admin_client.NotRunning:
        return None


async def _ask_store(config: HomeserverConfig, command: str, arguments: dict[str, object]) -> dict[str, Any]:
    path = config.server.data_dir / STORE_FILE
    if not path.exists():
        raise LocalError(f"there is no store {path} yet\nnote: start the homeserver once with `volly-fed serve`")
    async with Store.open(path) as store:
        known = Identities(store=store, discover=make_resolver(config).discover, log=Log(config.log.level))
        return await handlers(known)[command](arguments)


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
