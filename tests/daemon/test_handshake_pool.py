"""Handshakes whose steps run in threads: the loop goes on, and nothing is closed under a thread."""

import threading

import pytest
import trio
import trio.testing

from tests.daemon.channel_helpers import context, memory_pair, shake, tcp_pair, wrap
from volly_fed import limits
from volly_fed.daemon.handshake_pool import in_pool
from volly_fed.daemon.tls_stream import PqStream
from volly_fed.errors import ChannelError


class Gate:
    """A handshake step that stops in its thread until it is told to go on."""

    def __init__(self, stream: PqStream, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered = trio.Event()
        self.go, self.left = threading.Event(), threading.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._step = stream._step
        self._loop = threading.get_ident()
        monkeypatch.setattr(stream, "_step", self.step)

    def step(self) -> bool:
        if threading.get_ident() == self._loop:
            return self._step()
        self._token.run_sync_soon(self.entered.set)
        assert self.go.wait(10)
        finished = self._step()
        self.left.set()
        return finished


async def test_a_step_leaves_the_loop_free(monkeypatch: pytest.MonkeyPatch) -> None:
    client, server = wrap(await tcp_pair())
    gate = Gate(server, monkeypatch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shake, (client, server))
        await gate.entered.wait()
        await trio.lowlevel.checkpoint()  # the loop runs, while the step does not
        gate.go.set()
    assert server.negotiated.group
    await trio.aclose_forcefully(client)
    await trio.aclose_forcefully(server)


async def test_cancelling_waits_for_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    client, server = wrap(await tcp_pair())
    gate = Gate(server, monkeypatch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.handshake)
        async with trio.open_nursery() as inner:
            inner.start_soon(server.handshake)
            await gate.entered.wait()
            inner.cancel_scope.cancel()
            for _ in range(5):
                await trio.lowlevel.cancel_shielded_checkpoint()
            assert not gate.left.is_set()
            gate.go.set()
        assert gate.left.is_set()  # the nursery did not end before the thread's work did
        with pytest.raises(trio.BrokenResourceError):
            await server.send_all(b"x")
        nursery.cancel_scope.cancel()
        await trio.aclose_forcefully(server)
    await trio.aclose_forcefully(client)


async def test_closing_in_the_middle_of_a_step_ends_the_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    client, server = wrap(await tcp_pair())
    gate = Gate(server, monkeypatch)
    ended: list[str] = []

    async def expect(stream: PqStream, kind: type[Exception]) -> None:
        with pytest.raises(kind):
            await stream.handshake()
        ended.append(kind.__name__)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect, client, ChannelError)
        nursery.start_soon(expect, server, trio.ClosedResourceError)
        await gate.entered.wait()
        await server.aclose()  # the thread has memory only, and no descriptor that may be somebody else's by now
        gate.go.set()
    assert sorted(ended) == ["ChannelError", "ClosedResourceError"]
    await trio.aclose_forcefully(client)


async def test_closing_wakes_a_handshake_that_waits_for_the_peer() -> None:
    near, far = await tcp_pair()
    server = PqStream(far, context(server=True))
    async with trio.open_nursery() as nursery:

        async def expect() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await server.handshake()

        nursery.start_soon(expect)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await server.aclose()
    await near.aclose()


async def test_no_more_threads_than_the_limit_says() -> None:
    together, most, lock = 0, 0, threading.Lock()

    def compute() -> None:
        nonlocal together, most
        with lock:
            together += 1
            most = max(most, together)
        threading.Event().wait(0.005)
        with lock:
            together -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(4 * limits.HANDSHAKE_THREADS):
            nursery.start_soon(in_pool, compute)
    assert 1 <= most <= limits.HANDSHAKE_THREADS


async def test_many_handshakes_cancelled_anywhere_leave_the_others_alone() -> None:
    async def one(patience: float) -> None:
        pair = wrap(await memory_pair())
        with trio.move_on_after(patience):
            await shake(pair)
        for stream in pair:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(one, number * 0.001)
        client, server = await shake(wrap(await tcp_pair()))
    await client.send_all(b"untouched")
    assert await server.receive_some() == b"untouched"
    await client.aclose()
    await server.aclose()
