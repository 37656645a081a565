"""The servers of the path as their daemons put them together, but for what a wire in memory needs not.

in: a machine, a way to reach others; out: a homeserver's links to its edges and peers, an edge's to its devices.
Left out: discovery, TLS, the handshake: who is at the other end is what the wire says.
Never: does by itself what the daemon's own parts do.
"""

import hashlib
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import apsw
import trio

from volly_fed.channel import EDGE, Negotiated
from volly_fed.codepoints import Role, TrustLevel
from volly_fed.config.model import Devices, Edge, EdgeConfig, Limits
from volly_fed.config.values import HostPort, Remote
from volly_fed.daemon.backoff import Attempts
from volly_fed.daemon.connection import Connection
from volly_fed.daemon.device_door import DeviceDoor
from volly_fed.daemon.dialer import Dialer, Use
from volly_fed.daemon.edge_node import EdgeNode
from volly_fed.daemon.edges import EdgeLinks
from volly_fed.daemon.intake import Intake
from volly_fed.daemon.metered import Metered
from volly_fed.daemon.peers import Peers
from volly_fed.daemon.presence_hub import PresenceHub
from volly_fed.daemon.receipts import Submitters
from volly_fed.daemon.store.store import Store
from volly_fed.daemon.websocket import Socket
from volly_fed.edge.registry import Registry
from volly_fed.errors import RemoteError
from volly_fed.handshake import Outcome
from volly_fed.names import DomainName, Fingerprint
from volly_fed.observe.log import Log
from volly_fed.testing.power_machine import LoopWriter, Machine
from volly_fed.trust.policy import Policy

Dial = Callable[[str, str], Awaitable[Socket]]
"""(who dials, whom): the dialler's end of a wire; raises ChannelError."""
DOMAINS: Final = {"A": DomainName("a.test"), "B": DomainName("b.test")}
NAMES: Final = {**DOMAINS, "EA": DomainName("edge-a"), "EB": DomainName("edge-b")}
_MACHINES: Final = {domain: name for name, domain in NAMES.items()}
_BACKOFF_CAP: Final = 5.0
_ANY: Final[Any] = None
"""Keys and TLS settings, which nothing here asks for."""
_NEGOTIATED: Final = Negotiated(
    version="TLSv1.3",
    group="memory",
    alpn=EDGE.alpn,
    cipher="none",
    peer_certificate_der=b"",
    peer_spki=b"",
    peer_spki_sha256=b"",
    own_spki_sha256=b"",
)


def fingerprint_of(name: str) -> Fingerprint:
    """The identity of a machine."""
    return Fingerprint(hashlib.sha256(name.encode()).digest())


def _connection(socket: Socket, name: str, role: Role) -> Connection:
    outcome = Outcome(
        peer=NAMES[name], identity=b"", fingerprint=fingerprint_of(name), version=1, extensions={}, role=role
    )
    return Connection(socket=socket, negotiated=_NEGOTIATED, outcome=outcome, took=0.0)


class _WireDialer(Dialer):
    """Calls other homeservers over wires."""

    def __init__(self, own: str, dial: Dial) -> None:  # nothing of a Dialer's own but its one method
        self._own, self._dial = own, dial

    async def dial(self, peer: DomainName, use: Use) -> None:
        name = _MACHINES[peer]
        socket = await self._dial(self._own, name)
        try:
            await use(_connection(socket, name, Role.DIALLER), TrustLevel.FULL)
        finally:
            await _close(socket)


class Server:
    """One life of a homeserver, as daemon.homeserver assembles it."""

    def __init__(self, name: str, store: Store, dial: Dial, log: Log) -> None:
        domain = DOMAINS[name]
        self.store = store
        self._submitters = Submitters()
        policy = Policy(default=TrustLevel.FULL)
        presence = PresenceHub(own=domain, store=store, policy=lambda: policy)
        self.edges = EdgeLinks(domain=domain, enrolled=dict, store=store, log=log, presence=presence)
        self.peers = Peers(
            own=domain,
            dialer=_WireDialer(name, dial),
            store=store,
            log=log,
            attempts=Attempts(store=store, cap=_BACKOFF_CAP),
            on_refused=self._refused,
            presence=presence,
        )
        self.peers.intake = self.edges.intake = Intake(
            domain=domain,
            store=store,
            policy=policy,
            limits=Limits(),
            may_queue=self.peers.takes,
            on_outbound=self.peers.enqueue,
            on_inbound=self.edges.stored,
            note_submission=self._submitters.note,
        )

    def _refused(self, _settled: list[int], refused: list[Any]) -> None:
        for link, outcomes in self._submitters.notices(refused).items():
            self.edges.notify(link, outcomes)

    async def accept(self, name: str, socket: Socket) -> None:
        """Serve a wire that `name` has dialled, until it ends."""
        connection = _connection(socket, name, Role.ACCEPTOR)
        try:
            if name in DOMAINS:
                await self.peers.converse(connection, TrustLevel.FULL)
            else:
                await self.edges.serve(connection)
        except RemoteError:
            pass  # the peer is told by others than this
        finally:
            await _close(socket)


class Homeserver:
    """A homeserver's machine: `server` is its present or last life."""

    def __init__(self, name: str, folder: Path, dial: Dial, log: Log) -> None:
        self._name, self._path, self._dial = name, folder / "store.db", dial
        self._log = log
        self.server: Server | None = None

    async def live(self, machine: Machine, look: Callable[[apsw.Connection], None]) -> None:
        """One life."""
        assert machine.disk is not None
        async with trio.open_nursery() as background:
            make = partial(LoopWriter, machine=machine, nursery=background, look=look)
            async with Store.open(self._path, clock=time.time, vfs=machine.disk.vfs, make_writer=make) as store:
                server = self.server = Server(self._name, store, self._dial, self._log)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(server.edges.run)
                    await nursery.start(server.peers.run)
                    machine.open(nursery, server.accept)
                    await trio.sleep_forever()


class _Door(DeviceDoor):
    """Devices come over wires."""

    async def welcome(self, socket: Socket) -> None:
        """Serve one until it goes."""
        try:
            await self._serve_device(socket, Metered(_ANY), "127.0.0.1")
        finally:
            await _close(socket)


class WiredEdge(EdgeNode):
    """One life of an edge node, with wires for its link and its devices."""

    def __init__(self, name: str, homeserver: str, dial: Dial, log: Log) -> None:
        edge = Edge(
            name=NAMES[name],
            domain=DOMAINS[homeserver],
            homeserver=Remote(HostPort("wire", 1)),
            homeserver_identity=fingerprint_of(homeserver),
        )
        super().__init__(
            config=EdgeConfig(edge=edge),
            path=Path(),
            keys=_ANY,
            log=log,
            context=_ANY,
            registry=Registry(domain=DOMAINS[homeserver], edge=fingerprint_of(name)),
        )
        self.devices = _Door(devices=Devices(), registry=self.registry, perform=self.perform, room=self._room, log=log)
        self.door = self.devices
        self._names, self._dial = (name, homeserver), dial

    async def live(self, machine: Machine) -> None:
        """One life."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_link)
            machine.open(nursery, self._accept)

    async def _accept(self, name: str, socket: Socket) -> None:  # noqa: ARG002 - devices have no names
        await self.devices.welcome(socket)

    async def _one_link(self) -> str:
        own, homeserver = self._names
        try:
            socket = await self._dial(own, homeserver)
        except RemoteError as error:
            return str(error)
        try:
            return await self._converse(_connection(socket, homeserver, Role.DIALLER))
        finally:
            await _close(socket)


async def _close(socket: Socket) -> None:
    with trio.CancelScope(shield=True):
        await socket.aclose()
