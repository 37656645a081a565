"""A running homeserver whose disk takes nothing for a while: it refuses, keeps what it has, and goes on by itself.

Three disks: a limit on the size of files, which the kernel enforces on the running process (setrlimit(2)); a small file
system of its own in a mount namespace of its own (as root only), filled up; and a database that cannot be written, as
after an error of the file system (a VFS; a real one cannot be made read-only while files are open for writing).
"""

import os
import resource
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

import attrs
import pytest

from tests.federation.harness import (
    A,
    B,
    Heard,
    LogLine,
    Outcomes,
    eventually,
    introduce,
    listening,
    log_lines,
    submitting,
)
from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.testnet.chaos_net import ChaosNet, chaos_net
from volly_fed.testnet.devices import Device
from volly_fed.testnet.figures import seal_many

pytestmark = pytest.mark.real
SOME = 60
SIZE = limits.DISK_RESERVE + (32 << 20)
"""The store leaves the reserve alone."""


class Disk(Protocol):
    """The disk of one homeserver."""

    def prepare(self, net: ChaosNet) -> None:
        """Before it starts."""
        ...

    def fail(self, net: ChaosNet) -> None:
        """Take nothing any more."""
        ...

    def recover(self, net: ChaosNet) -> None:
        """Take everything again."""
        ...


@attrs.frozen
class Limited:
    """No file may become longer than the longest is."""

    domain: str

    def prepare(self, net: ChaosNet) -> None:
        """Nothing."""

    def fail(self, net: ChaosNet) -> None:
        files = [*net.store_of(self.domain).parent.glob("store.db*"), net.log_of(self.domain)]
        self._limit(net, max(path.stat().st_size for path in files))

    def recover(self, net: ChaosNet) -> None:
        self._limit(net, resource.RLIM_INFINITY)

    def _limit(self, net: ChaosNet, size: int) -> None:
        resource.prlimit(net.alive[self.domain].process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@attrs.frozen
class Full:
    """A file system of SIZE bytes, below the data folder of the homeserver alone."""

    domain: str

    def prepare(self, net: ChaosNet) -> None:
        data = net.store_of(self.domain).parent
        mount = f'cp -a "{data}" "{data}.copy" && mount -t tmpfs -o size={SIZE},mode=700 none "{data}"'
        script = f'{mount} && cp -a "{data}.copy/." "{data}" && exec "$@"'
        net.programs[self.domain] = ["unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-m", "volly_fed"]

    def fail(self, net: ChaosNet) -> None:
        with self._filler(net).open("wb", buffering=0) as file:
            for size in (1 << 16, 1):  # to the last byte
                with suppress(OSError):
                    while file.write(bytes(size)):
                        pass

    def recover(self, net: ChaosNet) -> None:
        self._filler(net).unlink()

    def _filler(self, net: ChaosNet) -> Path:
        pid, data = net.alive[self.domain].process.pid, net.store_of(self.domain).parent
        return Path(f"/proc/{pid}/root{data}/filler")


@attrs.frozen
class ReadOnly:
    """A database that cannot be written."""

    domain: str

    def prepare(self, net: ChaosNet) -> None:
        net.make_wrongs()

    def fail(self, net: ChaosNet) -> None:
        net.wrongs[self.domain].read_only = True

    def recover(self, net: ChaosNet) -> None:
        net.wrongs[self.domain].read_only = False


def may_mount() -> bool:
    """Whether this process may have a mount namespace."""
    return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0


DISKS = [
    pytest.param(Limited, id="file-size-limit"),
    pytest.param(Full, id="full", marks=pytest.mark.skipif(not may_mount(), reason="needs root for a mount")),
    pytest.param(ReadOnly, id="read-only"),
]


@attrs.frozen
class Scene:
    """Two domains, a device in each; the homeserver of one has the disk."""

    net: ChaosNet
    alice: Device
    bob: Device

    async def logged(self, domain: str, event: str, count: int = 1) -> LogLine:
        """Until this has been in the log so often."""

        def found() -> LogLine | None:
            lines = [line for line in log_lines(self.net.log_of(domain)) if line["event"] == event]
            return lines[count - 1] if len(lines) >= count else None

        line: LogLine = await eventually(found, f"{event} at {domain}")
        return line


@asynccontextmanager
async def scene(folder: Path, disk: Disk) -> AsyncIterator[Scene]:
    async with chaos_net(folder, servers=2, edges=1, wrongs=False, prepare=disk.prepare) as net:
        alice, bob = (
            Device.create(folder / name, domain, net.sites[domain].edges[0], name)
            for domain, name in ((A, "alice"), (B, "bob"))
        )
        await introduce(bob)
        processes = [child.process.pid for child in net.alive.values()]
        yield Scene(net, alice, bob)
        assert not net.died()
        assert processes == [child.process.pid for child in net.alive.values()], "nothing was restarted"
        assert await net.stop_all() == {}


@pytest.mark.parametrize("kind", DISKS)
async def test_the_senders_disk(tmp_path: Path, kind: type[Limited | Full | ReadOnly]) -> None:
    disk = kind(A)
    async with scene(tmp_path, disk) as it:
        first, kept, refused, later = [await seal_many(it.alice, it.bob, SOME) for _ in range(4)]
        outcomes, heard = Outcomes(), Heard()
        async with submitting(it.alice, outcomes) as connection, listening(it.bob, heard):
            await connection.submit(first)
            await heard.wait(SOME)
            it.net.alive[B].freeze()  # so that the next ones lie on the disk
            await connection.submit(kept)
            await outcomes.wait(2 * SOME)
            disk.fail(it.net)
            for number in range(0, SOME, 10):  # not in one batch: each is an attempt of its own
                await connection.submit(refused[number : number + 10])
            await eventually(lambda: len(outcomes.refused) >= SOME or None, "refusals")
            assert {code for _, code, _ in outcomes.refused} == {ErrorCode.OVERLOADED}
            assert {envelope_id for envelope_id, _, _ in outcomes.refused} == {item[0] for item in refused}
            await it.logged(A, "storage_failed")
            it.net.alive[B].thaw()
            await heard.wait(2 * SOME)  # the disk is still of no use: what was accepted leaves all the same
            disk.recover(it.net)
            await connection.submit([*refused, *later])
            await outcomes.wait(4 * SOME)
            await heard.wait(4 * SOME)
        assert heard.counts.keys() == outcomes.accepted == {item[0] for item in (*first, *kept, *refused, *later)}
        assert heard.twice == 0


@pytest.mark.parametrize("kind", DISKS)
async def test_the_recipients_disk(tmp_path: Path, kind: type[Limited | Full | ReadOnly]) -> None:
    disk = kind(B)
    async with scene(tmp_path, disk) as it:
        kept, waiting = [await seal_many(it.alice, it.bob, SOME) for _ in range(2)]
        outcomes, heard = Outcomes(), Heard()
        async with submitting(it.alice, outcomes) as connection:
            await connection.submit(kept)
            await outcomes.wait(SOME)
            disk.fail(it.net)
            await connection.submit(waiting)
            await outcomes.wait(2 * SOME)  # they are safe with our own homeserver
            await it.logged(B, "storage_failed", 2)  # and offered again
            disk.recover(it.net)
            async with listening(it.bob, heard):
                await heard.wait(2 * SOME)  # nobody does anything but wait
        assert outcomes.refused == []
        assert heard.counts.keys() == {item[0] for item in (*kept, *waiting)}
        assert heard.twice == 0
