"""What can be wrong with a zone of the test world: the list, and the damage done after signing.

in: a signed zone; out: the same zone, spoiled. What is wrong with single answers is in `world_faults`.
Never: touches a zone without being told to. Source: RFC 4035 §5, RFC 9276, RFC 9905, CVE-2023-50387.
"""

import enum
from collections.abc import Iterator
from itertools import islice, permutations
from typing import Final

import dns.name
import dns.rdata
import dns.rdataset
import dns.zone
from dns.dnssectypes import Algorithm
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.RRSIG import RRSIG

from volly_fed.testing.world_sign import KEY_TTL, ZoneKeys

_TRAP: Final = 100
"""Keys, and signatures over each RRset, of a key trap."""
TRAP_ALGORITHM: Final = Algorithm.ED25519
"""Its keys are short, so that a hundred fit into one answer."""
_P25519: Final = (1 << 255) - 19
_D25519: Final = -121665 * pow(121666, -1, _P25519) % _P25519


class Flaw(enum.Flag):
    """What is wrong with a zone."""

    NONE = 0
    EXPIRED = enum.auto()
    """All its signatures ended a week ago: beyond the tolerance of any validator."""
    NOT_YET_VALID = enum.auto()
    """All its signatures begin in a week."""
    BAD_SIGNATURE = enum.auto()
    """The last byte of every signature, except those over keys, is changed."""
    NO_SIGNATURES = enum.auto()
    """Signatures are stripped although the parent has a DS; keys and denial records are still there."""
    NO_KEYS = enum.auto()
    """The DNSKEY set is stripped; everything else, its signatures included, is there."""
    NO_DENIAL = enum.auto()
    """NSEC and NSEC3 records are stripped: nothing can be proved absent, and no wildcard's expansion proved right."""
    NOT_SIGNED = enum.auto()
    """The parent has a DS, and the zone has nothing of DNSSEC at all."""
    NO_DS = enum.auto()
    """Signed, but the parent proves that there is no DS: insecure."""
    STRIPPED_DS = enum.auto()
    """Signed, and the parent's DS is taken away after signing: its denial record says that there is one."""
    WRONG_DS = enum.auto()
    """The parent's DS is of a key that the zone does not have."""
    UNKNOWN_ALGORITHM = enum.auto()
    """The parent's DS names an algorithm that nobody supports: insecure."""
    UNKNOWN_DIGEST = enum.auto()
    """The parent's DS has a digest type that nobody supports: insecure."""
    SHA1_DIGEST = enum.auto()
    """The parent's only DS has a SHA-1 digest: insecure for those who follow RFC 9905."""
    KEY_TRAP = enum.auto()
    """A hundred keys with one tag, and a hundred wrong signatures over each RRset but the keys; of algorithm 15."""


def plant(zone: dns.zone.Zone, flaws: Flaw, keys: ZoneKeys) -> None:
    """What has to be in the zone before `keys` sign it: the keys of a trap."""
    if Flaw.KEY_TRAP not in flaws:
        return
    _, public = keys.zone
    assert public.algorithm == TRAP_ALGORITHM
    assert zone.origin is not None
    dnskeys = zone.find_rdataset(zone.origin, RdataType.DNSKEY, create=True)
    for dnskey in islice(_same_tag(public), _TRAP - 1):
        dnskeys.add(dnskey, KEY_TTL)


def spoil(zone: dns.zone.Zone, flaws: Flaw) -> None:
    """Do the damage of `flaws` to a signed zone."""
    if Flaw.KEY_TRAP in flaws:
        _set_trap(zone)
    for node in zone.nodes.values():
        for rdataset in list(node.rdatasets):
            if _is_stripped(rdataset, flaws):
                node.rdatasets.remove(rdataset)
            elif Flaw.BAD_SIGNATURE in flaws and _is_signature(rdataset):
                changed = [rdata.replace(signature=spoiled(rdata.signature)) for rdata in rdataset]
                _exchange(node.rdatasets, rdataset, changed)


def strip_ds(zone: dns.zone.Zone, child: dns.name.Name) -> None:
    """Take the DS of `child`, and the signature over it, out of the parent's signed zone."""
    zone.delete_rdataset(child, RdataType.DS)
    zone.delete_rdataset(child, RdataType.RRSIG, RdataType.DS)


def spoiled(signature: bytes) -> bytes:
    """`signature` with its last bit changed."""
    return signature[:-1] + bytes([signature[-1] ^ 1])


def _is_stripped(rdataset: dns.rdataset.Rdataset, flaws: Flaw) -> bool:
    signature = rdataset.rdtype == RdataType.RRSIG
    rdtype = rdataset.covers if signature else rdataset.rdtype
    return (
        (signature and Flaw.NO_SIGNATURES in flaws)
        or (rdtype == RdataType.DNSKEY and Flaw.NO_KEYS in flaws)
        or (rdtype in (RdataType.NSEC, RdataType.NSEC3) and Flaw.NO_DENIAL in flaws)
    )


def _is_signature(rdataset: dns.rdataset.Rdataset) -> bool:
    return bool(rdataset.rdtype == RdataType.RRSIG and rdataset.covers != RdataType.DNSKEY)


def _exchange(rdatasets: list[dns.rdataset.Rdataset], old: dns.rdataset.Rdataset, rdatas: list[RRSIG]) -> None:
    rdatasets.remove(old)
    rdatasets.append(dns.rdataset.from_rdata_list(old.ttl, rdatas))


def _set_trap(zone: dns.zone.Zone) -> None:
    for node in zone.nodes.values():
        for rdataset in [rdataset for rdataset in node.rdatasets if _is_signature(rdataset)]:
            head, tail = rdataset[0].signature[:1], rdataset[0].signature[2:]
            wrong = (head + bytes([index]) + tail for index in range(256) if index != rdataset[0].signature[1])
            signatures = [rdataset[0].replace(signature=signature) for signature in islice(wrong, _TRAP)]
            _exchange(node.rdatasets, rdataset, signatures)


def _same_tag(dnskey: DNSKEY) -> Iterator[dns.rdata.Rdata]:
    """Others with its key tag: that is a sum of 16-bit words, which does not change when they change places."""
    words = [dnskey.key[index : index + 2] for index in range(0, len(dnskey.key), 2)]
    for shuffled in permutations(words[:-1]):  # the last one has the sign bit, and a bound on its value
        key = b"".join([*shuffled, words[-1]])
        if key != dnskey.key and _is_point(key):
            yield dnskey.replace(key=key)


def _is_point(key: bytes) -> bool:
    """Whether `key` is on the curve (RFC 8032 §5.1.3): one that is not would be refused before any costly work."""
    y = int.from_bytes(key, "little") & ((1 << 255) - 1)
    square = (y * y - 1) * pow(_D25519 * y * y + 1, -1, _P25519) % _P25519
    return square == 0 or pow(square, (_P25519 - 1) // 2, _P25519) == 1
