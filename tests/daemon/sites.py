"""Whole homeservers in one process: real TLS on loopback, a real store, and a resolver that was told where they are.

What happens is learnt from their logs: nothing polls, nothing sleeps.
"""

import functools
import io
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import attrs
import trio

from volly_fed.codepoints import EnvelopeClass, TrustLevel
from volly_fed.config.model import Federation, HomeserverConfig, Limits, Server
from volly_fed.crypto.certificate import TlsKey
from volly_fed.crypto.signature import IdentityKey, fingerprint
from volly_fed.daemon.credentials import Credentials
from volly_fed.daemon.homeserver import Homeserver
from volly_fed.daemon.listener import Listener
from volly_fed.daemon.material import Material, TlsMaterial
from volly_fed.daemon.store.store import Store
from volly_fed.discovery.dane import TlsaRecord
from volly_fed.discovery.endpoint import Endpoint, Service, Target
from volly_fed.edge.registration import encode_registration, make_registration
from volly_fed.names import DomainName, MailboxId
from volly_fed.observe.log import Log
from volly_fed.relay.envelope import Envelope, encode_envelope
from volly_fed.session import Received
from volly_fed.testing.fake_resolver import FakeResolver
from volly_fed.trust.policy import Policy
from volly_fed.wire.messages import Refusal

A, B, C = DomainName("a.test"), DomainName("b.test"), DomainName("c.test")
BOX = MailboxId(bytes([7]) * 32)
CAPABILITY = bytes([9]) * 16
EDGE_LINK = 1


@functools.cache
def material(name: str) -> Material:
    tls = TlsKey.generate()
    identity = IdentityKey.generate(os.urandom)
    certificate = tls.self_signed(name, datetime.now(UTC) - timedelta(days=1), timedelta(days=30))
    return Material(
        identity=identity,
        fingerprint=fingerprint(identity.public),
        tls=TlsMaterial(key=tls, certificate=certificate),
    )


def endpoint(name: DomainName, port: int, keys: Material | None = None) -> Endpoint:
    """What DNS says about `name`, whose homeserver listens on `port` of loopback."""
    keys = keys or material(name)
    tlsa = TlsaRecord(usage=3, selector=1, matching=1, data=keys.tls.key.spki_sha256)
    target = Target(host=f"fed.{name}", port=port, addresses=("127.0.0.1",), tlsa=(tlsa,))
    return Endpoint(
        domain=name,
        service=Service.FEDERATION,
        targets=(target,),
        identity=keys.fingerprint,
        expires=time.time() + 3600,
    )


class LogTap(io.StringIO):
    """The log as events: what came, and a wait for what comes."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []
        self._changed = trio.Event()

    def write(self, text: str) -> int:
        if text.strip():
            self.lines.append(json.loads(text))
            self._changed.set()
            self._changed = trio.Event()
        return len(text)

    def all(self, event: str, **fields: object) -> list[dict[str, Any]]:
        wanted = {"event": event, **fields}
        return [line for line in self.lines if wanted.items() <= line.items()]

    async def wait(self, event: str, *, count: int = 1, **fields: object) -> dict[str, Any]:
        """The `count`th such line, when it comes."""
        while len(found := self.all(event, **fields)) < count:
            await self._changed.wait()
        return found[count - 1]


def some_limits(**values: Any) -> Limits:
    """The default limits but for these; without what a configuration's values are wrapped in."""
    return Limits(**values)


def envelope(
    domain: DomainName,
    *,
    mailbox: MailboxId = BOX,
    capability: bytes = CAPABILITY,
    expiry: float | None = None,
    urgency: EnvelopeClass = EnvelopeClass.SIGNAL,
    body: int = 1024,
) -> bytes:
    return encode_envelope(
        Envelope(
            mailbox=mailbox,
            domain=domain,
            id=os.urandom(16),
            expiry=int(expiry if expiry is not None else time.time() + 3600),
            urgency=urgency,
            capability=capability,
            body=bytes(body),
        )
    )


@attrs.define(kw_only=True)
class Site:
    """One homeserver, running or not; its store and keys stay the same."""

    name: DomainName
    folder: Path
    resolver: FakeResolver
    policy: Policy = attrs.field(factory=lambda: Policy(default=TrustLevel.FULL))
    limits: Limits = attrs.field(factory=lambda: some_limits(backoff_cap=0.05))
    vfs: str = ""
    log: LogTap = attrs.field(factory=LogTap)
    arrived: list[bytes] = attrs.field(factory=list)
    settled: list[int] = attrs.field(factory=list)
    changed: trio.Event = attrs.field(factory=trio.Event)
    server: Homeserver = attrs.field(init=False)
    store: Store = attrs.field(init=False)
    port: int = attrs.field(default=0, init=False)
    _sequence: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True, parents=True)
        (self.folder / "trust.toml").write_text(f'default = "{self.policy.default}"\n')

    def assemble(self, store: Store) -> None:
        keys = material(self.name)
        config = HomeserverConfig(
            server=Server(domain=self.name, data_dir=self.folder, trust_file=self.folder / "trust.toml"),
            federation=Federation(host=DomainName(f"fed.{self.name}")),
            limits=self.limits,
        )
        self.server = Homeserver(
            config=config,
            credentials=Credentials.of(self.name, keys),
            log=Log("debug", "json", self.log),
            resolver=self.resolver,
        )
        self.server._assemble(store)
        self.server.judge.policy = self.server.intake.policy = self.policy
        self.store = store
        inbound, refused = self.server.intake.on_inbound, self.server.peers.on_refused

        def arrived(rows: Any) -> None:
            self.arrived.extend(row.frame for some in rows.values() for row in some)
            inbound(rows)
            self.tell()

        def settled(rows: Any, outcomes: Any) -> None:
            self.settled.extend(rows)
            refused(rows, outcomes)
            self.tell()

        self.server.intake.on_inbound = arrived
        self.server.peers.on_refused = settled

    def tell(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    async def until(self, check: Callable[[], bool]) -> None:
        while not check():
            await self.changed.wait()

    @asynccontextmanager
    async def running(self, *, listening: bool = True) -> AsyncIterator["Site"]:
        """Its store, its peers' tasks and its federation port; all cut off at the end, as by a crash."""
        path = self.folder / "store.db"
        async with Store.open(path, vfs=self.vfs, outage=lambda failure: self.server.note_outage(failure)) as store:
            self.assemble(store)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.server.refusals.run)
                await nursery.start(self.server.peers.run)
                nursery.start_soon(self.server.edges.run)
                nursery.start_soon(self.server.presence.run)
                if listening:
                    nursery.start_soon(self.listener.serve, await self.open_port())
                yield self
                nursery.cancel_scope.cancel()

    @property
    def listener(self) -> Listener:
        return self.server._listeners()[0]

    async def open_port(self) -> list[trio.SocketListener]:
        listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        known = dict(self.resolver.known)
        known[self.name] = endpoint(self.name, self.port)
        self.resolver.known = known
        return listeners

    async def register(self, scopes: tuple[str, ...] = ("*",)) -> None:
        registration = make_registration({CAPABILITY: scopes})
        await self.store.put_mailbox(BOX, encode_registration(registration), time.time())

    async def submit(self, *frames: bytes) -> tuple[Refusal, ...]:
        """As if an edge had handed these over; the refusals, when the rest is durable."""
        first = self._sequence + 1
        self._sequence += len(frames)
        batch = Received(stream=b"edge-one", first=first, envelopes=list(frames))
        return await (await self.server.intake.from_edge(EDGE_LINK, batch))()

    async def relay(
        self, peer: DomainName, *frames: bytes, level: TrustLevel = TrustLevel.FULL, first: int = 1
    ) -> tuple[Refusal, ...]:
        """As if `peer` had handed these over."""
        batch = Received(stream=b"peer-one", first=first, envelopes=list(frames))
        return await (await self.server.intake.from_peer(peer, lambda: level, batch))()

    async def refuse_writes(self, *, full: bool) -> None:
        """Let SQLite say SQLITE_FULL, as on a full disk; or no more."""

        def run(database: apsw.Connection) -> None:
            database.pragma("max_page_count", database.pragma("page_count") if full else 1 << 30)

        await self.store._do(run)


def sites(folder: Path, *names: DomainName, **kwargs: Any) -> tuple[Site, ...]:
    """Homeservers that find each other once they run."""
    resolver = FakeResolver({})
    return tuple(Site(name=name, folder=folder / name, resolver=resolver, **kwargs) for name in names)
