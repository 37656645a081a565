"""The homeserver process: everything is put together here, in one root nursery, and taken apart again in order.

in: the configuration file; out: one ready line on standard output, a log on standard error.
SIGTERM and SIGINT drain and stop, SIGHUP reads the policy and the enrolments again.
Never: listens before the channel policy is known to be enforceable and the store is open.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
import trio

from volly_fed import limits
from volly_fed.channel import EDGE, FEDERATION, Negotiated
from volly_fed.codepoints import ErrorCode, Extension, TrustLevel
from volly_fed.config.model import HomeserverConfig
from volly_fed.crypto.secret import Secret
from volly_fed.daemon import material
from volly_fed.daemon.connection import Accepted, Connection
from volly_fed.daemon.dialer import Dialer
from volly_fed.daemon.dns import Resolver, system_resolvers, trust_anchors
from volly_fed.daemon.edges import EdgeLinks
from volly_fed.daemon.intake import Intake
from volly_fed.daemon.judge import Claim, Judge
from volly_fed.daemon.listen import listening, local_port
from volly_fed.daemon.listener import Listener
from volly_fed.daemon.peers import Peers
from volly_fed.daemon.process import Start
from volly_fed.daemon.receipts import Submitters
from volly_fed.daemon.shutdown import reloads, wait_for_stop
from volly_fed.daemon.store import Store
from volly_fed.daemon.tls import TlsContext, TlsIdentity, make_context
from volly_fed.errors import ConfigError, LocalError, StorageError
from volly_fed.handshake import Claimed, Outcome, Party
from volly_fed.names import DomainName, Fingerprint, fingerprint_text
from volly_fed.observe.log import Log
from volly_fed.trust.evidence import Evidence

STORE = "store.db"


def run(config_path: Path) -> None:
    """Run the homeserver of `config_path` until it is told to stop. Raises LocalError when it cannot start."""
    began = time.monotonic()
    config = material.read_homeserver_config(config_path)
    log = Log(config.log.level, config.log.format)
    start = Start.with_crypto(config.crypto, began)
    server = Homeserver.load(config, log)
    trio.run(server.serve, start)


def make_resolver(config: HomeserverConfig) -> Resolver:
    """The resolver that `config` asks for; raises LocalError."""
    anchors = material.load_anchors(config)
    return Resolver(
        [(server.host, server.port) for server in config.dns.resolvers] or system_resolvers(),
        trust_anchors(anchors, str(config.dns.anchors_file)) if anchors is not None else trust_anchors(),
        allow_private=config.dns.allow_private_addresses,
    )


def tls_identity(keys: material.Material) -> TlsIdentity:
    """The TLS side of `keys`."""
    return TlsIdentity(certificate=keys.tls.certificate, key=Secret(keys.tls.key.pkcs8_der()))


@attrs.define(kw_only=True)
class Homeserver:
    """One domain's homeserver. `load` reads the files, `serve` runs."""

    config: HomeserverConfig
    keys: material.Material
    log: Log
    resolver: Resolver
    party: Party
    submitters: Submitters = attrs.field(factory=Submitters, init=False)
    judge: Judge = attrs.field(init=False)
    peers: Peers = attrs.field(init=False)
    edges: EdgeLinks = attrs.field(init=False)
    intake: Intake = attrs.field(init=False)

    @classmethod
    def load(cls, config: HomeserverConfig, log: Log) -> "Homeserver":
        """Read every file that is needed; raises LocalError for the first that cannot be used."""
        keys = material.load_material(config.server.data_dir)
        material.load_policy(config)  # read here too, so that a broken one is known before anything is opened
        material.load_edges(config)
        party = Party(name=config.server.domain, key=keys.identity)
        return cls(config=config, keys=keys, log=log, resolver=make_resolver(config), party=party)

    async def serve(self, start: Start) -> None:
        """Open the store, listen, say that it is ready, run until SIGTERM or SIGINT, drain, and close."""
        async with Store.open(self.config.server.data_dir / STORE) as store:
            self._assemble(store)
            async with (
                listening(self.config.federation.listen, "federation.listen") as federation,
                listening(self.config.edges.listen, "edges.listen") as edges,
            ):
                await self._serve(store, federation, edges, partial(self._say_ready, start, federation, edges))
        self.log.stopped()

    async def _serve(
        self,
        store: Store,
        federation: list[trio.SocketListener],
        edges: list[trio.SocketListener],
        say_ready: Callable[[], None],
    ) -> None:
        to_peers, to_edges = self._listeners()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reloads, self._reload)
            nursery.start_soon(self._sweep, store)
            nursery.start_soon(self.edges.run)
            await nursery.start(self.peers.run)
            async with trio.open_nursery() as inbound:
                await inbound.start(to_peers.serve, federation)
                await inbound.start(to_edges.serve, edges)
                say_ready()
                self.log.stopping(reason=await wait_for_stop())
                inbound.cancel_scope.deadline = trio.current_time() + limits.DRAIN
                to_peers.stop()
                to_edges.stop()
                self.peers.drain()
                self.edges.drain()
                await self.peers.wait_idle()
            nursery.cancel_scope.cancel()

    # --- assembling ------------------------------------------------------------------------------------------------

    def _assemble(self, store: Store) -> None:
        config, domain = self.config, self.config.server.domain
        self.judge = Judge(
            domain=domain,
            policy=material.load_policy(config),
            resolver=self.resolver,
            store=store,
            log=self.log,
        )
        self.edges = EdgeLinks(domain=domain, enrolled=self._enrolled, store=store, log=self.log)
        self.peers = Peers(
            own=domain,
            dialer=Dialer.create(self.party, self.judge, tls_identity(self.keys)),
            store=store,
            log=self.log,
            backoff_cap=config.limits.backoff_cap,
            on_refused=self._refused,
        )
        self.intake = Intake(
            domain=domain,
            store=store,
            policy=self.judge.policy,
            limits=config.limits,
            log=self.log,
            may_queue=self.peers.takes,
            on_outbound=self.peers.enqueue,
            on_inbound=self.edges.stored,
            note_submission=self.submitters.note,
        )
        self.peers.intake = self.edges.intake = self.intake

    def _enrolled(self) -> list[tuple[DomainName, Fingerprint]]:
        return [(name, edge.fingerprint) for name, edge in material.load_edges(self.config).items()]

    def _refused(self, rows: list[int], refused: list[tuple[int, ErrorCode, str]]) -> None:
        for link, outcomes in self.submitters.settle(rows, refused).items():
            self.edges.notify(link, outcomes)

    # --- listening -------------------------------------------------------------------------------------------------

    def _listeners(self) -> tuple[Listener, Listener]:
        identity = tls_identity(self.keys)
        to_peers = make_context(FEDERATION, server=True, identity=identity)
        to_edges = make_context(EDGE, server=True, identity=identity)
        return (
            Listener(plan=partial(self._peer_plan, to_peers), log=self.log),
            Listener(plan=partial(self._edge_plan, to_edges), log=self.log),
        )

    def _peer_plan(self, context: TlsContext, address: str) -> Accepted:
        caller = _Caller(server=self, address=address)
        return Accepted(context=context, party=self.party, admit=caller.admit, confirm=caller.confirm, use=caller.use)

    def _edge_plan(self, context: TlsContext, _address: str) -> Accepted:
        edges = self.edges
        return Accepted(context=context, party=self.party, admit=edges.admit, confirm=edges.confirm, use=edges.serve)

    # --- running ---------------------------------------------------------------------------------------------------

    def _say_ready(self, start: Start, federation: list[trio.SocketListener], edges: list[trio.SocketListener]) -> None:
        facts = {
            "federation_port": local_port(federation),
            "edges_port": local_port(edges),
            "identity": fingerprint_text(self.keys.fingerprint),
        }
        listen = f"{self.config.federation.listen} {self.config.edges.listen}"
        start.say_ready(self.log, domain=self.config.server.domain, listen=listen, facts=facts)

    async def _reload(self) -> None:
        try:
            policy = await trio.to_thread.run_sync(material.load_policy, self.config)
            enrolled = await trio.to_thread.run_sync(material.load_edges, self.config)
        except (ConfigError, LocalError) as error:
            self.log.reload_failed(reason=str(error))
            return
        self.judge.policy = self.intake.policy = policy
        ended = self.peers.judge_again(lambda domain: policy.level_of(domain)[0])
        self.log.reloaded(count=ended + self.edges.revoke(enrolled))

    async def _sweep(self, store: Store) -> None:
        while True:
            await trio.sleep(limits.EXPIRY_SWEEP)
            try:
                expired = await store.expire(time.time())
            except StorageError as error:
                self.log.storage_failed(reason=str(error))
                continue
            if expired.outbound or expired.inbound:
                self.log.expired(count=expired.outbound + expired.inbound)


@attrs.define(kw_only=True)
class _Caller:
    """One caller on the federation port, from its address to its session."""

    server: Homeserver
    address: str
    claim: Claim | None = None
    level: TrustLevel = TrustLevel.NONE

    async def admit(self, claimed: Claimed, negotiated: Negotiated) -> frozenset[Fingerprint]:
        self.claim = await self.server.judge.admit(claimed, negotiated, self.address)
        return self._evidence.expected

    async def confirm(self, outcome: Outcome) -> None:
        assert self.claim is not None
        self.level = await self.server.judge.establish(outcome, self._evidence)
        self.server.judge.proved(self.claim)

    async def use(self, connection: Connection) -> None:
        if Extension.PROBE not in connection.outcome.extensions:
            await self.server.peers.converse(connection, self.level)

    @property
    def _evidence(self) -> Evidence:
        assert self.claim is not None, "nobody proves what was not claimed"
        return self.claim.evidence
