"""The listener and its door: no caller's doing ends it, strangers are bounded, and one network is one stranger."""

import pytest
import trio

from tests.daemon.sites import LogTap
from tests.daemon.test_connection import Ends
from volly_fed.daemon.admission import Admission
from volly_fed.daemon.listener import Listener
from volly_fed.errors import LocalError, RemoteError
from volly_fed.observe.log import Log

GARBAGE = [b"", b"\x00", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00" + bytes(512), b"\x80" * 5000]


async def start(nursery: trio.Nursery, listener: Listener) -> int:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listeners[0].socket.getsockname()[1]
    await nursery.start(listener.serve, listeners)
    return port


@pytest.mark.parametrize("error", [None, RemoteError("no"), LocalError("our trouble")])
async def test_whatever_callers_do_the_listener_goes_on(error: RemoteError | LocalError | None) -> None:
    tap, ends = LogTap(), Ends(refuse=error)
    listener = Listener(plan=lambda _: ends.accepted(), log=Log("debug", "json", tap))
    async with trio.open_nursery() as nursery:
        port = await start(nursery, listener)
        for data in GARBAGE:
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(data)
        await tap.wait("claim_refused")
        await ends.dial(await trio.open_tcp_stream("127.0.0.1", port))
        assert bool(ends.connections) is (error is None)
        listener.stop()


async def test_stopping_lets_connections_end_and_takes_no_more() -> None:
    ends = Ends()
    listener = Listener(plan=lambda _: ends.accepted(), log=Log("debug", "json", LogTap()))
    async with trio.open_nursery() as nursery:
        port = await start(nursery, listener)
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await trio.testing.wait_all_tasks_blocked(0.01)
        listener.stop()
        await ends.dial(stream)
        with pytest.raises(OSError, match="127"):
            await trio.open_tcp_stream("127.0.0.1", port)
    assert set(ends.connections) == {"near", "far"}


async def test_strangers_are_bounded_per_address_and_a_proof_makes_room() -> None:
    ends = Ends()
    door = Admission(per_address=2)
    listener = Listener(plan=lambda _: ends.accepted(), log=Log("debug", "json", LogTap()), admission=door)
    async with trio.open_nursery() as nursery:
        port = await start(nursery, listener)
        idle = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(2)]
        await trio.testing.wait_all_tasks_blocked(0.01)
        await ends.dial(await trio.open_tcp_stream("127.0.0.1", port))
        assert ends.connections == {}
        await idle.pop().aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        for _ in range(3):
            ends.connections.clear()
            await ends.dial(await trio.open_tcp_stream("127.0.0.1", port))
            assert ends.connections
        await idle.pop().aclose()
        listener.stop()
