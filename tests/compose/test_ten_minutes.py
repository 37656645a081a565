"""From an empty folder to a message between two domains, by the commands of docs/ten-minutes.md.

Two machines (network namespaces) with addresses as on the internet, and a third with knot, which signs both zones. What
is not as on the internet: the trust anchors are those of the two zones, since the root's cannot be had; and the wheel's
dependencies are fetched before the machines, which have no way out, are entered.
"""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from tests.compose.model import Mount, Service
from tests.compose.namespaces import PATH, ROOT, Container, Machine, machine, missing
from tests.compose.ten_minutes import sections

pytestmark = [pytest.mark.real, pytest.mark.debian]

DNS = "5.77.0.2"
HOSTS = {"left.example": "5.77.0.11", "right.example": "5.77.0.12"}
UNSIGNED = "unsigned.example"
KNOT = """\
server:
    rundir: "/srv/dns"
    listen: [5.77.0.2@53, 5.77.0.3@53]
database:
    storage: "/srv/dns/db"
policy:
  - id: signed
    algorithm: ecdsap256sha256
    single-type-signing: on
template:
  - id: default
    storage: "/srv/dns"
    zonefile-sync: -1
    zonefile-load: difference-no-serial
    journal-content: all
    dnssec-signing: on
    dnssec-policy: signed
zone:
"""
PATIENCE = 100.0
READY = "until [ $(grep -c ready ready.log) = {} ]; do sleep 0.2; done"
ZONE = """\
@ 300 IN SOA ns1 hostmaster 1 86400 86400 864000 300
@ 300 IN NS ns1
@ 300 IN NS ns2
ns1 300 IN A 5.77.0.2
ns2 300 IN A 5.77.0.3
"""


def service(name: str, address: str, command: str, folder: Path) -> Service:
    """A machine whose first process is `command`; `folder` is its /srv/home."""
    return Service(
        name=name,
        command=("sh", "-c", command),
        environment={"HOME": "/srv/home"},
        mounts=(Mount(source=str(folder), target="/srv/dns" if name == "dns" else "/srv/home", read_only=False),),
        address=address,
        resolver=DNS,
        after={},
        health=(),
        pause=1,
        patience=1,
        grace=10,
        profiles=frozenset(),
    )


@attrs.frozen(kw_only=True)
class Host:
    """One of the two machines, and what is typed there."""

    domain: str
    container: Container
    folder: Path
    path: str

    def blocks(self, section: int) -> list[str]:
        """What the page says to type."""
        return sections(self.domain)[section]

    async def type(self, commands: str, *, expect: int | None = 0, **variables: str) -> str:
        """Run a block in the home folder; what it printed."""
        done = await trio.run_process(
            [*self.container.enter, "bash", "-euc", f"cd /srv/home\n{commands}"],
            env={**os.environ, **variables, "PATH": self.path, "HOME": "/srv/home"},
            check=False,
            capture_stdout=True,
            capture_stderr=True,
        )
        said = (done.stdout + done.stderr).decode()
        assert expect is None or done.returncode == expect, f"{commands}\nends with {done.returncode}:\n{said}"
        return said


def make_zones(folder: Path) -> None:
    """knot's configuration, both zones with the hosts' addresses, and keys to sign them."""
    (folder / "db").mkdir(parents=True)
    text = KNOT + "".join(f"  - domain: {domain}\n    file: {domain}.zone\n" for domain in HOSTS)
    text += f"  - domain: {UNSIGNED}\n    file: {UNSIGNED}.zone\n    dnssec-signing: off\n"
    (folder / f"{UNSIGNED}.zone").write_text(ZONE)
    (folder / "knot.conf").write_text(text)
    (folder / "outside.conf").write_text(text.replace("/srv/dns", str(folder)))
    for domain, address in HOSTS.items():
        (folder / f"{domain}.zone").write_text(f"{ZONE}fed 300 IN A {address}\n")
        keymgr(folder, domain, "generate", "algorithm=ecdsap256sha256", "ksk=yes", "zsk=yes")


def keymgr(folder: Path, domain: str, *words: str) -> str:
    """Knot's tool for keys; what it prints."""
    command = ["keymgr", "-c", "outside.conf", domain, *words]
    environment = {**os.environ, "PATH": PATH}
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, env=environment).stdout


def believe(host: "Host", zones: Path) -> None:
    """What differs from the internet: whose keys are trusted, and which zones the resolver is examined with."""
    anchors = "".join(keymgr(zones, domain, "ds").replace(" DS ", " IN DS ") for domain in HOSTS)
    (host.folder / "anchors.ds").write_text(anchors)
    config = host.folder / "volly-fed.toml"
    text = config.read_text().replace('# anchors_file = "anchors.ds"', 'anchors_file = "anchors.ds"')
    probes = f'probe_secure = "{host.domain}"\nprobe_unsigned = "{UNSIGNED}"\nprobe_bogus = "{UNSIGNED}"'
    config.write_text(text.replace('# probe_secure = "iana.org"', probes))


@pytest.fixture
async def two_hosts(tmp_path: Path) -> AsyncIterator[tuple[Machine, list[Host]]]:
    lacking = missing("runsvdir")
    if lacking and "CI" not in os.environ:
        pytest.skip(lacking)
    assert not lacking, lacking
    async with world(tmp_path) as made:
        yield made


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[tuple[Machine, list[Host]]]:
    zones = folder / "dns"
    make_zones(zones)
    path = await install(folder / "install")
    async with machine(folder, "5.77.0.1") as running:
        await running.start(
            service("dns", DNS, "ip addr add 5.77.0.3/24 dev eth0 && exec knotd -c /srv/dns/knot.conf", zones)
        )
        hosts = []
        for domain, address in HOSTS.items():
            home = folder / domain
            home.mkdir()
            container = await running.start(service(domain, address, "trap exit TERM; sleep infinity & wait", home))
            hosts.append(Host(domain=domain, container=container, folder=home, path=path))
        yield running, hosts


async def install(folder: Path) -> str:
    """Section 1, with the wheel as it is built here; the PATH that it leaves."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    await trio.run_process(build, capture_stdout=True, capture_stderr=True)
    (block,) = sections("example.com")[1]
    shown = await trio.run_process(
        ["bash", "-euc", f'cd "{folder}"\n{block}\nprintf %s "$PATH"'],
        capture_stdout=True,
        capture_stderr=True,
        env={**os.environ, "PATH": PATH},
    )
    return shown.stdout.decode().splitlines()[-1]


async def publish(hosts: list[Host], running: Machine, zones: Path) -> None:
    """Section 3 by hand: what `dns print` prints goes into the zone file, and knot reads it again."""
    for host in hosts:
        (printed,) = host.blocks(3)[:1]
        with (zones / f"{host.domain}.zone").open("a") as zone:
            zone.write(await host.type(printed))
    assert await running.containers["dns"].run(("knotc", "-b", "-c", "/srv/dns/knot.conf", "zone-reload")) == 0


async def test_as_it_is_written(two_hosts: tuple[Machine, list[Host]], tmp_path: Path) -> None:
    running, hosts = two_hosts
    zones = tmp_path / "dns"
    for host in hosts:
        assert host.domain in await host.type(*host.blocks(2))
        believe(host, zones)
    await publish(hosts, running, zones)
    for host in hosts:
        await host.type(host.blocks(3)[1])
        await host.type(*host.blocks(4))
        supervise, look = host.blocks(5)
        await host.type(supervise)
        await host.type(READY.format(2))
        await host.type(look)

    left, right = hosts
    (card,) = [line for line in (await right.type(right.blocks(6)[0])).splitlines() if line.startswith("volly:")]
    await left.type(left.blocks(6)[0])
    await deliver(left, right, card)

    await right.type("kill -KILL $(cat sv/homeserver/supervise/pid)\n" + READY.format(3))
    await deliver(left, right, card)


async def deliver(left: Host, right: Host, card: str) -> None:
    """Section 6: one listens, then the other sends: nothing is stored for a mailbox that nobody has claimed."""
    heard: list[str] = []

    async def listen() -> None:
        heard.append(await right.type(f"{right.blocks(6)[1].rstrip()} 2>listening.log"))

    with trio.fail_after(PATIENCE):
        await right.type("rm -f listening.log; touch listening.log")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await right.type("until grep -q 'listening as' listening.log; do sleep 0.2; done")
            assert "accepted" in await left.type(left.blocks(6)[2], CARD=card)
    assert "hello" in heard[0]
