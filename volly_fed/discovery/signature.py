"""One RRset, its signatures and a zone's keys: does any signature hold, and for how long.

in: an RRset, RRSIGs, DNSKEYs, the time; out: evidence, or Bogus with the reason.
Never: decides whether the keys are the zone's; `chain` does. Source: RFC 4035 §5.3, RFC 6840 §5, RFC 4034 §3.1.5.
"""

from collections.abc import Sequence
from typing import Final

import attrs
import dns.dnssec
import dns.name
import dns.rdataset
import dns.rdatatype
import dns.rrset
from dns.dnssectypes import Algorithm, DSDigest
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.RRSIG import RRSIG
from dns.rdtypes.dnskeybase import Flag

from volly_fed import limits
from volly_fed.discovery.budget import Budget
from volly_fed.errors import Bogus

ALGORITHMS: Final = frozenset(
    {
        Algorithm.RSASHA256,
        Algorithm.RSASHA512,
        Algorithm.ECDSAP256SHA256,
        Algorithm.ECDSAP384SHA384,
        Algorithm.ED25519,
        Algorithm.ED448,
        Algorithm.MLDSA44,
    }
)
"""Others, SHA-1 ones included (RFC 9905), count as unknown, which makes a zone insecure (RFC 4035 §5.2)."""
DIGESTS: Final = frozenset({DSDigest.SHA256, DSDigest.SHA384})

_PROTOCOL: Final = 3  # RFC 4034 §2.1.2
_SERIAL: Final = 1 << 32
_HALF: Final = 1 << 31


@attrs.frozen(kw_only=True)
class Verified:
    """A signature that holds."""

    labels: int
    """Of the owner name as signed: fewer than the owner's own where a wildcard was expanded (RFC 4035 §5.3.4)."""
    ttl: int
    """Seconds that the RRset may be used for: the least of its TTL, the signed TTL and the signature's remainder."""


def verify_rrset(
    rrset: dns.rrset.RRset,
    rrsigs: Sequence[RRSIG],
    *,
    zone: dns.name.Name,
    keys: Sequence[DNSKEY],
    now: float,
    budget: Budget,
) -> Verified:
    """Evidence that `zone` signed `rrset`. Raises Bogus with the last reason, or Indeterminate out of budget.

    One signature that holds is enough (RFC 6840 §5.11); unknown algorithms are passed over.
    """
    reason = "it has no signature"
    for rrsig in rrsigs[: limits.DNS_RRSIGS_PER_RRSET]:
        reason = _objection(rrset, rrsig, zone, now)
        if reason:
            continue
        candidates = _candidates(keys, rrsig)
        reason = "" if candidates else f"the zone has no key {rrsig.key_tag} of algorithm {rrsig.algorithm}"
        for key in candidates:
            budget.spend_verification()
            reason = _failure(rrset, rrsig, zone, key)
            if not reason:
                return Verified(labels=rrsig.labels, ttl=_ttl(rrset, rrsig, now))
    raise Bogus(f"{rrset.name} {dns.rdatatype.to_text(rrset.rdtype)}: {reason}")


def matches_ds(zone: dns.name.Name, key: DNSKEY, ds: DS) -> bool:
    """Whether `ds` names `key` (RFC 4035 §5.2)."""
    if not _is_zone_key(key) or (key.algorithm, dns.dnssec.key_id(key)) != (ds.algorithm, ds.key_tag):
        return False
    try:
        made = dns.dnssec.make_ds(zone, key, DSDigest(ds.digest_type), validating=True)
    except Exception:  # a key or digest type that dnspython cannot take apart names nothing
        return False
    return made.digest == ds.digest


def is_supported(ds: DS) -> bool:
    """Whether both the key's algorithm and the digest are ones that can be checked here."""
    return ds.algorithm in ALGORITHMS and ds.digest_type in DIGESTS


def _is_zone_key(key: DNSKEY) -> bool:
    # RFC 5011 §2.1: a revoked key is good for nothing but its own revocation, which is not followed here
    return bool(key.flags & Flag.ZONE) and not key.flags & Flag.REVOKE and key.protocol == _PROTOCOL


def _candidates(keys: Sequence[DNSKEY], rrsig: RRSIG) -> list[DNSKEY]:
    wanted = (rrsig.algorithm, rrsig.key_tag)
    found = [key for key in keys if _is_zone_key(key) and (key.algorithm, dns.dnssec.key_id(key)) == wanted]
    return found[: limits.DNS_KEYS_PER_TAG]


def _objection(rrset: dns.rrset.RRset, rrsig: RRSIG, zone: dns.name.Name, now: float) -> str:
    """Why `rrsig` cannot hold, before any cryptography; "" where nothing speaks against it."""
    labels = len(rrset.name) - 1
    if rrsig.signer != zone or not rrset.name.is_subdomain(zone):
        return f"it is signed by {rrsig.signer}, not by {zone}"
    if rrsig.algorithm not in ALGORITHMS:
        return f"it is signed with algorithm {rrsig.algorithm}, which is not supported"
    if not len(zone) - 1 <= rrsig.labels <= labels:
        return "its signature is over another name"
    if _distance(rrsig.expiration, now - limits.DNS_CLOCK_SKEW) < 0:
        return f"its signature expired {-_distance(rrsig.expiration, now)} seconds ago"
    if _distance(rrsig.inception, now + limits.DNS_CLOCK_SKEW) > 0:
        return f"its signature is not valid for another {_distance(rrsig.inception, now)} seconds"
    return ""


def _distance(stamp: int, now: float) -> int:
    """Seconds from `now` to `stamp`, by serial arithmetic (RFC 4034 §3.1.5)."""
    return (stamp - int(now) + _HALF) % _SERIAL - _HALF


def _failure(rrset: dns.rrset.RRset, rrsig: RRSIG, zone: dns.name.Name, key: DNSKEY) -> str:
    try:
        # the time was checked above, with tolerance and serial arithmetic; here any moment inside will do
        dns.dnssec.validate_rrsig(rrset, rrsig, {zone: dns.rdataset.from_rdata(0, key)}, now=rrsig.inception)
    except Exception:  # keys and signatures are hostile bytes, and several libraries deep the errors are many
        return "its signature is wrong"
    return ""


def _ttl(rrset: dns.rrset.RRset, rrsig: RRSIG, now: float) -> int:
    """RFC 4035 §5.3.3, and never more than a day."""
    return max(0, min(rrset.ttl, rrsig.original_ttl, _distance(rrsig.expiration, now), limits.DNS_MAX_TTL))
