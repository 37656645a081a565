"""The same verdicts with others' software: Debian's knot serves the exported zones, Debian's unbound forwards.

Three ways to the same world (our server; knot; unbound in front of knot) must give one verdict for every domain, and
unbound's own validator must agree with ours.
"""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs
import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest
import trio

from tests.discovery.harness import DIGEST, service_records
from volly_fed.daemon.dns import Resolver, trust_anchors
from volly_fed.discovery.endpoint import Status
from volly_fed.errors import Bogus, DiscoveryError, Insecure, NoRecords
from volly_fed.names import DomainName
from volly_fed.testing.world import Flaw, Nsec3, World, WorldServer

pytestmark = [pytest.mark.debian, pytest.mark.real]

STARTING = 20.0
STOPPING = 10.0
SBIN = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
PACKAGES = {"knotd": "knot", "kzonecheck": "knot-dnssecutils", "unbound": "unbound", "delv": "bind9-dnsutils"}
"""Command -> Debian package; delv is wanted as a third judge."""

VERDICTS: dict[str, type[DiscoveryError] | None] = {
    "good.test": None,
    "hashed.test": None,
    "alias.test": None,
    "unsigned.test": Insecure,
    "no-ds.test": Insecure,
    "target-unsigned.test": Insecure,
    "bad-signature.test": Bogus,
    "expired.test": Bogus,
    "not-yet-valid.test": Bogus,
    "no-signatures.test": Bogus,
    "wrong-ds.test": Bogus,
    "target-expired.test": Bogus,
    "empty.test": NoRecords,
    "hashed-empty.test": NoRecords,
    "missing.test": NoRecords,
    "out.test": NoRecords,
    "no-tlsa.test": NoRecords,
}


def tool(command: str) -> str:
    """The command's path; absence skips on a developer's machine and fails in CI."""
    path = shutil.which(command, path=SBIN)
    if path is None:
        reason = f"{command} is not installed (apt-get install {PACKAGES[command]})"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def build() -> World:
    world = World(seed=b"debian")
    complete = [*service_records(), "*.wild IN A 192.0.2.9"]
    world.zone("good.test", complete)
    world.zone("hashed.test", complete, nsec3=Nsec3(iterations=1, salt=b"\xab\xcd"))
    world.zone("unsigned.test", complete, signed=False)
    world.zone("empty.test")
    world.zone("hashed-empty.test", nsec3=Nsec3())
    world.zone("out.test", ["_volly-fed._tcp IN SRV 0 0 0 ."])
    world.zone("no-tlsa.test", service_records()[:-1])
    srv, identity = service_records()[:2]
    for name, target in (("alias", "good"), ("target-unsigned", "unsigned"), ("target-expired", "expired")):
        world.zone(f"{name}.test", [srv, identity, f"fed IN CNAME fed.{target}.test."])
    for flaw in (
        Flaw.NO_DS, Flaw.BAD_SIGNATURE, Flaw.EXPIRED, Flaw.NOT_YET_VALID, Flaw.NO_SIGNATURES, Flaw.WRONG_DS,
    ):  # fmt: skip
        world.zone(f"{str(flaw.name).lower().replace('_', '-')}.test", service_records(), flaws=flaw)
    world.sign()
    return world


def free_port() -> int:
    """A port free for both UDP and TCP a moment ago; whoever takes it in between makes the daemon fail to start."""
    for _ in range(50):
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            stream.bind(("127.0.0.1", 0))
            port = int(stream.getsockname()[1])
            try:
                datagrams.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


@attrs.frozen
class Daemon:
    """A process that answers DNS on a loopback port."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def wait_ready(self) -> None:
        """Ask until it answers; the time-out of each question is the pause between two."""
        query = dns.message.make_query("test", "SOA")
        for _ in range(int(STARTING / 0.2)):
            assert self.process.poll() is None, self.log.read_text()
            try:
                dns.query.tcp(query, "127.0.0.1", port=self.port, timeout=0.2)
                response = dns.query.udp(query, "127.0.0.1", port=self.port, timeout=0.2)
            except (OSError, dns.exception.DNSException):
                self._pause()
                continue
            if response.rcode() == dns.rcode.NOERROR and response.answer:
                return
            self._pause()
        raise AssertionError(self.log.read_text())

    def _pause(self) -> None:
        """Up to 0.1 s, less if the process ends."""
        try:
            self.process.wait(0.1)
        except subprocess.TimeoutExpired:
            return

    def stop(self) -> None:
        """SIGTERM, then SIGKILL; by its own pid."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOPPING)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOPPING)


def start(command: list[str], port: int, log: Path) -> Daemon:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    return Daemon(process, port, log)


KNOT = """\
server:
    rundir: "{folder}"
    listen: 127.0.0.1@{port}
    background-workers: 1
    udp-workers: 1
    tcp-workers: 2
database:
    storage: "{folder}/db"
log:
  - target: stderr
    any: info
template:
  - id: default
    storage: "{folder}"
    semantic-checks: off
    dnssec-signing: off
    journal-content: none
    zonefile-load: whole
zone:
"""

UNBOUND = """\
server:
    directory: "{folder}"
    chroot: ""
    username: ""
    pidfile: "{folder}/unbound.pid"
    use-syslog: no
    do-daemonize: no
    verbosity: 1
    interface: 127.0.0.1@{port}
    do-ip6: no
    num-threads: 1
    do-not-query-localhost: no
    local-zone: "test." nodefault
    trust-anchor-file: "{folder}/anchor"
    module-config: "validator iterator"
    qname-minimisation: no
    ede: yes
remote-control:
    control-enable: no
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{upstream}
"""


@pytest.fixture(scope="module")
def world() -> World:
    return build()


@pytest.fixture(scope="module")
def zone_files(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zones")
    for origin in world.origins:
        (folder / f"{origin}zone").write_text(world.zone_text(origin))
    return folder


@pytest.fixture(scope="module")
def knot(world: World, zone_files: Path) -> Iterator[Daemon]:
    port = free_port()
    lines = [f'  - domain: "{origin}"\n    file: "{origin}zone"\n' for origin in world.origins]
    config = zone_files / "knot.conf"
    config.write_text(KNOT.format(folder=zone_files, port=port) + "".join(lines))
    daemon = start([tool("knotd"), "-c", str(config)], port, zone_files / "knot.log")
    try:
        daemon.wait_ready()
        yield daemon
    finally:
        daemon.stop()


@pytest.fixture(scope="module")
def unbound(world: World, knot: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder, port = tmp_path_factory.mktemp("unbound"), free_port()
    (folder / "anchor").write_text(world.anchor_text)
    config = folder / "unbound.conf"
    config.write_text(UNBOUND.format(folder=folder, port=port, upstream=knot.port))
    daemon = start([tool("unbound"), "-d", "-c", str(config)], port, folder / "unbound.log")
    try:
        daemon.wait_ready()
        yield daemon
    finally:
        daemon.stop()


def resolver(world: World, port: int) -> Resolver:
    return Resolver([("127.0.0.1", port)], trust_anchors(world.anchor_text), allow_private=True)


async def verdict(judge: Resolver, domain: str) -> type[DiscoveryError] | None:
    try:
        endpoint = await judge.discover(DomainName(domain))
    except DiscoveryError as error:
        return type(error)
    assert [str(record) for record in endpoint.tlsa] == [f"3 1 1 {DIGEST}"]
    return None


async def verdicts(world: World, port: int) -> dict[str, type[DiscoveryError] | None]:
    judge = resolver(world, port)
    return {domain: await verdict(judge, domain) for domain in VERDICTS}


@pytest.fixture
async def memory_port(world: World, nursery: trio.Nursery) -> int:
    address: tuple[str, int] = await nursery.start(WorldServer(world).serve)
    return address[1]


async def test_verdicts_in_memory(world: World, memory_port: int) -> None:
    assert await verdicts(world, memory_port) == VERDICTS


async def test_verdicts_behind_knot(world: World, knot: Daemon) -> None:
    assert await verdicts(world, knot.port) == VERDICTS


async def test_verdicts_behind_a_validating_unbound_and_knot(world: World, unbound: Daemon) -> None:
    assert await verdicts(world, unbound.port) == VERDICTS


@pytest.mark.parametrize("origin", [".", "test.", "good.test.", "hashed.test.", "hashed-empty.test.", "no-ds.test."])
def test_kzonecheck_finds_the_signed_zones_right(zone_files: Path, origin: str) -> None:
    command = [tool("kzonecheck"), "-d", "on", "-o", origin, str(zone_files / f"{origin}zone")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=STARTING, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


QUESTIONS = [
    ("_volly-fed._tcp.{}", "SRV"),
    ("fed.{}", "A"),
    ("fed.{}", "TXT"),
    ("missing.{}", "A"),
    ("x.wild.{}", "A"),
    ("x.wild.{}", "TXT"),
    ("_5223._tcp.fed.{}", "TLSA"),
    ("_tcp.fed.{}", "A"),
]
DOMAINS = [domain for domain in VERDICTS if domain != "missing.test"]


def ad_verdict(name: str, rdtype: str, port: int) -> Status:
    """Unbound's own: AD is secure, SERVFAIL bogus (the servers behind it work), anything else insecure."""
    query = dns.message.make_query(name, rdtype)
    query.flags |= dns.flags.AD
    response, _ = dns.query.udp_with_fallback(query, "127.0.0.1", port=port, timeout=STARTING)
    if response.rcode() == dns.rcode.SERVFAIL:
        return Status.BOGUS
    return Status.SECURE if response.flags & dns.flags.AD else Status.INSECURE


async def test_unbound_judges_as_we_do(world: World, unbound: Daemon, memory_port: int) -> None:
    judge, compared, differences = resolver(world, memory_port), 0, []
    for domain in DOMAINS:
        for pattern, rdtype in QUESTIONS:
            name = pattern.format(domain)
            ours = (await judge.lookup(name, rdtype)).status
            theirs = await trio.to_thread.run_sync(ad_verdict, name, rdtype, unbound.port)
            compared += 1
            if ours is not theirs:
                differences.append((name, rdtype, ours, theirs))
    assert not differences
    assert compared == len(DOMAINS) * len(QUESTIONS)


@pytest.mark.parametrize(
    ("domain", "said"),
    [
        ("good.test", "fully validated"),
        ("hashed.test", "fully validated"),
        ("unsigned.test", "unsigned answer"),
        ("expired.test", "resolution failed"),
    ],
)
def test_delv_judges_as_we_do(world: World, unbound: Daemon, tmp_path: Path, domain: str, said: str) -> None:
    ds = world.anchor_text.split(" DS ", 1)[1].split()
    anchor = tmp_path / "anchor"
    anchor.write_text(f'trust-anchors {{ "." static-ds {ds[0]} {ds[1]} {ds[2]} "{ds[3]}"; }};\n')
    command = [tool("delv"), "-a", str(anchor), "+root=.", "@127.0.0.1", "-p", str(unbound.port), f"fed.{domain}", "A"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=STARTING, check=False)
    assert said in done.stdout + done.stderr
