"""Silence, loss, garbage and failing servers between a resolver and its world."""

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rrset
import pytest
import trio
import trio.testing
from dns.dnssectypes import Algorithm
from dns.rdataclass import IN
from dns.rdatatype import RdataType

from tests.daemon.dns_net import A, Net, fails, start_net
from tests.discovery.harness import DIGEST, NOW, without
from volly_fed import limits
from volly_fed.daemon.dns.resolver import Resolver, trust_anchors
from volly_fed.discovery.endpoint import Status
from volly_fed.errors import Bogus, Indeterminate
from volly_fed.testing.world import Datagrams, WorldServer
from volly_fed.testing.world_sign import Window, ZoneKeys


@pytest.fixture
async def net(nursery: trio.Nursery) -> Net:
    return await start_net(nursery)


@pytest.fixture
def patient_clock() -> trio.testing.MockClock:
    """Jumps only after 50 ms in which no datagram arrived: real sockets need real time."""
    return trio.testing.MockClock(autojump_threshold=0.05)


async def test_silence_ends_in_time_and_is_indeterminate(patient_clock: trio.testing.MockClock, net: Net) -> None:
    net.world.hook(".", lambda _query, _response, _udp: None)
    started = trio.current_time()
    resolver = net.resolver()
    caught = await fails(resolver, "a.test")
    assert type(caught) is Indeterminate
    assert trio.current_time() - started <= limits.DISCOVERY
    asked = net.server.queries
    assert type(await fails(resolver, "a.test")) is Indeterminate
    assert net.server.queries == asked  # remembered: a flood of claims is no flood of questions
    answer = await net.resolver().lookup("a.test", "SOA")
    assert answer.status is Status.INDETERMINATE


async def test_lost_datagrams_are_sent_again(patient_clock: trio.testing.MockClock, net: Net) -> None:
    seen: set[str] = set()

    def lose(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message | None:
        key = str(query.question[0])
        if key in seen:
            return response
        seen.add(key)
        return None

    net.world.hook(".", lose)
    started = trio.current_time()
    assert (await net.resolver().discover(A)).targets
    assert trio.current_time() - started < 4 * limits.DNS_RETRANSMIT


async def test_a_dead_resolver_is_passed_over(patient_clock: trio.testing.MockClock, net: Net) -> None:
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as silent:
        await silent.bind(("127.0.0.1", 0))
        servers = [silent.getsockname(), net.address]
        resolver = Resolver(servers, trust_anchors(net.world.anchor_text), allow_private=True, clock=lambda: NOW)
        assert (await resolver.discover(A)).targets


@pytest.mark.parametrize("rcode", [1, 2, 5])
async def test_server_failure_is_indeterminate_and_asked_once(net: Net, rcode: int) -> None:
    def fail(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.set_rcode(dns.rcode.Rcode(rcode))
        return response

    net.world.hook("a.test", fail)
    caught = await fails(net.resolver(), "a.test")
    assert type(caught) is Indeterminate
    assert f"port {net.address[1]} answers" in str(caught)
    assert net.server.queries <= 10


async def test_long_answers_come_over_tcp(net: Net) -> None:
    transports: list[bool] = []

    def watch(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        transports.append(udp)
        return response

    net.world.update("a.test", add=[f"_5223._tcp.fed IN TLSA 3 1 2 {index:0128x}" for index in range(20)])
    net.world.hook("_5223._tcp.fed.a.test", watch)
    endpoint = await net.resolver().discover(A)
    assert len(endpoint.targets[0].tlsa) == 21
    assert transports == [True, False]


async def test_truncation_without_end_is_indeterminate(net: Net) -> None:
    def cut(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        response.flags |= dns.flags.TC
        return without(response, RdataType.SRV, RdataType.RRSIG)

    net.world.hook("_volly-fed._tcp.a.test", cut)
    assert isinstance(await fails(net.resolver(), "a.test"), Bogus | Indeterminate)


@pytest.mark.parametrize("garbage", [b"", b"\0" * 12, b"\xff" * 600])
async def test_garbage_is_indeterminate(patient_clock: trio.testing.MockClock, net: Net, garbage: bytes) -> None:
    def spoil(query: dns.message.Message, response: dns.message.Message, udp: bool) -> bytes:
        return query.id.to_bytes(2) + garbage

    net.world.hook("a.test", spoil)
    assert type(await fails(net.resolver(), "a.test")) is Indeterminate


async def test_answers_to_other_queries_are_not_taken(patient_clock: trio.testing.MockClock, net: Net) -> None:
    def misnumber(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        response.id = query.id ^ 1
        return response

    net.world.hook("a.test", misnumber)
    assert type(await fails(net.resolver(), "a.test")) is Indeterminate


async def test_forgeries_are_passed_over_until_the_answer_comes(net: Net) -> None:
    """Wrong id, wrong question, no response at all: none of them ends the wait, and TCP is not needed."""
    transports: list[bool] = []

    def forge(query: dns.message.Message, response: dns.message.Message, udp: bool) -> Datagrams:
        transports.append(udp)
        other = dns.message.make_query("fed.b.test", RdataType.A, id=query.id)
        forged = dns.message.make_response(other)
        misnumbered = dns.message.make_response(query)
        misnumbered.id = query.id ^ 1
        return Datagrams((misnumbered, forged, query.to_wire()[:2] + b"\xff" * 40, b"\0", response))

    net.world.hook("fed.a.test", forge)
    assert (await net.resolver().lookup("fed.a.test", "A")).found
    assert transports == [True]


async def test_who_does_not_answer_is_asked_last_from_then_on(patient_clock: trio.testing.MockClock, net: Net) -> None:
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as silent:
        await silent.bind(("127.0.0.1", 0))
        servers = [silent.getsockname(), net.address]
        resolver = Resolver(servers, trust_anchors(net.world.anchor_text), allow_private=True, clock=lambda: NOW)
        assert (await resolver.lookup("fed.a.test", "A")).found
        assert [server[:2] for server in resolver.servers] == [net.address, silent.getsockname()]
        started = trio.current_time()
        assert (await resolver.lookup("fed.a.test", "AAAA")).found
        assert trio.current_time() - started < limits.DNS_RETRANSMIT


@pytest.mark.parametrize("rcode", [2, 5])
async def test_a_server_that_fails_or_refuses_is_followed_by_the_next(
    nursery: trio.Nursery, net: Net, rcode: int
) -> None:
    class Broken:
        def reply(self, query: dns.message.Message, *, udp: bool) -> dns.message.Message:
            del udp
            response = dns.message.make_response(query)
            response.set_rcode(dns.rcode.Rcode(rcode))
            return response

    broken = await nursery.start(WorldServer(Broken()).serve)
    resolver = net.resolver()
    resolver.use([broken, net.address])
    assert (await resolver.discover(A)).targets


async def test_tlsa_of_wrong_length_is_ignored_alone(net: Net) -> None:
    """The whole response would be refused by dnspython; the set's signature must still be checked."""
    keys = ZoneKeys.derive(b"daemon tests", dns.name.from_text("a.test"), Algorithm.ECDSAP256SHA256)
    window = Window(inception=int(NOW) - 1, expiration=int(NOW) + 1)

    def add_malformed(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        rrset = next(rrset for rrset in response.answer if rrset.rdtype == RdataType.TLSA)
        rrset.add(dns.rdata.GenericRdata(IN, RdataType.TLSA, bytes((3, 1, 1, 0, 0, 0))))
        response.answer = [rrset, dns.rrset.from_rdata(rrset.name, rrset.ttl, keys.sign(rrset, window))]
        return response

    net.world.hook("_5223._tcp.fed.a.test", add_malformed)
    endpoint = await net.resolver().discover(A)
    assert [str(record) for record in endpoint.targets[0].tlsa] == [f"3 1 1 {DIGEST}"]


async def test_no_resolver_is_indeterminate() -> None:
    with pytest.raises(Indeterminate, match="no resolver"):
        await Resolver([]).discover(A)
