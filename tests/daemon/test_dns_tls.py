"""Discovery through a resolver over TLS: its name is proved, one connection carries all, and it ends."""

from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from tests.daemon.dns_net import A, build, fails
from tests.daemon.dot import NAME, DotServer, certificate
from tests.daemon.recursors import PROBE, Recursor
from tests.discovery.harness import DIGEST, NOW
from volly_fed import limits
from volly_fed.config.model import Validation
from volly_fed.daemon.dns.resolver import Resolver, trust_anchors
from volly_fed.daemon.dns.transport import Server
from volly_fed.errors import ConfigError, Indeterminate
from volly_fed.names import DomainName


@attrs.define
class Net:
    server: DotServer
    address: tuple[str, int]
    ca_file: Path

    def resolver(self, name: str = NAME, ca_file: Path | None = None, **options: object) -> Resolver:
        assert isinstance(self.server.names, Recursor)
        return Resolver(
            [Server(*self.address, name)],
            trust_anchors(self.server.names.world.anchor_text),
            allow_private=True,
            tls_ca_file=ca_file or self.ca_file,
            clock=lambda: NOW,
            **options,  # type: ignore[arg-type]  # `validate` and `probe_names`
        )


@pytest.fixture
async def net(nursery: trio.Nursery, tmp_path: Path) -> Net:
    pem = certificate(tmp_path)
    server = DotServer(Recursor(build()), pem)
    return Net(server, await nursery.start(server.serve), pem)


@pytest.fixture
def patient_clock() -> trio.testing.MockClock:
    """Jumps only after 50 ms in which nothing arrived: real sockets need real time."""
    return trio.testing.MockClock(autojump_threshold=0.05)


async def test_a_whole_discovery_uses_one_connection(net: Net) -> None:
    endpoint = await net.resolver().discover(A)
    assert [str(record) for record in endpoint.tlsa] == [f"3 1 1 {DIGEST}"]
    assert (net.server.connections, net.server.queries) == (1, 10)


@pytest.mark.slow  # its odd question waits for the server in vain
async def test_answers_may_come_in_another_order(net: Net) -> None:
    net.server.gather = 2  # the server waits for two queries: they must come without waiting for each other's answer
    assert (await net.resolver().discover(A)).targets
    assert net.server.connections == 1


@pytest.mark.parametrize(("name", "why"), [("other.test", "not valid for 'other.test'"), (NAME, "self-signed")])
async def test_a_resolver_that_does_not_prove_its_name_is_not_asked(
    net: Net, tmp_path: Path, name: str, why: str
) -> None:
    (tmp_path / "other").mkdir()
    resolver = net.resolver(name, None if name != NAME else certificate(tmp_path / "other"))
    error = await fails(resolver, "a.test")
    assert type(error) is Indeterminate
    assert why in str(error).replace("self signed", "self-signed")
    assert f"port {net.address[1]} ({name}): TLS: " in str(error)
    assert (net.server.connections, net.server.queries) == (0, 0)


async def test_clear_text_is_no_substitute(nursery: trio.Nursery, net: Net) -> None:
    async def clear(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"\0\1\0")

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, clear, [listener])
    resolver = net.resolver()
    resolver.use([Server("127.0.0.1", listener.socket.getsockname()[1], NAME)])
    assert type(await fails(resolver, "a.test")) is Indeterminate


async def test_a_connection_that_was_closed_is_opened_again(net: Net) -> None:
    net.server.hang_up_after = 1
    resolver = net.resolver()
    assert (await resolver.discover(A)).targets
    assert net.server.connections == net.server.queries == 10


async def test_an_idle_connection_is_closed(patient_clock: trio.testing.MockClock, net: Net) -> None:
    resolver = net.resolver()
    await resolver.discover(A)
    assert net.server.open == 1
    await trio.sleep(limits.DNS_TLS_IDLE + 1)
    assert net.server.open == 0
    assert (await resolver.discover(DomainName("apex.test"))).targets
    assert net.server.connections == 2


async def test_a_connection_that_fell_silent_is_not_used_again(patient_clock: trio.testing.MockClock, net: Net) -> None:
    resolver = net.resolver()
    await resolver.lookup("fed.a.test", "A")
    net.server.silent = True
    with trio.move_on_after(1):
        await resolver.lookup("fed.a.test", "AAAA")
    net.server.silent = False
    assert (await resolver.lookup("fed.a.test", "AAAA")).found
    assert net.server.connections == 2


async def test_it_may_be_trusted_with_validation(net: Net) -> None:
    """Over TLS with a name, an address that is not loopback would do as well."""
    resolver = net.resolver(validate=Validation.RESOLVER_AD, probe_names=PROBE)
    await resolver.require()
    assert (await resolver.discover(A)).targets
    assert net.server.connections == 1


def test_a_file_without_certificates(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    for path in (empty, tmp_path / "missing.pem"):
        with pytest.raises(ConfigError, match=r"tls_ca_file: .*\.pem cannot be used"):
            Resolver([], tls_ca_file=path)


async def test_a_question_that_is_never_answered_does_not_fail_one_that_came_later(
    patient_clock: trio.testing.MockClock, nursery: trio.Nursery, net: Net
) -> None:
    resolver = net.resolver()
    net.server.silent = True
    nursery.start_soon(resolver.lookup, "expired.test", "A")
    await trio.sleep(limits.DNS_QUERY - 0.1)

    async def recover() -> None:
        await trio.sleep(0.05)
        net.server.silent = False

    nursery.start_soon(recover)
    assert (await resolver.lookup("a.test", "SOA")).found


async def test_a_target_that_is_never_answered_does_not_take_the_others_with_it(
    patient_clock: trio.testing.MockClock, nursery: trio.Nursery, net: Net
) -> None:
    net.server.never = "expired.test."
    endpoint = await net.resolver().discover(DomainName("two.test"))
    assert [target.host for target in endpoint.targets] == ["fed.two.test"]
