"""A peer's identity changes: what is accepted when, what is kept of it, and envelopes that wait."""

import time
from pathlib import Path

import attrs
import pytest
import trio

from tests.daemon.identity_world import DAY, EVIL, NEW, NOW, OLD, Clock, acquainted, judging, signed
from tests.daemon.sites import A, B, Site, envelope, material, sites, some_limits
from tests.daemon.test_judge import ADDRESS, claimed, shows
from volly_fed.codepoints import ErrorCode
from volly_fed.daemon.material import Material
from volly_fed.daemon.store.store import Backoff
from volly_fed.names import fingerprint_text
from volly_fed.relay.envelope import parse_envelope
from volly_fed.testing.fake_resolver import FakeResolver
from volly_fed.trust.pins import How, Standing

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


@pytest.mark.spec("trust-21")
async def test_unproved_claims_leave_nothing_behind(tmp_path: Path) -> None:
    async with judging(tmp_path) as world:
        world.publish(OLD)
        await world.site.server.judge.admit(claimed(), shows(), ADDRESS)
        assert await world.site.store.evidence(B) == []
        assert await world.standing() == Standing()


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


@pytest.mark.spec("trust-21")
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
