"""The door: how many strangers are inside, which of them gives way to whom, and when all of them have to be through."""

from contextlib import ExitStack

import pytest
import trio
import trio.testing

from volly_fed import limits
from volly_fed.daemon.admission import Admission, Stage, Stranger
from volly_fed.errors import RemoteError

GAVE_WAY = "gave way to another caller"
FULL = "too many strangers"
TOO_MANY = "too many strangers from one address"


class Callers:
    """Strangers that stay until they are turned away."""

    def __init__(self, door: Admission, nursery: trio.Nursery) -> None:
        self.door = door
        self.nursery = nursery

    async def call(self, address: str, *, known: bool = False) -> Stranger:
        stranger: Stranger = await self.nursery.start(self._stay, address, known)
        return stranger

    async def _stay(self, address: str, known: bool, *, task_status: trio.TaskStatus[Stranger]) -> None:
        with self.door.stranger(address, known=known) as stranger:
            task_status.started(stranger)
            if not stranger.objection:
                await trio.sleep_forever()


def inside(door: Admission, *addresses: str) -> list[str]:
    with ExitStack() as stack:
        return [stack.enter_context(door.stranger(address)).objection for address in addresses]


async def test_strangers_count_in_all_and_per_address() -> None:
    door = Admission(total=3, per_address=2)
    assert inside(door, "192.0.2.1", "192.0.2.1", "192.0.2.1") == ["", "", TOO_MANY]
    assert inside(door, "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4") == ["", "", "", FULL]
    assert inside(door, "192.0.2.1", "192.0.2.1") == ["", ""]  # all that were inside are out


async def test_a_network_of_ipv6_counts_as_one_address() -> None:
    door = Admission(total=9, per_address=2)
    assert inside(door, "2001:db8::1", "2001:db8::2", "2001:db8::3") == ["", "", TOO_MANY]
    assert inside(door, "2001:db8::1", "2001:db8:0:1::1", "fe80::1%eth0", "::ffff:192.0.2.1") == [""] * 4


async def test_an_error_inside_leaves_no_count_behind() -> None:
    door = Admission(per_address=1)
    with pytest.raises(RemoteError), door.stranger("192.0.2.1"):
        raise RemoteError("no")
    assert inside(door, "192.0.2.1") == [""]


async def test_all_that_a_stranger_does_has_one_deadline(autojump_clock: trio.testing.MockClock) -> None:
    door = Admission()
    with door.stranger("192.0.2.1") as stranger:
        for stage in (Stage.SECURED, Stage.CLAIMED):
            await trio.sleep(limits.DOOR / 3)
            stranger.reached(stage)
        await trio.sleep_forever()
    assert trio.current_time() == pytest.approx(limits.DOOR)
    assert stranger.objection == f"no proof within {limits.DOOR:g} s"


async def test_a_proof_ends_the_deadline(autojump_clock: trio.testing.MockClock) -> None:
    door = Admission(per_address=1)
    with door.stranger("192.0.2.1") as stranger:
        stranger.reached(Stage.PROVED)
        door.leave(stranger)
        assert inside(door, "192.0.2.1") == [""]
        await trio.sleep(10 * limits.DOOR)
    assert stranger.objection == ""


async def crowd(callers: Callers, count: int) -> list[Stranger]:
    """Callers from `count` addresses, and then the time that is theirs in any case."""
    some = [await callers.call(f"10.0.0.{n}") for n in range(count)]
    await trio.sleep(limits.DOOR_PATIENCE)
    return some


async def test_where_it_is_crowded_the_oldest_without_tls_gives_way(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        callers = Callers(Admission(total=8), nursery)
        old = await crowd(callers, 5)
        old[0].reached(Stage.SECURED)
        new = await callers.call("192.0.2.1")
        await trio.testing.wait_all_tasks_blocked()
        assert new.objection == ""
        assert [s.objection for s in old] == ["", GAVE_WAY, "", "", ""]
        nursery.cancel_scope.cancel()


async def test_where_there_is_room_nobody_gives_way(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        callers = Callers(Admission(total=8), nursery)
        old = await crowd(callers, 4)
        assert (await callers.call("192.0.2.1")).objection == ""
        assert [s.objection for s in old] == [""] * 4
        nursery.cancel_scope.cancel()


async def test_an_address_with_no_fewer_places_turns_nobody_away(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        callers = Callers(Admission(total=8), nursery)
        old = await crowd(callers, 8)
        assert (await callers.call("10.0.0.3")).objection == FULL
        assert [s.objection for s in old] == [""] * 8
        nursery.cancel_scope.cancel()


async def test_with_tls_a_stranger_gives_way_only_where_all_is_full(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        callers = Callers(Admission(total=8), nursery)
        old = await crowd(callers, 7)
        for stranger in old:
            stranger.reached(Stage.SECURED)
        assert (await callers.call("192.0.2.1")).objection == ""
        assert [s.objection for s in old] == [""] * 7
        old[0].reached(Stage.CLAIMED)
        assert (await callers.call("192.0.2.2")).objection == ""
        assert [s.objection for s in old] == ["", GAVE_WAY, "", "", "", "", ""]
        nursery.cancel_scope.cancel()


async def test_who_has_just_come_gives_way_to_known_callers_only(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        callers = Callers(Admission(total=4), nursery)
        new = [await callers.call(f"10.0.0.{n}") for n in range(4)]
        assert (await callers.call("192.0.2.1")).objection == FULL
        assert (await callers.call("192.0.2.2", known=True)).objection == ""
        assert [s.objection for s in new] == [GAVE_WAY, "", "", ""]
        nursery.cancel_scope.cancel()
