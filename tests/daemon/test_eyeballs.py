"""TCP to several addresses: the first that connects wins, and the failure names every one."""

import pytest
import trio

from volly_fed.daemon.eyeballs import connect_any
from volly_fed.errors import ChannelError


async def listener() -> tuple[trio.SocketListener, int]:
    (opened,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    return opened, opened.socket.getsockname()[1]


async def test_the_first_address_that_connects() -> None:
    opened, port = await listener()
    async with opened, await connect_any(["127.0.0.1", "127.0.0.2"], port) as stream:
        assert stream.socket.getpeername()[0] == "127.0.0.1"


async def test_a_refused_address_is_passed_over_at_once() -> None:
    opened, port = await listener()
    async with opened:
        with trio.fail_after(0.2):  # less than the delay between attempts
            stream = await connect_any(["127.0.0.9", "::1", "127.0.0.1"], port)
        async with stream:
            assert stream.socket.getpeername()[0] == "127.0.0.1"


async def test_the_failure_names_every_address() -> None:
    opened, port = await listener()
    await opened.aclose()
    with pytest.raises(ChannelError) as caught:
        await connect_any(["127.0.0.1", "127.0.0.2"], port)
    assert "127.0.0.1 port" in str(caught.value)
    assert "127.0.0.2 port" in str(caught.value)
    assert str(caught.value).endswith(": Connection refused)"), "and the address no second time"


async def test_no_address_at_all() -> None:
    with pytest.raises(ChannelError, match="no address at all"):
        await connect_any([], 1)
