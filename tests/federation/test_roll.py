"""A roll of the TLS key by dynamic updates of zones that knot signs, while two homeservers exchange envelopes.

One of the zones' two servers lags: nothing may happen before it too has shown the new record for twice its TTL.
"""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import dns.name
import dns.rdata
import dns.rdatatype
import dns.tsig
import pytest
import trio

from tests.federation.actors import Keys
from tests.federation.harness import A, B, Federation, Heard, Outcomes, full_trust, listening, submitting
from tests.federation.signing_knot import FIRST, KEY, KEY_FILE, TTL, Knot, signing_knot
from volly_fed.channel import FEDERATION
from volly_fed.daemon import material
from volly_fed.daemon.connection import secure
from volly_fed.daemon.device.device import Submitting
from volly_fed.daemon.tls import make_context
from volly_fed.daemon.upkeep import roll_keys
from volly_fed.daemon.upkeep.rfc2136 import Change, Primary
from volly_fed.errors import LocalError
from volly_fed.names import DomainName
from volly_fed.testing.world import World, WorldServer
from volly_fed.testnet.devices import Device
from volly_fed.testnet.figures import seal_many
from volly_fed.testnet.network import Network
from volly_fed.testnet.processes import command, running
from volly_fed.testnet.sites import LOOPBACK, Site, make_site

pytestmark = [pytest.mark.real, pytest.mark.debian]

REFUSED = 2


# --- the network -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def network(folder: Path, knot: Knot) -> AsyncIterator[Federation]:
    """Both domains with one edge each, published by themselves in knot's zones; nothing of it runs yet but knot."""
    levels = full_trust(A, B)
    net = Network(folder=folder / "net", world=World(), resolver=(FIRST, knot.port))
    for domain in (A, B):
        site = make_site(
            net.folder, domain, levels=levels[domain], edges=1, resolver=net.resolver, anchors=knot.anchors
        )
        _configure(site, knot)
        net.sites[domain] = site
    async with running(net.children):
        yield Federation(network=net, names=WorldServer(net.world))


def _configure(site: Site, knot: Knot) -> None:
    key = site.folder / "update.key"
    key.write_text(KEY_FILE)
    key.chmod(0o600)
    update = f'[dns_update]\nserver = "{FIRST}"\nport = {knot.port}\ntsig_key_file = "update.key"\n'
    port = f"authoritative_port = {knot.port}"
    text, ports = re.subn(r"^authoritative_port = .*$", port, site.config.read_text(), flags=re.MULTILINE)
    assert (ports, text.count("[dns_update]\n")) == (1, 1)
    site.config.write_text(text.replace("[dns_update]\n", update))


async def volly(site: Site, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON document of a command on this site."""
    words = [*arguments, "--config", str(site.config), "--json"]
    done = await trio.run_process(command(*words), check=False, capture_stdout=True, capture_stderr=True)
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError:
        raise AssertionError(f"{words}: {done.stdout.decode()}{done.stderr.decode()}") from None


# --- the traffic -----------------------------------------------------------------------------------------------------


@attrs.define
class Exchange:
    """One device that sends to another all the time, each envelope after the last was heard."""

    sender: Device
    recipient: Device
    outcomes: Outcomes = attrs.field(factory=Outcomes)
    heard: Heard = attrs.field(factory=Heard)
    sent: set[bytes] = attrs.field(factory=set)
    stopped: bool = False

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Until `stop`, and until all has arrived."""
        async with listening(self.recipient, self.heard), submitting(self.sender, self.outcomes) as connection:
            await self._one(connection)
            task_status.started()
            while not self.stopped:
                await self._one(connection)

    async def _one(self, connection: Submitting) -> None:
        sealed = await seal_many(self.sender, self.recipient, 1)
        self.sent.update(envelope_id for envelope_id, _ in sealed)
        await connection.submit(sealed)
        await self.heard.wait(len(self.sent))

    async def some_more(self) -> None:
        """Until envelopes that were sent from now on have arrived."""
        await self.heard.wait(len(self.sent) + 3)

    def check(self) -> None:
        """Nothing lost, nothing twice, nothing refused."""
        assert self.heard.counts.keys() == self.sent
        assert self.heard.twice == 0
        assert self.outcomes.refused == []


async def shown_key(site: Site) -> bytes:
    """The digest of the TLS key that a new connection to the homeserver shows."""
    context = make_context(FEDERATION, server=False, identity=Keys.new().tls)
    stream = await trio.open_tcp_stream(LOOPBACK, site.port)
    secured, negotiated = await secure(stream, context, site.host)
    await trio.aclose_forcefully(secured)
    return negotiated.peer_spki_sha256


# --- the tests -------------------------------------------------------------------------------------------------------


async def test_a_roll_while_envelopes_flow(tmp_path: Path) -> None:
    with signing_knot(tmp_path / "dns", [A, B]) as knot:
        async with network(tmp_path, knot) as net, trio.open_nursery() as nursery:
            roll = Roll(net, knot)
            await roll.publish_all()
            await net.network.start_all()
            alice, bob = net.device(A, "alice"), net.device(B, "bob")
            exchanges = [Exchange(alice, bob), Exchange(bob, alice)]
            async with trio.open_nursery() as senders:
                for exchange in exchanges:
                    await senders.start(exchange.run)
                await roll.refused_too_early()
                await roll.switch()
                await roll.reconnect(exchanges, B)
                await roll.retire()
                await roll.reconnect(exchanges, B, A)
                for exchange in exchanges:
                    exchange.stopped = True
            for exchange in exchanges:
                exchange.check()
            nursery.cancel_scope.cancel()


@attrs.define
class Roll:
    """The roll of A's key, and what must be true in between."""

    net: Federation
    knot: Knot
    old: bytes = b""
    new: bytes = b""

    @property
    def site(self) -> Site:
        return self.net.site(A)

    @property
    def data(self) -> Path:
        return self.site.folder / "data"

    def records(self) -> tuple[set[str], set[str]]:
        """The TLSA records of A, at the first server and at the second."""
        return self.knot.shown(f"_{self.site.port}._tcp.{self.site.host}", "TLSA")

    async def publish_all(self) -> None:
        """Both domains publish themselves, A without a spare: its roll cannot profit from an early publication."""
        (self.data / material.NEXT_TLS_KEY).unlink()
        self.old = roll_keys.current(self.data)
        for domain in (A, B):
            code, document = await self.run(domain, "publish", "--rfc2136", "--ttl", str(TTL))
            assert (code, document.get("changed")) == (0, True), document
        self.knot.catch_up()
        assert self.records() == ({tlsa(self.old)}, {tlsa(self.old)})

    async def run(self, domain: DomainName, *arguments: str) -> tuple[int, dict[str, Any]]:
        return await volly(self.net.site(domain), "dns", *arguments)

    async def refused_too_early(self) -> None:
        """Before the start; while one server lags; before twice the TTL is over."""
        code, document = await self.run(A, "roll", "finish")
        assert (code, document["error"]) == (REFUSED, "no roll is under way")
        code, document = await self.run(A, "roll", "start")
        self.new = roll_keys.spare(self.data) or b""
        owner = f"_{self.site.port}._tcp.{self.site.host}."
        assert (code, document["phase"]) == (0, "waiting")
        assert document["changed"] == [f"+ {owner} {TTL} IN TLSA {tlsa(self.new)}"]
        assert self.records() == ({tlsa(self.old), tlsa(self.new)}, {tlsa(self.old)})
        code, document = await self.run(A, "roll", "finish")
        assert code == REFUSED
        assert f"ns2.{A} 127.0.0.2: does not show the new record" in document["refused"]
        code, document = await self.run(A, "roll", "status")
        assert code == 1
        assert [(one["server"], one["shows"]) for one in document["servers"]] == [
            (f"ns1.{A}", True),
            (f"ns2.{A}", False),
        ]
        assert (document["validated"]["shows"], document["ready"], document["seen_since"]) == (True, False, None)
        self.knot.catch_up()
        code, document = await self.run(A, "roll", "finish")
        assert code == REFUSED
        assert ["s left" in reason for reason in document["refused"]] == [True], "the first look at all of them"
        assert roll_keys.current(self.data) == self.old
        assert await shown_key(self.site) == self.old

    async def switch(self) -> None:
        """When twice the TTL is over: the running homeserver shows the new key, the old one is published still."""
        document = await self.finish()
        assert document["phase"] == "retiring"
        assert (roll_keys.current(self.data), roll_keys.old(self.data)) == (self.new, self.old)
        await self.net.logged(A, "keys_changed")
        assert await shown_key(self.site) == self.new
        spare = roll_keys.spare(self.data)
        assert spare is not None
        assert self.records()[0] == {tlsa(self.old), tlsa(self.new), tlsa(spare)}
        self.knot.catch_up()

    async def retire(self) -> None:
        """After twice the TTL once more: the old record and key are gone."""
        assert tlsa(self.old) in self.records()[0]
        document = await self.finish()
        assert document["phase"] == "idle"
        self.knot.catch_up()
        spare = roll_keys.spare(self.data)
        assert spare is not None
        assert self.records() == ({tlsa(self.new), tlsa(spare)}, {tlsa(self.new), tlsa(spare)})
        assert roll_keys.old(self.data) is None

    async def finish(self) -> dict[str, Any]:
        """`roll finish` until it is not refused any more; each attempt takes its time."""
        began, patience = trio.current_time(), 60.0
        while trio.current_time() < began + patience:
            code, document = await self.run(A, "roll", "finish")
            if code == 0:
                return document
            assert code == REFUSED
            assert all("s left" in reason for reason in document.get("refused", [document])), document
        raise AssertionError(document)

    async def reconnect(self, exchanges: list[Exchange], *domains: DomainName) -> None:
        """Envelopes flow; new processes find each other by DNS, make new connections, and envelopes flow again."""
        for exchange in exchanges:
            await exchange.some_more()
        for domain in domains:
            assert await self.net.homeserver(domain).stop() == 0
            await self.net.network.start_homeserver(domain)
            for exchange in exchanges:
                await exchange.some_more()


def tlsa(digest: bytes) -> str:
    return f"3 1 1 {digest.hex()}"


async def test_the_key_that_may_change_tlsa_may_change_nothing_else(tmp_path: Path) -> None:
    with signing_knot(tmp_path / "dns", [A]) as knot:
        primary = Primary(address=FIRST, port=knot.port, key=KEY)
        owner = dns.name.from_text(f"fed.{A}")
        before = await primary.read(owner, dns.rdatatype.A, TTL)
        after = attrs.evolve(before, rdatas=frozenset({dns.rdata.from_text("IN", "A", "192.0.2.66")}))
        zone = await primary.zone_of(owner)
        with pytest.raises(LocalError, match=r"does not take the key volly-fed.update.*\nnote: .*allow it to update"):
            await primary.update(Change(zone=zone, before=before, after=after))
        assert await primary.read(owner, dns.rdatatype.A, TTL) == before


async def test_who_does_not_have_the_key_changes_nothing(tmp_path: Path) -> None:
    with signing_knot(tmp_path / "dns", [A], nsec3=True) as knot:
        owner = dns.name.from_text(f"_1._tcp.fed.{A}")
        for key, says in (
            (dns.tsig.Key(KEY.name, b"x" * 32, "hmac-sha256"), "another secret for the key"),
            (dns.tsig.Key("other.update", KEY.secret, "hmac-sha256"), "does not take the key"),
        ):
            primary = Primary(address=FIRST, port=knot.port, key=key)
            before = await primary.read(owner, dns.rdatatype.TLSA, TTL)
            after = attrs.evolve(before, rdatas=frozenset({dns.rdata.from_text("IN", "TLSA", tlsa(bytes(32)))}))
            with pytest.raises(LocalError, match=says):
                await primary.update(Change(zone=await primary.zone_of(owner), before=before, after=after))
            assert await primary.read(owner, dns.rdatatype.TLSA, TTL) == before
