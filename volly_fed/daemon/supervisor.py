"""What a service manager is told: ready, reloading, stopping, one line of status, and signs of life (sd_notify(3)).

in: NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID of the environment; out: datagrams, where there is such a socket.
Never: fails because nobody listens, names a peer or a user, or gives a sign of life for a loop or a store that hangs.
The protocol is lines of NAME=VALUE in one datagram: too little to need a library.
"""

import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress

import attrs
import trio

from volly_fed import limits_process
from volly_fed.errors import LocalError

_ADDRESSES = ("/", "@")
"""How one begins: a path, or a name in the abstract namespace. systemd has others for virtual machines."""


@attrs.define
class Supervisor:
    """The way to the service manager; without an address, there is none and everything is said to nobody."""

    _address: str = ""
    _watchdog: float | None = None
    """Seconds after which the manager kills a process that gave no sign of life; None: it does not."""
    _status: str = ""
    """What is said while there is no trouble; empty until `ready`."""
    _trouble: str = ""

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> "Supervisor":
        """What `environment` says; whatever is not understood counts as absent."""
        address = environment.get("NOTIFY_SOCKET", "")
        return cls(address if address.startswith(_ADDRESSES) else "", _watchdog(environment))

    def ready(self, status: str) -> None:
        """Everything listens; `status` is what is said from now on."""
        self._status = status
        self._tell("READY=1", self._line())

    def stopping(self, status: str) -> None:
        """It begins to end."""
        self._tell("STOPPING=1", f"STATUS={status}")

    def note(self, trouble: str) -> None:
        """Say this instead of the status; an empty text: it is over."""
        self._trouble = trouble
        self._tell(self._line())

    @asynccontextmanager
    async def reloading(self) -> AsyncIterator[None]:
        """Inside, files are read again; afterwards it is ready, whether they could be used or not."""
        if not self._status:  # asked for before it was ready, and that is not for a reload to say
            yield
            return
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        try:
            yield
        except LocalError:
            self._tell("READY=1", f"{self._line()}; the last reload changed nothing, see the log")
            raise
        self._tell("READY=1", self._line())

    async def keep_alive(self, answers: Callable[[], Awaitable[object]]) -> None:
        """Give a sign of life again and again, each after `answers` has answered. Returns where nobody waits for one.

        A loop that hangs gets no turn here; what hangs beside it does not answer.
        """
        if self._watchdog is None or not self._address:
            return
        while True:
            await answers()
            self._tell("WATCHDOG=1")
            await trio.sleep(self._watchdog * limits_process.ALIVE_SHARE)

    def _line(self) -> str:
        return f"STATUS={self._trouble or self._status}"

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        name = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        message = "\n".join(" ".join(line.splitlines()) for line in lines)  # a line of ours is one of theirs
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(limits_process.NOTIFY)
            sender.sendto(message.encode(), name)


def _watchdog(environment: Mapping[str, str]) -> float | None:
    """Seconds; None where another process is meant."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = environment.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isascii() and microseconds.isdigit() and int(microseconds) else None
