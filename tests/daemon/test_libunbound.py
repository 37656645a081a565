"""Unbound's validator in this process, in front of a signed world; Debian's libunbound8 is needed."""

import gc
import os
import threading
import time
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from tests.daemon.dns_net import A, build, fails
from volly_fed.config.model import Validation
from volly_fed.daemon.dns.libunbound import load_library
from volly_fed.daemon.dns.resolver import Resolver, trust_anchors
from volly_fed.daemon.dns.transport import Server
from volly_fed.discovery.endpoint import Status
from volly_fed.errors import Bogus, ConfigError, DiscoveryError, Insecure, LocalError, NoRecords
from volly_fed.names import DomainName
from volly_fed.testing.world import World, WorldServer


@pytest.fixture(scope="module", autouse=True)
def _library() -> None:
    try:
        load_library()
    except LocalError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


pytestmark = pytest.mark.debian


@attrs.define
class Net:
    world: World
    server: WorldServer
    address: tuple[str, int]

    def resolver(self, validate: Validation = Validation.LIBUNBOUND) -> Resolver:
        anchors = trust_anchors(self.world.anchor_text)
        return Resolver([self.address], anchors, validate=validate, allow_private=True)


@pytest.fixture
async def net(nursery: trio.Nursery) -> Net:
    world = build()
    world.sign(time.time())  # the library has a clock of its own
    server = WorldServer(world)
    return Net(world, server, await nursery.start(server.serve))


async def test_a_complete_domain_and_its_aliases(net: Net) -> None:
    resolver, own = net.resolver(), net.resolver(Validation.SELF)
    for domain in (A, DomainName("alias.test"), DomainName("far.test"), DomainName("two.test")):
        endpoint, ours = await resolver.discover(domain), await own.discover(domain)
        assert (endpoint.targets, endpoint.identity) == (ours.targets, ours.identity)
        assert [target.status for target in endpoint.rejected] == [target.status for target in ours.rejected]
        assert endpoint.proof == ()


@pytest.mark.parametrize(
    ("domain", "error", "why"),
    [
        ("unsigned.test", Insecure, "libunbound: the zone is not signed"),
        ("bad.test", Bogus, "signature verification failed"),
        ("expired.test", Bogus, "signature expired"),
        ("out.test", NoRecords, "does not offer"),
        ("bare.test", NoRecords, "SRV"),
        ("missing.test", NoRecords, "does not exist"),
        ("nokey.test", NoRecords, "TLSA"),
    ],
)
async def test_refusals_say_why(net: Net, domain: str, error: type[DiscoveryError], why: str) -> None:
    caught = await fails(net.resolver(), domain)
    assert type(caught) is error
    assert why in str(caught)
    assert type(await fails(net.resolver(Validation.SELF), domain)) is error


async def test_many_at_once_and_from_the_cache(net: Net) -> None:
    resolver, answers = net.resolver(), []

    async def look(index: int) -> None:
        answers.append(await resolver.lookup(f"x{index}.a.test", "A"))

    async with trio.open_nursery() as nursery:
        for index in range(200):
            nursery.start_soon(look, index)
    assert {answer.status for answer in answers} == {Status.SECURE}
    assert all(answer.absent for answer in answers)
    await resolver.discover(A)
    asked = net.server.queries
    await resolver.discover(A)
    assert net.server.queries == asked
    resolver.forget()
    await resolver.discover(A)
    assert net.server.queries > asked


async def test_cancelled_questions_do_not_disturb_others(net: Net) -> None:
    resolver = net.resolver()
    net.world.hook("far.test", lambda _query, _response, _udp: None)
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0.2) as scope:
            nursery.start_soon(resolver.discover, A)
            await resolver.lookup("fed.far.test", "A")
        assert scope.cancelled_caught
    assert (await resolver.discover(DomainName("apex.test"))).targets


@pytest.fixture
def patient_clock() -> trio.testing.MockClock:
    """Jumps to the end of our patience; the library's own clock is the real one."""
    return trio.testing.MockClock(autojump_threshold=0.05)


async def test_a_resolver_that_is_gone_is_indeterminate(patient_clock: trio.testing.MockClock, net: Net) -> None:
    net.world.hook(".", lambda _query, _response, _udp: None)
    answer = await net.resolver().lookup("fed.a.test", "A")
    assert answer.status is Status.INDETERMINATE


PATIENCE = 5.0


def library_threads() -> int:
    """Threads of this process that Python knows nothing of."""
    known = {thread.native_id for thread in threading.enumerate()}
    return sum(int(task.name) not in known for task in Path("/proc/self/task").iterdir())


async def until_threads(count: int) -> None:
    """One that was joined may still be listed for a moment."""
    with trio.fail_after(PATIENCE):
        while library_threads() != count:  # noqa: ASYNC110 - the kernel tells nobody
            await trio.sleep(0.01)


async def test_contexts_go_with_their_resolver(net: Net) -> None:
    gc.collect()
    before = library_threads()
    resolver = net.resolver()
    for _ in range(3):
        await resolver.lookup("fed.a.test", "A")
        await until_threads(before + 1)
        resolver.forget()
    del resolver
    gc.collect()
    await until_threads(before)


def test_a_name_is_not_silently_ignored() -> None:
    servers = [Server("127.0.0.1", 53), Server("192.0.2.1", 853, "dns.test")]
    with pytest.raises(ConfigError, match=r"make sure that it talks to 192\.0\.2\.1:853#dns\.test\nnote: "):
        Resolver(servers, validate=Validation.LIBUNBOUND)


async def test_no_resolver() -> None:
    answer = await Resolver([], validate=Validation.LIBUNBOUND).lookup("a.test", "A")
    assert (answer.status, "no resolver is configured" in answer.reason) == (Status.INDETERMINATE, True)
