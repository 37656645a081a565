"""The store: what is remembered of presence, and for how long."""

from pathlib import Path

import pytest

from tests.daemon.sites import A, B, C
from volly_fed import limits_presence
from volly_fed.daemon.store.presence import PresenceRecords
from volly_fed.daemon.store.store import Store
from volly_fed.presence import bounds

LIFE = bounds.EPOCH + 2 * bounds.EPOCH_GRACE


class Clock:
    now = 1_800_000_000.5

    def __call__(self) -> float:
        return self.now


async def test_records_are_those_kept_last_also_after_a_restart(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s") as store:
        assert await store.presence(B) == PresenceRecords()
        store.begin_keep_presence(B, PresenceRecords(b"shown", b"viewed"))
        store.begin_keep_presence(C, PresenceRecords(None, b"other"))
        store.begin_keep_presence(B, PresenceRecords(b"later", None))
    async with Store.open(tmp_path / "s") as store:
        assert await store.presence(B) == PresenceRecords(b"later", None)
        assert await store.presence(C) == PresenceRecords(None, b"other")
        store.begin_keep_presence(B, PresenceRecords())
        assert await store.presence(B) == PresenceRecords()


async def test_a_record_lives_as_long_as_a_filter_and_is_deleted_then(tmp_path: Path) -> None:
    clock = Clock()
    async with Store.open(tmp_path / "s", clock=clock) as store:
        store.begin_keep_presence(B, PresenceRecords(b"shown"))
        clock.now += LIFE
        assert await store.presence(B) == PresenceRecords(b"shown")
        clock.now += 2
        assert await store.presence(B) == PresenceRecords()
        store.begin_keep_presence(C, PresenceRecords(b"shown"))
        store.begin_forget_presence()
        assert await store._do(lambda d: d.execute("SELECT peer FROM presence").fetchall()) == [(C,)]
        clock.now -= 10 * LIFE  # what a clock that was set back left is no better
        store.begin_keep_presence(A, PresenceRecords(b"shown"))
        store.begin_forget_presence()
        assert await store._do(lambda d: d.execute("SELECT peer FROM presence").fetchall()) == [(A,)]


async def test_there_are_no_more_records_than_peers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_presence, "PRESENCE_RECORDS", 2)
    clock = Clock()
    async with Store.open(tmp_path / "s", clock=clock) as store:
        for name in (A, B, C):
            clock.now += 1
            store.begin_keep_presence(name, PresenceRecords(b"shown"))
        store.begin_forget_presence()
        found = await store._do(lambda d: d.execute("SELECT peer FROM presence ORDER BY saved").fetchall())
        assert found == [(B,), (C,)]
