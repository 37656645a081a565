"""Our calls: the gate first, then discovery, then target after target; nobody without the published key."""

from pathlib import Path

import attrs
import pytest
import trio

from tests.daemon.sites import A, B, C, Site, endpoint, material, sites
from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.daemon.connection import Connection
from volly_fed.discovery.endpoint import Target
from volly_fed.errors import Bogus, ChannelError, NoRecords, RemoteError
from volly_fed.trust.policy import Policy


async def call(a: Site) -> list[tuple[Connection, TrustLevel]]:
    """Dial B; the connections that came about."""
    used: list[tuple[Connection, TrustLevel]] = []

    async def use(connection: Connection, level: TrustLevel) -> None:
        used.append((connection, level))

    await a.server.peers.dialer.dial(B, use)
    return used


def with_targets(a: Site, *targets: Target) -> None:
    known = a.resolver.known[B]
    assert not isinstance(known, Exception)
    a.resolver.known = {**a.resolver.known, B: attrs.evolve(known, targets=targets)}


def the_target(a: Site) -> Target:
    known = a.resolver.known[B]
    assert not isinstance(known, Exception)
    return known.targets[0]


async def test_the_connection_comes_with_its_level(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    a.policy = Policy(levels={B: TrustLevel.METADATA})
    async with a.running(), b.running():
        ((connection, level),) = await call(a)
        assert connection.outcome.peer == B
        assert level is TrustLevel.METADATA


async def test_whom_the_policy_refuses_is_not_even_looked_up(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A)
    a.policy = Policy(default=TrustLevel.NONE)
    async with a.running():
        with pytest.raises(RemoteError) as caught:
            await call(a)
        assert caught.value.code is ErrorCode.POLICY
        assert a.resolver.asked == []


@pytest.mark.parametrize("error", [Bogus("broken"), NoRecords("nothing")])
async def test_nothing_but_a_secure_discovery_will_do(tmp_path: Path, error: Bogus | NoRecords) -> None:
    (a,) = sites(tmp_path, A)
    a.resolver.known = {B: error}
    async with a.running():
        with pytest.raises(type(error)):
            await call(a)


async def test_the_next_target_is_tried(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        good = the_target(a)
        dead = attrs.evolve(good, host="dead.b.test", port=1)
        other_key = attrs.evolve(good, host="old.b.test", tlsa=endpoint(C, 1, material(C)).tlsa)
        with_targets(a, dead, other_key, good)
        assert len(await call(a)) == 1
        with_targets(a, dead, other_key)
        with pytest.raises(ChannelError) as caught:
            await call(a)
        assert "dead.b.test" in str(caught.value)
        assert "old.b.test" in str(caught.value)


async def test_what_breaks_a_session_is_not_a_reason_for_the_next_target(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    calls = 0

    async def use(_: Connection, __: TrustLevel) -> None:
        nonlocal calls
        calls += 1
        raise ChannelError("broken in the middle")

    async with a.running(), b.running():
        with_targets(a, the_target(a), the_target(a))
        with pytest.raises(ChannelError, match="in the middle"):
            await a.server.peers.dialer.dial(B, use)
    assert calls == 1


async def test_an_identity_other_than_the_published_or_the_pinned_one(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        known = a.resolver.known[B]
        assert not isinstance(known, Exception)
        a.resolver.known = {**a.resolver.known, B: attrs.evolve(known, identity=material(C).fingerprint)}
        with pytest.raises(RemoteError) as caught:
            await call(a)
        assert caught.value.code is ErrorCode.IDENTITY_MISMATCH
        assert await a.store.pin(B) is None


async def test_a_cancelled_call_leaves_nothing_open(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A)
    async with a.running():
        a.resolver.hold = trio.Event()
        with trio.move_on_after(0.02) as patience:
            await call(a)
        assert patience.cancelled_caught
