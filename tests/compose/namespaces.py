"""Services of a compose file as processes in network namespaces of their own, behind one switch.

in: services, their images, folders for their volumes; out: running processes that see each other at their addresses.
Each has its own network, processes and mounts, its volumes, and a resolv.conf that names its resolver. With an image it
sees that and nothing else of the machine's files; without one, all of them but /srv.
Linux, and root: `ip` and `unshare` have to be allowed.
Never: touches the machine's own network; everything goes with the last process.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import trio

from tests.compose.model import Service
from tests.compose.roots import MOUNT, Image

ROOT = Path(__file__).parent.parent.parent
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
"""Of this very installation, wherever the tests were started from."""
_ENTER = r"""
set -e
echo >&"$ENTERED"
read -r _
ip link set lo up
if [ -n "$ROOT" ]; then
    MOUNT
else
    mount -t tmpfs none /srv
fi
while read -r source target mode; do
    [ -n "$source" ] || break
    mkdir -p "$ROOT$target"
    mount --bind "$source" "$ROOT$target"
    if [ "$mode" = ro ]; then mount -o remount,bind,ro "$ROOT$target"; fi
done
if [ -s "$RESOLV_CONF" ]; then mount --bind "$RESOLV_CONF" "$ROOT/etc/resolv.conf"; fi
if [ -n "$READ_ONLY" ]; then mount -o remount,bind,ro "$ROOT"; fi
echo >&"$ENTERED"
exec {ENTERED}>&- </dev/null
if [ -n "$ROOT" ]; then exec chroot "$ROOT" "$@"; else exec "$@"; fi
""".replace("MOUNT", MOUNT)
"""Says that it is in its namespaces, waits for the network, takes mounts from standard input, says that it has them."""
_NO_ROOT = {"LOWER": "", "UPPER": "", "WORK": "", "ROOT": ""}


@attrs.define(kw_only=True)
class Container:
    """One service that was started. `log` has what it said."""

    service: Service
    process: trio.Process
    """Ends with the exit code of the first process inside."""
    pid: int
    """Of the first process inside: all others end with it."""
    log: Path
    inside: list[str]
    """What goes before a command where the root is the image's already."""

    @property
    def enter(self) -> list[str]:
        """What goes before a command that is to run inside."""
        root = ["--root"] if self.inside else []
        return ["nsenter", "--target", str(self.pid), "--net", "--mount", "--pid", *root, "--", *self.inside]

    async def run(self, command: tuple[str, ...]) -> int:
        """Run `command` inside; its exit code."""
        inside = [*self.enter, *command]
        with self.log.open("ab") as log:
            done = await trio.run_process(
                inside, check=False, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "PATH": PATH}
            )
        return done.returncode

    async def healthy(self) -> None:
        """Wait until its health check succeeds. Fails with its log when it does not, or the process ends."""
        with trio.move_on_after(self.service.patience):
            while self.process.poll() is None:
                if await self.run(self.service.health) == 0:
                    return
                await trio.sleep(self.service.pause)
        raise AssertionError(f"{self.service.name} does not become healthy:\n{self.log.read_text()[-4000:]}")

    async def stop(self) -> int:
        """SIGTERM, then SIGKILL when its time is over; the exit code."""
        if self.process.poll() is None:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(self.pid, signal.SIGTERM)
            with trio.move_on_after(self.service.grace):
                await self.process.wait()
            if self.process.poll() is None:
                os.kill(self.pid, signal.SIGKILL)
        return await self.process.wait()


@attrs.define(kw_only=True)
class Machine:
    """What the services run on: `folder` holds volumes and logs."""

    folder: Path
    switch: trio.Process
    gateway: str
    images: Mapping[str, Image] = attrs.field(factory=dict)
    """By the stage of the Dockerfile. A service whose stage is not here uses the machine's files."""
    containers: dict[str, Container] = attrs.field(factory=dict)

    async def up(self, services: Mapping[str, Service], names: list[str] | None = None) -> None:
        """Start services, those without a profile unless named, each when what it depends on is as it should be."""
        wanted = names or [name for name, service in services.items() if not service.profiles]
        begun: dict[str, trio.Event] = {name: trio.Event() for name in wanted if name not in self.containers}

        async def begin(service: Service) -> None:
            for other, condition in service.after.items():
                if other in begun:
                    await begun[other].wait()
                await self._meets(other, condition)
            await self.start(service)
            begun[service.name].set()

        async with trio.open_nursery() as nursery:
            for name in begun:
                nursery.start_soon(begin, services[name])

    async def _meets(self, name: str, condition: str) -> None:
        container = self.containers[name]
        match condition:
            case "service_completed_successfully":
                code = await container.process.wait()
                assert code == 0, f"{name} ended with {code}:\n{container.log.read_text()[-4000:]}"
            case "service_healthy":
                await container.healthy()
            case _:
                raise ValueError(f"a condition that is not understood here: {condition}")

    async def start(self, service: Service) -> Container:
        """Start one service in namespaces of its own."""
        here, there = os.pipe()
        log = self.folder / f"{service.name}.log"
        resolv = self.folder / f"{service.name}.resolv.conf"
        resolv.write_text(f"nameserver {service.resolver}\n" if service.resolver else "")
        inside, root = self._inside(service)
        environment = {
            **os.environ,
            "PATH": PATH,
            **service.environment,
            **root,
            "READ_ONLY": "yes" if service.read_only and inside else "",
            "RESOLV_CONF": str(resolv),
            "ENTERED": str(there),
        }
        script = ["bash", "-c", _ENTER, service.name, *inside, *service.command]
        with log.open("ab") as output:
            process = await trio.lowlevel.open_process(
                ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--propagation", "private", *script],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=(there,),
                start_new_session=True,
            )
        os.close(there)
        async with trio.lowlevel.FdStream(here) as entered:
            await entered.receive_some()
            pid = _child(process.pid)
            if service.address:
                await self._plug(pid, service.address)
            assert process.stdin is not None
            async with process.stdin:
                await process.stdin.send_all(("\n" + self._mounts(service) + "\n").encode())
            await entered.receive_some()
        container = Container(service=service, process=process, pid=pid, log=log, inside=inside)
        self.containers[service.name] = container
        return container

    def _inside(self, service: Service) -> tuple[list[str], dict[str, str]]:
        """What goes before a command in the service's image, and how that is mounted; nothing without an image."""
        image = self.images.get(service.target)
        if image is None:
            return [], _NO_ROOT
        image = attrs.evolve(image, user=service.user or image.user)
        enter = image.enter(variables=service.environment, locked=service.locked)
        return enter, image.mounting(self.folder / "roots" / service.name)

    def _mounts(self, service: Service) -> str:
        lines = []
        for mount in service.mounts:
            source = ROOT / mount.source if mount.source.startswith(".") else self.folder / "volumes" / mount.source
            source.mkdir(parents=True, exist_ok=True)
            lines.append(f"{source} {mount.target} {'ro' if mount.read_only else 'rw'}\n")
        return "".join(lines)

    async def _plug(self, pid: int, address: str) -> None:
        port = f"v{pid}"
        await self.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        await self.ip("link", "set", port, "master", "br0", "up")
        for words in (("addr", "add", f"{address}/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
            await trio.run_process(["nsenter", "--target", str(pid), "--net", "ip", *words])

    async def ip(self, *words: str) -> None:
        """`ip WORDS` in the switch."""
        await trio.run_process(["nsenter", "--target", str(self.switch.pid), "--net", "ip", *words])


def _child(pid: int) -> int:
    """The only child of a process that has one thread."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


@asynccontextmanager
async def machine(folder: Path, gateway: str, images: Mapping[str, Image] | None = None) -> AsyncIterator[Machine]:
    """A switch that nothing is plugged into yet; whatever was started is stopped at the end."""
    here, there = os.pipe()
    switch = await trio.lowlevel.open_process(
        ["unshare", "--net", "bash", "-c", f"echo >&{there}; exec {there}>&-; exec sleep infinity"], pass_fds=(there,)
    )
    os.close(there)
    made = Machine(folder=folder, switch=switch, gateway=gateway, images=images or {})
    try:
        async with trio.lowlevel.FdStream(here) as entered:
            await entered.receive_some()
        await made.ip("link", "add", "br0", "type", "bridge")
        await made.ip("addr", "add", f"{gateway}/24", "dev", "br0")
        await made.ip("link", "set", "br0", "up")
        yield made
    finally:
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for container in made.containers.values():
                    nursery.start_soon(container.stop)
            switch.kill()
            await switch.wait()


def missing(*tools: str) -> str | None:
    """What this machine lacks to run it, in words; None if nothing. `tools`: commands that are needed besides."""
    wanted = ("ip", "unshare", "nsenter", "openssl", "knotd", "keymgr", "kdig", *tools)
    lacking = [tool for tool in wanted if not shutil.which(tool, path=PATH)]
    if lacking:
        return f"without {', '.join(lacking)}"
    return None if os.geteuid() == 0 else "network namespaces take root"
