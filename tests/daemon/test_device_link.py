import hashlib
import os
from pathlib import Path

import attrs
import pytest
import trio
from OpenSSL import crypto

from tests.daemon.channel_helpers import write_files
from tests.daemon.device_world import DeviceWorld
from volly_fed.channel import DEVICE
from volly_fed.client import Content, DeviceKeys
from volly_fed.crypto.certificate import spki_of
from volly_fed.daemon.device.device import Sent, send
from volly_fed.daemon.device.link import FoundEdge, NamedEdge, PlainEdge, Way, parse_edge
from volly_fed.daemon.tls import TlsFiles, make_context
from volly_fed.discovery.dane import TlsaRecord
from volly_fed.discovery.endpoint import Endpoint, Service, Target
from volly_fed.errors import ChannelError, LocalError, NoRecords
from volly_fed.names import DomainName

HOME = DomainName("home.test")
HOST = "signal.home.test"


@pytest.fixture(scope="module")
def alice() -> DeviceKeys:
    return DeviceKeys.generate(HOME, os.urandom)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return write_files(tmp_path_factory.mktemp("tls"), name=HOST)


@pytest.fixture
async def world(nursery: trio.Nursery, files: TlsFiles) -> DeviceWorld:
    made = DeviceWorld(HOME, make_context(DEVICE, server=True, identity=files))
    await nursery.start(made.serve)
    return made


@attrs.define
class Names:
    """A resolver whose answer is known beforehand."""

    targets: tuple[Target, ...]

    async def discover(self, domain: DomainName, *, service: Service) -> Endpoint:
        if not self.targets:
            raise NoRecords(f"{domain} offers no service")
        return Endpoint(domain=domain, service=service, targets=self.targets, expires=0.0)


def target(world: DeviceWorld, *records: TlsaRecord, host: str = HOST) -> Target:
    return Target(host=host, port=world.port, addresses=("127.0.0.1",), tlsa=records)


def record(files: TlsFiles) -> TlsaRecord:
    certificate = crypto.load_certificate(crypto.FILETYPE_PEM, files.certificate.read_bytes())
    digest = hashlib.sha256(spki_of(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate))).digest()
    return TlsaRecord(usage=3, selector=1, matching=1, data=digest)


WRONG = TlsaRecord(usage=3, selector=1, matching=1, data=bytes(32))


async def submit(way: Way, alice: DeviceKeys) -> Sent:
    far = DeviceKeys.generate(DomainName("far.test"), os.urandom)
    with trio.fail_after(10):
        return await send(alice, way, far.card(), Content(sent_at=1, text="x"))


async def test_a_tlsa_record_vouches_for_the_certificate(
    world: DeviceWorld, alice: DeviceKeys, files: TlsFiles
) -> None:
    way = FoundEdge(HOME, Names((target(world, WRONG, record(files)),)))
    assert (await submit(way, alice)).accepted


async def test_a_root_vouches_where_there_is_no_tlsa_record(
    world: DeviceWorld, alice: DeviceKeys, files: TlsFiles
) -> None:
    way = FoundEdge(HOME, Names((target(world),)), files.certificate)
    assert (await submit(way, alice)).accepted


async def test_an_edge_that_nothing_vouches_for_is_refused(
    world: DeviceWorld, alice: DeviceKeys, files: TlsFiles
) -> None:
    unvouched = [
        FoundEdge(HOME, Names((target(world, WRONG),)), files.certificate),
        FoundEdge(HOME, Names((target(world),))),
        FoundEdge(HOME, Names((target(world, host="other.home.test"),)), files.certificate),
    ]
    for way in unvouched:
        with pytest.raises(ChannelError):
            await submit(way, alice)
    assert world.elsewhere == []


async def test_the_next_target_is_tried(world: DeviceWorld, alice: DeviceKeys, files: TlsFiles) -> None:
    way = FoundEdge(HOME, Names((target(world, WRONG), target(world, record(files)))))
    assert (await submit(way, alice)).accepted


async def test_what_dns_refuses_is_not_tried(alice: DeviceKeys) -> None:
    with pytest.raises(NoRecords):
        await submit(FoundEdge(HOME, Names(())), alice)


async def test_an_edge_without_the_hybrid_group_is_refused(
    nursery: trio.Nursery, alice: DeviceKeys, files: TlsFiles
) -> None:
    classical = attrs.evolve(DEVICE, groups=("X25519",))
    world = DeviceWorld(HOME, make_context(classical, server=True, identity=files))
    await nursery.start(world.serve)
    with pytest.raises(ChannelError):
        await submit(FoundEdge(HOME, Names((target(world, record(files)),))), alice)


async def test_a_named_host_needs_a_root(nursery: trio.Nursery, tmp_path: Path, alice: DeviceKeys) -> None:
    files = write_files(tmp_path, name="localhost")
    world = DeviceWorld(HOME, make_context(DEVICE, server=True, identity=files))
    await nursery.start(world.serve)
    assert (await submit(NamedEdge("localhost", world.port, files.certificate), alice)).accepted
    with pytest.raises(ChannelError):
        await submit(NamedEdge("localhost", world.port), alice)


@pytest.mark.parametrize(
    ("text", "way"),
    [
        ("ws://127.0.0.1:5000", PlainEdge("127.0.0.1", 5000)),
        ("ws://[::1]:5000/", PlainEdge("::1", 5000)),
        ("wss://Edge.Example", NamedEdge("edge.example", 5222)),
        ("wss://edge.example:443", NamedEdge("edge.example", 443)),
        ("wss://192.0.2.1:443", NamedEdge("192.0.2.1", 443)),
    ],
)
def test_edges_are_written_as_urls(text: str, way: Way) -> None:
    assert parse_edge(text) == way


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:5000",
        "ws://127.0.0.1",
        "ws://192.0.2.1:5000",
        "ws://localhost:5000",
        "ws://edge.example:5000",
        "wss://",
        "wss://edge.example/path",
        "wss://edge.example?x",
        "wss://edge_example",
        "wss://edge.example:99999",
        "wss://[::1",
        "http://127.0.0.1:80",
    ],
)
def test_plain_is_for_loopback_and_nothing_else_is_a_url(text: str) -> None:
    with pytest.raises(LocalError):
        parse_edge(text)
