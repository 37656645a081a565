"""What is remembered about peers: identities and their changes, evidence, back-off.

in: decisions about standings, evidence, back-off; out: the same, after restarts.
Never: decides anything; trust.pins and the dialler do. Never grows beyond limits.PINS and limits.EVIDENCE_ROWS.
"""

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

import apsw

from volly_fed import limits
from volly_fed.daemon.store.base import StoreBase, fetch
from volly_fed.daemon.store.rows import Backoff, EvidenceRow
from volly_fed.names import DomainName, Fingerprint
from volly_fed.trust.evidence import Evidence
from volly_fed.trust.pins import Change, How, Pin, Quarantine, Standing

_Value = str | bytes | int | float | None


class _Decided(Protocol):
    """What a decision must hold: the standing to keep."""

    @property
    def standing(self) -> Standing: ...


D = TypeVar("D", bound=_Decided)


class PeerStore(StoreBase):
    """The part of the store about peers themselves."""

    # --- identities ------------------------------------------------------------------------------------------------

    async def pin(self, domain: DomainName) -> Pin | None:
        """The identity `domain` is held to, or None before first contact."""
        return (await self.standing(domain)).pin

    async def standing(self, domain: DomainName) -> Standing:
        """All that is remembered of the identity of `domain`."""
        return await self._do(lambda database: _standing(database, domain))

    async def decide_standing(
        self, domain: DomainName, decide: Callable[[Standing], D], evidence: Evidence | None = None
    ) -> tuple[Standing, D]:
        """Let `decide` say what follows from the standing of `domain`, and keep that, in one transaction.

        `evidence` is what it was decided on, and is kept like `add_evidence` does.
        The standing before, and the decision. `decide` runs in the store's thread, maybe twice, and must be pure.
        Raises StorageError: nothing has changed; and what `decide` raises.
        """

        def run(database: apsw.Connection) -> tuple[Standing, D]:
            before = _standing(database, domain)
            decided = decide(before)
            _keep(database, domain, decided.standing)
            if before.pin is None and decided.standing.pin is not None:
                _forget_some(database)
            if evidence is not None:
                _add_evidence(database, evidence)
            return before, decided

        return await self._do(run)

    async def judge_standing(self, domain: DomainName, judge: Callable[[Standing], D]) -> tuple[Standing, D]:
        """As `decide_standing`, but nothing is kept."""

        def run(database: apsw.Connection) -> tuple[Standing, D]:
            before = _standing(database, domain)
            return before, judge(before)

        return await self._do(run)

    async def standings(self, limit: int) -> list[tuple[DomainName, Standing]]:
        """Up to `limit` domains by name, those with a change or a quarantine first, of them those we have dialled."""

        def run(database: apsw.Connection) -> list[tuple[DomainName, Standing]]:
            names = [name for (name,) in fetch(database, _BY_INTEREST, (limit,))]
            return [(DomainName(name), _standing(database, name)) for name in names]

        return await self._do(run)

    # --- evidence --------------------------------------------------------------------------------------------------

    async def add_evidence(self, evidence: Evidence) -> bool:
        """Keep `evidence` if it proves something else than the newest that is kept of its domain; whether it does.

        Its proof is asked for in that case only, in the store's thread.
        """
        return await self._do(lambda database: _add_evidence(database, evidence))

    async def evidence(self, domain: DomainName) -> list[EvidenceRow]:
        """What is kept of `domain`, the newest first."""

        def run(database: apsw.Connection) -> list[EvidenceRow]:
            query = "SELECT obtained, identity, identity_next, proof FROM evidence WHERE domain = ? ORDER BY row DESC"
            return [
                EvidenceRow(domain=domain, obtained_at=at, identity=Fingerprint(now), identity_next=later, proof=proof)
                for at, now, later, proof in fetch(database, query, (domain,))
            ]

        return await self._do(run)

    # --- back-off --------------------------------------------------------------------------------------------------

    async def backoff(self, peer: DomainName) -> Backoff | None:
        """Where we stand with `peer`, or None: nothing failed since it last went well."""

        def run(database: apsw.Connection) -> Backoff | None:
            query = "SELECT failures, next_attempt FROM backoff WHERE peer = ?"
            for failures, next_attempt in fetch(database, query, (peer,)):
                return Backoff(failures=failures, next_attempt=next_attempt)
            return None

        return await self._do(run)

    async def put_backoff(self, peer: DomainName, backoff: Backoff | None) -> None:
        """Keep `backoff`; None: it went well, forget it. Written before the attempt, so that a crash cannot hammer."""
        if backoff is None:
            await self._do(lambda database: _execute(database, "DELETE FROM backoff WHERE peer = ?", (peer,)))
            return
        values = (peer, backoff.failures, backoff.next_attempt)
        await self._do(lambda database: _execute(database, "INSERT OR REPLACE INTO backoff VALUES(?, ?, ?)", values))


_BY_INTEREST = """
    SELECT domain FROM pin ORDER BY
        domain NOT IN (SELECT domain FROM quarantine) AND domain NOT IN (SELECT domain FROM change), NOT known, domain
        LIMIT ?
"""
_SHARE: Final = 64
"""Of full evidence, one in so many rows goes at once: finding them means looking at all."""
_STRANGEST = "SELECT domain FROM pin ORDER BY known, last_seen - first_seen, last_seen LIMIT ?"
"""Whoever comes once with many names pushes out such names only, never an acquaintance of longer standing."""
_OLD_EVIDENCE = """
    DELETE FROM evidence WHERE domain = :domain AND row NOT IN (SELECT row FROM evidence LEFT JOIN
        (SELECT min(row) AS first FROM evidence JOIN pin USING (domain)
            WHERE domain = :domain AND fingerprint IN (identity, identity_next))
        WHERE domain = :domain ORDER BY row = first DESC, row DESC LIMIT :limit)
"""
"""What was proved first of the identity the domain is held to stays: forged records come later, however many."""
_EXCESS_EVIDENCE = """
    DELETE FROM evidence WHERE row IN (SELECT row FROM evidence LEFT JOIN pin USING (domain)
        ORDER BY coalesce(known, 0), coalesce(last_seen - first_seen, 0), row LIMIT ?)
"""


def _standing(database: apsw.Connection, domain: DomainName) -> Standing:
    pin, change, quarantine = None, None, None
    query = "SELECT fingerprint, first_seen, last_seen, sequence, known FROM pin WHERE domain = ?"
    for fingerprint, first, last, sequence, known in fetch(database, query, (domain,)):
        pin = Pin(
            domain=domain,
            fingerprint=Fingerprint(fingerprint),
            first_seen=first,
            last_seen=last,
            sequence=sequence,
            known=bool(known),
        )
    query = "SELECT fingerprint, since, ready_at, sequence, not_after, how FROM change WHERE domain = ?"
    for fingerprint, since, ready_at, sequence, not_after, how in fetch(database, query, (domain,)):
        change = Change(
            fingerprint=Fingerprint(fingerprint),
            since=since,
            ready_at=ready_at,
            sequence=sequence,
            not_after=not_after,
            how=How(how),
        )
    for fingerprint, since, reason in fetch(
        database, "SELECT fingerprint, since, reason FROM quarantine WHERE domain = ?", (domain,)
    ):
        quarantine = Quarantine(fingerprint=Fingerprint(fingerprint), since=since, reason=reason)
    return Standing(pin=pin, change=change, quarantine=quarantine)


def _keep(database: apsw.Connection, domain: DomainName, standing: Standing) -> None:
    for table in _DELETE:
        _execute(database, _DELETE[table], (domain,))
    values: tuple[_Value, ...]
    if (pin := standing.pin) is not None:
        values = (domain, pin.fingerprint, pin.first_seen, pin.last_seen, pin.sequence, pin.known)
        _execute(database, "INSERT INTO pin VALUES(?, ?, ?, ?, ?, ?)", values)
    if (change := standing.change) is not None:
        times = (change.since, change.ready_at, change.sequence, change.not_after)
        values = (domain, change.fingerprint, *times, change.how.value)
        _execute(database, "INSERT INTO change VALUES(?, ?, ?, ?, ?, ?, ?)", values)
    if (quarantine := standing.quarantine) is not None:
        values = (domain, quarantine.fingerprint, quarantine.since, quarantine.reason)
        _execute(database, "INSERT INTO quarantine VALUES(?, ?, ?, ?)", values)


_DELETE: Final = {
    "pin": "DELETE FROM pin WHERE domain = ?",
    "change": "DELETE FROM change WHERE domain = ?",
    "quarantine": "DELETE FROM quarantine WHERE domain = ?",
}


def _forget_some(database: apsw.Connection) -> None:
    """Keep the number of pins within its limit; what depended on a forgotten one goes with it."""
    ((count,),) = fetch(database, "SELECT count(*) FROM pin")
    if count > limits.PINS:
        for (domain,) in fetch(database, _STRANGEST, (count - limits.PINS,)):
            _keep(database, domain, Standing())


def _add_evidence(database: apsw.Connection, evidence: Evidence) -> bool:
    digest = evidence.digest()
    newest = "SELECT digest FROM evidence WHERE domain = ? ORDER BY row DESC LIMIT 1"
    if fetch(database, newest, (evidence.domain,)) == [(digest,)]:
        return False
    identities = (evidence.identity, evidence.identity_next)
    values = (evidence.domain, evidence.obtained_at, *identities, digest, "\n".join(evidence.proof()))
    _execute(database, "INSERT INTO evidence VALUES(NULL, ?, ?, ?, ?, ?, ?)", values)
    database.execute(_OLD_EVIDENCE, {"domain": evidence.domain, "limit": limits.EVIDENCE_PER_DOMAIN})
    ((count,),) = fetch(database, "SELECT count(*) FROM evidence")
    if count > limits.EVIDENCE_ROWS:
        _execute(database, _EXCESS_EVIDENCE, (count - limits.EVIDENCE_ROWS + limits.EVIDENCE_ROWS // _SHARE,))
    return True


def _execute(database: apsw.Connection, statement: str, values: tuple[_Value, ...]) -> None:
    database.execute(statement, values)
