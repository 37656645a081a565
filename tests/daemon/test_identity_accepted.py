"""A peer's identity changes: what the operator sees, and decides."""

from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from tests.daemon.identity_world import DAY, EVIL, NEW, NOW, OLD, acquainted, judging, signed
from tests.daemon.sites import B
from volly_fed.codepoints import Role
from volly_fed.daemon.identities import Acceptance, handlers
from volly_fed.daemon.store.store import Backoff
from volly_fed.errors import Bogus, LocalError, StorageError
from volly_fed.names import DomainName, Fingerprint, fingerprint_text

# --- the operator ----------------------------------------------------------------------------------------------------


async def test_the_operator_accepts_what_was_shown(tmp_path: Path) -> None:
    async with acquainted(tmp_path) as world:
        told: list[tuple[DomainName, Fingerprint]] = []
        world.site.server.judge.accepted = lambda *decided: told.append(decided)
        world.publish(NEW)
        assert await world.meet(NEW)
        plan = await world.accept(only_ask=True)
        assert plan == Acceptance(
            domain=B,
            previous=OLD.fingerprint,
            accepted=NEW.fingerprint,
            published=True,
            shown=True,
            done=False,
        )
        assert await world.meet(NEW)  # asking changes nothing
        assert told == []
        await world.site.store.put_backoff(B, Backoff(failures=20, next_attempt=NOW + DAY))
        assert await world.accept(NEW.fingerprint) == attrs.evolve(plan, done=True)
        assert told == [(B, NEW.fingerprint)]
        assert await world.site.store.backoff(B) is None  # also where nobody waits for it yet
        assert await world.meet(NEW) == ""
        assert world.events() == ["identity_changed", "identity_replaced"]
        world.publish(OLD)
        assert await world.meet(OLD)  # the old one is as good as any other now


async def test_a_decision_that_was_written_is_told_though_the_command_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acquainted(tmp_path) as world:
        world.publish(NEW)
        assert await world.meet(NEW)
        keep = world.site.store.decide_standing
        with trio.CancelScope() as command:

            async def cut_off(*arguments: Any) -> Any:
                command.cancel()
                return await keep(*arguments)

            monkeypatch.setattr(world.site.store, "decide_standing", cut_off)
            await world.accept()
        monkeypatch.undo()
        assert await world.meet(NEW) == ""
        assert world.events() == ["identity_changed", "identity_replaced"]


async def test_a_decision_is_told_though_the_back_off_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise StorageError("the disk is full")

    async with acquainted(tmp_path) as world:
        world.publish(NEW)
        assert await world.meet(NEW)
        monkeypatch.setattr(world.site.store, "put_backoff", full)
        with pytest.raises(StorageError):
            await world.accept()
        assert world.events() == ["identity_changed", "identity_replaced"]


async def test_the_operator_shortens_a_cool_off(tmp_path: Path) -> None:
    async with acquainted(tmp_path) as world:
        world.publish(NEW)
        assert await world.meet(NEW, signed())
        assert (await world.accept()).accepted == NEW.fingerprint
        assert await world.meet(NEW) == ""
        assert (await world.standing()).change is None


async def test_the_operator_accepts_what_is_published_before_it_is_shown(tmp_path: Path) -> None:
    async with acquainted(tmp_path) as world:
        world.publish(OLD, NEW)
        accepted = await world.accept(NEW.fingerprint)
        assert (accepted.published, accepted.shown) == (True, False)
        assert await world.meet(NEW) == ""


async def test_without_dns_only_what_was_shown_can_be_accepted(tmp_path: Path) -> None:
    async with acquainted(tmp_path) as world:
        world.publish(NEW)
        assert await world.meet(NEW)
        world.site.resolver.known = {B: Bogus("b.test: broken\nnote: repair it")}
        with pytest.raises(LocalError, match="does not publish"):
            await world.accept(EVIL.fingerprint)
        accepted = await world.accept()
        assert (accepted.published, accepted.shown) == (None, True)


@pytest.mark.spec("trust-19")
async def test_what_the_operator_cannot_accept(tmp_path: Path) -> None:
    async with acquainted(tmp_path) as world:
        with pytest.raises(LocalError, match=r"does not publish(.|\n)*note: "):
            await world.accept(EVIL.fingerprint)
        with pytest.raises(LocalError, match="nothing to accept"):
            await world.accept()
        world.site.resolver.known = {}
        with pytest.raises(LocalError, match=r"nothing of b.test waits(.|\n)*note: "):
            await world.accept()
        world.publish(NEW)
        assert await world.meet(NEW, signed())
        world.publish(EVIL, NEW)
        assert await world.meet(EVIL)
        with pytest.raises(LocalError, match="two other identities") as caught:
            await world.accept()
        for keys in (NEW, EVIL):
            assert fingerprint_text(keys.fingerprint) in str(caught.value)
        pin = (await world.standing()).pin
        assert pin is not None
        assert pin.fingerprint == OLD.fingerprint


async def test_what_dns_no_longer_names_is_accepted_only_by_its_fingerprint(tmp_path: Path) -> None:
    async with acquainted(tmp_path) as world:
        world.publish(EVIL)
        assert await world.meet(EVIL)
        world.publish(OLD)
        with pytest.raises(LocalError, match="nothing to accept"):
            await world.accept()
        world.publish(NEW)
        plan = await world.accept(only_ask=True)
        assert (plan.accepted, plan.published, plan.shown) == (NEW.fingerprint, True, False)
        plan = await world.accept(EVIL.fingerprint, only_ask=True)
        assert (plan.accepted, plan.published, plan.shown) == (EVIL.fingerprint, False, True)


async def test_whom_we_have_dialled_is_an_acquaintance(tmp_path: Path) -> None:
    async with judging(tmp_path) as world:
        world.publish(OLD)
        for role, known in ((Role.ACCEPTOR, False), (Role.DIALLER, True), (Role.ACCEPTOR, True)):
            assert await world.meet(OLD, role=role) == ""
            pin = (await world.standing()).pin
            assert pin is not None
            assert pin.known is known


async def test_the_commands_of_the_admin_socket(tmp_path: Path) -> None:
    async with acquainted(tmp_path) as world:
        world.publish(NEW)
        await world.meet(NEW)
        commands = handlers(world.site.server.judge.register)
        answer = await commands["identities"]({})
        assert answer["complete"]
        listed = answer["identities"]
        assert [(each["domain"], each["state"]) for each in listed] == [(B, "quarantined")]
        assert listed[0]["quarantine"]["identity"] == fingerprint_text(NEW.fingerprint)
        assert listed[0]["identity"] == fingerprint_text(OLD.fingerprint)
        proved = await commands["evidence"]({"domain": B})
        assert [row["identity"] for row in proved["evidence"]] == [
            fingerprint_text(keys.fingerprint) for keys in (NEW, OLD)
        ]
        text = fingerprint_text(NEW.fingerprint)
        assert not (await commands["accept-key"]({"domain": B, "only_ask": True}))["done"]
        assert (await commands["accept-key"]({"domain": B, "fingerprint": text}))["done"]
        bad: list[dict[str, Any]] = [{}, {"domain": 7}, {"domain": B, "fingerprint": "x"}, {"domain": "no name"}]
        for arguments in bad:
            with pytest.raises(LocalError, match="note: "):
                await commands["accept-key"](arguments)
