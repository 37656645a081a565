"""A zone's DNSKEYs, found by algorithm and tag, each taken apart once.

in: Dnskey rdata; out: keys that may be tried, and why others may not.
Never: more than limits.DNS_KEYS_PER_TAG for one signature (KeyTrap, CVE-2023-50387), or an RSA key that is costly on
purpose or too short to mean anything. Source: RFC 4034 §2 and appendix B, RFC 5011 §2.1, RFC 5702 §2, RFC 3110 §2.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Final, Protocol, cast

from dns.dnssecalgs import get_algorithm_cls_from_dnskey
from dns.dnssecalgs.base import GenericPublicKey
from dns.dnssectypes import Algorithm
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.dnskeybase import Flag

from volly_fed import limits

_FIXED: Final = struct.Struct("!HBB")
_ZONE: Final = int(Flag.ZONE)
_ZONE_AND_REVOKE: Final = int(Flag.ZONE | Flag.REVOKE)
_PROTOCOL: Final = 3  # RFC 4034 §2.1.2
_RSA: Final = (Algorithm.RSASHA256, Algorithm.RSASHA512)
_LONG_EXPONENT: Final = 3  # RFC 3110 §2: a zero byte, then two bytes of length


class Dnskey(Protocol):
    """A DNSKEY's fields (RFC 4034 §2.1): our own reader's, or dnspython's."""

    @property
    def flags(self) -> int:
        """Zone key, secure entry point, revoked."""
        ...

    @property
    def protocol(self) -> int:
        """3."""
        ...

    @property
    def algorithm(self) -> int:
        """The number that DS and RRSIG records name."""
        ...

    @property
    def key(self) -> bytes:
        """The public key, in the form of the algorithm."""
        ...


def rdata_of(dnskey: Dnskey) -> bytes:
    """The RDATA."""
    return _FIXED.pack(dnskey.flags, dnskey.protocol, dnskey.algorithm) + dnskey.key


def tag_of(rdata: bytes) -> int:
    """The key tag (RFC 4034 appendix B; not that of algorithm 1, which nobody may use)."""
    words = rdata + b"\0" if len(rdata) % 2 else rdata
    total: int = sum(struct.unpack(f"!{len(words) // 2}H", words))
    return (total + (total >> 16)) & 0xFFFF


class Key:
    """One key that may sign."""

    def __init__(self, dnskey: Dnskey, tag: int) -> None:
        self.dnskey = dnskey
        self.tag = tag
        self.objection = _rsa_objection(dnskey, tag) if dnskey.algorithm in _RSA else ""
        """Why it is not used, or ""."""
        self._public: GenericPublicKey | None = None

    @staticmethod
    def may_sign(dnskey: Dnskey) -> bool:
        """Whether it is a zone key. A revoked one is good for nothing but its own revocation (RFC 5011 §2.1)."""
        return dnskey.flags & _ZONE_AND_REVOKE == _ZONE and dnskey.protocol == _PROTOCOL

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether `signature` is this key's over `data`."""
        try:
            if self._public is None:
                dnskey = cast("DNSKEY", self.dnskey)  # only the fields are looked at
                self._public = get_algorithm_cls_from_dnskey(dnskey).public_cls.from_dnskey(dnskey)
            self._public.verify(signature, data)
        except Exception:  # keys and signatures are hostile bytes, and several libraries deep the errors are many
            return False
        return True


class KeySet:
    """All keys of a zone; iterates over the DNSKEYs as they came.

    `required` is the algorithm that a signature must have, by a local rule (RFC 6840 §5.11 would take any).
    """

    def __init__(self, dnskeys: Iterable[Dnskey], required: Algorithm | None = None) -> None:
        self._dnskeys = tuple(dnskeys)
        self._required = required
        self._keys: dict[tuple[int, int], list[Key]] = {}
        for dnskey in self._dnskeys:
            if Key.may_sign(dnskey):
                tag = tag_of(rdata_of(dnskey))
                self._keys.setdefault((int(dnskey.algorithm), tag), []).append(Key(dnskey, tag))

    def __iter__(self) -> Iterator[Dnskey]:
        return iter(self._dnskeys)

    def only(self, key: Key) -> "KeySet":
        """`key` alone, under the same rule."""
        chosen = KeySet((), self._required)
        chosen._dnskeys, chosen._keys = (key.dnskey,), {(int(key.dnskey.algorithm), key.tag): [key]}
        return chosen

    def candidates(self, algorithm: int, tag: int) -> list[Key]:
        """The keys to try for a signature or DS with that algorithm and tag."""
        return self._keys.get((algorithm, tag), [])[: limits.DNS_KEYS_PER_TAG]

    def objection(self, algorithm: int, tag: int) -> str:
        """Why no key can be tried, or ""."""
        if self._required is not None and algorithm != self._required:
            return (
                f"it is signed with algorithm {algorithm}, but the zone's DS has {int(self._required)} (ML-DSA-44), "
                "which [dns] require_mldsa44 asks for"
            )
        return "" if self.candidates(algorithm, tag) else f"the zone has no key {tag} of algorithm {algorithm}"


def _rsa_objection(dnskey: Dnskey, tag: int) -> str:
    """RFC 5702 §2.1: up to 4096 bits; a long modulus with a long exponent costs a thousand times the usual."""
    exponent, modulus = _rsa_parts(dnskey.key)
    bits = int.from_bytes(modulus).bit_length()
    if not limits.DNS_RSA_MIN_BITS <= bits <= limits.DNS_RSA_MAX_BITS:
        return f"its key {tag} is an RSA key of {bits} bits, not {limits.DNS_RSA_MIN_BITS} to {limits.DNS_RSA_MAX_BITS}"
    if int.from_bytes(exponent).bit_length() > limits.DNS_RSA_EXPONENT_BITS:
        return f"its key {tag} is an RSA key with an exponent of more than {limits.DNS_RSA_EXPONENT_BITS} bits"
    return ""


def _rsa_parts(key: bytes) -> tuple[bytes, bytes]:
    """Exponent and modulus (RFC 3110 §2)."""
    start, size = 1, key[0] if key else 0
    if size == 0:
        start, size = _LONG_EXPONENT, int.from_bytes(key[1:_LONG_EXPONENT])
    return key[start : start + size], key[start + size :]
