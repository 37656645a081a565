"""The homeserver process: everything is put together here, in one root nursery, and taken apart again in order.

in: the configuration file; out: one ready line on standard output, a log on standard error.
SIGTERM and SIGINT drain and stop; SIGHUP and `volly-fed reload` read policy, enrolments and keys again.
Never: listens before the channel policy is known to be enforceable and the store is open.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import trio

from volly_fed import limits
from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.config.model import HomeserverConfig, Validation
from volly_fed.config.values import Server
from volly_fed.daemon import material
from volly_fed.daemon.admin.client import socket_path
from volly_fed.daemon.admin.commands import commands
from volly_fed.daemon.admin.server import AdminServer, admin_listening
from volly_fed.daemon.admission import Admission
from volly_fed.daemon.backoff import Attempts
from volly_fed.daemon.backup.contents import STORE_FILE
from volly_fed.daemon.backup.serving import StoreCopies
from volly_fed.daemon.call_rate import CallRate
from volly_fed.daemon.caller import Caller, EdgeCaller, EdgeDoor
from volly_fed.daemon.connection import Accepted
from volly_fed.daemon.credentials import Credentials
from volly_fed.daemon.dialer import Dialer
from volly_fed.daemon.dns.configured import make_resolver
from volly_fed.daemon.dns.probe import Examination
from volly_fed.daemon.dns.resolver import Resolver
from volly_fed.daemon.edges import EdgeLinks
from volly_fed.daemon.http.health import Health
from volly_fed.daemon.http.homeserver import HomeserverFace
from volly_fed.daemon.http.start import http_listening, serve_http
from volly_fed.daemon.identities import handlers
from volly_fed.daemon.intake import Intake
from volly_fed.daemon.judge import Judge
from volly_fed.daemon.listen import listening, local_port
from volly_fed.daemon.listener import Listener, Plan
from volly_fed.daemon.operating import operations
from volly_fed.daemon.overview import Overview
from volly_fed.daemon.peers import Peers
from volly_fed.daemon.presence_hub import PresenceHub
from volly_fed.daemon.process import Start
from volly_fed.daemon.receipts import Submitters
from volly_fed.daemon.refusals import Refusals
from volly_fed.daemon.reread import Reread, enrolled
from volly_fed.daemon.shutdown import StopRequest, reloads, wait_for_stop
from volly_fed.daemon.store.store import Store
from volly_fed.daemon.supervisor import Supervisor
from volly_fed.daemon.upkeep import recovery, roll
from volly_fed.daemon.upkeep.selfcheck import SelfCheck
from volly_fed.errors import LocalError, StorageError
from volly_fed.names import DomainName, Fingerprint, fingerprint_text
from volly_fed.observe.log import Log
from volly_fed.observe.tally import Tally
from volly_fed.trust.policy import Policy, Ruling

Sockets: TypeAlias = list[trio.SocketListener]


def run(config_path: Path) -> None:
    """Run the homeserver of `config_path` until it is told to stop. Raises LocalError when it cannot start."""
    began = time.monotonic()
    config = material.read_homeserver_config(config_path)
    log = Log(config.log.level, config.log.format)
    start = Start.with_crypto(config.crypto, began)
    server = Homeserver.load(config, log)
    trio.run(server.serve, start)


@attrs.define(kw_only=True)
class Homeserver:
    """One domain's homeserver. `load` reads the files, `serve` runs."""

    config: HomeserverConfig
    credentials: Credentials
    """What new connections show; replaced by `reload`."""
    log: Log
    resolver: Resolver
    submitters: Submitters = attrs.field(factory=Submitters, init=False)
    judge: Judge = attrs.field(init=False)
    peers: Peers = attrs.field(init=False)
    edges: EdgeLinks = attrs.field(init=False)
    presence: PresenceHub = attrs.field(init=False)
    intake: Intake = attrs.field(init=False)
    edge_door: EdgeDoor = attrs.field(init=False)
    refusals: Refusals = attrs.field(factory=Refusals, init=False)
    copies: StoreCopies = attrs.field(init=False)
    stop: StopRequest = attrs.field(factory=StopRequest, init=False)
    tally: Tally = attrs.field(factory=Tally, init=False)
    health: Health = attrs.field(factory=Health, init=False)
    supervisor: Supervisor = attrs.field(factory=Supervisor.of)
    _reloading: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    @classmethod
    def load(cls, config: HomeserverConfig, log: Log) -> "Homeserver":
        """Read every file that is needed; raises LocalError for the first that cannot be used."""
        credentials = Credentials.load(config.server.domain, config.server.data_dir, time.time())
        material.load_policy(config)  # read here too, so that a broken one is known before anything is opened
        material.load_edges(config)
        return cls(config=config, credentials=credentials, log=log, resolver=make_resolver(config))

    async def serve(self, start: Start) -> None:
        """Open the store, listen, say that it is ready, run until SIGTERM or SIGINT, drain, and close."""
        async with Store.open(self.config.server.data_dir / STORE_FILE, outage=self.note_outage) as store:
            self._assemble(store)
            overview = self._overview(store)
            face = HomeserverFace(overview=overview, tally=self.tally, health=self.health)
            await self.resolver.require()
            async with (
                admin_listening(socket_path(self.config)) as admin,
                http_listening(self.config.http) as http,
                listening(self.config.federation.listen, "federation.listen") as federation,
                listening(self.config.edges.listen, "edges.listen") as edges,
                trio.open_nursery() as nursery,
            ):
                await nursery.start(self._admin(overview).serve, admin)
                await nursery.start(serve_http, self.config.http, http, face, self.log)
                await self._serve(store, federation, edges, partial(self._say_ready, start, federation, edges, http))
                nursery.cancel_scope.cancel()
        self.log.stopped()

    async def _serve(self, store: Store, federation: Sockets, edges: Sockets, say_ready: Callable[[], None]) -> None:
        to_peers, to_edges = self._listeners()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reloads, self._reload_on_signal)
            nursery.start_soon(self._sweep, store)
            nursery.start_soon(store.watch)
            nursery.start_soon(self.copies.run)
            nursery.start_soon(self.supervisor.keep_alive, store.answers)
            nursery.start_soon(self.refusals.run)
            nursery.start_soon(self._self_check().run)
            nursery.start_soon(self.edges.run)
            nursery.start_soon(self.presence.run)
            await nursery.start(self.peers.run)
            async with trio.open_nursery() as inbound:
                await inbound.start(to_peers.serve, federation)
                await inbound.start(to_edges.serve, edges)
                self.health.listening = True
                say_ready()
                self.log.stopping(reason=await wait_for_stop(self.stop))
                self.health.listening = False
                self.supervisor.stopping("Waiting for links to end")
                inbound.cancel_scope.deadline = trio.current_time() + limits.DRAIN
                to_peers.stop()
                to_edges.stop()
                self.peers.drain()
                self.edges.drain()
                await self.peers.wait_idle()
            nursery.cancel_scope.cancel()

    def note_outage(self, failure: StorageError | None) -> None:
        """The store takes nothing any more; None: it does again."""
        self.health.note_outage(failure)
        self.supervisor.note("" if failure is None else f"Nothing can be stored: {failure}")
        if failure is None:
            self.log.storage_recovered()
        else:
            self.log.storage_failed(reason=str(failure))

    # --- assembling ------------------------------------------------------------------------------------------------

    def _assemble(self, store: Store) -> None:
        config, domain = self.config, self.config.server.domain
        self.copies = StoreCopies(store, config.server.data_dir)
        self.judge = Judge(
            domain=domain,
            policy=material.load_policy(config),
            resolver=self.resolver,
            store=store,
            log=self.log,
            cool_off=config.trust.cool_off,
            refusals=self.refusals,
            tally=self.tally,
        )
        self.tally.commits = store.commits
        self.presence = PresenceHub(own=domain, store=store, policy=lambda: self.judge.policy)
        self.edges = EdgeLinks(
            domain=domain,
            enrolled=self._enrolled,
            store=store,
            log=self.log,
            presence=self.presence,
            tally=self.tally,
        )
        self.edge_door = EdgeDoor(self.edges)
        self.peers = Peers(
            own=domain,
            dialer=self._dialer(),
            store=store,
            log=self.log,
            attempts=Attempts(store=store, cap=config.limits.backoff_cap),
            on_refused=self._refused,
            presence=self.presence,
            tally=self.tally,
        )
        self.presence.want_link = self.peers.want
        self.judge.accepted = self.peers.hold_to
        self.intake = Intake(
            domain=domain,
            store=store,
            policy=self.judge.policy,
            limits=config.limits,
            may_queue=self.peers.takes,
            on_outbound=self.peers.enqueue,
            on_inbound=self.edges.stored,
            note_submission=self.submitters.note,
            tally=self.tally,
        )
        self.peers.intake = self.edges.intake = self.intake

    def _dialer(self) -> Dialer:
        shown = self.credentials
        return Dialer(party=shown.party, judge=self.judge, context=shown.to_peers, tally=self.tally)

    def _admin(self, overview: Overview) -> AdminServer:
        own = commands(resolver=self.resolver, reload=self.reload, ruling=self._ruling)
        saving = recovery.handlers(self.config.server.data_dir, lambda: self.credentials.keys.identity)
        more = operations(overview, submitters=self.submitters, log=self.log, stop=self.stop.ask)
        answers = {**own, **handlers(self.judge.register), **overview.handlers(), **more.handlers}
        return AdminServer({**answers, **self.copies.handlers(), **saving}, more.streams)

    def _overview(self, store: Store) -> Overview:
        return Overview(
            domain=self.config.server.domain,
            credentials=lambda: self.credentials,
            ruling=self._ruling,
            enrolled=self._enrolled,
            outage=lambda: self.health.outage,
            peers=self.peers,
            edges=self.edges,
            presence=self.presence,
            store=store,
        )

    def _ruling(self, domain: DomainName) -> Ruling:
        return self.judge.policy.level_of(domain)

    def _self_check(self) -> SelfCheck:
        server, validate = self.config.server, self.config.dns.validate
        return SelfCheck(
            domain=server.domain,
            data_dir=server.data_dir,
            in_use=lambda: self.credentials.keys,
            resolver=self.resolver,
            anchors={} if validate is Validation.RESOLVER_AD else self.resolver.anchors,
            examine=self.resolver.examine if validate in {Validation.RESOLVER_AD, Validation.BOTH} else _nobody,
            watch_spare=self._watch_spare,
            log=self.log,
            told=self.health.checked,
        )

    async def _watch_spare(self) -> None:
        await roll.look(self.config, self.resolver, time.time())

    def _enrolled(self) -> list[tuple[DomainName, Fingerprint]]:
        return enrolled(self.config)

    def _refused(self, _settled: list[int], refused: list[tuple[int, ErrorCode, str]]) -> None:
        for link, outcomes in self.submitters.notices(refused).items():
            self.edges.notify(link, outcomes)

    # --- listening -------------------------------------------------------------------------------------------------

    def _listeners(self) -> tuple[Listener, Listener]:
        return self._listener(self._peer_plan, "peer"), self._listener(self._edge_plan, "edge")

    def _listener(self, plan: Plan, whom: str) -> Listener:
        bounds = self.config.limits
        return Listener(
            plan=plan,
            log=self.log,
            admission=Admission(per_address=bounds.strangers_per_address),
            rate=CallRate(per_minute=bounds.connections_per_minute),
            refusals=self.refusals,
            whom=whom,
            tally=self.tally,
        )

    def _peer_plan(self, address: str) -> Accepted:
        caller, shown = Caller(judge=self.judge, peers=self.peers, address=address), self.credentials
        return Accepted(
            context=shown.for_peers, party=shown.party, admit=caller.admit, confirm=caller.confirm, use=caller.use
        )

    def _edge_plan(self, address: str) -> Accepted:
        caller, shown = EdgeCaller(door=self.edge_door, address=address), self.credentials
        return Accepted(
            context=shown.for_edges, party=shown.party, admit=caller.admit, confirm=caller.confirm, use=caller.use
        )

    # --- running ---------------------------------------------------------------------------------------------------

    def _say_ready(self, start: Start, federation: Sockets, edges: Sockets, http: Sockets) -> None:
        facts = {
            **({"http_port": local_port(http)} if http else {}),
            "federation_port": local_port(federation),
            "edges_port": local_port(edges),
            "identity": fingerprint_text(self.credentials.keys.fingerprint),
        }
        listen = f"{self.config.federation.listen} {self.config.edges.listen}"
        start.say_ready(self.log, domain=self.config.server.domain, listen=listen, facts=facts)
        self.supervisor.ready(f"Serving {self.config.server.domain}")

    async def reload(self) -> dict[str, Any]:
        """Read policy, enrolments and keys again: links that are no longer allowed end, new ones show the new keys.

        Once it returns, every gate says what the new policy says, on links from before too.
        If what peers are shown has changed, new links take the place of all, with whoever keeps its level. So they do
        while a change of identity is announced: the record may have been published since.
        Raises LocalError for the first file that cannot be used; nothing at all has changed then.
        """
        async with self._reloading, self.supervisor.reloading():
            try:
                files = await trio.to_thread.run_sync(Reread.of, self.config)
                self._use_resolvers(files.resolvers)
            except LocalError as error:
                self.log.reload_failed(reason=str(error))
                note = (
                    "" if "note:" in str(error) else "\nnote: correct it; `volly-fed config check` finds all problems"
                )
                raise LocalError(f"nothing was reloaded: {error}{note}") from error
            self._renew(files.credentials)
            ended, changed = self._use_policy(files.policy)
            ended += self.edges.revoke(files.enrolled)
            self.log.reloaded(count=ended)
            keys = files.credentials.keys
            return {
                "identity": fingerprint_text(keys.fingerprint),
                "tls_spki_sha256": keys.tls.key.spki_sha256.hex(),
                "continuity": bool(files.credentials.party.statement),
                "ended": ended,
                "levels": [{"domain": domain, "old": str(old), "new": str(new)} for domain, old, new in changed],
            }

    def _use_policy(self, policy: Policy) -> tuple[int, list[tuple[DomainName, TrustLevel, TrustLevel]]]:
        """Let `policy` hold everywhere, without a pause in between: how many links end, whose levels changed."""
        before, self.judge.policy, self.intake.policy = self.judge.policy, policy, policy
        self.presence.judge_again()
        domains = self.peers.domains()
        ended = self.peers.judge_again(lambda domain: policy.level_of(domain).level)
        judged = [(domain, before.level_of(domain).level, policy.level_of(domain).level) for domain in domains]
        changed = [(domain, old, new) for domain, old, new in judged if old is not new]
        for domain, old, new in changed:
            self.log.level_changed(peer=domain, before=old, trust=new)
        return ended, changed

    def _use_resolvers(self, resolvers: tuple[Server, ...]) -> None:
        if set(resolvers) != set(self.resolver.servers):  # the system's may have changed: another network
            self.resolver.use(resolvers)

    def _renew(self, credentials: Credentials) -> None:
        before, now = self.credentials, credentials
        self.credentials = now
        # not another dialler: a call that has come as far as discovery shows the new keys too
        self.peers.dialer.party, self.peers.dialer.context = now.party, now.to_peers
        changed = before.public != now.public
        if changed:
            self.log.keys_changed(fingerprint=fingerprint_text(now.keys.fingerprint))
        if changed or before.party.statement != now.party.statement or now.announces:
            self.peers.renew()

    async def _reload_on_signal(self) -> None:
        with suppress(LocalError):  # said in the log
            await self.reload()

    async def _sweep(self, store: Store) -> None:
        while True:
            await trio.sleep(limits.EXPIRY_SWEEP)
            try:
                expired = await store.expire(time.time())
            except StorageError:
                continue
            if expired.outbound_rows:
                self.peers.expired(expired.outbound_rows)
            self.tally.expired.update({("outbound",): expired.outbound, ("inbound",): expired.inbound})
            if expired.outbound or expired.inbound:
                self.log.expired(count=expired.outbound + expired.inbound)


async def _nobody() -> list[Examination]:
    return []
