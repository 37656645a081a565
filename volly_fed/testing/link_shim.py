"""A TCP link between a dialler and a real listener that goes wrong on demand, byte by byte.

in: the listener's address, and what shall go wrong, at any time; out: an address to dial instead, and counts.
Never: binds anything but what it is told to; changes, invents or reorders a byte; holds more than link_limits.BUFFER
bytes of one direction of one connection, however long it is paused or slow: the sender feels it.
Weaknesses: a TCP handshake is the kernel's, so the dialler's takes no time and succeeds before the listener is asked;
acknowledgements are the kernel's too, so nobody's retransmission timer runs out. Loss is modelled as the pause that a
retransmission makes, without the smaller window that follows. Linux only (TIOCOUTQ on sockets).
"""

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import attrs
import trio

from volly_fed.testing import link_limits
from volly_fed.testing.link_connection import Connection, hang_up
from volly_fed.testing.link_lane import PLAIN, Cut, End, Lane, Shape, Watch, Way

__all__ = ["Connection", "Cut", "End", "LinkShim", "Way"]

_WAYS: Final = (Way.TO_LISTENER, Way.TO_DIALLER)


class LinkShim:
    """Stands between diallers and the listener at `target`. Settings hold for all connections, now and later ones."""

    def __init__(self, target: tuple[str, int], *, seed: int = 0) -> None:
        """`target` is a literal address; it may be replaced, for new connections. `seed` decides jitter and loss."""
        self.target = target
        self.accepted = 0
        """Connections so far."""
        self._seed = seed
        self._address = ("", 0)
        self._lanes = {way: Lane() for way in _WAYS}
        self._scratch = memoryview(bytearray(link_limits.CHUNK))
        self._watch = Watch()
        self._planned: _Planned | None = None
        self._open: dict[int, Connection] = {}
        self._past_seen, self._past_passed, self._past_cuts = dict.fromkeys(_WAYS, 0), dict.fromkeys(_WAYS, 0), 0
        self._listening: socket.socket | None = None
        self._admitted = trio.Event()

    async def serve(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled; reports (host, port) as started. Raises OSError where the port is taken."""
        with _bind(host, port) as guard:  # holds the port while new connections are refused
            self._address = (host, int(guard.getsockname()[1]))
            try:
                self.admit()
                task_status.started(self._address)
                async with trio.open_nursery() as nursery:
                    while True:
                        dialler = await self._accept()
                        if len(nursery.child_tasks) >= link_limits.CONNECTIONS:
                            hang_up(dialler, reset=True)
                        else:
                            nursery.start_soon(self._welcome, dialler)
            finally:
                self.refuse()

    # --- what is seen ---

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Those that are open, oldest first."""
        return tuple(self._open.values())

    @property
    def cuts(self) -> int:
        """Connections so far that were cut, by plan or by hand."""
        return self._past_cuts + sum(connection.cut_by is not None for connection in self._open.values())

    def seen(self, way: Way = Way.BOTH) -> int:
        """Bytes read in this direction, over all connections, past ones included."""
        past = sum(count for direction, count in self._past_seen.items() if direction in way)
        return past + sum(connection.seen(way) for connection in self._open.values())

    def passed(self, way: Way = Way.BOTH) -> int:
        """Bytes passed on in this direction, over all connections, past ones included."""
        past = sum(count for direction, count in self._past_passed.items() if direction in way)
        return past + sum(connection.passed(way) for connection in self._open.values())

    async def until(self, check: Callable[[], bool]) -> None:
        """Wait until `check()`, which may look at anything here; no polling."""
        await self._watch.until(check)

    # --- what goes wrong ---

    def shape(
        self,
        way: Way = Way.BOTH,
        *,
        latency: float = 0.0,
        jitter: float = 0.0,
        rate: float | None = None,
        loss: float = 0.0,
    ) -> None:
        """Seconds of latency, up to `jitter` more for each piece, bytes per second, probability of loss of a packet.

        What is not given is as if never set. A lost packet comes later, and so does all that follows it. The rate is
        the link's: connections share it. Bytes under way keep the time they have got. Raises ValueError.
        """
        shape = Shape(latency=latency, jitter=jitter, rate=rate, loss=loss)
        self._set(way, shape=shape)

    def pause(self, way: Way = Way.BOTH) -> None:
        """Read and write nothing; senders feel it when the kernel's buffers are full. New connections wait, too."""
        self._set(way, paused=True)

    def resume(self, way: Way = Way.BOTH) -> None:
        """Go on where `pause` stopped; nothing was lost."""
        self._set(way, paused=False)

    def blackhole(self, way: Way = Way.BOTH) -> None:
        """Take everything and pass nothing on, ends of connections included.

        New connections are accepted; the listener hears of them unless it is the direction to it. A connection that
        has lost bytes stays dark in that direction, whatever is set later.
        """
        self._set(way, blackholed=True)

    def cut(self, way: Way, at: int, how: Cut = Cut.RESET, *, times: int = 1) -> None:
        """Cut each of the next `times` connections when exactly `at` bytes have passed in the direction `way`.

        Replaces what was planned before. A connection of fewer bytes is not cut, and counts. Raises ValueError.
        """
        if at < 0 or way not in _WAYS:
            raise ValueError("a cut is at a byte of one direction, 0 or later")
        self._planned = _Planned(way=way, at=at, how=how, left=times)

    def reset(self) -> None:
        """Reset all open connections, towards both ends."""
        for connection in self.connections:
            connection.reset()

    def half_open(self, closed: End, *, reset: bool = False) -> None:
        """Close all open connections towards one end, in order or by a reset; the other never hears of it."""
        for connection in self.connections:
            connection.half_open(closed, reset=reset)

    def refuse(self) -> None:
        """New connections get ECONNREFUSED; open ones go on."""
        if self._listening is not None:
            hang_up(self._listening, reset=False)
            self._listening, self._admitted = None, trio.Event()

    def admit(self) -> None:
        """Accept new connections again, on the same port."""
        if self._listening is None:
            self._listening = _bind(*self._address)
            self._listening.listen(link_limits.CONNECTIONS)
            self._admitted.set()

    def heal(self) -> None:
        """Take back all that is set or planned; open connections stay what has become of them."""
        self._set(Way.BOTH, shape=PLAIN, paused=False, blackholed=False)
        self._planned = None
        self.admit()

    def _set(
        self, way: Way, *, shape: Shape | None = None, paused: bool | None = None, blackholed: bool | None = None
    ) -> None:
        for direction, lane in self._lanes.items():
            if direction in way:
                lane.set(shape=shape, paused=paused, blackholed=blackholed)
        for connection in self.connections:
            connection.nudge(way)

    # --- connections ---

    async def _accept(self) -> socket.socket:
        while True:
            await self._admitted.wait()
            listening = self._listening
            assert listening is not None, "this is what was waited for"
            try:
                dialler, _ = listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                with suppress(trio.ClosedResourceError):  # refused meanwhile
                    await trio.lowlevel.wait_readable(listening)
            else:
                return _plugged(dialler)

    async def _welcome(self, dialler: socket.socket) -> None:
        self.accepted += 1
        number, to_listener = self.accepted, self._lanes[Way.TO_LISTENER]
        self._watch.tell()
        try:
            await to_listener.wait_open()
            listener = None if to_listener.blackholed else await _connect(self.target)
        except OSError:
            hang_up(dialler, reset=True)
            return
        except BaseException:
            dialler.close()
            raise
        connection = Connection(
            number, dialler, listener, lanes=self._lanes, scratch=self._scratch, seed=self._seed, watch=self._watch
        )
        self._plan(connection)
        self._open[number] = connection
        self._watch.tell()
        try:
            await connection.run()
        finally:
            self._note_end(connection)

    def _plan(self, connection: Connection) -> None:
        if (planned := self._planned) is None or planned.left < 1:
            return
        planned.left -= 1
        if planned.at:
            connection.cut(planned.way, after=planned.at, how=planned.how)
        else:
            connection.sever(planned.how)

    def _note_end(self, connection: Connection) -> None:
        for way in _WAYS:
            self._past_seen[way] += connection.seen(way)
            self._past_passed[way] += connection.passed(way)
        self._past_cuts += connection.cut_by is not None
        del self._open[connection.number]
        self._watch.tell()


@attrs.define(kw_only=True)
class _Planned:
    """The cut of the next connections."""

    way: Way
    at: int
    how: Cut
    left: int


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _bind(host: str, port: int) -> socket.socket:
    """Two sockets may have one port, as long as only one of them listens."""
    bound = socket.socket(_family(host), socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setblocking(False)
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    return bound


async def _connect(target: tuple[str, int]) -> socket.socket:
    with trio.socket.socket(_family(target[0]), socket.SOCK_STREAM) as sock:
        await sock.connect(target)
        return _plugged(socket.socket(fileno=sock.detach()))


def _plugged(sock: socket.socket) -> socket.socket:
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # pieces are to leave when they are due
    return sock
