"""The writer thread: what goes into one commit, and what the thread is woken for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest
import trio
import trio.testing

from volly_fed import limits
from volly_fed.daemon.store.outage import Outage
from volly_fed.daemon.store.writer import Job, Writer

PATIENCE = 10.0


@asynccontextmanager
async def writing(path: Path) -> AsyncIterator[Writer]:
    writer = Writer(path / "s", "", lambda _: limits.DISK_RESERVE, Outage(lambda _: None))
    await writer.start()
    try:
        yield writer
    finally:
        await writer.stop()


class Seen:
    """Jobs, and the order in which the thread ran them."""

    def __init__(self) -> None:
        self.order: list[str] = []

    def job(self, name: str, *, patient: bool = False) -> Job[None]:
        def run(_: apsw.Connection) -> None:
            self.order.append(name)

        return Job(run, patient=patient)


async def test_a_patient_job_goes_with_the_next_one_in_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STORE_PATIENCE", PATIENCE)
    seen = Seen()
    async with writing(tmp_path) as writer:
        first, deletion, last = seen.job("first"), seen.job("deletion", patient=True), seen.job("last")
        writer.put(first)
        await first.wait()
        writer.put(deletion)
        assert not writer._held  # the thread is not woken for it
        with trio.move_on_after(0.05) as waiting:
            await deletion.wait()
        assert waiting.cancelled_caught
        assert seen.order == ["first"]
        writer.put(last)
        with trio.fail_after(PATIENCE / 2):
            await last.wait()
            await deletion.wait()
        assert seen.order == ["first", "deletion", "last"]


@pytest.mark.parametrize("rested", [False, True])
async def test_a_patient_job_does_not_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, rested: bool
) -> None:
    monkeypatch.setattr(limits, "STORE_PATIENCE", 0.001)
    seen = Seen()
    async with writing(tmp_path) as writer:
        with trio.fail_after(PATIENCE):
            while rested and not writer._resting:  # noqa: ASYNC110 - the thread tells nobody that it rests
                await trio.sleep(0.001)
            for name in ("one", "two"):
                deletion = seen.job(name, patient=True)
                writer.put(deletion)
                await deletion.wait()
    assert seen.order == ["one", "two"]


async def test_what_is_patient_is_done_before_the_store_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STORE_PATIENCE", PATIENCE)
    seen = Seen()
    with trio.fail_after(PATIENCE / 2):
        async with writing(tmp_path) as writer:
            first, deletion = seen.job("first"), seen.job("deletion", patient=True)
            writer.put(first)
            await first.wait()
            writer.put(deletion)
        await deletion.wait()


async def test_the_thread_is_woken_at_the_end_of_a_turn_or_when_there_is_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wake, woken = Writer._wake, 0

    def note(writer: Writer) -> None:
        nonlocal woken
        woken += 1
        wake(writer)

    monkeypatch.setattr(Writer, "_wake", note)
    async with writing(tmp_path) as writer:
        jobs = [Seen().job(str(number)) for number in range(4)]
        writer.put(jobs[0])
        writer.before_io_wait(0)
        assert woken == 0  # those that it has woken send first
        writer.before_io_wait(0)
        assert woken == 1  # a busy loop does not hold it up for ever
        writer.put(jobs[1])
        writer.before_io_wait(1)
        assert woken == 2  # an idle one not at all
        writer.put(jobs[2])
        assert woken == 2
        writer.put(jobs[3])
        assert woken == 3
        for job in jobs:
            await job.wait()


async def test_more_jobs_than_one_commit_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STORE_GROUP", 3)
    monkeypatch.setattr(limits, "STORE_PATIENCE", PATIENCE)
    seen = Seen()
    with trio.fail_after(PATIENCE / 2):
        async with writing(tmp_path) as writer:
            jobs = [seen.job(str(number)) for number in range(8)]
            for job in jobs:
                writer.put(job)
            for job in jobs:
                await job.wait()
            assert seen.order == [str(number) for number in range(8)]
