"""`volly-fed queue`: what waits for which peer; hold, release, drop, try now.

in: a volly-fed.toml, which names the running homeserver; out: tables for people, one JSON document for programs.
Never: shows a mailbox; drops anything without having asked, or been told not to; claims that a sender is told who is
not.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from volly_fed import limits_admin
from volly_fed.cli.options import DOMAIN, config_option, json_option, print_json
from volly_fed.cli.status import count_text, state_text
from volly_fed.daemon.admin import client as admin_client
from volly_fed.daemon.material import read_homeserver_config
from volly_fed.daemon.wording import duration, size
from volly_fed.errors import LocalError
from volly_fed.names import DomainName


@click.group()
def queue() -> None:
    """What waits for other homeservers: list, hold, release, drop, retry."""


@queue.command("list")
@click.argument("peer", type=DOMAIN, required=False)
@click.option(
    "--limit",
    type=click.IntRange(1, limits_admin.QUEUE_SHOWN_MOST),
    default=limits_admin.QUEUE_SHOWN,
    show_default=True,
    help="Envelopes of PEER that are shown.",
)
@config_option()
@json_option
def list_(peer: DomainName | None, limit: int, config_path: Path, as_json: bool) -> None:
    """What waits for every peer and which are held; with PEER, its envelopes in the order in which they leave.

    Of an envelope its id, class, size and times are shown; for whom it is, only its recipient's server needs to know.
    """
    answer = admin_client.call(read_homeserver_config(config_path), "queue", domain=peer, limit=limit)
    if as_json:
        print_json(answer)
    elif peer is not None:
        _print_envelopes(answer)
    elif not answer["peers"]:
        print("Nothing waits for anybody, and nobody is held.")
    else:
        for one in answer["peers"]:
            print(_line(one))


@queue.command()
@click.argument("peer", type=DOMAIN)
@config_option()
@json_option
def hold(peer: DomainName, config_path: Path, as_json: bool) -> None:
    """Send PEER nothing until `queue release`, also after a restart.

    Its envelopes are still accepted, up to the bounds of a queue, and expire in their time. What is under way is
    acknowledged; what PEER sends, and presence, is not held.
    """
    answer = admin_client.call(read_homeserver_config(config_path), "queue-hold", domain=peer)
    if as_json:
        print_json(answer)
        return
    print(f"{peer} is held: what is for it waits, until `volly-fed queue release {peer}` or its expiry.")
    if not answer["known"]:
        print("Nothing has passed between us and it of late: look whether the name is right.")


@queue.command()
@click.argument("peer", type=DOMAIN)
@config_option()
@json_option
def release(peer: DomainName, config_path: Path, as_json: bool) -> None:
    """Let what waits for PEER leave again, at once."""
    answer = admin_client.call(read_homeserver_config(config_path), "queue-release", domain=peer)
    if as_json:
        print_json(answer)
    else:
        print(f"{peer} is held no longer; {count_text(answer['envelopes'])} may leave now.")


@queue.command()
@click.argument("peer", type=DOMAIN)
@click.option("--id", "ids", multiple=True, metavar="ID", help="An envelope, as `queue list PEER` names it.")
@click.option("--all", "everything", is_flag=True, help="All that wait for PEER now.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option()
@json_option
def drop(peer: DomainName, ids: tuple[str, ...], everything: bool, yes: bool, config_path: Path, as_json: bool) -> None:
    """Delete envelopes that wait for PEER. Nobody can bring them back.

    What their senders see: the edge node by which an envelope came is told that it was refused (POLICY), and tells the
    device, if that is still connected. This is known of the last 65536 envelopes since the homeserver's start. Of all
    others nobody is told: their senders go on believing that they are on their way. You are told how many of each
    there are before you are asked. What is being sent on a link at the moment is left alone: PEER may have it.
    """
    if bool(ids) == everything:
        raise click.UsageError("say which: --id ID, once or more, or --all")
    if as_json and not yes:
        raise click.UsageError("--json asks nothing: give --yes too")
    config = read_homeserver_config(config_path)
    wanted: dict[str, Any] = {"domain": peer, "ids": [*ids], "all": everything}
    if not yes:
        plan = admin_client.call(config, "queue-drop", only_ask=True, **wanted)
        _print_drop(plan, "would be")
        if not plan["envelopes"] or not click.confirm(f"Drop {count_text(plan['envelopes'])}?"):
            raise LocalError(f"nothing was dropped for {peer}")
    done = admin_client.call(config, "queue-drop", **wanted)
    if as_json:
        print_json(done)
    else:
        _print_drop(done, "is" if done["envelopes"] == 1 else "are")


@queue.command()
@click.argument("peer", type=DOMAIN, required=False)
@config_option()
@json_option
def retry(peer: DomainName | None, config_path: Path, as_json: bool) -> None:
    """Dial PEER now instead of when its pause is over; without PEER, everybody for whom something waits."""
    answer = admin_client.call(read_homeserver_config(config_path), "queue-retry", domain=peer)
    if as_json:
        print_json(answer)
        return
    for one in answer["peers"]:
        print(f"{one['domain']} is {'linked already' if one['state'] == 'linked' else 'dialled now'}.")
    if not answer["peers"]:
        print("There is nobody to dial: nothing waits for a peer without a link.")


def _line(one: Mapping[str, Any]) -> str:
    classes = [f"{counts['envelopes']} {name}" for name, counts in one["classes"].items() if counts["envelopes"]]
    text = "nothing waits"
    if one["envelopes"]:
        text = f"{count_text(one['envelopes'])} ({', '.join(classes)}), {size(one['bytes'])}"
        text += f", the oldest for {duration(one['oldest_s'])}"
    return f"{one['domain']}  {state_text(one)}  {text}"


def _print_envelopes(answer: Mapping[str, Any]) -> None:
    print(_line(answer))
    for one in answer["waiting"]:
        times = f"for {duration(one['age_s'])}, expires in {duration(one['expires_in_s'])}"
        print(f"{one['id']}  {one['class']:<6}  {size(one['bytes']):>7}  {times}{', sent' if one['sent'] else ''}")
    if (more := answer["envelopes"] - len(answer["waiting"])) > 0:
        print(f"and {count_text(more)} more: --limit shows them")


def _print_drop(answer: Mapping[str, Any], verb: str) -> None:
    print(f"{count_text(answer['envelopes'])} ({size(answer['bytes'])}) for {answer['domain']} {verb} dropped.")
    if answer["told"]:
        print(f"  {answer['told']}: the edge node by which it came is told (POLICY), and tells a device that is there")
    if answer["untold"]:
        print(f"  {answer['untold']}: nobody can be told, the sender goes on believing that it is on its way")
    if answer["sent"]:
        print(f"  {answer['sent']} of them had been sent before, without an answer, and may arrive all the same")
    if answer["under_way"]:
        print(f"  {answer['under_way']} more: under way on the link at the moment, and left alone")
    for identity in answer["unknown"]:
        print(f"  {identity} does not wait for {answer['domain']}")
