"""What is counted of links to peers.

in: links, what peers have settled; out: numbers in a Tally.
Never: costs more than one step for each batch.
"""

from collections import Counter
from typing import TypeVar

import trio

from volly_fed.daemon.link import Handler, Link
from volly_fed.daemon.peer import Peer
from volly_fed.daemon.websocket import Socket
from volly_fed.observe.tally import CLASSES, UNKNOWN, Tally
from volly_fed.session import Session, Settled
from volly_fed.wire.messages import Message

K = TypeVar("K", bound=int)


class CountedLink(Link[int]):
    """A link to a peer: what is sent beside the streams is about presence."""

    def __init__(self, socket: Socket, session: Session[int], handler: Handler[int], tally: Tally) -> None:
        super().__init__(socket, session, handler)
        self._tally = tally

    def send(self, message: Message) -> bool:
        """As Link has it."""
        sent = super().send(message)
        self._tally.presence["out", kind_of(message)] += sent
        return sent


def kind_of(message: Message) -> str:
    """The last word of the message's name: request, snapshot, delta and so on."""
    return type(message).__name__.removeprefix("Presence").lower()


def count_settled(tally: Tally, peer: Peer, event: Settled[int]) -> None:
    """What `peer` has taken, and what it has refused."""
    refused: Counter[int] = Counter()
    for key, code, _ in event.refused:
        urgency = peer.underway.class_of(key)
        refused[urgency] += 1
        tally.refuse("by_peer", [urgency], code)
    for urgency, seconds, times in peer.underway.end(event.keys, trio.current_time()):
        tally.deliver(urgency, seconds, times)
    for urgency, times in refused.items():
        tally.delivered["peer", CLASSES.get(urgency, UNKNOWN)] -= times
