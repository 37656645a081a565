"""A roll of the TLS key, step by step, with servers that are told what to show and a clock that is set."""

import json
import shutil
import threading
from pathlib import Path

import attrs
import dns.rdata
import pytest
import trio

from tests.daemon.roll_world import NEW, NOW, TTL, VALUES, World, tlsa
from volly_fed.config.model import HomeserverConfig
from volly_fed.daemon import material
from volly_fed.daemon.files import locked, write_text
from volly_fed.daemon.setup import create_homeserver
from volly_fed.daemon.upkeep import roll, roll_keys, roll_steps
from volly_fed.daemon.upkeep.authoritative import View
from volly_fed.daemon.upkeep.roll import Phase, Roll, judge
from volly_fed.errors import LocalError
from volly_fed.testing.fake_resolver import FakeResolver


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    create_homeserver(folder / "volly-fed.toml", VALUES)
    return folder


@pytest.fixture
def config(made: Path, tmp_path: Path) -> HomeserverConfig:
    folder = tmp_path / "site"
    shutil.copytree(made, folder)
    return material.read_homeserver_config(folder / "volly-fed.toml")


def view(config: HomeserverConfig, server: str = "ns1.test", **fields: object) -> View:
    rdatas = tlsa(config)
    return attrs.evolve(View(server=server, address="192.0.2.1", rdatas=rdatas, ttl=TTL), **fields)  # type: ignore[arg-type]  # any field


def test_a_view_counts_if_it_holds_the_digest_proved_and_as_3_1_1(config: HomeserverConfig) -> None:
    spare = roll_keys.spare(config.server.data_dir)
    assert spare is not None
    assert [one.shows for one in judge([view(config)], spare)] == [True]
    assert [one.shows for one in judge([view(config)], NEW)] == [False]
    assert [one.shows for one in judge([view(config, rdatas=())], spare)] == [False]
    for others in (f"3 0 1 {spare.hex()}", f"1 1 1 {spare.hex()}", f"3 1 0 {spare.hex()}"):
        rdatas = (dns.rdata.from_text("IN", "TLSA", others),)
        assert [one.shows for one in judge([view(config, rdatas=rdatas)], spare)] == [False]
    assert [one.shows for one in judge([view(config, unproved="expired")], spare)] == [None]
    assert [one.shows for one in judge([view(config, error="time-out")], spare)] == [None]


def test_an_address_that_this_machine_cannot_reach_counts_only_if_its_server_answers_nowhere(
    config: HomeserverConfig,
) -> None:
    spare = roll_keys.spare(config.server.data_dir)
    assert spare is not None
    unreachable = view(config, error="network is unreachable", reachable=False)
    assert [one.shows for one in judge([view(config), unreachable], spare)] == [True]
    other = view(config, server="ns2.test")
    assert [one.shows for one in judge([other, unreachable], spare)] == [True, None]


# --- the files -------------------------------------------------------------------------------------------------------


class CutShortError(Exception):
    """A crash."""


def test_a_switch_that_is_cut_short_anywhere_can_be_taken_again(
    config: HomeserverConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before every single change of a file: the keys load, none is lost, and the repetition ends as it should."""
    data = config.server.data_dir
    current, new = roll_keys.current(data), roll_keys.spare(data)
    assert new is not None
    backup = data.with_name("backup")
    shutil.copytree(data, backup)
    write, unlink, cuts = write_text, Path.unlink, 0
    left = 0

    def count() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise CutShortError

    def counted_write(*arguments: object) -> None:
        count()
        write(*arguments)  # type: ignore[arg-type]  # as they came

    def counted_unlink(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".key" and not path.name.startswith("."):
            count()
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(roll_keys, "write_text", counted_write)
    monkeypatch.setattr(Path, "unlink", counted_unlink)
    for steps in range(20):
        shutil.rmtree(data)
        shutil.copytree(backup, data)
        left = steps
        try:
            roll_keys.switch(config, new, roll_steps._date(NOW))
        except CutShortError:
            cuts += 1
            assert material.load_material(data).tls.key.spki_sha256 in (current, new)
            assert {current, new} <= set(roll_keys.published(data))
            assert set(material.load_published(config).tls) == set(roll_keys.published(data))
            left = 99
            roll_keys.switch(config, new, roll_steps._date(NOW))
        assert roll_keys.current(data) == material.load_material(data).tls.key.spki_sha256 == new
        assert roll_keys.old(data) == current
        assert roll_keys.spare(data) not in (None, current, new)
        assert len(roll_keys.published(data)) == 3
        assert {path.stat().st_mode & 0o777 for path in data.glob("*.key")} == {0o600}
    assert cuts == 7


def test_a_spare_that_was_replaced_is_not_switched_to(config: HomeserverConfig) -> None:
    with pytest.raises(LocalError, match="not the key whose record was waited for"):
        roll_keys.switch(config, NEW, roll_steps._date(NOW))


def test_the_state_is_of_the_spare_there_is(config: HomeserverConfig) -> None:
    spare = roll_keys.spare(config.server.data_dir)
    assert spare is not None
    state = Roll(new=spare, phase=Phase.WAITING, started_at=NOW, ttl=TTL, seen_since=NOW)
    roll.save(config, state)
    assert roll.load(config) == state
    roll.save(config, attrs.evolve(state, new=NEW))
    assert roll.load(config) == Roll(new=spare)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"phase": "x", "new": ""}', '{"phase": "idle", "new": "", "x": 1}'])
def test_a_damaged_state_says_what_to_do(config: HomeserverConfig, text: str) -> None:
    (config.server.data_dir / roll.STATE).write_text(text)
    with pytest.raises(LocalError, match="damaged\nnote: "):
        roll.load(config)


# --- the steps -------------------------------------------------------------------------------------------------------


@pytest.fixture
def world(config: HomeserverConfig, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(config)
    monkeypatch.setattr(roll_steps, "look", world.look)
    return world


async def test_a_whole_roll(world: World) -> None:
    data = world.config.server.data_dir
    current, spare = roll_keys.current(data), roll_keys.spare(data)
    step = await roll_steps.start(world.config, NOW)
    assert step.roll.phase is Phase.WAITING
    assert len(step.wanted) == 2
    assert (await world.finish()).refused, "nobody shows the record"
    world.publish()
    refused = await world.finish()
    assert refused.until == NOW + 2 * TTL
    world.now += 2 * TTL - 1
    assert (await world.finish()).refused
    assert roll_keys.current(data) == current
    world.now += 1
    step = await world.finish()
    assert (step.refused, step.roll.phase, step.roll.retire_at) == ((), Phase.RETIRING, NOW + 4 * TTL)
    assert (roll_keys.current(data), roll_keys.old(data)) == (spare, current)
    assert len(step.wanted) == 3
    assert world.reloads == 1
    with pytest.raises(LocalError, match="not finished"):
        await roll_steps.start(world.config, world.now)
    world.now += 2 * TTL - 1
    assert (await world.finish()).until == NOW + 4 * TTL
    assert roll_keys.old(data) == current
    world.now += 1
    step = await world.finish()
    assert step.roll == Roll(new=roll_keys.spare(data) or b"")
    assert len(step.wanted) == 2
    assert not any(current.hex() in line for line in step.wanted)
    assert roll_keys.old(data) is None
    assert world.reloads == 2


async def test_there_is_nothing_to_finish_without_a_start(world: World) -> None:
    with pytest.raises(LocalError, match="no roll is under way"):
        await world.finish()


async def test_start_is_no_error_twice_and_makes_a_spare_where_there_is_none(world: World) -> None:
    data = world.config.server.data_dir
    (data / material.NEXT_TLS_KEY).unlink()
    first = await roll_steps.start(world.config, NOW)
    assert first.roll.new == roll_keys.spare(data)
    assert (await roll_steps.start(world.config, NOW + 5)).roll == first.roll


async def test_an_emergency_needs_no_wait_if_the_spare_was_watched_for_long_enough(world: World) -> None:
    world.publish()
    refused = await world.finish(emergency=True)
    assert refused.until == NOW + 2 * TTL, "never seen before: nobody knows how long it has been there"
    world.now += 2 * TTL
    world.silent = True
    assert (await world.finish(emergency=True)).roll.phase is Phase.RETIRING


async def test_a_stolen_key_is_retired_as_soon_as_the_homeserver_has_the_new_one(world: World) -> None:
    world.publish()
    await world.finish(emergency=True)
    world.now += 2 * TTL
    world.refuses = True
    with pytest.raises(LocalError, match="still uses the old one"):
        await world.finish(emergency=True)
    with pytest.raises(LocalError, match="still uses the old one"):
        await world.finish(emergency=True)
    assert roll_keys.old(world.config.server.data_dir) is not None
    world.refuses = False
    assert (await world.finish(emergency=True)).roll.phase is Phase.IDLE
    assert roll_keys.old(world.config.server.data_dir) is None


async def test_the_watch_before_the_start_counts(world: World) -> None:
    world.publish()
    await world.look(world.config, None, NOW)
    await roll_steps.start(world.config, NOW + 2 * TTL)
    world.now += 2 * TTL
    assert (await world.finish()).roll.phase is Phase.RETIRING


async def test_a_switch_cut_short_is_completed_whatever_dns_says_now(world: World) -> None:
    data = world.config.server.data_dir
    spare = roll_keys.spare(data)
    await roll_steps.start(world.config, NOW)
    roll.save(world.config, attrs.evolve(roll.load(world.config), phase=Phase.SWITCHING))
    assert (await world.finish()).roll.phase is Phase.RETIRING
    assert roll_keys.current(data) == spare


async def test_the_old_record_waits_for_the_homeserver_to_have_the_new_key(world: World) -> None:
    world.publish()
    await roll_steps.start(world.config, NOW)
    await world.finish()
    world.now += 2 * TTL
    world.refuses = True
    with pytest.raises(LocalError, match="still uses the old one: the file is bad\nnote: repair"):
        await world.finish()
    world.now += 9999
    with pytest.raises(LocalError, match="still uses the old one"):
        await world.finish()
    assert roll_keys.old(world.config.server.data_dir) is not None
    world.refuses = False
    step = await world.finish()
    assert step.until == world.now + 2 * TTL


async def test_the_old_record_stays_for_a_homeserver_that_was_starting_at_the_switch(world: World) -> None:
    """It had read the old key, and did not yet listen for commands: nobody could tell it from one that does not run."""
    data = world.config.server.data_dir
    world.publish()
    await roll_steps.start(world.config, NOW)
    await world.finish()
    world.now += 2 * TTL
    await world.finish()
    world.now += 2 * TTL
    world.refuses = True
    with pytest.raises(LocalError, match="still uses the old one"):
        await world.finish()
    assert roll_keys.old(data) is not None


async def test_a_switch_to_a_spare_that_was_replaced_is_none_and_a_roll_can_begin(world: World) -> None:
    roll.save(world.config, Roll(phase=Phase.SWITCHING, new=NEW, seen_since=NOW))
    step = await roll_steps.start(world.config, NOW)
    assert (step.roll.phase, step.roll.new) == (Phase.WAITING, roll_keys.spare(world.config.server.data_dir))
    assert step.roll.seen_since is None


async def test_the_record_of_the_key_in_use_stays_whatever_was_restored_from_a_backup(world: World) -> None:
    data = world.config.server.data_dir
    former = {name: (data / name).read_text() for name in (material.TLS_KEY, material.TLS_CERTIFICATE)}
    world.publish()
    await roll_steps.start(world.config, NOW)
    await world.finish()
    world.now += 2 * TTL
    await world.finish()
    for name, text in former.items():
        write_text(data / name, text)
    world.now += 2 * TTL
    step = await world.finish()
    assert any(roll_keys.current(data).hex() in line for line in step.wanted)


async def test_a_roll_that_begins_while_the_last_one_is_retired_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = world.config.server.data_dir
    world.publish()
    await roll_steps.start(world.config, NOW)
    await world.finish()
    world.now += 2 * TTL
    await world.finish()
    world.now += 2 * TTL
    publish = roll_steps._published

    async def meanwhile(config: HomeserverConfig, step: roll_steps.Step, **wanted: bytes | None) -> roll_steps.Step:
        published = await publish(config, step, **wanted)
        monkeypatch.undo()  # another `dns roll finish`, and `dns roll start`
        roll_keys.forget_old(data)
        roll.save(config, Roll(phase=Phase.WAITING, new=roll_keys.spare(data) or b"", seen_since=NOW))
        return published

    monkeypatch.setattr(roll_steps, "_published", meanwhile)
    with pytest.raises(LocalError, match="another command"):
        await world.finish()
    assert (roll.load(world.config).phase, roll.load(world.config).seen_since) == (Phase.WAITING, NOW)


async def test_a_look_waits_for_other_commands_without_stopping_the_process(
    config: HomeserverConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The homeserver looks too, and serves its links meanwhile."""

    async def nobody(*_: object, **__: object) -> list[View]:
        return []

    monkeypatch.setattr(roll, "poll", nobody)
    taken, done = threading.Event(), threading.Event()

    def other_command() -> None:
        with locked(config.server.data_dir):
            taken.set()
            done.wait(2)

    other = threading.Thread(target=other_command)
    other.start()
    taken.wait()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(roll.look, config, FakeResolver({}), NOW)
        await trio.sleep(0.05)
        assert other.is_alive(), "this task had to wait too"
        done.set()
    other.join()


async def test_a_homeserver_that_does_not_run_is_no_error(config: HomeserverConfig) -> None:
    roll_steps.reload_homeserver(config)


def test_the_state_file_holds_no_secret(config: HomeserverConfig) -> None:
    roll.save(config, roll.load(config))
    document = json.loads((config.server.data_dir / roll.STATE).read_text())
    assert set(document) == {"phase", "new", "started_at", "ttl", "seen_since", "reloaded_at"}
