"""The edge process: devices on one side, the homeserver on the other, nothing durable in between.

in: edge.toml; out: one ready line on standard output, a log on standard error.
SIGHUP reads edge.toml, the keys and the certificate for devices again.
Never: answers a device for the homeserver, keeps an envelope that the homeserver has settled, or opens a body.
"""

import os
import random
import time
from pathlib import Path

import attrs
import trio

from volly_fed import limits
from volly_fed.channel import EDGE, Negotiated
from volly_fed.codepoints import ErrorCode
from volly_fed.config.model import Edge, EdgeConfig
from volly_fed.daemon import material
from volly_fed.daemon.connection import Connection, Dialled, Use, dial
from volly_fed.daemon.credentials import tls_identity
from volly_fed.daemon.device_door import DeviceDoor
from volly_fed.daemon.edges import EXTRA
from volly_fed.daemon.http.edge import EdgeFace, EdgeState
from volly_fed.daemon.http.start import http_listening, serve_http
from volly_fed.daemon.link import Link, Pending, Resumption
from volly_fed.daemon.listen import listening, local_port
from volly_fed.daemon.process import Start
from volly_fed.daemon.shutdown import reloads, wait_for_stop
from volly_fed.daemon.supervisor import Supervisor
from volly_fed.daemon.tls import TlsContext, make_context
from volly_fed.edge.registry import Action, Feed, HangUp, Offer, Registry, Speak, ToDevice, ToHomeserver
from volly_fed.errors import LocalError, RemoteError
from volly_fed.handshake import Outcome, Party
from volly_fed.names import Fingerprint, fingerprint_text
from volly_fed.observe.log import Log
from volly_fed.session import Outbound, Received, Session, Settled
from volly_fed.wire import Message

_SPARE = limits.EXTRA_MESSAGES // 2
"""Of the link's room for messages, what presence leaves to claims and acknowledgements."""


def run(config_path: Path) -> None:
    """Run the edge node of `config_path` until it is told to stop. Raises LocalError when it cannot start."""
    began = time.monotonic()
    config = material.read_edge_config(config_path)
    log = Log(config.log.level, config.log.format)
    start = Start.with_crypto(config.crypto, began)
    node = EdgeNode.load(config, log, config_path)
    trio.run(node.serve, start)


@attrs.define(kw_only=True)
class EdgeNode:
    """One edge node. `load` reads the files, `serve` runs."""

    config: EdgeConfig
    keys: material.Material
    log: Log
    context: TlsContext
    registry: Registry
    path: Path
    """edge.toml, for `reload`."""
    supervisor: Supervisor = attrs.field(factory=Supervisor.of)
    door: DeviceDoor = attrs.field(init=False)
    _outbound: Outbound[int] = attrs.field(init=False)
    _link: Link[int] | None = attrs.field(default=None, init=False)
    _down: tuple[float, str] | None = attrs.field(default=None, init=False)
    """Since when there is no link, and why not."""
    _linked: trio.Event = attrs.field(factory=trio.Event, init=False)
    _unlinked: trio.Event = attrs.field(factory=trio.Event, init=False)
    _owing: trio.Event = attrs.field(factory=trio.Event, init=False)
    """There is something about presence that the homeserver has not been told."""

    @classmethod
    def load(cls, config: EdgeConfig, log: Log, path: Path) -> "EdgeNode":
        """Read every file that is needed; raises LocalError for the first that cannot be used."""
        keys = material.load_material(config.edge.data_dir)
        return cls(
            config=config,
            keys=keys,
            log=log,
            path=path,
            context=make_context(EDGE, server=False, identity=tls_identity(keys)),
            registry=Registry(domain=config.edge.domain, edge=keys.fingerprint),
        )

    def __attrs_post_init__(self) -> None:
        self._outbound = Outbound(os.urandom)
        self.door = DeviceDoor(
            devices=self.config.devices, registry=self.registry, perform=self.perform, room=self._room, log=self.log
        )

    async def serve(self, start: Start) -> None:
        """Listen for devices and keep the link to the homeserver, until SIGTERM or SIGINT."""
        async with (
            listening(self.config.devices.listen, "devices.listen") as listeners,
            http_listening(self.config.http) as http,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(serve_http, self.config.http, http, EdgeFace(state=self._state), self.log)
            nursery.start_soon(self._keep_link)
            nursery.start_soon(reloads, self.reload)
            nursery.start_soon(self.supervisor.keep_alive, trio.lowlevel.checkpoint)
            await nursery.start(self.door.serve, listeners)
            with trio.move_on_after(limits.EDGE_READY):
                await self._linked.wait()
            self._say_ready(start, local_port(listeners), http)
            self.log.stopping(reason=await wait_for_stop())
            self.supervisor.stopping("Waiting for devices' messages to be taken")
            self.door.stop()
            with trio.move_on_after(limits.DRAIN):
                await self._drain()
            nursery.cancel_scope.cancel()
        self.log.stopped()

    async def reload(self) -> None:
        """Read edge.toml, keys and the devices' certificate again; a file that cannot be used changes nothing at all.

        The link is made anew where another homeserver, name or key is to be used: devices claim again then, as after
        any break. Another domain, or another address to listen on, wants a restart.
        """
        try:
            async with self.supervisor.reloading():
                config, keys, context = await trio.to_thread.run_sync(self._read_again)
                self.door.configure(config.devices)
        except LocalError as error:
            self.log.reload_failed(reason=str(error))
            return
        before = (self.keys.fingerprint, self.keys.tls.key.spki_sha256, self.config.edge)
        self.config, self.keys, self.context = config, keys, context
        if before != (keys.fingerprint, keys.tls.key.spki_sha256, config.edge):
            self.registry.rename(keys.fingerprint)
            if self._link is not None:
                self._link.drain(ErrorCode.NONE, "this edge has been reconfigured")
        self.log.reloaded(count=0)

    def _read_again(self) -> tuple[EdgeConfig, material.Material, TlsContext]:
        config = material.read_edge_config(self.path)
        now, then = config, self.config
        lasting = [(each.edge.domain, each.devices.listen, each.http) for each in (now, then)]
        if lasting[0] != lasting[1]:
            raise LocalError("edge.domain, devices.listen and [http] change with a restart only")
        keys = material.load_material(config.edge.data_dir)
        return config, keys, make_context(EDGE, server=False, identity=tls_identity(keys))

    def perform(self, actions: list[Action]) -> None:
        """Carry out what the registry decided."""
        for action in actions:
            match action:
                case ToDevice(connection, message):
                    self.door.send(connection, message)
                case ToHomeserver(message):
                    if self._link is not None:
                        self._link.send(message)
                case HangUp(connection, code, text):
                    self.door.hang_up(connection, RemoteError(text, code=code))
                case Offer(items):
                    self._outbound.offer(items)
                    if self._link is not None:
                        self._link.wake()
                case Feed(connection):
                    self.door.feed(connection)
                case Speak():
                    self._owing.set()

    # --- the link to the homeserver --------------------------------------------------------------------------------

    async def _keep_link(self) -> None:
        wait = limits.BACKOFF_FIRST
        while True:
            before, shown = trio.current_time(), self.context
            reason = await self._one_link()
            if shown is not self.context:  # reloaded: there is no reason to wait
                continue
            if trio.current_time() - before > limits.EDGE_BACKOFF_CAP:
                wait = limits.BACKOFF_FIRST
            pause = wait * random.uniform(*limits.BACKOFF_JITTER)  # noqa: S311 - spreads load
            self._down = (trio.current_time() if self._down is None else self._down[0], reason)
            self.log.homeserver_down(domain=self.config.edge.domain, reason=reason, retry_in_s=round(pause, 2))
            await trio.sleep(pause)
            wait = min(wait * limits.BACKOFF_GROWTH, limits.EDGE_BACKOFF_CAP)

    async def _one_link(self) -> str:
        """Connect, serve the link until it ends, and say why it did."""
        reason = ["closed"]

        async def converse(connection: Connection) -> None:
            self.log.homeserver_up(domain=self.config.edge.domain, took_ms=round(connection.took * 1000, 1))
            reason[0] = await self._converse(connection)

        address = self.config.edge.homeserver
        try:
            with trio.fail_after(limits.CONNECT):
                stream = await trio.open_tcp_stream(address.host, address.port)
            await dial(stream, self._plan(converse))
        except trio.TooSlowError:
            return f"{address} does not answer"
        except (RemoteError, OSError) as error:
            return f"{address}: {error}"
        return reason[0]

    def _plan(self, converse: Use) -> Dialled:
        edge = self.config.edge
        return Dialled(
            context=self.context,
            party=Party(name=edge.name, key=self.keys.identity),
            host=edge.homeserver.host,
            wanted=edge.domain,
            expected=_identities(edge),  # [edge-3]
            check_key=_any_key,
            confirm=_confirmed,
            use=converse,
        )

    async def _converse(self, connection: Connection) -> str:
        session = Session(self._outbound, now=trio.current_time(), extra=EXTRA)
        self._link = link = Link(connection.socket, session, _HomeserverHandler(self))
        self._down = None
        self.registry.link_up()
        self._linked.set()
        self._unlinked = trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._speak, link)
                end = await link.run()
                nursery.cancel_scope.cancel()
        finally:
            self._link = None
            self._unlinked.set()
            self.perform(self.registry.link_down())
        return end.reason

    async def _speak(self, link: Link[int]) -> None:
        """Tell the homeserver what presence has for it, everything at first, no faster than it takes it."""
        presence = self.registry.presence
        while True:
            self._owing = trio.Event()
            while presence.owes:
                await link.wait_extra_room(_SPARE)
                message = presence.next_owed()
                if message is None or not link.send(message):
                    break  # it is over, and everything is owed on the next one
            await self._owing.wait()

    async def _room(self) -> None:
        """Wait while the link's queue is full: a device is not read faster than the homeserver is."""
        if self._link is not None:
            await self._link.wait_extra_room()

    async def _drain(self) -> None:
        """Let what devices have handed over be settled, and part from the homeserver in order."""
        if self._link is not None:
            self._link.drain(ErrorCode.SHUTTING_DOWN, "this edge is shutting down")
            await self._unlinked.wait()

    def _state(self) -> EdgeState:
        edge, (since, reason) = self.config.edge, self._down or (None, "")
        return EdgeState(
            name=edge.name,
            domain=edge.domain,
            homeserver=str(edge.homeserver),
            identity=fingerprint_text(self.keys.fingerprint),
            linked_since=self._link.since if self._link is not None else None,
            down_since=since,
            reason=reason,
            devices=len(self.door),
            unsettled=self._outbound.waiting + self._outbound.in_flight,
        )

    def _say_ready(self, start: Start, port: int, http: list[trio.SocketListener]) -> None:
        facts = {
            **({"http_port": local_port(http)} if http else {}),
            "edge": self.config.edge.name,
            "devices_port": port,
            "identity": fingerprint_text(self.keys.fingerprint),
            "homeserver": self._link is not None,
        }
        listen = str(self.config.devices.listen)
        start.say_ready(self.log, domain=self.config.edge.domain, listen=listen, facts=facts)
        self.supervisor.ready(f"Edge node {self.config.edge.name} of {self.config.edge.domain}")


@attrs.frozen
class _HomeserverHandler:
    """What comes in on the link; see `link.Handler`."""

    node: EdgeNode

    async def opened(self, stream: bytes) -> Resumption:  # noqa: ARG002 - its stream stays empty
        return 0, ()

    async def received(self, batch: Received) -> Pending:
        raise RemoteError(f"a homeserver does not submit envelopes (stream of {batch.last})")  # [edge-6]

    async def settled(self, event: Settled[int]) -> None:
        later = [(key, ErrorCode.OVERLOADED, "the homeserver is busy; submit it again later") for key, _ in event.later]
        self.node.perform(self.node.registry.settled(event.keys, event.refused + later))

    async def other(self, message: Message) -> None:
        self.node.perform(self.node.registry.receive_homeserver(message, time.time()))


def _identities(edge: Edge) -> frozenset[Fingerprint]:
    """Those the homeserver may prove: two while its identity changes."""
    found = (edge.homeserver_identity, edge.homeserver_identity_next)
    return frozenset(identity for identity in found if identity is not None)


def _any_key(_: Negotiated) -> None:
    """The homeserver is known by its identity, which AUTH proves on this channel; its TLS key may roll freely."""


async def _confirmed(_: Outcome) -> None:
    """There is nothing more to ask: the identity was the one in edge.toml."""
