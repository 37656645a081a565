"""Each ready-made fault does what it says, and only that."""

from collections.abc import Callable

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from dns.rdatatype import RdataType

from tests.discovery.harness import NOW, Judge, service_records
from volly_fed.discovery.endpoint import Status
from volly_fed.testing import world_faults as faults
from volly_fed.testing.world import Datagrams, Hook, Later, World
from volly_fed.testing.world_server import Reply

LINES = [*service_records(), "other IN A 192.0.2.9"]


@pytest.fixture(scope="module")
def world() -> World:
    world = World(seed=b"faults")
    world.zone("a.test", LINES)
    world.zone("b.test", LINES, algorithm=(13, 18))
    world.zone("c.test", LINES, signed=False)
    world.sign(NOW)
    return world


def reply_of(world: World, hook: Hook, name: str = "fed.a.test", rdtype: str = "A", *, udp: bool = True) -> Reply:
    query = dns.message.make_query(name, rdtype, want_dnssec=True, id=77)
    response = world.respond(query)
    assert isinstance(response, dns.message.Message)
    return hook(query, response, udp)


def message_of(world: World, hook: Hook, name: str = "fed.a.test", rdtype: str = "A") -> dns.message.Message:
    message = reply_of(world, hook, name, rdtype)
    assert isinstance(message, dns.message.Message)
    return message


def types_in(message: dns.message.Message) -> list[str]:
    return [rrset.rdtype.name for rrset in [*message.answer, *message.authority]]


def judged(world: World, hook: Hook, name: str, rdtype: str = "A") -> Status:
    """The validator's verdict with `hook` at `name`."""
    world.hook(name, hook)
    try:
        return Judge(world)(name, rdtype).status
    finally:
        world.hook(name, None)


@pytest.mark.parametrize(
    ("hook", "rcode"), [(faults.servfail, dns.rcode.SERVFAIL), (faults.refused, dns.rcode.REFUSED)]
)
def test_refusals(world: World, hook: Callable[[], Hook], rcode: dns.rcode.Rcode) -> None:
    message = message_of(world, hook())
    assert message.rcode() == rcode
    assert message.id == 77
    assert not types_in(message)


def test_blackhole_and_slow(world: World) -> None:
    assert reply_of(world, faults.blackhole()) is None
    late = reply_of(world, faults.slow(2.5))
    assert isinstance(late, Later)
    assert late.seconds == 2.5
    assert isinstance(late.response, dns.message.Message)
    assert late.response.answer


def test_truncated_over_udp_alone(world: World) -> None:
    short = message_of(world, faults.truncated())
    assert short.flags & dns.flags.TC
    assert not short.answer
    whole = reply_of(world, faults.truncated(), udp=False)
    assert isinstance(whole, dns.message.Message)
    assert whole.answer
    assert not whole.flags & dns.flags.TC
    assert reply_of(world, faults.truncated(tcp=False), udp=False) is None


def test_loss_is_counted_per_question(world: World) -> None:
    hook = faults.lossy(2)
    for name in ("fed.a.test", "other.a.test"):
        assert [reply_of(world, hook, name) is None for _ in range(4)] == [True, True, False, False]
    assert reply_of(world, hook, "fed.a.test", "AAAA") is None


def test_only_one_type(world: World) -> None:
    hook = faults.only("AAAA", faults.blackhole())
    assert reply_of(world, hook, "fed.a.test", "AAAA") is None
    assert message_of(world, hook).answer


def test_stripped_types(world: World) -> None:
    assert types_in(message_of(world, faults.stripped("RRSIG"))) == ["A"]
    assert set(types_in(message_of(world, faults.stripped("RRSIG"), "none.a.test"))) == {"SOA", "NSEC"}
    assert types_in(message_of(world, faults.stripped(), "none.a.test")) == ["SOA"]
    assert types_in(message_of(world, faults.stripped(), "a.test", "DNSKEY")) == []


@pytest.mark.parametrize(("gone", "left"), [(13, 18), (18, 13)])
def test_one_algorithm_is_stripped(world: World, gone: int, left: int) -> None:
    message = message_of(world, faults.without_algorithm(gone), "fed.b.test")
    (signatures,) = [rrset for rrset in message.answer if rrset.rdtype == RdataType.RRSIG]
    assert [rdata.algorithm for rdata in signatures] == [left]
    assert types_in(message_of(world, faults.without_algorithm(13))) == ["A"]


def test_bad_signatures_are_signatures_still(world: World) -> None:
    assert types_in(message_of(world, faults.bad_signatures())) == ["A", "RRSIG"]
    assert judged(world, faults.bad_signatures(), "fed.a.test") is Status.BOGUS


def test_a_lie_about_authenticity(world: World) -> None:
    message = message_of(world, faults.authenticated(), "fed.c.test")
    assert message.flags & dns.flags.AD
    assert types_in(message) == ["A"]
    forgery = message_of(world, faults.authenticated(faults.forged()))
    assert forgery.flags & dns.flags.AD
    assert forgery.answer[0][0].address == "203.0.113.66"
    assert reply_of(world, faults.authenticated(faults.blackhole())) is None


def test_forged_addresses_and_nothing_else(world: World) -> None:
    assert types_in(message_of(world, faults.forged())) == ["A"]
    assert message_of(world, faults.forged(), rdtype="AAAA").answer[0][0].address == "2001:db8:66::66"
    assert types_in(message_of(world, faults.forged(), "_5223._tcp.fed.a.test", "TLSA")) == ["TLSA", "RRSIG"]
    assert judged(world, faults.forged(), "fed.a.test") is Status.BOGUS


def test_forged_and_replayed_denials(world: World) -> None:
    forgery = message_of(world, faults.forged_nxdomain(world, "zzz.a.test"))
    assert forgery.rcode() == dns.rcode.NXDOMAIN
    assert not forgery.answer
    assert "NSEC" in types_in(forgery)
    assert judged(world, faults.forged_nxdomain(world, "zzz.a.test"), "fed.a.test") is Status.BOGUS
    replay = message_of(world, faults.replayed_denial(world, "other.a.test", "MX"))
    assert (replay.rcode(), replay.answer) == (dns.rcode.NOERROR, [])
    assert judged(world, faults.replayed_denial(world, "other.a.test", "MX"), "fed.a.test") is Status.BOGUS


def test_records_under_another_name(world: World) -> None:
    message = message_of(world, faults.renamed(world, "other.a.test"))
    assert {rrset.name.to_text() for rrset in message.answer} == {"fed.a.test."}
    assert message.answer[0][0].address == "192.0.2.9"
    assert judged(world, faults.renamed(world, "other.a.test"), "fed.a.test") is Status.BOGUS


@pytest.mark.parametrize("rdtype", ["A", "TLSA"])
def test_spoofs_come_first_and_have_other_ids(world: World, rdtype: str) -> None:
    reply = reply_of(world, faults.spoofed(forgeries=2), "fed.a.test", rdtype)
    assert isinstance(reply, Datagrams)
    messages = [message for message in reply.responses if isinstance(message, dns.message.Message)]
    assert [message.id for message in messages] == [78, 79, 77]
    assert "RRSIG" in types_in(messages[-1])
    assert "RRSIG" not in types_in(messages[0])


def test_misdirected_answers_have_the_id_and_another_question(world: World) -> None:
    reply = reply_of(world, faults.misdirected())
    assert isinstance(reply, Datagrams)
    wrong, right = (message for message in reply.responses if isinstance(message, dns.message.Message))
    assert wrong.id == right.id == 77
    assert wrong.question != right.question
    assert wrong.flags & dns.flags.QR
