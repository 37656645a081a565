"""`volly-fed device`: a device on the command line: its card, its contacts, sending, listening (presence beside it).

in: a folder with the device's keys (made by the first `card --domain`), a way to an edge of its domain.
out: a card, what became of a message, one line per received message.
Never: prints keys, or control characters that somebody else wrote, to a terminal.
"""

import base64
import datetime
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click
import trio

from volly_fed import limits
from volly_fed.cli import failure
from volly_fed.cli.device_options import RESOLVER, Options
from volly_fed.cli.device_output import called, print_line, print_message, print_qr, print_sent
from volly_fed.cli.device_presence import give, online, take, watch
from volly_fed.cli.options import DOMAIN, PATH, json_option
from volly_fed.client.card import SCHEME, Card, check_name, encode_card, parse_card
from volly_fed.client.inbox import InboxMessage
from volly_fed.client.mailbox import EVERYBODY
from volly_fed.client.seal import Content
from volly_fed.codepoints import EnvelopeClass
from volly_fed.daemon.device.device import DEFAULT_LIFETIME, send
from volly_fed.daemon.device.home import DeviceHome
from volly_fed.daemon.device.presence import take_key
from volly_fed.daemon.device.receiving import Receiving
from volly_fed.errors import BadMessage, LocalError
from volly_fed.names import DomainName, fingerprint_text, parse_domain

F = TypeVar("F", bound=Callable[..., Any])
_LABEL = "Whom the card is for; a card of its own can be revoked without the others noticing."


@click.group()
@click.option(
    "--home",
    type=PATH,
    default=lambda: Path(click.get_app_dir("volly-fed")) / "device",
    show_default="the user's configuration folder",
    help="The device's folder: keys, contacts, messages.",
)
@click.option("--edge", metavar="URL", help="An edge: ws://127.0.0.1:PORT or wss://HOST[:PORT]. Default: ask the DNS.")
@click.option("--resolver", "resolvers", type=RESOLVER, multiple=True, help="DNS server, instead of the system's.")
@click.option("--anchors", type=PATH, metavar="FILE", help="DNSSEC trust anchors, instead of the root's.")
@click.option("--roots", type=PATH, metavar="FILE", help="Trusted certificates (PEM), instead of the system's.")
@click.option("--allow-private-addresses", "allow_private", is_flag=True, help="Believe DNS about private addresses.")
@click.pass_context
def device(context: click.Context, /, **options: Any) -> None:
    """A command-line device: card, contacts, send, listen, online, watch; give and take presence keys by hand."""
    context.obj = Options(**options)


device.add_command(online)
device.add_command(watch)
device.add_command(give)
device.add_command(take)


@device.command()
@click.option("--domain", type=DOMAIN, help="The domain of a new device.")
@click.option("--name", help="What you call yourself on your card.")
@click.option("--for", "label", default=EVERYBODY, show_default=True, help=_LABEL)
@click.option("--scope", "scopes", multiple=True, help="Only users of this domain may use that card; may be repeated.")
@click.option("--revoke", metavar="LABEL", help="Let nothing in any more that was written with the card for LABEL.")
@click.option("--qr", is_flag=True, help="Print the card as a QR code.")
@json_option
@click.pass_obj
def card(
    options: Options,
    domain: DomainName | None,
    name: str | None,
    label: str,
    scopes: tuple[str, ...],
    revoke: str | None,
    qr: bool,
    as_json: bool,
) -> None:
    """Print the contact card; makes the device at first use. Cards are secrets: who has one can write to you."""
    home = _open_or_create(options.home, domain, name)
    if revoke is not None:
        home = home.with_keys(home.keys.without_pass(revoke))
        click.echo("note: takes effect when this device listens next", err=True)
        return
    if label not in {known.label for known in home.keys.passes}:
        wanted = tuple(sorted({parse_domain(scope) for scope in scopes})) or ("*",)
        home = home.with_keys(home.keys.with_pass(label, os.urandom, wanted))
        click.echo("note: this card works when this device has listened once", err=True)
    made = home.keys.card(label)
    if as_json:
        print_line(_card_document(made))
    elif qr:
        print_qr(encode_card(made))
    else:
        click.echo(encode_card(made))


@device.command("send")
@click.argument("to", metavar="CARD")
@click.argument("text", required=False)
@click.option("--file", "file", type=click.File("rb"), help=f"Send a file's bytes, at most {limits.MAX_CONTENT}.")
@click.option("--class", "urgency", type=click.Choice([kind.name.lower() for kind in EnvelopeClass]), default="signal")
@click.option("--lifetime", type=click.IntRange(1, limits.MAX_LIFETIME), default=DEFAULT_LIFETIME, help="Seconds.")
@click.option("--no-reply", is_flag=True, help="Do not enclose your own card.")
@click.option(
    "--wait", "linger", type=float, default=0.0, help="Seconds to wait for a refusal by the recipient's server."
)
@json_option
@click.pass_obj
def send_command(
    options: Options,
    to: str,
    text: str | None,
    file: Any,
    urgency: str,
    lifetime: int,
    no_reply: bool,
    linger: float,
    as_json: bool,
) -> int:
    """Send TEXT to CARD: a card (volly:…) or the name of a contact. Accepted means: on our homeserver's disk."""
    if (text is None) == (file is None):
        raise click.UsageError("give a text or --file, not both")
    home = DeviceHome.open(options.home)
    target = _target(home, to)
    content = Content(
        sent_at=int(datetime.datetime.now(datetime.UTC).timestamp()),
        text=text,
        data=b"" if file is None else file.read(limits.MAX_CONTENT + 1),
        reply=None if no_reply else home.keys.card(),
    )

    async def run() -> int:
        sent = await send(
            home.keys,
            options.way(home.keys.domain),
            target,
            content,
            urgency=EnvelopeClass[urgency.upper()],
            lifetime=lifetime,
            linger=linger,
        )
        print_sent(sent, target, as_json=as_json)
        return failure.OK if sent.accepted else failure.FAILED

    return trio.run(run)


@device.command()
@click.option("--count", type=click.IntRange(min=1), help="Stop after so many messages.")
@click.option("--timeout", type=float, help="Stop after so many seconds; code 3 if --count was not reached.")
@json_option
@click.pass_obj
def listen(options: Options, count: int | None, timeout: float | None, as_json: bool) -> int:
    """Receive messages, one line each. Says "listening as …" on standard error when the mailbox is claimed."""
    home = DeviceHome.open(options.home)
    return trio.run(_listen, home, options, count, timeout, as_json)


@device.group()
def contacts() -> None:
    """The contact book: add, list, remove."""


@contacts.command("add")
@click.argument("text", metavar="CARD")
@click.option("--name", help="What you call them.")
@click.pass_obj
def add_contact(options: Options, text: str, name: str | None) -> None:
    """Put a card into the contact book; a newer card of the same person takes the older one's place.

    `volly-fed device online` gives contacts your presence key; theirs comes with `volly-fed device listen`.
    """
    home = DeviceHome.open(options.home)
    found = _parse(text)
    if name is not None:
        found = attrs.evolve(found, name=_checked(name))
    home.put_contacts(home.contacts().with_card(found))


@contacts.command("list")
@json_option
@click.pass_obj
def list_contacts(options: Options, as_json: bool) -> None:
    """Print name, domain and identity of everybody in the book; with --json one line each, cards included."""
    for known in DeviceHome.open(options.home).contacts().cards:
        if as_json:
            print_line(_card_document(known))
        else:
            click.echo(f"{known.name or '-':<24} {known.domain:<32} {fingerprint_text(known.identity)}")


@contacts.command("remove")
@click.argument("name")
@click.pass_obj
def remove_contact(options: Options, name: str) -> None:
    """Remove a contact, by name or identity. They keep your card: see `card --revoke`.

    If they have your presence key, it is replaced: they do not see you online any more. A running `online` changes to
    the new key within seconds, and gives it to the other contacts.
    """
    home = DeviceHome.open(options.home)
    book = home.contacts()
    home.put_contacts(book.without(book.find(name).identity))
    before = home.presence()
    if before is None:
        return
    after = home.change_presence(lambda kept: kept, os.urandom, time.time())  # after the book: see there
    if after.serial != before.serial:
        click.echo("note: your presence key was replaced; `volly-fed device online` gives others the new one", err=True)


async def _listen(home: DeviceHome, options: Options, count: int | None, timeout: float | None, as_json: bool) -> int:  # noqa: ASYNC109 - the user's wish, not an API
    book, store = home.contacts(), home.messages()
    left = count
    try:
        with trio.move_on_after(float("inf") if timeout is None else timeout) as scope:

            async def deliver(message: InboxMessage) -> None:
                nonlocal left
                await trio.lowlevel.checkpoint()  # nothing more once there were enough
                if message.content.presence is not None:
                    await trio.to_thread.run_sync(_take_key, home, message)
                    return
                print_message(message, book.sender(message.sender), as_json=as_json)
                if left is not None:
                    left -= 1
                    if not left:
                        scope.cancel()

            receiving = Receiving(home.keys, store, options.way(home.keys.domain), deliver)
            async with trio.open_nursery() as nursery:
                await nursery.start(receiving.run)
                print(f"listening as {home.keys.address}", file=sys.stderr, flush=True)
    finally:
        store.close()
    return failure.UNKNOWN if left else failure.OK


def _take_key(home: DeviceHome, message: InboxMessage) -> None:
    sender = home.contacts().sender(message.sender)
    if take_key(home, message, time.time()) and sender is not None:
        click.echo(f"note: the presence key of {called(sender)} has come: `volly-fed device watch`", err=True)


def _open_or_create(path: Path, domain: DomainName | None, name: str | None) -> DeviceHome:
    if not DeviceHome.exists(path):
        if domain is None:
            raise LocalError(f"there is no device in {path}; note: name its domain with --domain to make one")
        return DeviceHome.create(path, domain, os.urandom, name=_checked(name or ""))
    home = DeviceHome.open(path)
    if domain is not None and domain != home.keys.domain:
        raise LocalError(f"the device in {path} is of {home.keys.domain}; note: choose another --home for a new one")
    if name is not None and name != home.keys.name:
        home = home.with_keys(attrs.evolve(home.keys, name=_checked(name)))
    return home


def _target(home: DeviceHome, text: str) -> Card:
    return _parse(text) if text.startswith(SCHEME) else home.contacts().find(text)


def _parse(text: str) -> Card:
    try:
        return parse_card(text)
    except BadMessage as error:
        raise LocalError(str(error)) from error


def _checked(name: str) -> str:
    try:
        return check_name(name)
    except BadMessage as error:
        raise LocalError(f"{error}; note: choose another --name") from error


def _card_document(shown: Card) -> dict[str, str]:
    return {
        "card": encode_card(shown),
        "address": str(shown.address),
        "name": shown.name,
        "domain": shown.domain,
        "identity": fingerprint_text(shown.identity),
        "mailbox_key": base64.urlsafe_b64encode(shown.key).decode("ascii").rstrip("="),
    }
