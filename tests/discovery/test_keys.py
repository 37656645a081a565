"""Which keys may be tried for a signature, and that costly or worthless ones cost nothing."""

import struct

import dns.dnssec
import dns.name
import dns.rdata
import pytest
from dns.dnssectypes import Algorithm
from dns.rdataclass import IN
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.dnskeybase import Flag

from tests.discovery.harness import rrset_of
from volly_fed import limits
from volly_fed.discovery.budget import Budget
from volly_fed.discovery.keys import Key, KeySet
from volly_fed.discovery.signature import verify_rrset
from volly_fed.errors import Bogus

NAME = dns.name.from_text("x.test")


def dnskey(flags: int, algorithm: int, material: bytes) -> DNSKEY:
    wire = struct.pack("!HBB", flags, 3, algorithm) + material
    made = dns.rdata.from_wire(IN, RdataType.DNSKEY, wire, 0, len(wire))
    assert isinstance(made, DNSKEY)
    return made


def rsa_key(bits: int, exponent: int = 65537, *, long_form: bool = False, flags: int = Flag.ZONE) -> DNSKEY:
    """Of that size; the modulus is no product of primes, which nobody notices before a signature is to hold."""
    made = exponent.to_bytes((exponent.bit_length() + 7) // 8)
    head = b"\0" + len(made).to_bytes(2) if long_form or len(made) > 255 else bytes([len(made)])
    modulus = (1 << (bits - 1) | 1).to_bytes((bits + 7) // 8)
    return dnskey(flags, Algorithm.RSASHA256, head + made + modulus)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (rsa_key(1023), "RSA key of 1023 bits"),
        (rsa_key(512), "RSA key of 512 bits"),
        (rsa_key(4097), "RSA key of 4097 bits"),
        (rsa_key(16384), "RSA key of 16384 bits"),
        (rsa_key(2048, (1 << 64) + 1), "exponent of more than 64 bits"),
        (rsa_key(2048, (1 << 2047) + 1), "exponent of more than 64 bits"),
        (rsa_key(2048).replace(key=b""), "RSA key of 0 bits"),
        (rsa_key(2048).replace(key=b"\0\xff\xff\1"), "RSA key of 0 bits"),
    ],
)
def test_rsa_keys_that_are_worthless_or_costly_are_not_tried(key: dns.rdata.Rdata, reason: str) -> None:
    assert isinstance(key, DNSKEY)
    budget = Budget()
    rrset = rrset_of(NAME, 60, [dns.rdata.from_text(IN, RdataType.A, "192.0.2.1")])
    tag = dns.dnssec.key_id(key)
    rrsig = dns.rdata.from_text(IN, RdataType.RRSIG, f"A 8 2 60 200 100 {tag} {NAME} {'AQEB' * 64}")
    rrsigs = rrset_of(NAME, 60, [rrsig]).rrsigs
    with pytest.raises(Bogus, match=reason):
        verify_rrset(rrset, rrsigs, zone=NAME, keys=[key], now=150.0, budget=budget)
    assert budget.verifications == limits.DNS_VERIFICATIONS


@pytest.mark.parametrize(
    "key", [rsa_key(1024), rsa_key(4096), rsa_key(2048, 3), rsa_key(2048, (1 << 64) - 1), rsa_key(2048, long_form=True)]
)
def test_usual_rsa_keys_are_tried(key: DNSKEY) -> None:
    assert Key(key, 0).objection == ""


def test_only_zone_keys_that_are_not_revoked_may_sign() -> None:
    assert Key.may_sign(rsa_key(2048))
    assert Key.may_sign(rsa_key(2048, flags=Flag.ZONE | Flag.SEP))
    for key in (
        rsa_key(2048, flags=0),
        rsa_key(2048, flags=Flag.SEP),
        rsa_key(2048, flags=Flag.ZONE | Flag.REVOKE),
        rsa_key(2048).replace(protocol=2),
    ):
        assert isinstance(key, DNSKEY)
        assert not Key.may_sign(key)
        assert not KeySet([key]).candidates(Algorithm.RSASHA256, dns.dnssec.key_id(key))


def test_garbage_verifies_nothing() -> None:
    for algorithm in (8, 13, 14, 15, 16, 18, 253, 200):
        for material in (b"", b"\1", b"\1" * 32, b"\1" * 64, bytes(1312)):
            key = Key(dnskey(Flag.ZONE, algorithm, material), 0)
            assert not key.verifies(b"\1" * 64, b"data")
            assert not key.verifies(b"", b"")
