import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.zone
import pytest
import trio
from dns.rdatatype import RdataType

from tests.discovery.harness import NOW, Judge, service_records
from volly_fed.testing.world import Flaw, Nsec3, World, WorldServer


def ask(world: World, name: str, rdtype: str, *, dnssec: bool = True) -> dns.message.Message:
    response = world.respond(dns.message.make_query(name, rdtype, want_dnssec=dnssec))
    assert isinstance(response, dns.message.Message)
    return response


def types(response: dns.message.Message) -> set[str]:
    return {rrset.rdtype.name for rrset in [*response.answer, *response.authority]}


@pytest.fixture(scope="module")
def world() -> World:
    world = World(seed=b"world")
    world.zone("a.test", service_records())
    world.zone("b.test", service_records(), nsec3=Nsec3())
    world.zone("c.test", service_records(), signed=False)
    world.sign(NOW)
    return world


def test_the_same_seed_gives_the_same_anchor(world: World) -> None:
    assert World(seed=b"world").anchor_text == world.anchor_text
    assert World(seed=b"other").anchor_text != world.anchor_text
    assert World().anchor_text != World().anchor_text


def test_zones_are_listed_and_exported(world: World) -> None:
    assert world.origins == [".", "test.", "a.test.", "b.test.", "c.test."]
    for origin in world.origins:
        zone = dns.zone.from_text(world.zone_text(origin), origin=origin, relativize=False)
        assert zone.get_rdataset(dns.name.from_text(origin), RdataType.SOA)
    assert "NSEC3PARAM" in world.zone_text("b.test")
    assert "RRSIG" not in world.zone_text("c.test")


def test_an_unsigned_world_has_no_zone_text() -> None:
    with pytest.raises(KeyError):
        World().zone_text("test")


def test_dnssec_records_only_for_those_who_ask(world: World) -> None:
    assert types(ask(world, "fed.a.test", "A")) == {"A", "RRSIG"}
    assert types(ask(world, "fed.a.test", "A", dnssec=False)) == {"A"}
    assert types(ask(world, "x.a.test", "A")) == {"SOA", "NSEC", "RRSIG"}
    assert types(ask(world, "x.b.test", "A")) == {"SOA", "NSEC3", "RRSIG"}
    assert types(ask(world, "x.a.test", "A", dnssec=False)) == {"SOA"}


def test_flags_are_a_recursors(world: World) -> None:
    response = ask(world, "fed.a.test", "A")
    assert response.flags & dns.flags.RA
    assert response.ednsflags & dns.flags.DO
    assert not response.flags & dns.flags.AD


def test_update_signs_again_and_raises_the_serial() -> None:
    world = World(seed=b"update")
    world.zone("a.test", ["x IN A 192.0.2.1"])
    world.sign(NOW)
    world.update("a.test", add=["y IN A 192.0.2.2"], remove=["x IN A 192.0.2.1"])
    assert Judge(world)("y.a.test", "A").found
    assert Judge(world)("x.a.test", "A").absent
    assert ask(world, "a.test", "SOA").answer[0][0].serial == 2
    with pytest.raises(ValueError, match=r"not in list"):
        world.update("a.test", remove=["x IN A 192.0.2.1"])


def test_flaws_show_in_the_exported_zone() -> None:
    world = World(seed=b"flaws")
    for flaw in (Flaw.NO_SIGNATURES, Flaw.NO_DS):
        world.zone(f"{str(flaw.name).lower().replace('_', '-')}.test", service_records(), flaws=flaw)
    world.sign(NOW)
    assert " IN RRSIG " in world.zone_text("no-ds.test")
    assert " IN RRSIG " not in world.zone_text("no-signatures.test")
    assert not ask(world, "no-ds.test", "DS").answer
    assert ask(world, "no-signatures.test", "DS").answer


def test_algorithms_it_cannot_sign_with_are_refused() -> None:
    with pytest.raises(ValueError, match="algorithms 5, 7, 8"):
        World(algorithm=3)


async def test_server_on_udp_and_tcp(world: World, nursery: trio.Nursery) -> None:
    server = WorldServer(world)
    host, port = await nursery.start(server.serve)
    query = dns.message.make_query("fed.a.test", "A", want_dnssec=True)

    def both() -> list[dns.message.Message]:
        return [ask_over(query, host, port=port, timeout=5) for ask_over in (dns.query.udp, dns.query.tcp)]

    responses = await trio.to_thread.run_sync(both)
    assert [response.rcode() for response in responses] == [dns.rcode.NOERROR] * 2
    assert server.queries == 2


async def test_server_truncates_what_does_not_fit(nursery: trio.Nursery) -> None:
    world = World(seed=b"big")
    world.zone("a.test", [f"x IN TXT {'y' * 200}{index}" for index in range(30)])
    world.sign(NOW)
    host, port = await nursery.start(WorldServer(world).serve)
    query = dns.message.make_query("x.a.test", "TXT")
    response, by_tcp = await trio.to_thread.run_sync(
        lambda: dns.query.udp_with_fallback(query, host, port=port, timeout=5)
    )
    assert by_tcp
    assert len(response.answer[0]) == 30


async def test_server_survives_nonsense(world: World, nursery: trio.Nursery) -> None:
    host, port = await nursery.start(WorldServer(world).serve)
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as datagrams:
        for nonsense in (b"", b"\0" * 12, b"\xff" * 40):
            await datagrams.sendto(nonsense, (host, port))
    stream = await trio.open_tcp_stream(host, port)
    async with stream:
        await stream.send_all(b"\x00\x05hello" + b"\xff")
    query = dns.message.make_query("fed.a.test", "A")
    response = await trio.to_thread.run_sync(lambda: dns.query.udp(query, host, port=port, timeout=5))
    assert response.answer


async def test_a_taken_port_is_an_os_error(world: World, nursery: trio.Nursery) -> None:
    _, port = await nursery.start(WorldServer(world).serve)
    with pytest.raises(OSError, match="in use"):
        await WorldServer(world).serve(port=port)
