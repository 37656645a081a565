"""Commands that change keys, killed before every single change of a file: nothing is lost, and they go on."""

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from volly_fed.config.model import HomeserverConfig
from volly_fed.daemon import material
from volly_fed.daemon.credentials import Credentials
from volly_fed.daemon.dns.resolver import Resolver
from volly_fed.daemon.setup import create_homeserver
from volly_fed.daemon.upkeep import roll, roll_keys, roll_steps, rotation
from volly_fed.daemon.upkeep.roll import Look, Shown, observe
from volly_fed.testing.fake_resolver import FakeResolver

NOW = 1_800_000_000.0
KILLED = 9


@pytest.fixture
def config(tmp_path: Path) -> HomeserverConfig:
    create_homeserver(tmp_path / "volly-fed.toml", {"server.domain": "a.test", "federation.host": "fed.a.test"})
    return material.read_homeserver_config(tmp_path / "volly-fed.toml")


def run_killed(act: Callable[[], object], steps: int) -> int:
    """The exit code of a process that does `act` and is killed when it has changed the disk for `steps` times."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left, make = steps, os.open

    def count() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os._exit(KILLED)  # no `finally` and no `except` comes after this

    def counting(change: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **more: Any) -> Any:
            count()
            return change(*arguments, **more)

        return counted

    def counted_open(path: Any, flags: int, *arguments: Any, **more: Any) -> int:
        if flags & os.O_CREAT:
            count()
        return make(path, flags, *arguments, **more)

    try:
        os.open = counted_open
        for name in ("replace", "rename", "unlink", "fsync"):
            setattr(os, name, counting(getattr(os, name)))
        act()
    except BaseException:
        os._exit(1)
    os._exit(0)


def kill_everywhere(config: HomeserverConfig, act: Callable[[], object], check: Callable[[], None]) -> int:
    """Kill `act` at each of its steps, `check` what it left, take it again and `check`; how many steps it has."""
    data = config.server.data_dir
    before = data.with_name("before")
    shutil.rmtree(before, ignore_errors=True)
    shutil.copytree(data, before)
    for steps in range(200):
        shutil.rmtree(data)
        shutil.copytree(before, data)
        code = run_killed(act, steps)
        check_usable(config)
        check()
        if code == 0:
            return steps
        assert code == KILLED
        act()
        check_usable(config)
        check()
    raise AssertionError("it has no end")


def check_usable(config: HomeserverConfig) -> None:
    """The homeserver starts, and what it shows is among what is to be published."""
    data = config.server.data_dir
    shown, published = Credentials.load(config.server.domain, data, NOW).keys, material.load_published(config)
    assert shown.fingerprint in {published.identity, published.identity_next}
    assert shown.tls.key.spki_sha256 in published.tls
    rotation.look(data, NOW)
    roll.load(config)


def test_a_change_of_identity(config: HomeserverConfig) -> None:
    domain, data = config.server.domain, config.server.data_dir
    assert kill_everywhere(config, partial(rotation.start, domain, data, NOW), lambda: None) > 5
    announced = rotation.look(data, NOW)

    def check() -> None:
        at = rotation.look(data, NOW)
        assert at.identity in {announced.identity, announced.following}
        assert at.identity == announced.identity or (data / rotation.kept_name(announced.identity)).exists()

    assert kill_everywhere(config, partial(rotation.finish, data, NOW, after=0), check) > 5
    assert rotation.look(data, NOW).identity == announced.following


@attrs.define
class Everybody:
    """All servers show the record at all times."""

    config: HomeserverConfig
    now: float = NOW

    async def look(self, config: HomeserverConfig, _: Resolver, now: float) -> Look:
        shown = Shown(server="ns.test", shows=True, ttl=300)
        state = observe(roll.load(config), (shown,), now)
        roll.save(config, state)
        return Look(roll=state, servers=(shown,), validated=shown)

    def finish(self) -> roll_steps.Step:
        finish = partial(roll_steps.finish, reload=lambda _: None)
        return trio.run(finish, self.config, FakeResolver({}), lambda: self.now)

    def retire(self) -> None:
        if roll.load(self.config).phase is roll.Phase.RETIRING:
            self.finish()


@pytest.mark.slow
def test_a_roll_of_the_tls_key(config: HomeserverConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    data, everybody = config.server.data_dir, Everybody(config)
    monkeypatch.setattr(roll_steps, "look", everybody.look)
    former, spare = roll_keys.current(data), roll_keys.spare(data)
    assert kill_everywhere(config, lambda: trio.run(roll_steps.start, config, NOW), lambda: None) > 3
    assert everybody.finish().refused
    everybody.now += 600

    def check() -> None:
        assert {former, spare} <= set(material.load_published(config).tls), "both records are wanted all the time"

    assert kill_everywhere(config, everybody.finish, check) > 30
    assert (roll_keys.current(data), roll_keys.old(data)) == (spare, former)
    everybody.now += 600

    def check_new() -> None:
        assert roll_keys.current(data) == spare

    assert kill_everywhere(config, everybody.retire, check_new) > 5
    assert roll.load(config).phase is roll.Phase.IDLE
    assert roll_keys.old(data) is None
