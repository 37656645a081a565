"""One connection through a link shim: two sockets, a flow each way, and the ways to break it.

in: connected sockets; out: a run that ends when both ends are told, or broken on demand.
Never: leaves a socket open when its run is over.
"""

import socket
import struct
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final

import trio

from volly_fed.testing.link_flow import Ending, Flow, Owner
from volly_fed.testing.link_lane import Cut, End, Lane, Watch, Way

_NO_LINGER: Final = struct.pack("ii", 1, 0)


class Connection:
    """What a shim has between one dialler and the listener. Byte counts are of this connection, `way` one of two."""

    def __init__(
        self,
        number: int,
        dialler: socket.socket,
        listener: socket.socket | None,
        *,
        lanes: dict[Way, Lane],
        scratch: memoryview,
        seed: int,
        watch: Watch,
    ) -> None:
        """Without `listener` the dialler talks to nobody, and never learns it."""
        self.number = number
        """1 for the first that the shim has accepted."""
        self.cut_by: Cut | None = None
        """How it was cut, once it was."""
        self._sockets = {End.DIALLER: dialler, End.LISTENER: listener}
        self._how = Cut.RESET
        self._watch = watch
        self._scope = trio.CancelScope()

        def flow(way: Way, source: socket.socket, sink: socket.socket | None) -> Flow:
            owner = Owner(sink_gone=partial(self._sink_gone, way), reset=self.reset, cut=self._cut)
            random = Random(f"{seed} {number} {way.name}")  # noqa: S311 - repeatable on purpose
            return Flow(lanes[way], source, sink, scratch=scratch, random=random, watch=watch, owner=owner)

        self._flows = {Way.TO_LISTENER: flow(Way.TO_LISTENER, dialler, listener)}
        if listener is not None:
            self._flows[Way.TO_DIALLER] = flow(Way.TO_DIALLER, listener, dialler)

    async def run(self) -> None:
        """Until both directions have ended. Raises nothing."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    for flow in self._flows.values():
                        nursery.start_soon(flow.run)
        finally:
            for end in End:
                self._hang_up(end, reset=False)

    # --- counts ---

    def seen(self, way: Way) -> int:
        """Bytes the shim has read in this direction."""
        return self._sum(way, lambda flow: flow.seen)

    def passed(self, way: Way) -> int:
        """Bytes it has passed on."""
        return self._sum(way, lambda flow: flow.passed)

    def lost(self, way: Way) -> int:
        """Bytes it has swallowed."""
        return self._sum(way, lambda flow: flow.lost)

    def held(self, way: Way) -> int:
        """Bytes it has read and not passed on yet; link_limits.BUFFER at most."""
        return self._sum(way, lambda flow: flow.held)

    def _sum(self, way: Way, value: Callable[[Flow], int]) -> int:
        return sum(value(flow) for direction, flow in self._flows.items() if direction in way)

    # --- faults ---

    def reset(self) -> None:
        """Both ends get a TCP reset at once; what is under way is lost."""
        for end in End:
            self._hang_up(end, reset=True)
        self._scope.cancel()
        self._watch.tell()

    def half_open(self, closed: End, *, reset: bool = False) -> None:
        """Close towards one end, in order or by a reset; the other never hears of it, and talks to nobody."""
        self._darken()
        self._hang_up(closed, reset=reset)

    def cut(self, way: Way, *, after: int, how: Cut = Cut.RESET) -> None:
        """Cut as soon as `after` more bytes have passed in the direction `way`; both directions end, as `how` says.

        Raises ValueError for a number below 1: `sever` cuts at once.
        """
        if after < 1:
            raise ValueError("a cut comes after at least one byte\nnote: sever() cuts at once")
        self._how = how
        for direction, flow in self._flows.items():
            if direction in way:
                flow.limit = flow.passed + after

    def sever(self, how: Cut = Cut.RESET) -> None:
        """Cut at once."""
        self._how = how
        if self._cut() is Cut.RESET:
            self.reset()

    def nudge(self, way: Way) -> None:
        """A lane has changed."""
        for direction, flow in self._flows.items():
            if direction in way:
                flow.nudge()

    # --- inside ---

    def _cut(self) -> Cut:
        """Whatever is to be done before a reset; how this connection was cut."""
        if self.cut_by is None:
            self.cut_by = self._how
            self._darken()
            if self._how is Cut.CLOSE:
                for sock in self._sockets.values():
                    _say_goodbye(sock)
            self._watch.tell()
        return self.cut_by

    def _darken(self) -> None:
        for flow in self._flows.values():
            flow.darken()

    def _sink_gone(self, way: Way) -> None:
        """The end that `way` leads to is gone: its reset comes back the other way, if that leads anywhere."""
        other = self._flows[Way.BOTH ^ way]
        if not other.finished:
            other.end(Ending.RESET)
        elif not other.silent:
            self.reset()

    def _hang_up(self, end: End, *, reset: bool) -> None:
        sock = self._sockets[end]
        if sock is not None:
            hang_up(sock, reset=reset)


def hang_up(sock: socket.socket, *, reset: bool) -> None:
    """Close `sock`, with a TCP reset if wanted; tasks that wait for it get ClosedResourceError."""
    if sock.fileno() < 0:
        return
    if reset:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    trio.lowlevel.notify_closing(sock)
    sock.close()


def _say_goodbye(sock: socket.socket | None) -> None:
    if sock is None:
        return
    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        return  # it is gone already
