"""A peer's identity changes: what is accepted when, what the operator sees and decides, and envelopes that wait."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from tests.daemon.sites import A, B, Site, endpoint, envelope, material, sites, some_limits
from tests.daemon.test_judge import ADDRESS, claimed, shows
from volly_fed.codepoints import ErrorCode, Role
from volly_fed.daemon.identities import Acceptance, handlers
from volly_fed.daemon.material import Material
from volly_fed.daemon.store.store import Backoff
from volly_fed.errors import Bogus, LocalError, RemoteError, StorageError
from volly_fed.handshake import Outcome
from volly_fed.names import DomainName, Fingerprint, fingerprint_text
from volly_fed.relay.envelope import parse_envelope
from volly_fed.testing.fake_resolver import FakeResolver
from volly_fed.trust import make_statement
from volly_fed.trust.pins import How, Standing

NOW = time.time()
DAY = 86400.0
OLD, NEW, EVIL = material(B), material("b.test, later"), material("b.test, so says a thief")


def signed(old: Material = OLD, new: Material = NEW, *, domain: DomainName = B, **changes: int) -> bytes:
    facts: dict[str, int] = {"sequence": int(NOW), "not_before": int(NOW), "not_after": int(NOW + 90 * DAY)}
    return make_statement(domain=domain, old=old.identity, new=new.identity, **(facts | changes))


@attrs.define
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


@attrs.define
class World:
    """One homeserver that judges b.test, with a clock of its own."""

    site: Site
    clock: Clock

    def publish(self, current: Material, following: Material | None = None) -> None:
        found = attrs.evolve(
            endpoint(B, 1),
            identity=current.fingerprint,
            identity_next=None if following is None else following.fingerprint,
            expires=self.clock.now + 3600,
        )
        self.site.resolver.known = {B: found}

    async def meet(self, keys: Material, statement: bytes = b"", role: Role = Role.ACCEPTOR) -> str:
        """b.test proves to hold `keys`: "" if it gets a link, else what it is told."""
        judge = self.site.server.judge
        _, evidence = await judge.look_up(B)
        proved = Outcome(
            peer=B,
            identity=keys.identity.public,
            fingerprint=keys.fingerprint,
            version=1,
            extensions={},
            role=role,
            statement=statement,
        )
        try:
            await judge.establish(proved, evidence)
        except RemoteError as error:
            return f"{error} [{error.code.name}]"
        return ""

    async def standing(self) -> Standing:
        return await self.site.store.standing(B)

    def events(self) -> list[str]:
        names = ("pinned", "identity_changed", "identity_announced", "identity_withdrawn", "identity_replaced")
        return [line["event"] for line in self.site.log.lines if line["event"] in names]

    async def accept(self, wanted: Fingerprint | None = None, *, only_ask: bool = False) -> Acceptance:
        return await self.site.server.judge.register.accept(B, wanted, only_ask=only_ask)


@asynccontextmanager
async def judging(folder: Path, clock: Clock | None = None) -> AsyncIterator[World]:
    (a,) = sites(folder, A)
    async with a.running(listening=False):
        world = World(a, clock or Clock())
        a.server.judge.clock = world.clock
        yield world


@asynccontextmanager
async def acquainted(folder: Path) -> AsyncIterator[World]:
    """Pinned to OLD already."""
    async with judging(folder) as world:
        world.publish(OLD)
        assert await world.meet(OLD) == ""
        assert world.events() == ["pinned"]
        world.site.log.lines.clear()
        yield world


# --- what an attacker can have ---------------------------------------------------------------------------------------


async def test_forged_dns_alone_is_quarantined_with_one_event(tmp_path: Path) -> None:
    async with acquainted(tmp_path) as world:
        world.publish(EVIL)
        for _ in range(5):
            told = await world.meet(EVIL)
            assert "no continuity statement" in told
            assert told.endswith("[IDENTITY_MISMATCH]")
            assert "volly-fed trust accept-key b.test" in told
        assert world.events() == ["identity_changed"]
        assert len(world.site.log.all("decided", gate="establish")) == 1
        (event,) = world.site.log.all("identity_changed")
        assert event["fingerprint"] == fingerprint_text(EVIL.fingerprint)
        assert event["previous"] == fingerprint_text(OLD.fingerprint)
        assert "accept-key b.test" in event["reason"]
        world.publish(OLD)
        assert await world.meet(OLD) == ""


async def test_a_stolen_old_key_alone_changes_nothing(tmp_path: Path) -> None:
    async with acquainted(tmp_path) as world:
        assert await world.meet(OLD, signed(OLD, EVIL)) == ""  # the thief can be b.test as long as DNS names that key
        assert (await world.standing()).change is None
        assert "not published" in await world.meet(EVIL, signed(OLD, EVIL))
        assert world.events() == []


async def test_both_together_cool_off_in_the_operators_sight_and_the_owner_ends_it(tmp_path: Path) -> None:
    async with acquainted(tmp_path) as world:
        world.publish(EVIL)
        told = await world.meet(EVIL, signed(OLD, EVIL))
        assert "accepts it from" in told
        assert "envelopes wait" in told
        (event,) = world.site.log.all("identity_announced")
        assert (event["level"], event["verdict"]) == ("warning", How.SWITCHED)
        assert event["ready_in_s"] == pytest.approx(72 * 3600)
        assert event["fingerprint"] == fingerprint_text(EVIL.fingerprint)
        world.clock.now += 2 * DAY
        assert "accepts it from" in await world.meet(EVIL, signed(OLD, EVIL))
        (known,) = await world.site.server.judge.register.known()
        assert known.state == "switched"
        world.publish(OLD)
        assert await world.meet(OLD) == ""
        assert world.events() == ["identity_announced", "identity_withdrawn"]
        world.publish(EVIL)
        world.clock.now += 2 * DAY
        assert "accepts it from" in await world.meet(EVIL, signed(OLD, EVIL))  # anew, not where it left off


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (b"\xff", "CBOR"),
        (signed(EVIL, NEW), "begins at another"),
        (signed(OLD, EVIL), "leads to another"),
        (signed(domain=A), "is about a.test"),
        (signed(sequence=1, not_before=int(NOW - 9 * DAY), not_after=int(NOW - DAY)), "expired"),
        (signed()[:-1] + bytes([signed()[-1] ^ 1]), "signature"),
    ],
    ids=["garbage", "other-old", "other-new", "other-domain", "expired", "bad-signature"],
)
async def test_statements_that_do_not_count(tmp_path: Path, statement: bytes, words: str) -> None:
    async with acquainted(tmp_path) as world:
        assert await world.meet(OLD, statement) == ""  # no reason to refuse who has not changed
        world.publish(NEW)
        assert words in await world.meet(NEW, statement)
        assert words in world.site.log.all("identity_changed")[0]["reason"]


async def test_replays_and_older_sequences(tmp_path: Path) -> None:
    async with acquainted(tmp_path) as world:
        world.publish(NEW)
        assert await world.meet(NEW, signed())
        world.clock.now += 3 * DAY
        assert await world.meet(NEW, signed()) == ""
        back = signed(NEW, OLD, sequence=int(NOW) + 1)
        world.publish(OLD)
        assert await world.meet(OLD, back)
        world.clock.now += 3 * DAY
        assert await world.meet(OLD, back) == ""
        world.publish(NEW)
        assert "an old one" in await world.meet(NEW, signed())
        assert "an old one" in await world.meet(NEW, signed(sequence=int(NOW) - 1))
        assert "accepts it from" in await world.meet(NEW, signed(sequence=int(NOW) + 2))


# --- an honest change ------------------------------------------------------------------------------------------------


async def test_an_announced_change_is_seamless(tmp_path: Path) -> None:
    async with acquainted(tmp_path) as world:
        world.publish(OLD, NEW)
        for _ in range(3):
            assert await world.meet(OLD, signed()) == ""
        assert world.events() == ["identity_announced"]
        world.clock.now += 3 * DAY
        world.publish(NEW)
        assert await world.meet(NEW, signed()) == ""
        assert world.events() == ["identity_announced", "identity_replaced"]
        assert world.site.log.all("identity_replaced")[0]["verdict"] == "statement"
        pin = (await world.standing()).pin
        assert pin is not None
        assert pin.fingerprint == NEW.fingerprint


async def test_the_cool_off_goes_on_over_a_restart_and_a_clock_set_back(tmp_path: Path) -> None:
    clock = Clock()
    async with judging(tmp_path, clock) as world:
        world.publish(OLD)
        assert await world.meet(OLD) == ""
        world.publish(NEW)
        assert await world.meet(NEW, signed())
    clock.now += 3 * DAY - 60
    async with judging(tmp_path, clock) as world:
        world.publish(NEW)
        assert await world.meet(NEW)
        assert world.events() == []  # told before
        clock.now = NOW - DAY
        assert await world.meet(NEW)
    clock.now += 3 * DAY - 60
    async with judging(tmp_path, clock) as world:
        world.publish(NEW)
        assert await world.meet(NEW)
        clock.now += 60
        assert await world.meet(NEW) == ""
        assert world.events() == ["identity_replaced"]


async def test_two_handshakes_at_once_are_one_first_contact(tmp_path: Path) -> None:
    async with judging(tmp_path) as world:
        world.publish(OLD, NEW)
        told: list[str] = []

        async def meet(keys: Material) -> None:
            told.append(await world.meet(keys))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(meet, OLD)
            nursery.start_soon(meet, NEW)
        assert sorted(map(bool, told)) == [False, True]
        assert sorted(world.events()) == ["identity_changed", "pinned"]


# --- evidence --------------------------------------------------------------------------------------------------------


async def test_what_was_proved_is_kept_also_about_what_is_refused(tmp_path: Path) -> None:
    async with acquainted(tmp_path) as world:
        for _ in range(3):
            await world.meet(OLD)
        world.publish(EVIL)
        world.clock.now += 60
        for _ in range(3):
            await world.meet(EVIL)
        kept = await world.site.server.judge.register.evidence(B)
        assert [row.identity for row in kept] == [EVIL.fingerprint, OLD.fingerprint]
        assert [row.obtained_at for row in kept] == [NOW + 60, NOW]


async def test_unproved_claims_leave_nothing_behind(tmp_path: Path) -> None:
    async with judging(tmp_path) as world:
        world.publish(OLD)
        await world.site.server.judge.admit(claimed(), shows(), ADDRESS)
        assert await world.site.store.evidence(B) == []
        assert await world.standing() == Standing()


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


# --- envelopes wait --------------------------------------------------------------------------------------------------


def with_identity(resolver: FakeResolver, keys: Material) -> None:
    known = resolver.known[B]
    assert not isinstance(known, Exception)
    resolver.known = {**resolver.known, B: attrs.evolve(known, identity=keys.fingerprint)}


def show(site: Site, keys: Material, statement: bytes = b"") -> None:
    """From the next handshake on."""
    shown = site.server.credentials
    party = attrs.evolve(shown.party, key=keys.identity, statement=statement)
    site.server.credentials = attrs.evolve(shown, party=party)


async def test_envelopes_wait_in_quarantine_and_leave_when_the_operator_has_decided(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    a.limits = some_limits(backoff_cap=3600.0)
    changed = material("b.test, restored")
    async with a.running(), b.running():
        await b.register()
        await a.submit(envelope(B))
        await a.until(lambda: len(a.settled) == 1)
        for link in (a.server.peers._peer(B).link, b.server.peers._peer(A).link):
            if link is not None:
                link.drain(ErrorCode.SHUTTING_DOWN, "for the test")
        await a.log.wait("link_down")
        await b.log.wait("link_down")
        while await a.store.backoff(B) is not None:
            await trio.lowlevel.checkpoint()
        await a.store.put_backoff(B, Backoff(failures=20, next_attempt=0))
        show(b, changed)
        with_identity(a.resolver, changed)
        waiting, dead = envelope(B), envelope(B, expiry=time.time() + 60)
        await a.submit(waiting, dead)
        await a.log.wait("identity_changed", peer=B)
        told = await a.log.wait("dial_failed", peer=B)
        assert "quarantine" not in told["reason"]  # what the peer is told names its operator's next step
        assert "pinned" in told["reason"]
        refused = await b.log.wait("link_down", peer=A, code="IDENTITY_MISMATCH")
        assert "volly-fed trust accept-key b.test" in refused["reason"]
        assert a.store.outbound_depth(B)[0] == 2
        swept = await a.store.expire(time.time() + 120)
        assert swept.outbound == 1  # expiry goes on
        accepted = await a.server.judge.register.accept(B, None)
        assert accepted.accepted == changed.fingerprint
        with trio.fail_after(60):  # though the back-off says an hour
            await a.until(lambda: len(a.settled) >= 2)
        assert parse_envelope(waiting).id in [parse_envelope(frame).id for frame in b.arrived]


async def test_statements_travel_in_real_handshakes_both_ways(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    later = material("b.test, in good order")
    async with a.running(), b.running():
        a.server.judge.cool_off = 0.0
        await b.register()
        show(b, OLD, signed(OLD, later))
        known = a.resolver.known[B]
        assert not isinstance(known, Exception)
        a.resolver.known = {**a.resolver.known, B: attrs.evolve(known, identity_next=later.fingerprint)}
        await a.submit(envelope(B))
        event = await a.log.wait("identity_announced", peer=B)
        assert event["fingerprint"] == fingerprint_text(later.fingerprint)
        await a.until(lambda: len(a.settled) == 1)
        assert (await a.store.standing(B)).change is not None
