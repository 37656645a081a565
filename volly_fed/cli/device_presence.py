"""`volly-fed device online`, `watch`, `give` and `take`: being seen by one's contacts, seeing them, and what it takes.

in: a device's folder, scopes, names of contacts; out: until interrupted, a line for each contact who comes or goes.
Never: prints a presence key that is not sealed, or calls somebody offline of whom nothing is known.
"""

import os
import sys
import time
from collections.abc import Sequence
from typing import TextIO

import click
import trio

from volly_fed import limits
from volly_fed.cli import failure
from volly_fed.cli.device_options import Options
from volly_fed.cli.device_output import called, print_sighting
from volly_fed.cli.options import DOMAIN, json_option
from volly_fed.client.card import SCHEME, Card, parse_card
from volly_fed.client.contact import ContactBook
from volly_fed.client.sightings import Sighting
from volly_fed.crypto.secret import Secret
from volly_fed.daemon.device.by_hand import give_key, take_given
from volly_fed.daemon.device.home import DeviceHome
from volly_fed.daemon.device.presence import Announcing, Contacts, HandingOut, Watching
from volly_fed.errors import BadMessage, LocalError, RemoteError
from volly_fed.names import DomainName, Fingerprint
from volly_fed.trust.gates import EVERYBODY
from volly_fed.wire.presence import ANNOUNCED_SCOPES

_KEYS_COME = (
    "both of you add each other as contacts and run `volly-fed device online`; the key comes with "
    "`volly-fed device listen`, or from hand to hand (`volly-fed device give`)"
)
_timeout = click.option("--timeout", type=float, default=float("inf"), help="Stop after so many seconds.")


@click.command()
@click.option(
    "--scope",
    "scopes",
    type=DOMAIN,
    multiple=True,
    help="Be seen by contacts of this domain only; may be repeated. Default: by contacts of all domains.",
)
@_timeout
@click.pass_obj
def online(options: Options, scopes: tuple[DomainName, ...], timeout: float) -> int:
    """Be online for your contacts until interrupted, and give those who have it not your presence key.

    Your homeserver, and those that your contacts use, see that somebody is online, and not who.
    """
    home = DeviceHome.open(options.home)
    wanted = tuple(dict.fromkeys(scopes)) or (EVERYBODY,)
    if len(wanted) > ANNOUNCED_SCOPES:
        raise LocalError(f"at most {ANNOUNCED_SCOPES} scopes; note: leave --scope out to be seen from all domains")
    home.change_presence(lambda book: book, os.urandom, time.time())  # what cannot be written shows now

    async def run() -> int:
        with trio.move_on_after(timeout):
            async with trio.open_nursery() as nursery:
                way = options.way(home.keys.domain)
                await nursery.start(Announcing(home, wanted, way).run)
                seen = "all domains" if wanted == (EVERYBODY,) else ", ".join(wanted)
                print(f"online for contacts of {seen}", file=sys.stderr, flush=True)
                nursery.start_soon(HandingOut(home, way).run)
        return failure.OK

    return trio.run(run)


@click.command()
@click.argument("who", metavar="[CARD]...", nargs=-1)
@_timeout
@json_option
@click.pass_obj
def watch(options: Options, who: tuple[str, ...], timeout: float, as_json: bool) -> int:
    """Say who of these contacts (cards or names; default: all) is online, and who comes and goes, until interrupted.

    "unknown": their domain shows nothing at the moment. By chance, one in 880 contacts who are away looks online, for
    half an hour at most (a filter lets 5.7 of 10 000 strangers pass, and two tags are looked for). Neither server
    learns whom you look for.
    """
    home = DeviceHome.open(options.home)
    chosen = _chosen(home.contacts(), who)
    keys = _contacts(home, chosen)
    _refuse_without_keys(home, chosen, named=bool(who))

    def say(sightings: list[Sighting]) -> None:
        for sighting in sightings:
            print_sighting(sighting, chosen[sighting.identity], time.time(), as_json=as_json)

    async def run() -> int:
        with trio.move_on_after(timeout):
            async with trio.open_nursery() as nursery:
                way = options.way(home.keys.domain)
                await nursery.start(Watching(home.keys.domain, lambda: _contacts(home, chosen), way, say).run)
                count = sum(map(len, keys.values()))
                print(f"watching {count} contacts at {len(keys)} domains", file=sys.stderr, flush=True)
        return failure.OK

    return trio.run(run)


@click.command()
@click.argument("who", metavar="CONTACT")
@click.pass_obj
def give(options: Options, who: str) -> None:
    """Print your presence key, sealed for CONTACT (a name, or the card), who can `take` it.

    Needed only where no envelopes pass: between domains at level `metadata`. Send the line as you like; nobody else can
    open it.
    """
    home = DeviceHome.open(options.home)
    contact = _find(home.contacts(), who)
    try:
        click.echo(give_key(home, contact, time.time()))
    except BadMessage as error:
        raise LocalError(f"{called(contact)} can be given nothing: {error}") from error


@click.command()
@click.argument("file", type=click.File(errors="replace"), default="-")
@click.pass_obj
def take(options: Options, file: TextIO) -> None:
    """Take a contact's presence key that was printed by `give`, from FILE or standard input."""
    home = DeviceHome.open(options.home)
    try:
        taken = take_given(home, file.read(limits.MAX_SEALED_TEXT + 1), time.time())
    except RemoteError as error:
        raise LocalError(f"this is no key for this device: {error}") from error
    name = called(taken.contact)
    click.echo(f"the presence key of {name} is kept" if taken.news else f"nothing new from {name}")
    if taken.wants:
        click.echo(f"note: {name} had none of yours when this was made: `volly-fed device give`", err=True)


def _chosen(book: ContactBook, who: Sequence[str]) -> dict[Fingerprint, Card]:
    cards = [_find(book, text) for text in who] if who else list(book.cards)
    return {card.identity: card for card in cards}


def _find(book: ContactBook, text: str) -> Card:
    if not text.startswith(SCHEME):
        return book.find(text)
    try:
        known = book.sender(parse_card(text).identity)
    except BadMessage as error:
        raise LocalError(str(error)) from error
    if known is None:
        raise LocalError("this is nobody of your contacts; note: `volly-fed device contacts add CARD` first")
    return known


def _contacts(home: DeviceHome, chosen: dict[Fingerprint, Card]) -> Contacts:
    """By domain, whoever of `chosen` is still a contact and has given us a key."""
    presence = home.presence()
    found: dict[DomainName, dict[Fingerprint, Secret]] = {}
    for card in home.contacts().cards if presence is not None else ():
        assert presence is not None
        key = presence.person(card.identity).key
        if card.identity in chosen and key is not None:
            found.setdefault(card.domain, {})[card.identity] = key
    return found


def _refuse_without_keys(home: DeviceHome, chosen: dict[Fingerprint, Card], *, named: bool) -> None:
    """Whoever was named must have given us a key; of all contacts, one at least."""
    if not chosen:
        raise LocalError("there are no contacts; note: `volly-fed device contacts add CARD` first")
    known = {identity for keys in _contacts(home, chosen).values() for identity in keys}
    missing = [called(card) for identity, card in chosen.items() if identity not in known]
    if missing and (named or not known):
        raise LocalError(f"no presence key has come from {', '.join(missing)}; note: {_KEYS_COME}")
