"""Our calls: the gate first, then discovery, then target after target; nobody without the published key."""

from pathlib import Path

import attrs
import pytest
import trio

from tests.daemon.sites import A, B, C, Site, endpoint, material, sites
from volly_fed import limits
from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.daemon import dialer
from volly_fed.daemon.connection import Connection, Dialled, dial
from volly_fed.daemon.link import End
from volly_fed.discovery.endpoint import Target
from volly_fed.errors import Bogus, ChannelError, NoRecords, Refused, RemoteError
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


@pytest.mark.spec("trust-2")
async def test_whom_the_policy_refuses_is_not_even_looked_up(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A)
    a.policy = Policy(default=TrustLevel.NONE)
    async with a.running():
        with pytest.raises(RemoteError) as caught:
            await call(a)
        assert caught.value.code is ErrorCode.POLICY
        assert a.resolver.asked == []


@pytest.mark.spec("discovery-23")
@pytest.mark.parametrize("error", [Bogus("broken"), NoRecords("nothing")])
async def test_nothing_but_a_secure_discovery_will_do(tmp_path: Path, error: Bogus | NoRecords) -> None:
    (a,) = sites(tmp_path, A)
    a.resolver.known = {B: error}
    async with a.running():
        with pytest.raises(type(error)):
            await call(a)


@pytest.mark.spec("discovery-25")
async def test_the_next_target_is_tried(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        good = the_target(a)
        dead = attrs.evolve(good, host="dead.b.test", port=1)
        other_key = attrs.evolve(good, host="old.b.test", tlsa=endpoint(C, 1, material(C)).tlsa)
        with_targets(a, dead, other_key, good)
        assert len(await call(a)) == 1
        with_targets(a, dead, other_key)
        with pytest.raises(RemoteError) as caught:
            await call(a)
        assert caught.value.code is ErrorCode.KEY_MISMATCH
        assert "dead.b.test" in str(caught.value)
        assert "old.b.test" in str(caught.value)
        with_targets(a, dead)
        with pytest.raises(ChannelError, match=r"dead\.b\.test"):
            await call(a)


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


async def test_after_a_link_broke_another_target_of_the_same_priority_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = sites(tmp_path, A, B)
    end: End | None = End(ErrorCode.TIMEOUT, "no sign of the other end")
    hosts: list[str] = []

    async def use(_: Connection, __: TrustLevel) -> End | None:
        return end

    async def dial_and_note(stream: trio.abc.Stream, plan: Dialled) -> None:
        hosts.append(plan.host)
        await dial(stream, plan)

    monkeypatch.setattr(dialer, "dial", dial_and_note)
    async with a.running(), b.running():
        one, two = (attrs.evolve(the_target(a), host=host) for host in ("one.b.test", "two.b.test"))
        with_targets(a, one, two, attrs.evolve(one, host="spare.b.test", priority=1))
        for _ in range(2):
            await a.server.peers.dialer.dial(B, use)
        end = End(ErrorCode.REPLACED, "another link has taken over")
        for _ in range(2):
            await a.server.peers.dialer.dial(B, use)
    # one broke, then two; both have failed, so as drawn: one, in order at last; after that two is the only bad one
    assert hosts == ["one.b.test", "two.b.test", "one.b.test", "one.b.test"]


async def test_targets_that_never_answer_leave_time_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DIAL", 6)
    a, b = sites(tmp_path, A, B)
    silent = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with silent[0], a.running(), b.running():
        good = the_target(a)
        mute = attrs.evolve(good, host="mute.b.test", port=silent[0].socket.getsockname()[1])
        with_targets(a, mute, good)
        ((connection, _),) = await call(a)
        assert connection.outcome.peer == B
        monkeypatch.setattr(limits, "DIAL", 0.2)
        with_targets(a, mute, mute)
        with pytest.raises(ChannelError, match="no proof of its identity within"):
            await call(a)


async def test_a_link_outlives_the_time_for_dialling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DIAL", 0.5)
    a, b = sites(tmp_path, A, B)
    lasted = False

    async def use(_: Connection, __: TrustLevel) -> None:
        nonlocal lasted
        with trio.move_on_after(0.7):
            await trio.sleep_forever()
        lasted = True

    async with a.running(), b.running():
        await a.server.peers.dialer.dial(B, use)
    assert lasted


@pytest.mark.spec("discovery-25")
async def test_a_target_at_which_somebody_else_answers_is_reported_and_skipped(tmp_path: Path) -> None:
    a, b, c = sites(tmp_path, A, B, C)
    async with a.running(), b.running(), c.running():
        good = the_target(a)
        # the same TLS key is published for it: only the name inside says that this is not B
        other = attrs.evolve(good, host="other.b.test", port=c.port, tlsa=endpoint(C, 1, material(C)).tlsa)
        with_targets(a, other, good)
        assert len(await call(a)) == 1
        (line,) = a.log.all("target_skipped", peer=B)
        assert line["subject"] == f"other.b.test:{c.port}"
        assert line["code"] == "WRONG_NAME"


async def test_a_refusal_is_the_answer_of_all_targets(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    b.policy = Policy(default=TrustLevel.NONE)
    async with a.running(), b.running():
        with_targets(a, the_target(a), the_target(a))
        with pytest.raises(Refused) as caught:
            await call(a)
        assert caught.value.code is ErrorCode.POLICY
        await b.log.wait("claim_refused", code="POLICY")
        assert len(b.log.all("decided", gate="accept")) == 1


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
