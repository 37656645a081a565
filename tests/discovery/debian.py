"""Debian's name servers, started as children of the tests: found, given a port and a folder, awaited, stopped.

in: a signed world; out: running daemons on loopback ports. Never: touches the system's own services, configuration or
port 53, or ends a process that it has not started. Each daemon's configuration is in debian_servers and debian_unbound.
"""

import contextlib
import os
import queue
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, TypeAlias

import attrs
import dns.exception
import dns.message
import dns.query
import dns.rcode
import pytest
import trio

from volly_fed.testing.world import World, WorldServer

STARTING = 20.0
STOPPING = 10.0
ATTEMPTS = 3
SBIN = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
PACKAGES = {
    "delv": "bind9-dnsutils",
    "knotd": "knot",
    "knsupdate": "knot-dnsutils",
    "kzonecheck": "knot-dnssecutils",
    "named": "bind9",
    "nsd": "nsd",
    "nsupdate": "bind9-dnsutils",
    "pdns_server": "pdns-server",
    "unbound": "unbound",
}
"""Command -> Debian package."""

Prepare: TypeAlias = Callable[[Path, int], list[str]]
"""Write a configuration into a folder for a port; the command to start, in the foreground, logging to stderr."""


def tool(command: str) -> str:
    """The command's path; absence skips on a developer's machine and fails in CI."""
    return shutil.which(command, path=SBIN) or _absent(command, PACKAGES[command])


def data(path: str, package: str) -> Path:
    """A file of a Debian package; as for `tool`, where it is absent."""
    return Path(path if Path(path).exists() else _absent(path, package))


def _absent(what: str, package: str) -> NoReturn:
    reason = f"{what} is not installed (apt-get install {package})"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def unconfined(command: str, folder: Path) -> str:
    """The command, in `folder` where AppArmor is on: Debian's profiles go by path and allow named only /etc/bind."""
    path = tool(command)
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    if not enabled.exists() or enabled.read_text().strip() != "Y":
        return path
    return shutil.copy(path, str(folder / command))


def free_port() -> int:
    """A port free for both UDP and TCP a moment ago; somebody else may take it before the daemon does."""
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

    def wait_ready(self) -> bool:
        """Ask until it answers over UDP and TCP; False if the process ended instead (its port was taken, say)."""
        query = dns.message.make_query("test", "SOA")
        until = time.monotonic() + STARTING
        while time.monotonic() < until:
            try:
                self.process.wait(0.05)
            except subprocess.TimeoutExpired:
                pass
            else:
                return False
            try:
                dns.query.tcp(query, "127.0.0.1", port=self.port, timeout=1)
                response = dns.query.udp(query, "127.0.0.1", port=self.port, timeout=1)
            except (OSError, EOFError, dns.exception.DNSException):
                continue
            if response.rcode() == dns.rcode.NOERROR and response.answer:
                return True
        raise AssertionError(f"does not answer:\n{self.log.read_text()}")

    def stop(self) -> None:
        """SIGTERM, then SIGKILL; by its own pid."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOPPING)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOPPING)


@contextlib.contextmanager
def running(prepare: Prepare, folder: Path) -> Iterator[Daemon]:
    """The daemon that `prepare` describes, ready; on another port where the first was taken meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log"
    for _ in range(ATTEMPTS):
        port = free_port()
        command = prepare(folder, port)
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder, start_new_session=True
            )
        daemon = Daemon(process, port, log)
        try:
            if daemon.wait_ready():
                yield daemon
                return
        finally:
            daemon.stop()
    raise AssertionError(f"does not start: {command}\n{log.read_text()}")


def zone_file(folder: Path, origin: str) -> Path:
    """Where `write_zones` puts a zone. The root's is "root.zone": a name of dots alone is awkward."""
    return folder / f"{origin.rstrip('.') or 'root'}.zone"


def write_zones(world: World, folder: Path) -> Path:
    """Every zone of the world as a zone file in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for origin in world.origins:
        zone_file(folder, origin).write_text(world.zone_text(origin))
    return folder


@contextlib.contextmanager
def world_servers(world: World, count: int) -> Iterator[list[int]]:
    """The world's own server on `count` ports, in a thread: for daemons that are started and asked without trio."""
    started: queue.SimpleQueue[tuple[list[int], Callable[[], None]]] = queue.SimpleQueue()

    async def main() -> None:
        token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            addresses = [await nursery.start(WorldServer(world).serve) for _ in range(count)]
            stop = nursery.cancel_scope.cancel
            started.put(([port for _, port in addresses], lambda: token.run_sync_soon(stop)))

    thread = threading.Thread(target=trio.run, args=(main,), name="world servers")
    thread.start()
    ports, stop = started.get(timeout=STARTING)
    try:
        yield ports
    finally:
        stop()
        thread.join(STOPPING)
        assert not thread.is_alive()
