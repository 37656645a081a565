"""The parts of the power-loss path: seeds repeat, wires break in order, machines lose what was not synced."""

import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from random import Random

import apsw
import pytest
import trio

from volly_fed.codepoints import EnvelopeClass
from volly_fed.daemon.device.store import DeviceStore
from volly_fed.daemon.store.store import OutboundRow, Store
from volly_fed.errors import ChannelError, StorageError
from volly_fed.names import parse_domain
from volly_fed.testing.power_chance import EPOCH, run_from_seed
from volly_fed.testing.power_loss import PowerLoss
from volly_fed.testing.power_machine import LoopWriter, Machine
from volly_fed.testing.power_points import Points, Strike, draw_plan
from volly_fed.testing.power_wire import End, Wire
from volly_fed.wire import encode_message
from volly_fed.wire.messages import Ping

B = parse_domain("b.test")


# --- chance --------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_time_randomness_and_order() -> None:
    async def run() -> tuple[bytes, float, list[int]]:
        order: list[int] = []

        async def note(number: int) -> None:
            order.append(number)

        await trio.sleep(5)
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(note, number)
        return os.urandom(8), time.time(), order

    first, second, other = (run_from_seed(seed, run) for seed in (1, 1, 2))
    assert first == second
    assert first[1] == EPOCH + 5
    assert first[0] != other[0]


def test_everything_is_given_back() -> None:
    before = os.urandom, time.time, trio.to_thread.run_sync

    async def run() -> None:
        assert await trio.to_thread.run_sync(lambda: 7) == 7
        raise StorageError("out")

    with pytest.raises(StorageError):
        run_from_seed(1, run)
    assert (os.urandom, time.time, trio.to_thread.run_sync) == before


# --- points --------------------------------------------------------------------------------------------------------


def test_a_strike_comes_at_its_point_and_once() -> None:
    struck: list[Strike] = []
    points = Points(struck.append)
    strike = Strike("disk A", 2, crash=("A",))
    points.arm(strike)
    for place in ("disk A", "disk B", "disk A", "disk A"):
        points.reach(place, "write")
    points.hit("too late")
    assert struck == [strike]
    assert points.history == ["crash A at disk A: write"]


def test_every_kind_of_strike_is_drawn() -> None:
    plan = [strike for seed in range(100) for strike in draw_plan(Random(seed), 10, faults=True)]
    assert {str(strike) for strike in plan} >= {"crash A", "crash B", "crash A+B", "crash EA", "crash EB", "crash R"}
    assert {strike.full for strike in plan} == {"", "A", "B", "R"}
    assert {strike.cut for strike in plan} == {"", "S-EA", "EA-A", "A-B", "B-EB", "EB-R"}
    assert not any(strike.full for strike in draw_plan(Random(1), 100, faults=False))


# --- wires ---------------------------------------------------------------------------------------------------------


def wire(seed: int = 1) -> tuple[Wire, End, End]:
    made = Wire("A-B", "A", "B", random=Random(seed), reach=lambda *_: None, note=lambda *_: None)
    return made, *made.ends


def ping(number: int) -> bytes:
    return encode_message(Ping(token=number))


async def hear(end: End) -> list[bytes]:
    heard = []
    try:
        while True:
            heard.append(await end.receive())
    except (ChannelError, trio.EndOfChannel):
        return heard


async def test_messages_arrive_in_order_and_all_of_them_before_the_end(autojump_clock: trio.abc.Clock) -> None:
    _, a, b = wire()
    sent = [ping(number) for number in range(20)]
    for message in sent:
        await a.send(message)
    await a.aclose()
    assert await hear(b) == sent
    with pytest.raises(ChannelError):
        await a.send(ping(1))


@pytest.mark.parametrize("seed", range(10))
async def test_a_dead_machine_leaves_the_first_of_its_messages(autojump_clock: trio.abc.Clock, seed: int) -> None:
    made, a, b = wire(seed)
    sent = [ping(number) for number in range(20)]
    for message in sent:
        await a.send(message)
    made.die("A")
    with trio.move_on_after(60) as silence:
        heard = await hear(b)
        assert heard == sent[: len(heard)]
    if silence.cancelled_caught:  # half-open: nobody says anything until the machine is back
        await b.send(ping(1))
        made.forget("A")
        with pytest.raises(ChannelError, match="cut"):
            await b.send(ping(2))
    with pytest.raises(ChannelError):
        await a.send(ping(1))


# --- machines ------------------------------------------------------------------------------------------------------


def lives(folder: Path, seed: int, work: Callable[[Machine, Store], Awaitable[None]], *, times: int) -> Machine:
    """A machine with a store, which `work` crashes so many `times`; in its last life it returns."""
    points = Points(lambda _: None)

    async def live(machine: Machine) -> None:
        assert machine.disk is not None
        async with trio.open_nursery() as background:
            make = partial(LoopWriter, machine=machine, nursery=background, look=lambda _: None)
            async with Store.open(folder / "A" / "store.db", vfs=machine.disk.vfs, make_writer=make) as store:
                await work(machine, store)
                assert machine.lives > times
                done.set()
                await trio.sleep_forever()

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(machine.run, pytest.fail)
            await done.wait()
            nursery.cancel_scope.cancel()

    done = trio.Event()
    machine = Machine("A", Random(seed), live, points.reach)
    with machine.give_disk(folder / "A", seed):
        run_from_seed(seed, run)
    return machine


def row(number: int) -> OutboundRow:
    return OutboundRow(number.to_bytes(16, "big"), 4_000_000_000, 1, bytes(3000))


@pytest.mark.parametrize(("told", "left"), [(True, {True}), (False, {True, False})])
def test_a_crash_keeps_what_was_committed_and_loses_what_was_on_its_way(
    tmp_path: Path, told: bool, left: set[bool]
) -> None:
    found = set()
    for seed in range(12):
        folder = tmp_path / f"{told}-{seed}"
        folder.mkdir()

        async def work(machine: Machine, store: Store) -> None:
            if machine.lives > 1:
                found.add(bool(await store.read_outbound(B, EnvelopeClass.SIGNAL)))
                return
            enqueued = store.begin_outbound(B, [row(1)])
            if told:
                await enqueued.wait()
            else:
                await trio.sleep(0.005)
            machine.crash()
            await trio.sleep_forever()

        lives(folder, seed, work, times=1)
    assert found == left


def test_what_was_never_synced_is_lost(tmp_path: Path) -> None:
    found = set()
    for seed in range(20):
        folder = tmp_path / str(seed)
        folder.mkdir()

        async def work(machine: Machine, store: Store) -> None:
            if machine.lives > 1:
                found.add(bool(await store.read_outbound(B, EnvelopeClass.SIGNAL)))
                return
            assert isinstance(store._writer, LoopWriter)
            assert isinstance(store._writer._database, apsw.Connection)
            store._writer._database.execute("PRAGMA synchronous = OFF")
            await store.enqueue_outbound(B, [row(1)])
            machine.crash()
            await trio.sleep_forever()

        lives(folder, seed, work, times=1)
    assert found == {True, False}


def test_a_full_disk_fails_one_transaction_and_not_the_next(tmp_path: Path) -> None:
    async def work(machine: Machine, store: Store) -> None:
        assert machine.disk is not None
        machine.disk.failing = 1
        with pytest.raises(StorageError, match="full"):
            await store.enqueue_outbound(B, [row(1)])
        assert await store.enqueue_outbound(B, [row(2)]) == [2]

    assert not lives(tmp_path, 1, work, times=0).ended


def test_a_device_store_that_cannot_be_used_leaves_no_file_open(tmp_path: Path) -> None:
    path = tmp_path / "messages.db"
    newer = apsw.Connection(str(path))
    newer.pragma("user_version", 99)
    newer.close()
    with PowerLoss(tmp_path, 1) as power:
        with pytest.raises(StorageError, match="newer") as caught:
            DeviceStore(path, power.vfs)
        assert not power.open
        assert caught.tb is not None  # it holds the frames, and with them what they forgot
