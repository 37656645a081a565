"""Signs a zone in memory: keys from a seed, an NSEC or NSEC3 chain, and RRSIGs over what the zone is authoritative for.

in: a dns.zone.Zone with its records; out: the same zone, signed. dnspython's own signer does NSEC only.
Never for real zones: keys come from a seed and lie in memory. Source: RFC 4034, RFC 4035 §2, RFC 5155 §7.1.
"""

import hashlib
from typing import Final, TypeAlias

import attrs
import dns.dnssec
import dns.name
import dns.rdata
import dns.rdatatype
import dns.rrset
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from dns.dnssectypes import Algorithm, DSDigest
from dns.rdataclass import IN
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.RRSIG import RRSIG
from dns.rdtypes.dnskeybase import Flag

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | mldsa.MLDSA44PrivateKey
Types: TypeAlias = set[RdataType]

_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_NSEC3_SHA1: Final = 1  # the only hash RFC 5155 §11 defines
_OPT_OUT: Final = 1  # RFC 5155 §3.1.2.1
_KEY_TTL: Final = 3600


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


@attrs.frozen(kw_only=True)
class ZoneKeys:
    """A key-signing and a zone-signing key of one zone; the same seed, origin and algorithm give the same keys."""

    origin: dns.name.Name
    signing: tuple[PrivateKey, DNSKEY] = attrs.field(repr=False)
    zone: tuple[PrivateKey, DNSKEY] = attrs.field(repr=False)

    @classmethod
    def derive(cls, seed: bytes, origin: dns.name.Name, algorithm: Algorithm) -> "ZoneKeys":
        """Keys for ECDSAP256SHA256 (13), ED25519 (15) or MLDSA44 (18); ValueError for other algorithms."""
        place = origin.to_digestable()
        ksk = _private_key(hashlib.sha256(seed + b"|ksk|" + place).digest(), algorithm)
        zsk = _private_key(hashlib.sha256(seed + b"|zsk|" + place).digest(), algorithm)
        sep = dns.dnssec.make_dnskey(ksk.public_key(), algorithm, flags=Flag.ZONE | Flag.SEP)
        return cls(
            origin=origin,
            signing=(ksk, sep),
            zone=(zsk, dns.dnssec.make_dnskey(zsk.public_key(), algorithm, flags=Flag.ZONE)),
        )

    @property
    def ds(self) -> DS:
        """What the parent publishes, or what an anchors file holds (SHA-256)."""
        return dns.dnssec.make_ds(self.origin, self.signing[1], DSDigest.SHA256)

    def sign(self, rrset: dns.rrset.RRset, window: Window) -> RRSIG:
        """The signature over `rrset`: DNSKEY sets by the key-signing key, others by the zone-signing key."""
        private, public = self.signing if rrset.rdtype == RdataType.DNSKEY else self.zone
        return dns.dnssec.sign(
            rrset, private, self.origin, public, inception=window.inception, expiration=window.expiration
        )


def _private_key(seed: bytes, algorithm: Algorithm) -> PrivateKey:
    if algorithm == Algorithm.ECDSAP256SHA256:
        return ec.derive_private_key(int.from_bytes(seed) % (_P256_ORDER - 1) + 1, ec.SECP256R1())
    if algorithm == Algorithm.ED25519:
        return ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    if algorithm == Algorithm.MLDSA44:
        return mldsa.MLDSA44PrivateKey.from_seed_bytes(seed)
    raise ValueError(f"the test world signs with algorithms 13, 15 and 18, not {algorithm}")


def sign_zone(zone: dns.zone.Zone, keys: ZoneKeys, window: Window, nsec3: Nsec3 | None) -> None:
    """Add DNSKEY, the denial chain and all RRSIGs to `zone`, which must not be relativized."""
    assert zone.origin is not None
    soa = zone.find_rdataset(zone.origin, RdataType.SOA)
    negative_ttl = min(soa.ttl, soa[0].minimum)
    _add(zone, zone.origin, _KEY_TTL, keys.signing[1])
    _add(zone, zone.origin, _KEY_TTL, keys.zone[1])
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
        _add(zone, owner, negative_ttl, keys.sign(rrset, window))


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
            _add(zone, name, rdataset.ttl, keys.sign(rrset, window))


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
