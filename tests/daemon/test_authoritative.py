"""Every address of every authoritative server is asked by itself, over real sockets on loopback."""

import dns.message
import dns.rcode
import dns.rrset
import pytest
import trio
import trio.testing

from tests.daemon.zone_servers import Build, make_world, serve
from tests.discovery.harness import NOW
from volly_fed.daemon.upkeep.authoritative import View, delegation, find_zone, poll, server_text, zone_text
from volly_fed.errors import Bogus, Indeterminate, Insecure, NoRecords
from volly_fed.testing.world import Flaw, Hook, World

OLD, NEW = "3 1 1 " + "01" * 32, "3 1 1 " + "02" * 32
OWNER = "_5223._tcp.fed.a.test"


def with_servers(*addresses: str, digests: tuple[str, ...] = (OLD,), flaws: Flaw = Flaw.NONE) -> Build:
    """a.test with TLSA records, ns at 127.0.0.1, and a further name server at each address."""

    def build(world: World) -> None:
        lines = [f"_5223._tcp.fed IN TLSA {digest}" for digest in digests]
        for number, address in enumerate(addresses, 2):
            kind = "AAAA" if ":" in address else "A"
            lines += [f"@ IN NS ns{number}", f"ns{number} IN {kind} {address}"]
        world.zone("a.test", lines, flaws=flaws)

    return build


def texts(view: View) -> list[str]:
    return [rdata.to_text() for rdata in view.rdatas]


async def test_each_server_shows_what_it_has(nursery: trio.Nursery) -> None:
    world = make_world(with_servers("127.0.0.2", digests=(OLD, NEW)))
    net = await serve(nursery, world, [make_world(with_servers("127.0.0.2"))])
    first, second = await poll(net.resolver(), OWNER, "TLSA", port=net.port)
    assert [server_text(view) for view in (first, second)] == ["ns.a.test [127.0.0.1]", "ns2.a.test [127.0.0.2]"]
    assert texts(first) == [OLD, NEW]
    assert texts(second) == [OLD]
    assert (first.ttl, first.serial, first.error, first.unproved) == (3600, 1, "", "")
    assert first.signed_until is not None
    assert first.signature_inception is not None
    assert first.signature_inception < NOW < first.signed_until


async def test_the_zone_of_a_name_that_does_not_exist_is_the_one_above(nursery: trio.Nursery) -> None:
    net = await serve(nursery, make_world(with_servers("127.0.0.2")))
    resolver = net.resolver()
    assert zone_text(await find_zone(resolver, "x.y.a.test")) == "a.test"
    assert zone_text(await find_zone(resolver, "nowhere")) == "."
    first, second = await poll(resolver, "x.y.a.test", "TLSA", port=net.port)
    assert (first.rdatas, first.ttl, first.serial, first.error) == ((), None, 1, "")
    assert "nothing listens there" in second.error


async def test_an_alias_leads_to_the_servers_of_its_end(nursery: trio.Nursery) -> None:
    def alias(world: World) -> None:
        world.zone("b.test", ["_5223._tcp.fed IN CNAME " + OWNER + "."])

    net = await serve(nursery, make_world(with_servers(), alias))
    (view,) = await poll(net.resolver(), "_5223._tcp.fed.b.test", "TLSA", port=net.port)
    assert (view.server, texts(view)) == ("ns.a.test", [OLD])
    assert zone_text(await find_zone(net.resolver(), "_5223._tcp.fed.b.test")) == "b.test"


async def test_a_wrong_signature_on_one_server_is_seen(nursery: trio.Nursery) -> None:
    late = make_world(with_servers("127.0.0.2", "127.0.0.3", flaws=Flaw.EXPIRED))
    bare = make_world(with_servers("127.0.0.2", "127.0.0.3", flaws=Flaw.NO_SIGNATURES))
    net = await serve(nursery, make_world(with_servers("127.0.0.2", "127.0.0.3")), [late, bare])
    good, expired, unsigned = await poll(net.resolver(), OWNER, "TLSA", port=net.port)
    assert good.unproved == ""
    assert "its signature expired" in expired.unproved
    assert "it has no signature" in unsigned.unproved
    assert unsigned.signed_until is None
    assert texts(good) == texts(expired) == texts(unsigned)


@pytest.fixture
def patient_clock() -> trio.testing.MockClock:
    """Jumps only after 50 ms in which no datagram arrived: real sockets need real time."""
    return trio.testing.MockClock(autojump_threshold=0.05)


async def test_servers_that_do_not_help(patient_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    def refuses(query: dns.message.Message, response: dns.message.Message, _udp: bool) -> dns.message.Message:
        response.set_rcode(dns.rcode.REFUSED)
        return response

    def is_lame(query: dns.message.Message, response: dns.message.Message, _udp: bool) -> dns.message.Message:
        return dns.message.make_response(query)

    def is_silent(*_: object) -> None:
        return None

    addresses = [f"127.0.0.{number}" for number in range(2, 5)]
    others = [make_world(with_servers(*addresses)) for _ in addresses]
    hooks: tuple[Hook, ...] = (refuses, is_lame, is_silent)
    for world, hook in zip(others, hooks, strict=True):
        world.hook("a.test", hook)
    net = await serve(nursery, make_world(with_servers(*addresses)), others)
    views = await poll(net.resolver(), OWNER, "TLSA", port=net.port)
    assert [view.error for view in views[:1]] == [""]
    assert [view.error.partition(":")[0] for view in views[1:]] == [
        "it answers REFUSED",
        "it answers without authority",
        "it does not answer",
    ]
    assert all(view.reachable and not view.rdatas for view in views[1:])


async def test_what_does_not_fit_comes_over_tcp(nursery: trio.Nursery) -> None:
    many = tuple(f"3 1 1 {number:064x}" for number in range(40))
    net = await serve(nursery, make_world(with_servers(digests=many)))
    (view,) = await poll(net.resolver(), OWNER, "TLSA", port=net.port)
    assert texts(view) == list(many)


async def test_what_this_machine_cannot_reach_says_nothing_about_the_server(nursery: trio.Nursery) -> None:
    net = await serve(nursery, make_world(with_servers("255.255.255.255")))  # the kernel refuses broadcasts
    _, view = await poll(net.resolver(), OWNER, "TLSA", port=net.port)
    assert not view.reachable
    assert "this machine does not reach it" in view.error


async def test_private_addresses_are_not_asked(nursery: trio.Nursery) -> None:
    net = await serve(nursery, make_world(with_servers()))
    (view,) = await poll(net.resolver(allow_private=False), OWNER, "TLSA", port=net.port)
    assert (view.server, view.address) == ("ns.a.test", "")
    assert "private" in view.error


async def test_a_server_without_an_address(nursery: trio.Nursery) -> None:
    def build(world: World) -> None:
        world.zone("a.test", ["@ IN NS gone"])

    net = await serve(nursery, make_world(build))
    views = await poll(net.resolver(), "a.test", "TLSA", port=net.port)
    assert [(view.server, view.error.partition(" (")[0]) for view in views] == [
        ("gone.a.test", "it has no address"),
        ("ns.a.test", ""),
    ]


@pytest.mark.parametrize(("origin", "error"), [("a.test", Bogus), ("b.test", Insecure)])
async def test_a_zone_that_is_not_secure_has_no_views(
    nursery: trio.Nursery, origin: str, error: type[Exception]
) -> None:
    def build(world: World) -> None:
        world.zone("b.test", signed=False)

    net = await serve(nursery, make_world(with_servers(flaws=Flaw.WRONG_DS), build))
    with pytest.raises(error, match=r"note: "):
        await poll(net.resolver(), f"_5223._tcp.fed.{origin}", "TLSA", port=net.port)


async def test_a_name_that_is_none(nursery: trio.Nursery) -> None:
    net = await serve(nursery, make_world())
    with pytest.raises(NoRecords):
        await poll(net.resolver(), "x" * 64, "TLSA", port=net.port)


async def test_what_the_zone_above_says_of_the_servers(
    patient_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    world = make_world(with_servers("127.0.0.2"))
    net = await serve(nursery, world)
    zone = await find_zone(net.resolver(), "a.test")
    assert await delegation(net.resolver(), zone, port=net.port) == {"ns.a.test", "ns2.a.test"}

    def refers(query: dns.message.Message, _: dns.message.Message, _udp: bool) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.authority.append(dns.rrset.from_text("a.test.", 60, "IN", "NS", "NS.A.TEST.", "old.a.test."))
        return response

    world.hook("a.test", refers)
    assert await delegation(net.resolver(), zone, port=net.port) == {"ns.a.test", "old.a.test"}
    world.hook("a.test", lambda *_: None)
    with pytest.raises(Indeterminate, match=r"no server of test\. tells"):
        await delegation(net.resolver(), zone, port=net.port)
