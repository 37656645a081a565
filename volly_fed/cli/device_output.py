"""What `volly-fed device` prints.

in: messages, outcomes, cards; out: lines for people, or one JSON document a line.
Never: passes on characters that steer a terminal.
"""

import base64
import datetime
import json
import sys

import click
import segno

from volly_fed.cli.options import shown
from volly_fed.client.card import Card, encode_card
from volly_fed.client.inbox import InboxMessage
from volly_fed.client.sightings import Sighting
from volly_fed.daemon.device.device import Sent
from volly_fed.names import fingerprint_text

_SHORT = 12
"""Characters of a fingerprint that are shown for somebody who has no name."""


def print_line(document: object) -> None:
    """One JSON document, one line, at once, in ASCII: text from outside must not steer a terminal either."""
    print(json.dumps(document), flush=True)


def print_sent(sent: Sent, to: Card, *, as_json: bool) -> None:
    """What became of a message."""
    if as_json:
        print_line(
            {
                "id": sent.id.hex(),
                "to": to.domain,
                "accepted": sent.accepted,
                "code": sent.code.name,
                "text": sent.text,
                "late": sent.late,
            }
        )
    elif sent.accepted:
        click.echo(f"accepted {sent.id.hex()}")
    else:
        by = f"by {to.domain}" if sent.late else "by our homeserver"
        click.echo(f"refused {by}: {shown(sent.text)} ({sent.code.name})", err=True)


def print_message(message: InboxMessage, sender: Card | None, *, as_json: bool) -> None:
    """One received message. `sender` is the contact whose signature it bears, if we know them."""
    content = message.content
    if as_json:
        print_line(
            {
                "key": message.key.hex(),
                "id": message.id.hex(),
                "sender": fingerprint_text(message.sender),
                "contact": sender.name if sender is not None else None,
                "sent_at": content.sent_at,
                "text": content.text,
                "data": None if content.text is not None else base64.b64encode(content.data).decode("ascii"),
                "reply": encode_card(content.reply) if content.reply is not None else None,
            }
        )
        return
    who = sender.name if sender is not None and sender.name else f"unknown {fingerprint_text(message.sender)[:_SHORT]}…"
    text = content.text if content.text is not None else f"({len(content.data)} bytes of data; see --json)"
    print(f"{_time(content.sent_at)} {who}: {shown(text)}", flush=True)


def print_sighting(sighting: Sighting, contact: Card, now: float, *, as_json: bool) -> None:
    """A contact has come, gone, or got out of sight."""
    if as_json:
        print_line(
            {
                "at": int(now),
                "contact": contact.name,
                "identity": fingerprint_text(contact.identity),
                "domain": contact.domain,
                "presence": sighting.presence.value,
                "reason": sighting.reason,
            }
        )
        return
    reason = f": {shown(sighting.reason)}" if sighting.reason else ""
    who = f"{called(contact)} ({contact.domain})"
    print(f"{_time(int(now))} {sighting.presence.value:<7} {who}{reason}", flush=True)


def called(contact: Card) -> str:
    """What to call a contact."""
    return shown(contact.name) or f"{fingerprint_text(contact.identity)[:_SHORT]}…"


def print_qr(text: str) -> None:
    """`text` as a QR code made of characters."""
    segno.make(text, error="l", micro=False).terminal(out=sys.stdout, compact=True)


def _time(seconds: int) -> str:
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return "(no time)"
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")
