"""A resolver's memory for people: answers, failures and zones as CacheEntry.

in: what is remembered; out: the same as text. Never: decides anything.
"""

import dns.name

from volly_fed.daemon.dns.cache import CacheEntry
from volly_fed.discovery.dnssec import Answer
from volly_fed.discovery.endpoint import Service, Status
from volly_fed.discovery.keys import rdata_of, tag_of
from volly_fed.discovery.zones import Unsigned, ZoneKeys
from volly_fed.errors import Bogus, DiscoveryError, Indeterminate, Insecure
from volly_fed.names import DomainName

_STATUS = ((Bogus, Status.BOGUS), (Indeterminate, Status.INDETERMINATE), (Insecure, Status.INSECURE))


def answer_entry(answer: Answer) -> CacheEntry:
    """One answer, found or not."""
    return CacheEntry(
        name=answer.question.name.to_text(),
        type=answer.question.rdtype.name,
        status=answer.status,
        records=tuple(rdata.to_text() for rdata in answer.rdatas),
        expires=answer.expires,
        reason=answer.reason if answer.rdatas else answer.reason or answer.outcome.value,
    )


def failure_entry(domain: DomainName, service: Service, error: DiscoveryError, expires: float) -> CacheEntry:
    """A discovery that is not tried again for a moment. SECURE: it is proved that there is nothing."""
    return CacheEntry(
        name=f"{domain}.",
        type=service.name.lower(),
        status=next((status for kind, status in _STATUS if isinstance(error, kind)), Status.SECURE),
        expires=expires,
        reason=str(error).partition("\nnote:")[0],
    )


def zone_entry(zone: dns.name.Name, known: ZoneKeys | Unsigned) -> CacheEntry:
    """A zone's proved keys, or the proof that it has none."""
    if isinstance(known, Unsigned):
        return CacheEntry(
            name=zone.to_text(), type="zone", status=Status.INSECURE, expires=known.expires, reason=known.reason
        )
    keys = tuple(f"key {tag_of(rdata_of(key))}, algorithm {key.algorithm}, flags {key.flags}" for key in known.keys)
    return CacheEntry(name=zone.to_text(), type="zone", status=Status.SECURE, records=keys, expires=known.expires)
