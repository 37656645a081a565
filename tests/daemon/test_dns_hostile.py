"""Whoever runs a zone or stands on the way decides what a discovery of it comes to, and nothing about others."""

import itertools
import resource
from functools import partial

import attrs
import dns.edns
import dns.message
import dns.name
import pytest
import trio
import trio.testing
from dns.rdatatype import RdataType

from tests.daemon.dns_net import DEVICE_RECORDS, A, Net, fails, start_net
from tests.discovery.harness import IDENTITY, NOW, service_records
from volly_fed import limits
from volly_fed.config.model import Validation
from volly_fed.daemon.dns.resolver import Resolver, trust_anchors
from volly_fed.daemon.dns.run import Knowledge, OtherJudge, Run
from volly_fed.daemon.dns.vouched import explanation
from volly_fed.discovery.budget import Budget
from volly_fed.discovery.dnssec import Answer
from volly_fed.discovery.endpoint import Status
from volly_fed.discovery.message import Question, parse_response
from volly_fed.errors import DiscoveryError, Indeterminate, LocalError
from volly_fed.names import DomainName
from volly_fed.testing.world import World, WorldServer

HOSTILE = "hostile.test"


@pytest.fixture
def patient_clock() -> trio.testing.MockClock:
    """Jumps only after 50 ms in which no datagram arrived: real sockets need real time."""
    return trio.testing.MockClock(autojump_threshold=0.05)


async def hostile_net(nursery: trio.Nursery, records: list[str]) -> Net:
    """A domain that is as it should be, and one whose `records` are not."""
    world = World(seed=b"hostile")
    world.zone("a.test", [*service_records(), *DEVICE_RECORDS])
    world.zone(HOSTILE, [f'_volly-fed IN TXT "{IDENTITY}"', *records])
    world.sign(NOW)
    server = WorldServer(world)
    return Net(world, server, await nursery.start(server.serve))


def long_chains() -> list[str]:
    """SRV records whose first targets are chains of aliases, and whose last is another domain's."""
    records = ["_volly-fed._tcp IN SRV 99 0 5223 fed.a.test."]
    for target in range(7):
        records.append(f"_volly-fed._tcp IN SRV {target} 0 5223 t{target}")
        hops = [f"t{target}", *(f"t{target}-{hop}" for hop in range(6))]
        records += [f"{alias} IN CNAME {name}" for alias, name in itertools.pairwise(hops)]
        records += [f"{hops[-1]} IN A 192.0.2.9", f"_5223._tcp.{hops[-1]} IN TLSA 3 1 1 {'cd' * 32}"]
    return records


async def test_a_discovery_that_spends_too_much_leaves_nothing_behind_about_others(nursery: trio.Nursery) -> None:
    net = await hostile_net(nursery, long_chains())
    resolver = net.resolver()
    endpoint = await resolver.discover(DomainName(HOSTILE))
    assert "fed.a.test" in {target.host for target in endpoint.rejected}
    assert not [entry for entry in resolver.entries() if "a.test" in entry.name and entry.status is not Status.SECURE]
    assert (await resolver.discover(A)).targets


async def test_names_that_never_answer_do_not_keep_others_from_being_asked(
    patient_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    net = await hostile_net(nursery, [])
    net.world.hook(HOSTILE, lambda _query, _response, _udp: None)
    resolver = net.resolver()

    async def claim(index: int) -> None:
        with pytest.raises(DiscoveryError):
            await resolver.discover(DomainName(f"a.b.c.d{index}.{HOSTILE}"))

    for index in range(20):
        nursery.start_soon(claim, index)
    await trio.sleep(0.1)
    started = trio.current_time()
    assert (await resolver.discover(A)).targets
    assert trio.current_time() - started < limits.DNS_RETRANSMIT


async def test_one_discovery_has_a_bounded_share_of_the_sockets(
    patient_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    many = [f"_volly-fed._tcp IN SRV 0 0 5223 t{index}.x{index}" for index in range(8)]
    net = await hostile_net(nursery, many)
    waiting: set[str] = set()

    def drop(query: dns.message.Message, _response: dns.message.Message, _udp: bool) -> None:
        waiting.add(str(query.question[0]))

    for index in range(8):
        net.world.hook(f"x{index}.{HOSTILE}", drop)
    resolver = net.resolver()
    nursery.start_soon(partial(fails, resolver, HOSTILE))
    await trio.sleep(limits.DNS_RETRANSMIT / 2)
    assert len(waiting) == limits.DNS_IN_FLIGHT_EACH
    await trio.sleep(limits.DISCOVERY)


async def test_a_target_that_never_answers_does_not_take_the_others_with_it(
    patient_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    net = await hostile_net(
        nursery, ["_volly-fed._tcp IN SRV 0 0 5223 fed.x", "_volly-fed._tcp IN SRV 1 0 5223 fed.a.test."]
    )
    net.world.hook(f"x.{HOSTILE}", lambda _query, _response, _udp: None)
    endpoint = await net.resolver().discover(DomainName(HOSTILE))
    assert [target.host for target in endpoint.targets] == ["fed.a.test"]
    assert [target.status for target in endpoint.rejected] == [Status.INDETERMINATE]


async def test_answers_that_are_costly_to_parse_end_the_discovery(nursery: trio.Nursery) -> None:
    deep = ".".join(["d"] * 16)  # any one target is too much
    records = [f"_volly-fed._tcp IN SRV {target} 0 5223 t{target}.{deep}" for target in range(8)]
    for target in range(8):
        owner = f"t{target}.{deep}"
        records += [f"{owner} IN A 192.0.2.{index}" for index in range(200)]
        records += [f"_5223._tcp.{owner} IN TLSA 3 1 1 {index:064x}" for index in range(200)]
    net = await hostile_net(nursery, records)
    caught = await fails(net.resolver(), HOSTILE)
    assert type(caught) is Indeterminate
    assert "records" in str(caught)


async def test_the_cache_holds_a_bounded_amount_and_not_only_a_bounded_number(nursery: trio.Nursery) -> None:
    net = await hostile_net(nursery, [f"big IN A 192.0.2.{index}" for index in range(200)])
    answer = await net.resolver().lookup(f"big.{HOSTILE}", "A")
    assert len(answer.rdatas) == 200

    async def same(question: Question) -> Answer:
        return attrs.evolve(answer, question=question)

    knowledge, asked = Knowledge(clock=lambda: NOW), 1000
    for index in range(asked):
        run = Run(knowledge, OtherJudge(same, Budget()))
        await run.look_up(Question(dns.name.from_text(f"{index}.{HOSTILE}"), RdataType.A))
    kept = sum(1 for _ in knowledge.answers.current(NOW))
    assert 0 < kept * 200 * limits.DNS_RECORD_BYTES <= limits.DNS_CACHE_BYTES < asked * 200 * limits.DNS_RECORD_BYTES


async def test_without_free_descriptors_libunbound_is_a_failure_and_no_crash(nursery: trio.Nursery) -> None:
    net = await start_net(nursery)
    anchors = trust_anchors(net.world.anchor_text)
    try:
        resolver = Resolver([net.address], anchors, validate=Validation.LIBUNBOUND, clock=lambda: NOW)
    except LocalError as error:
        pytest.skip(str(error))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        answer = await resolver.lookup("a.test", "SOA")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert answer.status is Status.INDETERMINATE
    assert "libunbound" in answer.reason


def test_what_a_resolver_writes_into_its_refusal_stays_one_short_line() -> None:
    query = dns.message.make_query("a.test", "A")
    message = dns.message.make_response(query)
    text = "\x1b[2J ok\nnote: switch validation off " + "x" * 4096
    message.use_edns(options=[dns.edns.EDEOption(dns.edns.EDECode.DNSSEC_BOGUS, text)])
    words = explanation(
        parse_response(message.to_wire(max_size=65535), Question(dns.name.from_text("a.test"), RdataType.A))
    )
    assert words.startswith("dnssec bogus: ")
    assert words.isprintable()
    assert len(words) < 2 * limits.MAX_TEXT
