"""Discovery over real sockets on loopback, against a signed world."""

from functools import partial
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rrset
import pytest
import trio
import trio.testing

from tests.daemon.dns_net import A, Net, fails, start_net
from tests.discovery.harness import DIGEST, IDENTITY, NOW, service_records
from volly_fed import limits
from volly_fed.daemon.dns.resolver import system_resolvers
from volly_fed.daemon.dns.transport import Server
from volly_fed.discovery.endpoint import NO_IDENTITY, Endpoint, Service, Status, Step
from volly_fed.errors import Bogus, ConfigError, DiscoveryError, Indeterminate, Insecure, NoRecords
from volly_fed.names import DomainName, fingerprint_text
from volly_fed.testing.world import WorldServer
from volly_fed.testing.world_server import Later, Reply


@pytest.fixture
async def net(nursery: trio.Nursery) -> Net:
    return await start_net(nursery)


async def test_discovery_of_a_complete_domain(net: Net) -> None:
    steps: list[Step] = []
    endpoint = await net.resolver().discover(A, trace=steps.append)
    (target,) = endpoint.targets
    assert (target.host, target.port, target.addresses) == ("fed.a.test", 5223, ("2001:db8::1", "192.0.2.1"))
    assert [str(record) for record in target.tlsa] == [f"3 1 1 {DIGEST}"]
    assert endpoint.tlsa == target.tlsa
    assert fingerprint_text(endpoint.identity) == "A" * 43
    assert (endpoint.identity_next, endpoint.rejected) == (None, ())
    assert endpoint.expires == NOW + 3600
    assert tuple(steps) == endpoint.steps
    assert [(step.name, step.rrtype) for step in steps] == [
        ("_volly-fed._tcp.a.test", "SRV"),
        ("_volly-fed.a.test", "TXT"),
        ("fed.a.test", "AAAA"),
        ("fed.a.test", "A"),
        ("_5223._tcp.fed.a.test", "TLSA"),
    ]
    assert {step.status for step in steps} == {Status.SECURE}
    assert "_5223._tcp.fed.a.test TLSA: secure" in endpoint.evidence


async def test_device_service_needs_neither_identity_nor_tlsa(net: Net) -> None:
    endpoint = await net.resolver().discover(A, service=Service.DEVICE)
    assert [(target.host, target.port, target.tlsa) for target in endpoint.targets] == [("signal.a.test", 5222, ())]
    assert endpoint.identity == NO_IDENTITY
    assert isinstance(await fails(net.resolver(), "out.test", Service.DEVICE), NoRecords)


@pytest.mark.parametrize(
    ("domain", "error", "why"),
    [
        ("unsigned.test", Insecure, "unsigned.test. is an unsigned delegation"),
        ("elsewhere.test", Insecure, "unsigned.test. is an unsigned delegation"),
        ("bad.test", Bogus, "signature is wrong"),
        ("expired.test", Bogus, "expired"),
        ("out.test", NoRecords, "does not offer"),
        ("bare.test", NoRecords, "_volly-fed._tcp.bare.test. SRV"),
        ("missing.test", NoRecords, "does not exist"),
        ("nokey.test", NoRecords, "_5223._tcp.fed.nokey.test. TLSA"),
        ("nobody.test", NoRecords, "_volly-fed.nobody.test. TXT"),
        ("double.test", NoRecords, "exactly one"),
    ],
)
async def test_refusals_say_why(net: Net, domain: str, error: type[DiscoveryError], why: str) -> None:
    steps: list[Step] = []
    resolver = net.resolver()
    caught = await fails(resolver, domain)
    assert type(caught) is error
    assert why in str(caught)
    with pytest.raises(error):
        await resolver.discover(DomainName(domain), trace=steps.append)
    assert steps[0].rrtype == "SRV"


async def test_targets_in_other_zones_and_aliases(net: Net) -> None:
    resolver = net.resolver()
    far = await resolver.discover(DomainName("far.test"))
    assert [target.host for target in far.targets] == ["fed.a.test"]
    alias = await resolver.discover(DomainName("alias.test"))
    assert [(target.host, len(target.tlsa)) for target in alias.targets] == [("fed.a.test", 1)]
    original = await resolver.discover(DomainName("original.test"))
    assert [(target.host, len(target.tlsa)) for target in original.targets] == [("fed.original.test", 1)]
    apex = await resolver.discover(DomainName("apex.test"))
    assert [target.host for target in apex.targets] == ["apex.test"]


async def test_unusable_targets_beside_a_good_one_are_named(net: Net) -> None:
    endpoint = await net.resolver().discover(DomainName("two.test"))
    assert [target.host for target in endpoint.targets] == ["fed.two.test"]
    assert [(target.host, target.status, target.addresses) for target in endpoint.rejected] == [
        ("fed.expired.test", Status.BOGUS, ()),
        ("fed.unsigned.test", Status.INSECURE, ()),
    ]


async def test_private_addresses_are_refused_unless_allowed(net: Net) -> None:
    caught = await fails(net.resolver(allow_private=False), "a.test")
    assert type(caught) is NoRecords
    assert "allow_private_addresses" in str(caught)
    net.world.update("a.test", add=["fed IN A 9.9.9.9"])
    endpoint = await net.resolver(allow_private=False).discover(A)
    assert endpoint.targets[0].addresses == ("9.9.9.9",)


# --- caching ---------------------------------------------------------------------------------------------------------


async def test_answers_are_kept_until_they_expire(net: Net) -> None:
    resolver = net.resolver()
    await resolver.discover(A)
    asked = net.server.queries
    net.now += 3599
    await resolver.discover(A)
    assert net.server.queries == asked
    net.now += 1
    await resolver.discover(A)
    assert net.server.queries > asked


async def test_second_domain_does_not_ask_for_the_zones_above_again(net: Net) -> None:
    resolver = net.resolver()
    await resolver.discover(A)
    first = net.server.queries
    await resolver.discover(DomainName("apex.test"))
    assert (first, net.server.queries - first) == (10, 7)  # without "." DNSKEY and "test." DS and DNSKEY


async def test_denials_are_kept_and_end_with_the_soas_time(net: Net) -> None:
    resolver = net.resolver()
    await fails(resolver, "bare.test")
    asked = net.server.queries
    net.now += 299
    await fails(resolver, "bare.test")
    assert net.server.queries == asked
    net.world.update("bare.test", add=["_volly-fed._tcp IN SRV 0 0 5223 fed", f'_volly-fed IN TXT "{IDENTITY}"'])
    net.now += 1 + limits.DNS_FAILURE_TTL
    assert (await resolver.discover(DomainName("bare.test"))).targets


async def test_failures_are_kept_briefly(net: Net) -> None:
    resolver = net.resolver()
    await fails(resolver, "bad.test")
    asked = net.server.queries
    net.now += limits.DNS_FAILURE_TTL - 0.1
    await fails(resolver, "bad.test")
    assert net.server.queries == asked
    net.world.zone("bad.test", service_records())
    net.world.sign(NOW)
    net.now += 0.1
    assert (await resolver.discover(DomainName("bad.test"))).targets


async def test_repeated_failures_are_kept_longer_each_time(net: Net) -> None:
    resolver, began = net.resolver(), net.now
    asked_at: list[float] = []
    for _ in range(100):
        before = net.server.queries
        await fails(resolver, "bad.test")
        if net.server.queries > before:
            asked_at.append(net.now - began)
        net.now += 1
    assert asked_at == [0, 1, 3, 7, 15, 31, 61, 91]


async def test_an_expired_signature_ends_the_cache(net: Net) -> None:
    net.now = NOW + 30 * 86400 - 100
    resolver = net.resolver()
    endpoint = await resolver.discover(A)
    assert endpoint.expires == NOW + 30 * 86400
    net.now += 100 + limits.DNS_CLOCK_SKEW + 1
    assert type(await fails(resolver, "a.test")) is Bogus


async def test_forget_asks_again(net: Net) -> None:
    resolver = net.resolver()
    await resolver.discover(A)
    asked = net.server.queries
    resolver.forget()
    await resolver.discover(A)
    assert net.server.queries == 2 * asked


# --- several at once -------------------------------------------------------------------------------------------------


async def test_callers_at_once_share_one_discovery(net: Net) -> None:
    resolver = net.resolver()
    found: list[Endpoint] = []
    refused: list[DiscoveryError] = []

    async def good() -> None:
        found.append(await resolver.discover(A))

    async def bad() -> None:
        refused.append(await fails(resolver, "bad.test"))

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(good)
    assert net.server.queries == 10
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(bad)
    assert net.server.queries < 20
    assert len(set(map(id, found))) == 1
    assert len(set(map(id, refused))) == 50  # each caller has an error of its own to add a traceback to


async def test_a_cancelled_leader_hands_over(net: Net) -> None:
    gate: list[bool] = []

    def hold(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message | None:
        return response if gate else None

    net.world.hook("a.test", hold)
    resolver = net.resolver()
    found: list[Endpoint] = []

    async def follow() -> None:
        found.append(await resolver.discover(A))

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as leader:
                leader.start_soon(resolver.discover, A)
                while net.server.queries < 7:
                    await trio.lowlevel.checkpoint()
                nursery.start_soon(follow)
                await trio.testing.wait_all_tasks_blocked(0.01)
                gate.append(True)
                scope.cancel()
    assert [len(endpoint.targets) for endpoint in found] == [1]


async def test_lookup_of_one_name(net: Net) -> None:
    resolver = net.resolver()
    assert (await resolver.lookup("fed.a.test", "A")).found
    assert (await resolver.lookup(".", "SOA")).found
    assert (await resolver.lookup("fed.a.test.", "MX")).absent
    with pytest.raises(NoRecords, match="note:"):
        await resolver.lookup("x" * 64, "A")


# --- view and flush --------------------------------------------------------------------------------------------------


async def test_what_is_remembered_can_be_seen(net: Net) -> None:
    resolver = net.resolver()
    await resolver.discover(A)
    await fails(resolver, "bare.test")
    await fails(resolver, "expired.test")
    await fails(resolver, "unsigned.test")
    entries = {(entry.name, entry.type): entry for entry in resolver.entries()}
    address = entries["fed.a.test.", "A"]
    assert (address.status, address.records, address.expires) == (Status.SECURE, ("192.0.2.1",), NOW + 3600)
    absent = entries["_volly-fed._tcp.bare.test.", "SRV"]
    assert (absent.status, absent.records, absent.expires) == (Status.SECURE, (), NOW + 300)
    assert "no such record" in absent.reason or "does not exist" in absent.reason
    bogus = entries["_volly-fed._tcp.expired.test.", "SRV"]
    assert (bogus.status, bogus.expires) == (Status.BOGUS, NOW + limits.DNS_FAILURE_TTL)
    zone = entries["a.test.", "zone"]
    assert zone.status is Status.SECURE
    assert "algorithm 13" in zone.records[0]
    assert "unsigned delegation" in entries["unsigned.test.", "zone"].reason
    failure = entries["expired.test.", "federation"]
    assert (failure.status, "note" in failure.reason) == (Status.BOGUS, False)
    assert entries["bare.test.", "federation"].status is Status.SECURE
    assert resolver.entries()[0].name == "."
    net.now += 3600
    assert {entry.type for entry in resolver.entries()} <= {"zone"}


async def test_forgetting_a_domain_leaves_the_others(net: Net) -> None:
    resolver = net.resolver()
    await resolver.discover(A)
    await fails(resolver, "expired.test")
    before = len(resolver.entries())
    asked = net.server.queries
    assert resolver.forget("expired.test") > 0
    assert not [entry for entry in resolver.entries() if "expired" in entry.name]
    await resolver.discover(A)
    assert net.server.queries == asked
    assert resolver.forget("a.test") == 6  # five answers, one zone
    await resolver.discover(A)
    assert net.server.queries == asked + 7
    await fails(resolver, "expired.test")
    assert len(resolver.entries()) == before
    assert resolver.forget() == before
    assert (resolver.forget(), resolver.entries()) == (0, [])
    with pytest.raises(NoRecords):
        resolver.forget("x" * 64)


async def test_resolvers_can_be_changed_while_it_runs(nursery: trio.Nursery, net: Net) -> None:
    resolver = net.resolver()
    await resolver.discover(A)
    other = WorldServer(net.world)
    address = await nursery.start(other.serve)
    asked = net.server.queries
    resolver.use([address])
    assert resolver.servers == (Server(*address),)
    await resolver.discover(A)
    assert (net.server.queries, other.queries) == (asked, 10)


async def test_what_the_old_resolvers_still_say_is_not_kept(nursery: trio.Nursery, net: Net) -> None:
    async def ask_the_old() -> None:
        assert type(await fails(resolver, "a.test")) is Indeterminate

    class Failing:
        def reply(self, query: dns.message.Message, *, udp: bool) -> Reply:
            del udp
            response = dns.message.make_response(query)
            response.set_rcode(dns.rcode.SERVFAIL)
            return Later(0.05, response)

    resolver = net.resolver()
    resolver.use([await nursery.start(WorldServer(Failing()).serve)])
    async with trio.open_nursery() as asking:
        asking.start_soon(ask_the_old)
        await trio.testing.wait_all_tasks_blocked()
        resolver.use([net.address])
        assert resolver.entries() == []
        assert (await resolver.discover(A)).targets
    assert {entry.status for entry in resolver.entries()} == {Status.SECURE}
    assert (await resolver.discover(A)).targets


async def test_questions_under_way_are_sent_once_for_all_discoveries(net: Net) -> None:
    """Two domains of one top-level domain, both unknown: what they share is asked once."""
    resolver = net.resolver()
    async with trio.open_nursery() as nursery:
        for domain in ("a.test", "apex.test", "original.test"):
            nursery.start_soon(resolver.discover, DomainName(domain))
    shared = 3  # "." DNSKEY, "test." DS and DNSKEY
    assert net.server.queries == 3 * 7 + shared + 2  # original.test follows two aliases


@pytest.mark.parametrize("days", [-40, 40])
async def test_a_wrong_clock_is_suspected_where_the_roots_signatures_are_out_of_date(net: Net, days: int) -> None:
    net.now += days * 86400
    assert "note: check the clock of this machine" in str(await fails(net.resolver(), "a.test"))


async def test_a_domain_of_its_own_fault_says_nothing_of_the_clock(net: Net) -> None:
    assert "check the clock of this machine" not in str(await fails(net.resolver(), "expired.test"))


async def test_a_resolver_on_ipv6(nursery: trio.Nursery, net: Net) -> None:
    server = WorldServer(net.world)
    try:
        address = await nursery.start(partial(server.serve, "::1"))
    except OSError:
        pytest.skip("no IPv6 here")
    resolver = net.resolver()
    resolver.use([address])
    assert (await resolver.discover(A)).targets
    assert server.queries == 10


def test_system_resolvers(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("search a.test\nnameserver 192.0.2.53\nnameserver 2001:db8::53\noptions edns0\n")
    assert system_resolvers(path) == [Server("192.0.2.53", 53), Server("2001:db8::53", 53)]
    path.write_text("# nothing\n")
    with pytest.raises(ConfigError, match="note:"):
        system_resolvers(path)
    with pytest.raises(ConfigError):
        system_resolvers(tmp_path / "missing")
