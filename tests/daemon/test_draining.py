"""A homeserver that is emptied takes nothing new, delivers what waits, and loses nothing either way."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from tests.daemon.sites import A, B, C, Site, envelope, sites, some_limits
from volly_fed import limits, limits_admin
from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.daemon.admin.server import AdminServer
from volly_fed.daemon.shutdown import StopRequest, wait_for_stop
from volly_fed.trust.policy import Policy


@attrs.define
class Follower:
    """Who follows a drain: every report, and what comes next."""

    reports: list[dict[str, Any]] = attrs.field(factory=list)
    ended: bool = False
    _changed: trio.Event = attrs.field(factory=trio.Event)

    async def send(self, report: dict[str, Any]) -> None:
        self.reports.append(report)
        self._tell()

    async def run(self, server: AdminServer, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await server.streams["drain"]({}, self.send)
        self.ended = True
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def until_ended(self) -> dict[str, Any]:
        while not self.ended:
            await self._changed.wait()
        return self.reports[-1]

    async def until_reports(self, count: int) -> dict[str, Any]:
        while len(self.reports) < count:
            await self._changed.wait()
        return self.reports[-1]


async def ask(site: Site, command: str, **arguments: object) -> dict[str, Any]:
    return await site.server._admin(site.server._overview(site.store)).handlers[command](arguments)


@asynccontextmanager
async def draining(site: Site) -> AsyncIterator[Follower]:
    follower = Follower()
    async with trio.open_nursery() as nursery:
        await nursery.start(follower.run, site.server._admin(site.server._overview(site.store)))
        yield follower
        nursery.cancel_scope.cancel()


async def test_nothing_new_is_taken_and_what_peers_have_stays_with_them(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await a.register()
        await b.register()
        await b.submit(envelope(A))
        await a.until(lambda: len(a.arrived) == 1)
        async with draining(a) as follower:
            assert (await follower.until_ended())["empty"]
            ((number, code, text),) = await a.submit(envelope(B))
            assert (number, code) == (1, ErrorCode.OVERLOADED)
            assert "try again later" in text
            await trio.testing.wait_all_tasks_blocked(0.05)  # until the window is known to be closed
            await b.submit(envelope(A), envelope(A))
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert len(a.arrived) == 1
            assert b.store.outbound_depth(A)[0] == 2
            assert b.server.peers.known()[0].state == "linked"
            status = await ask(a, "status")
            assert status["draining"]
            assert "draining" in status["problem_subjects"]
        assert await ask(a, "drain-cancel") == {"was_draining": True}
        await a.until(lambda: len(a.arrived) == 3)
        assert await a.submit(envelope(B)) == ()
        await b.until(lambda: len(b.arrived) == 1)
        assert await ask(a, "drain-cancel") == {"was_draining": False}


async def test_a_link_that_comes_about_meanwhile_has_no_window_and_empties_the_queue(tmp_path: Path) -> None:
    a, b, c = sites(tmp_path, A, B, C, limits=some_limits(backoff_cap=3600.0))
    async with a.running():
        await a.register()
        await a.submit(envelope(B))
        await a.log.wait("dial_failed", peer=B)
        async with draining(a) as follower:
            first = await follower.until_reports(1)
            assert (first["empty"], first["envelopes"]) == (False, 1)
            assert first["peers"][0]["domain"] == B
            assert first["peers"][0]["last_error"]
            async with b.running(), c.running():
                await b.register()
                await c.submit(envelope(A))  # which is new here
                await a.log.wait("link_up", peer=C)
                await b.submit(envelope(A))  # b.test dials, and has the link for what waits here
                await b.until(lambda: len(b.arrived) == 1)
                assert (await follower.until_ended())["empty"]
                await trio.testing.wait_all_tasks_blocked(0.05)
                assert a.arrived == []
                assert [site.store.outbound_depth(A)[0] for site in (b, c)] == [1, 1]
        assert a.log.all("drained", verdict="empty")


async def test_who_is_in_a_pause_is_dialled_at_once(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A, limits=some_limits(backoff_cap=3600.0))
    async with a.running(listening=False):
        await a.submit(envelope(B))
        await a.log.wait("dial_failed", peer=B)
        waits = a.server.peers.attempts.due_in(a.server.peers.known()[0].standing)
        assert waits >= limits.BACKOFF_FIRST / 2
        with trio.fail_after(waits / 2):
            async with draining(a):
                await a.log.wait("dial_failed", peer=B, count=2)


async def test_what_cannot_leave_is_named_and_not_waited_for(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A, limits=some_limits(backoff_cap=3600.0))
    async with a.running(listening=False):
        await ask(a, "queue-hold", domain=B)
        await a.submit(envelope(B))
        await a.submit(envelope(C))
        a.server.judge.policy = Policy(default=TrustLevel.FULL, levels={C: TrustLevel.METADATA})
        async with draining(a) as follower:
            report = await follower.until_ended()
        assert (report["empty"], report["envelopes"], report["peers"]) == (True, 0, [])
        assert report["kept"] == [
            {"domain": B, "envelopes": 1, "why": "held"},
            {"domain": C, "envelopes": 1, "why": "its level lets nothing out"},
        ]


async def test_it_reports_again_and_again_and_ends_when_it_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_admin, "DRAIN_TOLD", 0.02)
    monkeypatch.setattr(limits_admin, "DRAIN_LOOK", 0.01)
    (a,) = sites(tmp_path, A, limits=some_limits(backoff_cap=3600.0))
    async with a.running(listening=False):
        await a.submit(envelope(B))
        async with draining(a) as follower:
            assert (await follower.until_reports(3))["envelopes"] == 1
            await ask(a, "drain-cancel")
            last = await follower.until_ended()
            assert (last["draining"], last["empty"]) == (False, False)
        assert not a.log.all("drained", verdict="empty")
    async with a.running(listening=False):
        assert await a.submit(envelope(B)) == ()


async def test_an_operator_can_end_the_process_as_a_signal_does(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A)
    async with a.running(listening=False):
        await ask(a, "stop")
        assert await wait_for_stop(a.server.stop) == "volly-fed drain --stop"
    asked = StopRequest()
    asked.ask("first")
    asked.ask("second")
    assert await asked.wait() == "first"
