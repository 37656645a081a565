"""What a service manager hears: each word when it is true, and no sign of life of what hangs."""

import itertools
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from tests.daemon.read_only import ReadOnly
from tests.daemon.sites import A, B, envelope, sites
from tests.release import sandbox
from volly_fed.daemon.store.store import Store
from volly_fed.daemon.supervisor import Supervisor
from volly_fed.errors import LocalError, StorageError
from volly_fed.testnet.processes import command, running, start
from volly_fed.testnet.sites import make_site

_numbers = itertools.count()
UNITS = Path(__file__).parents[2] / "contrib" / "systemd"
ANCHOR = f". IN DS 1 13 2 {'00' * 32}\n"


class Manager:
    """The service manager's end."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(0)

    def environment(self, **more: str) -> dict[str, str]:
        return {"NOTIFY_SOCKET": self.address, **more}

    def heard(self) -> list[list[str]]:
        """All that has come, by lines."""
        messages: list[list[str]] = []
        with suppress(BlockingIOError):
            while True:
                messages.append(self._socket.recv(4096).decode().split("\n"))
        return messages

    def within(self, seconds: float) -> bool:
        """Whether something comes in that time."""
        self._socket.settimeout(seconds)
        try:
            return bool(self._socket.recv(4096))
        except TimeoutError:
            return False
        finally:
            self._socket.settimeout(0)

    async def wait(self, *lines: str) -> list[list[str]]:
        """Until a message has all these lines; the messages up to it."""
        messages: list[list[str]] = []
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            messages.append(self._socket.recv(4096).decode().split("\n"))
            if set(lines) <= set(messages[-1]):
                return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    abstract = f"@volly-fed-test-{os.getpid()}-{next(_numbers)}"
    manager = Manager(abstract if request.param == "abstract" else str(tmp_path / "notify"))
    yield manager
    manager.close()


# --- words -----------------------------------------------------------------------------------------------------------


async def test_it_hears_of_the_start_of_reloads_and_of_the_end(manager: Manager) -> None:
    supervisor = Supervisor.of(manager.environment())
    assert manager.heard() == []
    supervisor.ready("Serving a.test")
    assert manager.heard() == [["READY=1", "STATUS=Serving a.test"]]

    before = time.monotonic_ns() // 1000
    async with supervisor.reloading():
        ((word, moment),) = manager.heard()
        assert word == "RELOADING=1"
        name, _, microseconds = moment.partition("=")
        assert name == "MONOTONIC_USEC"
        assert before <= int(microseconds) <= time.monotonic_ns() // 1000
    assert manager.heard() == [["READY=1", "STATUS=Serving a.test"]]

    supervisor.stopping("Waiting")
    assert manager.heard() == [["STOPPING=1", "STATUS=Waiting"]]


async def test_a_reload_that_fails_is_over_and_seen_until_one_succeeds(manager: Manager) -> None:
    supervisor = Supervisor.of(manager.environment())
    supervisor.ready("Serving")
    with pytest.raises(LocalError):
        async with supervisor.reloading():
            raise LocalError("no")
    assert manager.heard()[-1] == ["READY=1", "STATUS=Serving; the last reload changed nothing, see the log"]
    async with supervisor.reloading():
        pass
    assert manager.heard()[-1] == ["READY=1", "STATUS=Serving"]


async def test_a_reload_before_everything_listens_does_not_say_that_it_does(manager: Manager) -> None:
    async with Supervisor.of(manager.environment()).reloading():
        pass
    assert manager.heard() == []


async def test_trouble_is_said_instead_of_the_status_and_is_one_line(manager: Manager) -> None:
    supervisor = Supervisor.of(manager.environment())
    supervisor.ready("Serving")
    supervisor.note("the disk is full\nREADY=1")
    assert manager.heard()[1:] == [["STATUS=the disk is full READY=1"]]
    async with supervisor.reloading():
        pass
    assert manager.heard()[-1] == ["READY=1", "STATUS=the disk is full READY=1"]
    supervisor.note("")
    assert manager.heard() == [["STATUS=Serving"]]


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234", "/nobody/listens", "@nobody-listens", "/" * 200])
async def test_where_nobody_listens_nothing_happens(address: str) -> None:
    supervisor = Supervisor.of({"NOTIFY_SOCKET": address})
    supervisor.ready("Serving")
    supervisor.stopping("Waiting")


async def test_a_manager_that_reads_nothing_is_not_waited_for(manager: Manager) -> None:
    supervisor = Supervisor.of(manager.environment())
    began = time.monotonic()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.settimeout(0)
        other.connect("\0" + manager.address[1:] if manager.address.startswith("@") else manager.address)
        with suppress(BlockingIOError):
            while True:
                other.send(b"x")
    supervisor.ready("Serving")
    assert time.monotonic() - began < 5


# --- signs of life ---------------------------------------------------------------------------------------------------


async def at_once() -> None:
    await trio.lowlevel.checkpoint()


async def test_signs_of_life_come_twice_in_the_time_that_is_given(
    manager: Manager, autojump_clock: trio.abc.Clock, nursery: trio.Nursery
) -> None:
    supervisor = Supervisor.of(manager.environment(WATCHDOG_USEC="30000000", WATCHDOG_PID=str(os.getpid())))
    nursery.start_soon(supervisor.keep_alive, at_once)
    await trio.testing.wait_all_tasks_blocked()
    assert manager.heard() == [["WATCHDOG=1"]]
    for _ in range(3):
        await trio.sleep(15)
        assert ["WATCHDOG=1"] in manager.heard()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "-5"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "²"},
    ],
)
async def test_without_a_watchdog_nothing_is_kept_up(environment: dict[str, str], manager: Manager) -> None:
    with trio.fail_after(5):
        await Supervisor.of(manager.environment(**environment)).keep_alive(at_once)
    assert manager.heard() == []


def test_a_loop_that_hangs_gives_none(manager: Manager) -> None:
    supervisor = Supervisor.of(manager.environment(WATCHDOG_USEC="50000"))
    hang, go_on = threading.Event(), threading.Event()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.keep_alive, at_once)
            await trio.to_thread.run_sync(hang.wait)
            go_on.wait()  # what must never be done in a loop
            nursery.cancel_scope.cancel()

    loop = threading.Thread(target=trio.run, args=(main,))
    loop.start()
    assert manager.within(5)
    assert manager.within(5)
    hang.set()
    while manager.within(0.05):  # it hangs soon
        pass
    try:
        assert not manager.within(0.25)
    finally:
        go_on.set()
        loop.join()


async def test_a_store_that_hangs_gives_none_and_one_that_goes_on_does(manager: Manager, tmp_path: Path) -> None:
    supervisor = Supervisor.of(manager.environment(WATCHDOG_USEC="50000"))
    async with Store.open(tmp_path / "store.db") as store, trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.keep_alive, store.answers)
        await manager.wait("WATCHDOG=1")
        hangs, go_on = threading.Event(), threading.Event()

        def hang(_: object) -> None:
            hangs.set()
            go_on.wait()

        job = store._begin(hang)
        await trio.to_thread.run_sync(hangs.wait)
        manager.heard()
        try:
            with trio.move_on_after(0.25) as waited:
                await manager.wait("WATCHDOG=1")
        finally:
            go_on.set()
        assert waited.cancelled_caught
        await job.wait()
        await manager.wait("WATCHDOG=1")
        nursery.cancel_scope.cancel()


async def test_a_disk_that_takes_nothing_is_told_and_no_reason_to_be_killed(
    manager: Manager, tmp_path: Path, disk: ReadOnly
) -> None:
    (a,) = sites(tmp_path / "site", A, vfs=disk.name)
    async with a.running(listening=False):
        a.server.supervisor = Supervisor.of(manager.environment(WATCHDOG_USEC="50000"))
        a.server.supervisor.ready("Serving a.test")
        with disk.taking_nothing():
            with suppress(StorageError):
                await a.submit(envelope(B))
            said = [line for lines in manager.heard() for line in lines]
            assert any(line.startswith("STATUS=Nothing can be stored: ") for line in said)
            with trio.fail_after(5):
                await a.store.answers()


# --- processes -------------------------------------------------------------------------------------------------------


@pytest.mark.real
async def test_processes_say_what_they_are_doing(tmp_path: Path) -> None:
    """Under the system call filter of their units, where there is what it takes."""
    site = make_site(tmp_path, A, levels={}, edges=1, resolver=("127.0.0.1", 1), anchors=ANCHOR)
    watchdog = {"WATCHDOG_USEC": "400000"}
    home, edge = Manager(str(tmp_path / "home")), Manager(str(tmp_path / "edge"))

    def under(manager: Manager, unit: str) -> list[str]:
        settings = [f"{name}={value}" for name, value in manager.environment(**watchdog).items()]
        confined = [] if sandbox.missing() else [sys.executable, "-m", "tests.release.sandbox", str(UNITS / unit)]
        return ["/usr/bin/env", *settings, *confined, *command()]

    async with running([]) as children:
        children.append(
            await start(
                "home",
                ["serve", "--config", str(site.config)],
                tmp_path / "home.log",
                program=under(home, "volly-fed.service"),
            )
        )
        with trio.fail_after(30):
            await home.wait("READY=1", "STATUS=Serving a.test")
            await home.wait("WATCHDOG=1")
            arguments = ["edge", "--config", str(site.edges[0].config)]
            children.append(
                await start("edge", arguments, tmp_path / "edge.log", program=under(edge, "volly-fed-edge.service"))
            )
            await edge.wait("READY=1", "STATUS=Edge node edge-1 of a.test")
            await edge.wait("WATCHDOG=1")
            for child, manager in zip(children, (home, edge), strict=True):
                child.process.send_signal(signal.SIGHUP)
                words = [message[0] for message in await manager.wait("READY=1")]
                assert words.index("RELOADING=1") < words.index("READY=1")
            (site.folder / "trust.toml").write_text("default = 1\n")
            children[0].process.send_signal(signal.SIGHUP)
            await home.wait("READY=1", "STATUS=Serving a.test; the last reload changed nothing, see the log")
            for child, manager in zip(children, (home, edge), strict=True):
                child.process.terminate()
                (status,) = [line for line in (await manager.wait("STOPPING=1"))[-1] if line.startswith("STATUS=")]
                assert status.startswith("STATUS=Waiting for ")
                assert await child.process.wait() == 0
    home.close()
    edge.close()
