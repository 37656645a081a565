"""`volly-fed status`, `peers` and `retry`: how the running homeserver is doing, and what it has to do with whom.

in: a volly-fed.toml; out: tables for people, one JSON document for programs; exit code 1 where there is a problem.
Never: prints what comes from outside as anything but text.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from volly_fed.cli.failure import OK, WARNINGS
from volly_fed.cli.options import DOMAIN, config_option, json_option, print_json, shown
from volly_fed.daemon.admin import client as admin_client
from volly_fed.daemon.material import read_homeserver_config
from volly_fed.daemon.wording import duration, size
from volly_fed.names import DomainName

STYLES = {"linked": "green", "dialling": "cyan", "waiting": "yellow", "idle": "dim"}


@click.command()
@config_option()
@json_option
def status(config_path: Path, as_json: bool) -> int:
    """How the running homeserver is doing. Exit code 1: there is a problem, which is named."""
    answer = admin_client.call(read_homeserver_config(config_path), "status")
    if as_json:
        print_json(answer)
    else:
        _print_status(answer)
    return WARNINGS if answer["problems"] else OK


@click.command()
@click.argument("domain", type=DOMAIN, required=False)
@config_option()
@json_option
def peers(domain: DomainName | None, config_path: Path, as_json: bool) -> None:
    """The domains this homeserver has had to do with of late, or only DOMAIN, with every detail."""
    answer = admin_client.call(read_homeserver_config(config_path), "peers", domain=domain)
    if as_json:
        print_json(answer)
    elif not answer["peers"]:
        print(f"Nothing has passed between us and {domain or 'anybody'} of late.")
    elif domain is None:
        _print_peers(answer["peers"])
    else:
        _print_peer(answer["peers"][0])


@click.command()
@click.argument("domain", type=DOMAIN)
@config_option()
@json_option
def retry(domain: DomainName, config_path: Path, as_json: bool) -> None:
    """Dial DOMAIN now instead of when its pause is over."""
    answer = admin_client.call(read_homeserver_config(config_path), "retry", domain=domain)
    if as_json:
        print_json(answer)
    elif answer["state"] == "linked":
        print(f"{domain} is linked already.")
    else:
        print(f"{domain} is dialled now; `volly-fed peers {domain}` says what comes of it.")


def _print_status(answer: Mapping[str, Any]) -> None:
    queue, peers_ = answer["queue"], answer["peers"]
    linked = [edge["name"] for edge in answer["edges"] if edge["linked_s"] is not None]
    rows = {
        "domain": f"{answer['domain']}, volly-fed {answer['version']}, up for {duration(answer['up_s'])}",
        "identity": answer["identity"],
        "TLS key": f"{answer['tls_spki_sha256']}  (SHA-256 of the public key)",
        "peers": f"{peers_['linked']} linked, {peers_['known']} known",
        "edges": f"{len(linked)} of {len(answer['edges'])} connected{': ' if linked else ''}{', '.join(linked)}",
        "queue": queue_text(queue),
    }
    if answer["held"]:
        rows["held"] = f"{', '.join(answer['held'])}: nothing is sent there until `volly-fed queue release`"
    for name, value in rows.items():
        print(f"{name:<9} {value}")
    for problem in answer["problems"]:
        print(f"{'problem':<9} {shown(problem)}")


def _print_peers(found: list[Mapping[str, Any]]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        for peer in found:
            print(
                f"{peer['domain']} {peer['level']} {state_text(peer)}  {queue_text(peer['queue'])}  {next_text(peer)}"
            )
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("domain", "level", "state", "since", "waiting", "next attempt, last error"):
        table.add_column(title, overflow="fold")
    for peer in found:
        since = "" if peer["linked_s"] is None else duration(peer["linked_s"])
        state = Text(state_text(peer), style=STYLES.get(peer["state"], ""))
        waiting = Text(queue_text(peer["queue"]))
        table.add_row(Text(peer["domain"]), Text(peer["level"]), state, Text(since), waiting, Text(next_text(peer)))
    console.print(table)


def _print_peer(peer: Mapping[str, Any]) -> None:
    presence = peer["presence"]
    rows = {
        "domain": peer["domain"],
        "level": f"{peer['level']}: {peer['rule']}",
        "state": state_text(peer),
        "queue": queue_text(peer["queue"]),
    }
    if peer["linked_s"] is not None:
        rows["link"] = f"for {duration(peer['linked_s'])}, dialled by {peer['dialled_by']}, {peer['group']}"
    rows["identity"] = _identity_text(peer)
    if peer["records_s"] is not None:
        rows["records"] = _records_text(peer["records_s"])
    if presence is not None:
        watching = presence["watching_edges"]
        rows["presence"] = f"{presence['shown']}; hearing: {presence['seen']}, for {watching} of our edge nodes"
    if peer["failures"]:
        rows["failures"] = f"{peer['failures']} in a row"
    if peer["next_attempt_s"] is not None:
        rows["next"] = f"attempt in {duration(peer['next_attempt_s'])}" if peer["next_attempt_s"] else "attempt now"
    if peer["last_error"]:
        rows["error"] = (
            f"{duration(peer['last_error_s'])} ago, {shown(peer['last_cause'])}: {shown(peer['last_error'])}"
        )
    for name, value in rows.items():
        print(f"{name:<9} {value}")


def _identity_text(peer: Mapping[str, Any]) -> str:
    if peer["identity"] is not None:
        return f"{peer['identity']}  (proved on this link)"
    return f"{peer['pinned']}  (the one it is held to)" if peer["pinned"] else "none was proved yet"


def _records_text(seconds: int) -> str:
    """When what DNS proved about its keys runs out; a link that was made before goes on."""
    if seconds > 0:
        return f"proved by DNS, for {duration(seconds)} more"
    return f"proved by DNS, until {duration(-seconds)} ago; the next link asks again"


def state_text(peer: Mapping[str, Any]) -> str:
    """The state in a word, and whether the operator holds the peer."""
    return str(peer["state"]) + ("" if peer["held_s"] is None else f", held for {duration(peer['held_s'])}")


def queue_text(queue: Mapping[str, Any]) -> str:
    """What waits, for people."""
    if not queue["envelopes"]:
        return "nothing waits"
    return f"{queue['envelopes']} waiting, {size(queue['bytes'])}, the oldest for {duration(queue['oldest_s'])}"


def next_text(peer: Mapping[str, Any]) -> str:
    """When it is tried next, and what went wrong last."""
    wait = peer["next_attempt_s"]
    parts = [] if wait is None else [f"next attempt in {duration(wait)}" if wait else "next attempt now"]
    return "; ".join([*parts, *([shown(peer["last_error"].splitlines()[0])] if peer["last_error"] else [])])


def count_text(envelopes: int) -> str:
    """For people."""
    return f"{envelopes} envelope{'s'[: envelopes != 1]}"
