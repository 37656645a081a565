"""What the store remembers of identities and evidence: over restarts, within limits, out of strangers' reach."""

import sqlite3
from pathlib import Path
from typing import Any

import attrs
import pytest

from volly_fed import limits
from volly_fed.daemon.store.migrate import APPLICATION
from volly_fed.daemon.store.schema import MIGRATIONS
from volly_fed.daemon.store.store import Store
from volly_fed.errors import StorageError
from volly_fed.names import DomainName, Fingerprint, parse_domain
from volly_fed.trust.evidence import Evidence
from volly_fed.trust.pins import Change, How, Pin, Quarantine, Standing

A, B = parse_domain("a.test"), parse_domain("b.test")
ONE, TWO, THREE = (Fingerprint(bytes([n]) * 32) for n in (1, 2, 3))
FULL = Standing(
    pin=Pin(domain=A, fingerprint=ONE, first_seen=1.5, last_seen=2.5, sequence=7, known=True),
    change=Change(fingerprint=TWO, since=3.5, ready_at=4.5, sequence=8, not_after=9.5, how=How.SWITCHED),
    quarantine=Quarantine(fingerprint=THREE, since=5.5, reason="because"),
)


@attrs.frozen
class Decided:
    standing: Standing


async def keep(store: Store, standing: Standing, domain: DomainName = A) -> None:
    await store.decide_standing(domain, lambda _: Decided(standing))


async def keep_pin(store: Store, name: str, first: float, last: float, *, known: bool = False) -> None:
    domain = parse_domain(name)
    pin = Pin(domain=domain, fingerprint=ONE, first_seen=first, last_seen=last, known=known)
    await keep(store, Standing(pin=pin), domain)


def evidence(**changes: Any) -> Evidence:
    facts: dict[str, Any] = {
        "domain": A,
        "identity": ONE,
        "ttl": 60.0,
        "obtained_at": 100.0,
        "proof": lambda: ("a. 60 IN TXT x", "y"),
    }
    return Evidence(**(facts | changes))


async def test_a_standing_outlives_the_process(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s") as store:
        assert await store.standing(A) == Standing()
        await keep(store, FULL)
    async with Store.open(tmp_path / "s") as store:
        assert await store.standing(A) == FULL
        assert await store.pin(A) == FULL.pin
        before, decided = await store.decide_standing(A, lambda standing: Decided(Standing(pin=standing.pin)))
        assert (before, decided.standing) == (FULL, Standing(pin=FULL.pin))
        assert await store.standing(A) == Standing(pin=FULL.pin)


async def test_what_cannot_be_decided_changes_nothing(tmp_path: Path) -> None:
    def fails(_: Standing) -> Decided:
        raise ValueError("no")

    async with Store.open(tmp_path / "s") as store:
        await keep(store, FULL)
        with pytest.raises(ValueError, match="no"):
            await store.decide_standing(A, fails)
        assert await store.standing(A) == FULL
    with pytest.raises(StorageError):
        await store.standing(A)


async def test_a_store_of_the_first_version_keeps_its_pins(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "s")
    database.executescript(MIGRATIONS[0])
    database.execute("INSERT INTO pin VALUES('a.test', ?, 1.5, 2.5)", (bytes(ONE),))
    database.execute("PRAGMA user_version = 1")
    database.execute(f"PRAGMA application_id = {APPLICATION}")
    database.commit()
    database.close()
    async with Store.open(tmp_path / "s") as store:
        pin = Pin(domain=A, fingerprint=ONE, first_seen=1.5, last_seen=2.5, sequence=0, known=True)
        assert await store.standing(A) == Standing(pin=pin)


async def test_strangers_push_out_strangers_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PINS", 4)
    async with Store.open(tmp_path / "s") as store:
        await keep_pin(store, "dialled.test", 50, 50, known=True)
        await keep_pin(store, "old-friend.test", 1, 90)
        for number in range(20):  # an attacker with as many signed names as it likes
            await keep_pin(store, f"n{number}.evil.test", 100 + number, 100 + number)
        names = [domain for domain, _ in await store.standings(10)]
        assert names == ["dialled.test", "n18.evil.test", "n19.evil.test", "old-friend.test"]


async def test_a_stranger_does_not_cost_a_full_table_a_share_of_its_friends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PINS", 128)  # a share is two rows
    async with Store.open(tmp_path / "s") as store:
        for number in range(limits.PINS):
            await keep_pin(store, f"friend{number}.test", 1, 90 + number, known=number % 2 == 0)
        for number in range(5):
            await keep_pin(store, f"n{number}.evil.test", 200 + number, 200 + number)
        names = [domain for domain, _ in await store.standings(200)]
        assert sum(name.startswith("friend") for name in names) == limits.PINS


async def test_strangers_cannot_hide_whom_we_know_from_the_operator(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s") as store:
        for number in range(5):
            stranger = parse_domain(f"a{number}.evil.test")
            await keep_pin(store, stranger, 1, 1)
            standing = await store.standing(stranger)
            await keep(store, attrs.evolve(standing, quarantine=FULL.quarantine), stranger)
        await keep(store, attrs.evolve(FULL, change=None), parse_domain("friend.test"))
        assert [domain for domain, _ in await store.standings(2)] == ["friend.test", "a0.evil.test"]


async def test_those_that_want_attention_come_first(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s") as store:
        for name in ("a.test", "b.test", "c.test", "d.test"):
            await keep_pin(store, name, 1, 2)
        await keep(store, attrs.evolve(FULL, change=None), parse_domain("d.test"))
        await keep(store, attrs.evolve(FULL, quarantine=None), parse_domain("c.test"))
        assert [domain for domain, _ in await store.standings(3)] == ["c.test", "d.test", "a.test"]


async def test_evidence_is_written_when_it_changes(tmp_path: Path) -> None:
    asked: list[float] = []

    def proof_at(at: float) -> Evidence:
        def proof() -> tuple[str, ...]:
            asked.append(at)
            return ("line one", "line two")

        return evidence(obtained_at=at, proof=proof)

    async with Store.open(tmp_path / "s") as store:
        assert await store.add_evidence(proof_at(100))
        assert not await store.add_evidence(proof_at(200))
        assert asked == [100]  # no text is made in vain
        assert await store.add_evidence(evidence(obtained_at=300.0, identity_next=TWO))
    async with Store.open(tmp_path / "s") as store:
        newer, older = await store.evidence(A)
        assert (older.obtained_at, older.identity, older.identity_next) == (100, ONE, None)
        assert older.proof == "line one\nline two"
        assert (newer.obtained_at, newer.identity_next) == (300, TWO)
        assert await store.evidence(B) == []


async def test_forged_records_do_not_wash_away_what_the_pinned_identity_proved(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s") as store:
        await keep(store, FULL)
        await store.add_evidence(evidence(obtained_at=1.0))
        for number in range(20):  # whoever has the zone: with the pinned identity as next, or without
            forged = Fingerprint(bytes([100 + number]) * 32)
            await store.add_evidence(evidence(identity=forged, identity_next=ONE if number % 2 else None))
        kept = await store.evidence(A)
        assert len(kept) == limits.EVIDENCE_PER_DOMAIN
        assert (kept[-1].obtained_at, kept[-1].identity) == (1.0, ONE)


async def test_evidence_is_bounded_per_domain_and_in_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EVIDENCE_ROWS", 12)
    async with Store.open(tmp_path / "s") as store:
        await keep(store, FULL)
        for number in range(limits.EVIDENCE_PER_DOMAIN + 2):
            await store.add_evidence(evidence(spki_sha256=(bytes([number]) * 32,), obtained_at=float(number)))
        kept = [row.obtained_at for row in await store.evidence(A)]
        assert kept == [9, 8, 7, 6, 5, 4, 3, 0]  # with what was proved first of the identity it is held to
        for number in range(20):
            await store.add_evidence(evidence(domain=parse_domain(f"n{number}.evil.test")))
        assert len(await store.evidence(A)) == limits.EVIDENCE_PER_DOMAIN  # strangers do not cost it anything
        others = [len(await store.evidence(parse_domain(f"n{number}.evil.test"))) for number in range(20)]
        assert others == [0] * 16 + [1] * 4
