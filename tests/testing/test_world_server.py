"""The world's server over real sockets: when answers come, in which order, and what is not answered."""

import dns.message
import dns.query
import pytest
import trio
import trio.testing

from tests.discovery.harness import NOW, service_records
from volly_fed.testing.world import Datagrams, Later, World, WorldServer
from volly_fed.testing.world_server import Reply

DELAY = 0.5
MANY = 20


@pytest.fixture(scope="module")
def signed() -> World:
    world = World(seed=b"server")
    world.zone("a.test", service_records())
    world.sign(NOW)
    return world


@pytest.fixture
def clock(autojump_clock: trio.testing.MockClock) -> trio.testing.MockClock:
    autojump_clock.autojump_threshold = 0.02  # sockets are real: an answer may be on its way while nobody runs
    return autojump_clock


async def by_udp(address: tuple[str, int], count: int = 1, *, answers: int = 1) -> list[dns.message.Message]:
    """Ask `count` times at once on one socket; the responses in the order in which they came."""
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as datagrams:
        await datagrams.connect(address)
        for ident in range(count):
            await datagrams.send(dns.message.make_query("fed.a.test", "A", id=ident + 1).to_wire())
        return [dns.message.from_wire(await datagrams.recv(65535)) for _ in range(count * answers)]


async def by_tcp(address: tuple[str, int], count: int = 1) -> list[dns.message.Message]:
    async with await trio.open_tcp_stream(*address) as stream:
        for ident in range(count):
            wire = dns.message.make_query("fed.a.test", "A", id=ident + 1).to_wire()
            await stream.send_all(len(wire).to_bytes(2) + wire)
        received, found = bytearray(), list[dns.message.Message]()
        while len(found) < count:
            received += await stream.receive_some(65535)
            while len(received) >= 2 and len(received) >= 2 + int.from_bytes(received[:2]):
                size = int.from_bytes(received[:2])
                found.append(dns.message.from_wire(bytes(received[2 : 2 + size])))
                del received[: 2 + size]
        return found


@pytest.mark.parametrize("ask", [by_udp, by_tcp])
async def test_delay_holds_all_answers_back_at_the_same_time(
    ask: object, signed: World, nursery: trio.Nursery, clock: trio.testing.MockClock
) -> None:
    address = await nursery.start(WorldServer(signed, delay=DELAY).serve)
    started = trio.current_time()
    found = await (by_udp if ask is by_udp else by_tcp)(address, MANY)
    assert sorted(response.id for response in found) == list(range(1, MANY + 1))
    assert DELAY <= trio.current_time() - started < 2 * DELAY


async def test_delay_adds_to_what_is_late_already(
    signed: World, nursery: trio.Nursery, clock: trio.testing.MockClock
) -> None:
    def hook(_query: dns.message.Message, response: dns.message.Message, _udp: bool) -> Reply:
        return Later(3.0, response)

    world = World(seed=b"late")
    world.sign(NOW)
    world.hook(".", hook)
    address = await nursery.start(WorldServer(world, delay=DELAY).serve)
    started = trio.current_time()
    await by_udp(address)
    assert trio.current_time() - started == pytest.approx(3.0 + DELAY, abs=0.1)


async def test_what_is_slow_does_not_hold_up_the_rest(nursery: trio.Nursery, clock: trio.testing.MockClock) -> None:
    world = World(seed=b"slow")
    world.sign(NOW)
    world.hook(".", lambda query, response, _udp: Later(5.0, response) if query.id == 1 else response)
    address = await nursery.start(WorldServer(world).serve)
    assert [response.id for response in await by_udp(address, 3)] == [2, 3, 1]
    assert [response.id for response in await by_tcp(address, 3)] == [2, 3, 1]


async def test_several_datagrams_come_in_order_and_the_last_one_over_tcp(nursery: trio.Nursery) -> None:
    def hook(query: dns.message.Message, response: dns.message.Message, _udp: bool) -> Reply:
        other = dns.message.make_response(query)
        other.id = 4711
        return Datagrams((other, None, response))

    world = World(seed=b"several")
    world.sign(NOW)
    world.hook(".", hook)
    address = await nursery.start(WorldServer(world).serve)
    assert [response.id for response in await by_udp(address, answers=2)] == [4711, 1]
    assert [response.id for response in await by_tcp(address)] == [1]
    settled = world.respond(dns.message.make_query("a.test", "A", id=7))
    assert isinstance(settled, dns.message.Message)
    assert settled.id == 7


async def test_it_lives_on_after_those_who_leave_without_their_answer(
    signed: World, nursery: trio.Nursery, clock: trio.testing.MockClock
) -> None:
    address = await nursery.start(WorldServer(signed, delay=DELAY).serve)
    wire = dns.message.make_query("fed.a.test", "A").to_wire()
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as datagrams:
        await datagrams.sendto(wire, address)
    stream = await trio.open_tcp_stream(*address)
    await stream.send_all(len(wire).to_bytes(2) + wire)
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # reset, not closed
    await stream.aclose()
    assert await by_udp(address, 2)
    assert await by_tcp(address, 2)
