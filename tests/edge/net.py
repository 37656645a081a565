"""A homeserver, edges and devices without sockets: every message is encoded and parsed on every hop.

An edge can be made to lie: `on_way_up` and `on_way_down` see each message that it passes on and may change or drop it.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

from volly_fed.client import Card, Content, DeviceKeys, seal
from volly_fed.client import receiver as r
from volly_fed.client.conversation import Welcomed
from volly_fed.client.inbox import InboxMessage, open_items
from volly_fed.edge import claims as hs
from volly_fed.edge import registry as node
from volly_fed.edge.claims import Claims
from volly_fed.edge.delivery import Row
from volly_fed.edge.registry import Registry
from volly_fed.names import DomainName, Fingerprint, MailboxId
from volly_fed.relay.envelope import Envelope, encode_envelope
from volly_fed.wire import Message, encode_message, parse_message

HOME = DomainName("home.test")
WALL = 1_800_000_000.0
Hook = Callable[[Message], Message | None]
M = TypeVar("M", bound=Message)


def edge_fingerprint(name: str) -> Fingerprint:
    return Fingerprint(hashlib.sha256(name.encode()).digest())


def by_mailbox(rows: Iterable[tuple[MailboxId, Row]]) -> dict[MailboxId, list[Row]]:
    """As the daemon tells of what is stored."""
    found: dict[MailboxId, list[Row]] = {}
    for mailbox, row in rows:
        found.setdefault(mailbox, []).append(row)
    return found


def again(message: M) -> M:
    """The message as it arrives."""
    parsed = parse_message(encode_message(message))
    assert type(parsed) is type(message)
    return parsed


def message_to(card: Card, sender: DeviceKeys, text: str = "hello", envelope_id: bytes | None = None) -> Envelope:
    content = Content(sent_at=int(WALL), text=text, reply=sender.card())
    return seal(
        content,
        identity=sender.identity,
        to=card,
        envelope_id=envelope_id or os.urandom(16),
        expiry=int(WALL) + 3600,
    )


class Edge:
    """One edge node and its link."""

    def __init__(self, name: str, link: int) -> None:
        self.name, self.link = name, link
        self.registry = Registry(domain=HOME, edge=edge_fingerprint(name))
        self.registry.link_up()
        self.on_way_up: Hook = lambda message: message
        self.on_way_down: Hook = lambda message: message


class Device:
    """A receiving connection that stores at once, acknowledges when it may, and claims when it can."""

    def __init__(self, net: "Net", edge: Edge, keys: DeviceKeys, connection: int) -> None:
        self.net, self.edge, self.keys, self.connection = net, edge, keys, connection
        self.machine = r.Receiver(keys, 0.0)
        self.got: list[InboxMessage] = []
        self.unopened = 0
        self.raw: list[r.Item] = []
        self.lost: list[r.Lost] = []
        self.acknowledging = True
        self.holding = False

    def hear(self, message: Message) -> None:
        self.machine.receive(encode_message(message), 0.0)
        for event in self.machine.events():
            match event:
                case Welcomed():
                    self.say(r.StartClaim())
                case r.Challenged():
                    self.say(r.Prove(WALL))
                case r.Holding():
                    self.holding = True
                case r.Delivered():
                    self.raw += event.items
                    messages, unopened = open_items(self.keys, event.items, WALL)
                    self.got += messages
                    self.unopened += unopened
                    if self.acknowledging:
                        self.say(r.Confirm(claim=event.claim, items=event.items))
                case r.Lost():
                    self.holding = False
                    self.lost.append(event)

    def say(self, command: r.Command) -> None:
        data = self.machine.send(command)
        if data:
            self.net.from_device(self.edge, self.connection, parse_message(data))


class Net:
    """The homeserver in the middle, and its store as a list of rows."""

    def __init__(self, *edges: str) -> None:
        self.claims = Claims(HOME)
        self.edges = {name: Edge(name, number) for number, name in enumerate(edges or ("e1",), 1)}
        for edge in self.edges.values():
            self.claims.add_link(edge.link, edge_fingerprint(edge.name))
        self.registrations: dict[MailboxId, bytes] = {}
        self.rows: list[tuple[MailboxId, Row]] = []
        self.rejected: list[str] = []
        self.offered: list[tuple[int, bytes]] = []
        self.devices: dict[tuple[str, int], Device] = {}
        self.told: list[tuple[int, Message]] = []
        self.down: deque[tuple[Edge, int, Message]] = deque()
        self._last_row = 0
        self._running = False
        self._last_connection = 0

    # --- devices

    def connect(self, keys: DeviceKeys, edge: str = "e1", *, acknowledging: bool = True) -> Device:
        self._last_connection += 1
        node_ = self.edges[edge]
        device = Device(self, node_, keys, self._last_connection)
        device.acknowledging = acknowledging
        self.devices[edge, self._last_connection] = device
        self.down.append((node_, device.connection, node_.registry.connect(device.connection)))
        self.run()
        return device

    def disconnect(self, device: Device) -> None:
        del self.devices[device.edge.name, device.connection]
        self.at_edge(device.edge, device.edge.registry.disconnect(device.connection))
        self.run()

    def from_device(self, edge: Edge, connection: int, message: Message) -> None:
        self.at_edge(edge, edge.registry.receive_device(connection, again(message), WALL))

    # --- the edge's glue

    def at_edge(self, edge: Edge, actions: list[node.Action]) -> None:
        for action in actions:
            match action:
                case node.ToDevice():
                    self.down.append((edge, action.connection, action.message))
                case node.ToHomeserver():
                    message = edge.on_way_up(action.message)
                    if message is not None:
                        self.up(edge, message)
                case node.Offer():
                    self.offered += action.items

    def up(self, edge: Edge, message: Message) -> None:
        self.at_homeserver(self.claims.receive(edge.link, again(message), now=WALL, random=os.urandom))

    # --- the homeserver's glue

    def at_homeserver(self, actions: list[hs.Action]) -> None:
        for action in actions:
            match action:
                case hs.ToEdge():
                    self._to_edge(action)
                case hs.Register():
                    self.registrations[action.claimed.mailbox] = action.claimed.registration_bytes
                    self.at_homeserver(self.claims.registered(action))
                case hs.Delete():
                    self.rows = [(m, row) for m, row in self.rows if row.row not in action.rows]
                case hs.Rejected():
                    self.rejected.append(action.reason)

    def _to_edge(self, action: hs.ToEdge) -> None:
        edge = next(edge for edge in self.edges.values() if edge.link == action.link)
        message = edge.on_way_down(again(action.message))
        if message is not None:
            self.at_edge(edge, edge.registry.receive_homeserver(message))

    def store(self, *envelopes: Envelope) -> None:
        """Commit these and tell the claims, as the daemon does after a commit."""
        rows = []
        for envelope in envelopes:
            self._last_row += 1
            row = Row(self._last_row, envelope.id, encode_envelope(envelope), envelope.urgency)
            rows.append((envelope.mailbox, row))
        self.rows += rows
        self.claims.stored(by_mailbox(rows))
        self.run()

    def run(self) -> None:
        """Carry messages to devices and read for edges until nothing moves."""
        if self._running:
            return
        self._running = True
        try:
            while self.down or self._read_once():
                while self.down:
                    edge, connection, message = self.down.popleft()
                    device = self.devices.get((edge.name, connection))
                    self.told.append((connection, message))
                    if device is not None:
                        device.hear(again(message))
        finally:
            self._running = False

    def _read_once(self) -> bool:
        for edge in self.edges.values():
            message = self.claims.next_delivery(edge.link)
            if message is not None:
                self._to_edge(hs.ToEdge(edge.link, message))
                return True
            read = self.claims.next_read(edge.link)
            if read is not None:
                wanted = (read.mailbox, read.lane.urgency)
                rows = [row for m, row in self.rows if (m, row.urgency) == wanted and row.row > read.after]
                self.claims.give_read(read, rows[: read.limit])
                return True
        return False
