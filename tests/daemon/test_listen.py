import pytest
import trio

from volly_fed.config.values import HostPort
from volly_fed.daemon.listen import listening, local_port, open_listeners
from volly_fed.errors import LocalError


async def test_a_free_port() -> None:
    listeners = await open_listeners(HostPort("127.0.0.1", 0), "edges.listen")
    assert local_port(listeners) > 0
    for listener in listeners:
        await listener.aclose()


async def test_all_addresses() -> None:
    listeners = await open_listeners(HostPort("*", 0), "edges.listen")
    for listener in listeners:
        await listener.aclose()
    assert listeners


async def test_an_address_in_use_is_named_with_its_option() -> None:
    (taken,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with taken:
        port = local_port([taken])
        with pytest.raises(LocalError) as caught:
            await open_listeners(HostPort("127.0.0.1", port), "federation.listen")
    assert str(caught.value).startswith(
        f"cannot listen on 127.0.0.1:{port} (federation.listen): address already in use\n"
    )
    assert "change federation.listen" in str(caught.value)


async def test_an_address_of_another_machine() -> None:
    with pytest.raises(LocalError, match="note: no interface of this machine has that address"):
        await open_listeners(HostPort("192.0.2.1", 0), "federation.listen")


async def test_listeners_are_closed_when_the_next_step_fails() -> None:
    async with listening(HostPort("127.0.0.1", 0), "a") as first:
        port = local_port(first)
        with pytest.raises(LocalError, match="address already in use"):
            async with listening(HostPort("127.0.0.1", port), "b"):
                pass
    (again,) = await open_listeners(HostPort("127.0.0.1", port), "c")
    await again.aclose()
