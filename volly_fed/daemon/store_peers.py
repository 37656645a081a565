"""What is remembered about peers: pinned identities and back-off.

in: pins and back-off; out: the same, after restarts.
Never: decides anything; trust.pins and the dialler do.
"""

import apsw

from volly_fed.daemon.store_base import StoreBase, fetch
from volly_fed.daemon.store_rows import Backoff
from volly_fed.names import DomainName, Fingerprint
from volly_fed.trust.pins import Pin


class PeerStore(StoreBase):
    """The part of the store about peers themselves."""

    async def pin(self, domain: DomainName) -> Pin | None:
        """The identity `domain` is held to, or None before first contact."""

        def run(database: apsw.Connection) -> Pin | None:
            query = "SELECT fingerprint, first_seen, last_seen FROM pin WHERE domain = ?"
            for fingerprint, first_seen, last_seen in fetch(database, query, (domain,)):
                return Pin(
                    domain=domain, fingerprint=Fingerprint(fingerprint), first_seen=first_seen, last_seen=last_seen
                )
            return None

        return await self._do(run)

    async def put_pin(self, pin: Pin) -> None:
        """Keep `pin` in place of what was there for its domain."""
        values = (pin.domain, pin.fingerprint, pin.first_seen, pin.last_seen)
        await self._do(lambda database: _execute(database, "INSERT OR REPLACE INTO pin VALUES(?, ?, ?, ?)", values))

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


def _execute(database: apsw.Connection, statement: str, values: tuple[str | bytes | int | float, ...]) -> None:
    database.execute(statement, values)
