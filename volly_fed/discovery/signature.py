"""One RRset, its signatures and a zone's keys: does any signature hold, and for how long.

in: an RRset, RRSIGs, DNSKEYs, the time; out: evidence, or Bogus with the reason.
Never: decides whether the keys are the zone's; `chain` does. Source: RFC 4035 §5.3, RFC 6840 §5, RFC 4034 §3.1.5 and
§6, RFC 5702 §2 (sizes of RSA keys). The signed data are put together here, once for all signatures over an RRset.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import Final

import attrs
import dns.name
import dns.rdatatype
from dns.dnssectypes import Algorithm, DSDigest
from dns.rdataclass import IN
from dns.rdtypes.ANY.DS import DS

from volly_fed import limits
from volly_fed.discovery.budget import Budget
from volly_fed.discovery.keys import Dnskey, Key, KeySet, rdata_of, tag_of
from volly_fed.discovery.rrset import RRset, Rrsig
from volly_fed.discovery.wire_name import same
from volly_fed.errors import Bogus

ALGORITHMS: Final = frozenset(  # [discovery-20] [discovery-21]
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
_DIGESTS: Final = {DSDigest.SHA256: hashlib.sha256, DSDigest.SHA384: hashlib.sha384}
DIGESTS: Final = frozenset(_DIGESTS)

_SERIAL: Final = 1 << 32
_HALF: Final = 1 << 31
_OWNED: Final = struct.Struct("!HHI")  # type, class and TTL


@attrs.frozen(kw_only=True)
class Verified:
    """A signature that holds."""

    rrsig: Rrsig
    labels: int
    """Of the owner name as signed: fewer than the owner's own where a wildcard was expanded (RFC 4035 §5.3.4)."""
    ttl: float
    """Seconds that the RRset may be used for: the least of its TTL, the signed TTL and the signature's remainder."""


def verify_rrset(
    rrset: RRset,
    rrsigs: Sequence[Rrsig],
    *,
    zone: dns.name.Name,
    keys: Iterable[Dnskey],
    now: float,
    budget: Budget,
) -> Verified:
    """Evidence that `zone` signed `rrset`. Raises Bogus with the last reason, or Indeterminate out of budget.

    One signature that holds is enough (RFC 6840 §5.11), unless `keys` is a KeySet that requires an algorithm; unknown
    algorithms are passed over. Whoever verifies several RRsets with the same keys makes one KeySet of them.
    """
    ring = keys if isinstance(keys, KeySet) else KeySet(keys)
    reason = "it has no signature"
    rdatas: list[bytes] = []
    for rrsig in rrsigs[: limits.DNS_RRSIGS_PER_RRSET]:
        reason = _objection(rrset, rrsig, zone, now) or ring.objection(rrsig.algorithm, rrsig.key_tag)
        if reason:
            continue
        rdatas = rdatas or _canonical(rrset)
        signed = _signed_data(rrset, rrsig, rdatas)
        for key in ring.candidates(rrsig.algorithm, rrsig.key_tag):
            reason = key.objection or _failure(key, rrsig, signed, budget)
            if not reason:
                return Verified(rrsig=rrsig, labels=rrsig.labels, ttl=_ttl(rrset, rrsig, now))
    raise Bogus(f"{rrset.name} {dns.rdatatype.to_text(rrset.rdtype)}: {reason}")  # [discovery-16]


def _failure(key: Key, rrsig: Rrsig, signed: bytes, budget: Budget) -> str:
    budget.spend_verification()
    return "" if key.verifies(rrsig.signature, signed) else "its signature is wrong"


def matches_ds(zone: dns.name.Name, key: Dnskey, ds: DS) -> bool:
    """Whether `ds` names `key`, and the key may sign the zone's keys (RFC 4035 §5.2)."""
    rdata = rdata_of(key)
    if (key.algorithm, tag_of(rdata)) != (ds.algorithm, ds.key_tag) or not Key.may_sign(key):
        return False
    digest = _DIGESTS.get(ds.digest_type)
    return digest is not None and digest(zone.to_digestable() + rdata).digest() == ds.digest


def is_supported(ds: DS) -> bool:
    """Whether both the key's algorithm and the digest are ones that can be checked here."""
    return ds.algorithm in ALGORITHMS and ds.digest_type in DIGESTS


def _objection(rrset: RRset, rrsig: Rrsig, zone: dns.name.Name, now: float) -> str:
    """Why `rrsig` cannot hold, before any cryptography; "" where nothing speaks against it (RFC 4035 §5.3.1)."""
    if rrsig.type_covered != rrset.rdtype:
        return "its signature covers another type"
    if not same(rrsig.signer, zone) or not rrset.name.is_subdomain(zone):
        return f"it is signed by {rrsig.signer}, not by {zone}"
    if rrsig.algorithm not in ALGORITHMS:
        return f"it is signed with algorithm {rrsig.algorithm}, which is not supported"
    # RFC 4034 §3.1.3: neither the root nor a leading "*" counts, so a wildcard's own RRset has exactly one label less
    labels = len(rrset.name) - 1 - rrset.name.is_wild()
    if not len(zone) - 1 <= rrsig.labels <= labels or (rrset.name.is_wild() and rrsig.labels != labels):
        return "its signature is over another name"
    if seconds_until(rrsig.expiration, now - limits.DNS_CLOCK_SKEW) < 0:
        return f"its signature expired {-seconds_until(rrsig.expiration, now)} seconds ago"
    if seconds_until(rrsig.inception, now + limits.DNS_CLOCK_SKEW) > 0:
        return f"its signature is not valid for another {seconds_until(rrsig.inception, now)} seconds"
    return ""


def seconds_until(stamp: int, now: float) -> int:
    """Seconds from `now` to a signature's time, by serial arithmetic (RFC 4034 §3.1.5); negative if it is past."""
    return (stamp - int(now) + _HALF) % _SERIAL - _HALF


def _canonical(rrset: RRset) -> list[bytes]:
    """The RDATA in canonical form and order, none twice, each after its length (RFC 4034 §6.2 and §6.3)."""
    return [len(rdata).to_bytes(2) + rdata for rdata in sorted(rrset.canonical)]


def _signed_data(rrset: RRset, rrsig: Rrsig, rdatas: Sequence[bytes]) -> bytes:
    """What the signature is over (RFC 4034 §3.1.8.1); for an expanded wildcard, its own name (RFC 4035 §5.3.2)."""
    owner = rrset.name.to_digestable()
    if rrsig.labels < len(rrset.name) - 1 - rrset.name.is_wild():
        owner = b"\x01*" + rrset.name.split(rrsig.labels + 1)[1].to_digestable()
    head = owner + _OWNED.pack(rrset.rdtype, IN, rrsig.original_ttl)
    return rrsig.unsigned + b"".join(head + rdata for rdata in rdatas)


def _ttl(rrset: RRset, rrsig: Rrsig, now: float) -> int:
    """RFC 4035 §5.3.3, and never more than a day."""
    # [discovery-26]
    return max(0, min(rrset.ttl, rrsig.original_ttl, seconds_until(rrsig.expiration, now), limits.DNS_MAX_TTL))
