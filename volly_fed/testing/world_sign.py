"""Signs a zone in memory: keys from a seed, an NSEC or NSEC3 chain, and RRSIGs over what the zone is authoritative for.

in: a dns.zone.Zone with its records; out: the same zone, signed. dnspython's own signer does NSEC only.
Never for real zones: keys come from a seed and lie in memory. Source: RFC 4034, RFC 4035 §2, RFC 5155 §7.1.
"""

import hashlib
from collections.abc import Sequence
from typing import Final, TypeAlias

import attrs
import dns.dnssec
import dns.name
import dns.rdata
import dns.rdatatype
import dns.rrset
import dns.zone
from dns.dnssectypes import Algorithm, DSDigest
from dns.rdataclass import IN
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.RRSIG import RRSIG
from dns.rdtypes.dnskeybase import Flag

from volly_fed.testing.world_keys import RSA, PrivateKey, private_key

Types: TypeAlias = set[RdataType]

_NSEC3_SHA1: Final = 1  # the only hash RFC 5155 §11 defines
_OPT_OUT: Final = 1  # RFC 5155 §3.1.2.1
KEY_TTL: Final = 3600
"""Of DNSKEY sets, in seconds."""


@attrs.frozen(kw_only=True)
class Nsec3:
    """How to hash names; the defaults are what RFC 9276 §3.1 asks for."""

    iterations: int = 0
    salt: bytes = b""
    opt_out: bool = False

    def hash_of(self, name: dns.name.Name) -> str:
        """The owner label for `name`: 32 characters of lower-case base32hex."""
        return dns.dnssec.nsec3_hash(name, self.salt, self.iterations, _NSEC3_SHA1).lower()

    def owner(self, name: dns.name.Name, origin: dns.name.Name) -> dns.name.Name:
        """The owner name of the record for `name` in the zone `origin`."""
        return dns.name.from_text(self.hash_of(name), origin)


@attrs.frozen(kw_only=True)
class Window:
    """The time between which signatures are valid, seconds since 1970."""

    inception: int
    expiration: int


KeyPair: TypeAlias = tuple[PrivateKey, DNSKEY]


@attrs.frozen(kw_only=True)
class ZoneKeys:
    """The keys of one zone; the same seed, origin and algorithms give the same keys."""

    origin: dns.name.Name
    pairs: tuple[tuple[KeyPair, KeyPair], ...] = attrs.field(repr=False)
    """For each algorithm a key-signing and a zone-signing key."""

    @classmethod
    def derive(cls, seed: bytes, origin: dns.name.Name, algorithms: int | Sequence[int]) -> "ZoneKeys":
        """Keys for one algorithm or several (see `world_keys.private_key`); ValueError for those it does not know."""
        chosen = [algorithms] if isinstance(algorithms, int) else algorithms
        pairs = tuple(_pair(seed, origin, Algorithm.make(algorithm)) for algorithm in chosen)
        return cls(origin=origin, pairs=pairs)

    @property
    def signing(self) -> KeyPair:
        """The key-signing key of the first algorithm."""
        return self.pairs[0][0]

    @property
    def zone(self) -> KeyPair:
        """The zone-signing key of the first algorithm."""
        return self.pairs[0][1]

    @property
    def dnskeys(self) -> list[DNSKEY]:
        """All public keys."""
        return [public for pair in self.pairs for _, public in pair]

    @property
    def ds(self) -> DS:
        """That of the first algorithm, with SHA-256."""
        return self.ds_set()[0]

    def ds_set(self, digest: DSDigest = DSDigest.SHA256) -> list[DS]:
        """What the parent publishes, or what an anchors file holds: one for each algorithm."""
        return [
            dns.dnssec.make_ds(self.origin, public, digest, policy=dns.dnssec.allow_all_policy)
            for (_, public), _ in self.pairs
        ]

    def sign(self, rrset: dns.rrset.RRset, window: Window) -> RRSIG:
        """The first of `signatures`."""
        return self.signatures(rrset, window)[0]

    def signatures(self, rrset: dns.rrset.RRset, window: Window) -> list[RRSIG]:
        """One for each algorithm: DNSKEY sets are signed by the key-signing key, others by the zone-signing key."""
        is_keys = rrset.rdtype == RdataType.DNSKEY
        signers = [signing if is_keys else zone for signing, zone in self.pairs]
        return [
            dns.dnssec.sign(
                rrset,
                private,
                self.origin,
                public,
                inception=window.inception,
                expiration=window.expiration,
                policy=dns.dnssec.allow_all_policy,  # SHA-1 ones are for tests of validators that refuse them
            )
            for private, public in signers
        ]


def _pair(seed: bytes, origin: dns.name.Name, algorithm: Algorithm) -> tuple[KeyPair, KeyPair]:
    place = origin.to_digestable()
    ksk = private_key(hashlib.sha256(seed + b"|ksk|" + place).digest(), algorithm)
    # RSA keys take long to find, so there one does both; its two DNSKEY records differ in their flags and tags
    zsk = ksk if algorithm in RSA else private_key(hashlib.sha256(seed + b"|zsk|" + place).digest(), algorithm)
    return (ksk, _public(ksk, algorithm, Flag.ZONE | Flag.SEP)), (zsk, _public(zsk, algorithm, Flag.ZONE))


def _public(private: PrivateKey, algorithm: Algorithm, flags: int) -> DNSKEY:
    return dns.dnssec.make_dnskey(private.public_key(), algorithm, flags=flags)


def sign_zone(zone: dns.zone.Zone, keys: ZoneKeys, window: Window, nsec3: Nsec3 | None) -> None:
    """Add DNSKEY, the denial chain and all RRSIGs to `zone`, which must not be relativized."""
    assert zone.origin is not None
    soa = zone.find_rdataset(zone.origin, RdataType.SOA)
    negative_ttl = min(soa.ttl, soa[0].minimum)
    for dnskey in keys.dnskeys:
        _add(zone, zone.origin, KEY_TTL, dnskey)
    if nsec3:
        salt = nsec3.salt.hex() or "-"
        text = f"{_NSEC3_SHA1} 0 {nsec3.iterations} {salt}"
        _add(zone, zone.origin, 0, dns.rdata.from_text(IN, RdataType.NSEC3PARAM, text))
    chain = _chain(zone, nsec3)
    _sign_records(zone, keys, window)
    denial = _nsec3_records(zone.origin, chain, nsec3) if nsec3 else _nsec_records(chain)
    for owner, rdata in denial.items():
        rrset = dns.rrset.from_rdata(owner, negative_ttl, rdata)
        _add(zone, owner, negative_ttl, rdata)
        for signature in keys.signatures(rrset, window):
            _add(zone, owner, negative_ttl, signature)


def _add(zone: dns.zone.Zone, name: dns.name.Name, ttl: int, rdata: dns.rdata.Rdata) -> None:
    covers = rdata.covers() if rdata.rdtype == RdataType.RRSIG else RdataType.NONE
    zone.find_rdataset(name, rdata.rdtype, covers, create=True).add(rdata, ttl)


def _cuts(zone: dns.zone.Zone) -> set[dns.name.Name]:
    return {name for name in zone.nodes if name != zone.origin and zone.get_rdataset(name, RdataType.NS)}


def _is_below(name: dns.name.Name, cuts: set[dns.name.Name]) -> bool:
    """Whether `name` is glue: strictly below a delegation."""
    return any(name != cut and name.is_subdomain(cut) for cut in cuts)


def _sign_records(zone: dns.zone.Zone, keys: ZoneKeys, window: Window) -> None:
    cuts = _cuts(zone)
    for name in list(zone.nodes):
        if _is_below(name, cuts):
            continue
        for rdataset in list(zone.nodes[name].rdatasets):
            if name in cuts and rdataset.rdtype != RdataType.DS:
                continue
            rrset = dns.rrset.from_rdata(name, rdataset.ttl, *rdataset)
            for signature in keys.signatures(rrset, window):
                _add(zone, name, rdataset.ttl, signature)


def _chain(zone: dns.zone.Zone, nsec3: Nsec3 | None) -> dict[dns.name.Name, Types]:
    """The names that get a denial record, each with the types its bitmap shows."""
    cuts, chain = _cuts(zone), dict[dns.name.Name, Types]()
    for name in zone.nodes:
        types = {rdataset.rdtype for rdataset in zone.nodes[name].rdatasets}
        if name in cuts:
            types &= {RdataType.NS, RdataType.DS}
        if _is_below(name, cuts) or (nsec3 and nsec3.opt_out and types == {RdataType.NS}):
            continue
        if not nsec3:
            types |= {RdataType.NSEC, RdataType.RRSIG}
        elif types != {RdataType.NS}:
            types |= {RdataType.RRSIG}
        chain[name] = types
    if nsec3:
        _add_empty_names(zone, chain)
    return chain


def _add_empty_names(zone: dns.zone.Zone, chain: dict[dns.name.Name, Types]) -> None:
    """RFC 5155 §7.1: empty non-terminals get a record too, with an empty bitmap."""
    for name in list(chain):
        parent = name
        while parent != zone.origin:
            parent = parent.parent()
            chain.setdefault(parent, set())


def _nsec_records(chain: dict[dns.name.Name, Types]) -> dict[dns.name.Name, dns.rdata.Rdata]:
    names = sorted(chain)
    following = names[1:] + names[:1]
    return {
        name: dns.rdata.from_text(IN, RdataType.NSEC, f"{after} {_types_text(chain[name])}")
        for name, after in zip(names, following, strict=True)
    }


def _nsec3_records(
    origin: dns.name.Name, chain: dict[dns.name.Name, Types], nsec3: Nsec3
) -> dict[dns.name.Name, dns.rdata.Rdata]:
    hashed = sorted((nsec3.hash_of(name), types) for name, types in chain.items())
    following = hashed[1:] + hashed[:1]
    parameters = f"{_NSEC3_SHA1} {_OPT_OUT if nsec3.opt_out else 0} {nsec3.iterations} {nsec3.salt.hex() or '-'}"
    return {
        dns.name.from_text(label, origin): dns.rdata.from_text(
            IN, RdataType.NSEC3, f"{parameters} {after} {_types_text(types)}"
        )
        for (label, types), (after, _) in zip(hashed, following, strict=True)
    }


def _types_text(types: Types) -> str:
    return " ".join(sorted(rdtype.name for rdtype in types))
