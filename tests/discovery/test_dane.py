import hashlib

import pytest

from volly_fed import limits
from volly_fed.discovery.dane import TlsaRecord, match, objection, usable

SPKI = b"the DER of a public key"
CERTIFICATE = b"the DER of a certificate"


def record(usage: int = 3, selector: int = 1, matching: int = 1, data: bytes | None = None) -> TlsaRecord:
    subject = SPKI if selector == 1 else CERTIFICATE
    made = {1: hashlib.sha256(subject).digest(), 2: hashlib.sha512(subject).digest()}.get(matching, subject)
    return TlsaRecord(usage=usage, selector=selector, matching=matching, data=made if data is None else data)


@pytest.mark.parametrize(("selector", "matching"), [(0, 1), (0, 2), (1, 1), (1, 2)])
def test_right_key_matches(selector: int, matching: int) -> None:
    assert objection(record(3, selector, matching)) == ""
    assert match([record(3, selector, matching)], spki=SPKI, certificate=CERTIFICATE)


@pytest.mark.parametrize(
    ("unusable", "why"),
    [
        (record(usage=0), "usage 0"),
        (record(usage=1), "usage 1"),
        (record(usage=2), "usage 2"),
        (record(usage=255), "usage 255"),
        (record(selector=2), "selector 2"),
        (record(matching=0), "matching type 0"),
        (record(matching=3), "matching type 3"),
        (record(data=b""), "not 0"),
        (record(data=b"\0" * 31), "not 31"),
        (record(matching=2, data=b"\0" * 32), "not 32"),
    ],
)
def test_unusable_record_is_ignored_and_does_not_match(unusable: TlsaRecord, why: str) -> None:
    assert why in objection(unusable)
    assert usable([unusable, record()]) == (record(),)
    assert not match([unusable], spki=SPKI, certificate=CERTIFICATE)
    assert match([unusable, record()], spki=SPKI, certificate=CERTIFICATE)


@pytest.mark.parametrize("selector", [0, 1])
def test_wrong_key_and_swapped_subjects_do_not_match(selector: int) -> None:
    assert not match([record(selector=selector)], spki=b"other", certificate=b"other")
    assert not match([record(selector=selector)], spki=CERTIFICATE, certificate=SPKI)


@pytest.mark.spec("discovery-12")
def test_any_of_several_matches_without_digest_agility() -> None:
    other = record(matching=2, data=b"\0" * 64)
    assert match([other, record()], spki=SPKI, certificate=CERTIFICATE)
    assert match([record(), other], spki=SPKI, certificate=CERTIFICATE)


def test_no_record_is_no_match() -> None:
    assert not match([], spki=SPKI, certificate=CERTIFICATE)


def test_the_number_of_records_is_bounded() -> None:
    assert len(usable([record()] * (limits.DNS_TLSA_RECORDS + 9))) == limits.DNS_TLSA_RECORDS


def test_text_is_the_zone_files() -> None:
    assert str(record(data=b"\xab" * 32)) == "3 1 1 " + "ab" * 32
