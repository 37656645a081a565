import base64
import contextlib
import hashlib
import pickle
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.crypto.published import vectors
from volly_fed.crypto.certificate import TlsKey, is_mldsa65, spki_of
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage, LocalError

START, LIFE = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=90)
KEY = TlsKey.from_seed(Secret(bytes(range(32))))
CERTIFICATE = KEY.self_signed("a.example", START, LIFE)


def classical_certificate() -> bytes:
    key = Ed25519PrivateKey.generate()
    name = x509.Name([])
    builder = x509.CertificateBuilder(subject_name=name, issuer_name=name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(START).not_valid_after(START + LIFE)
    return builder.sign(key, None).public_bytes(Encoding.DER)


def test_sizes() -> None:
    assert (len(KEY.spki), len(KEY.pkcs8_der()), len(KEY.seed)) == (1974, 54, 32)
    assert 5400 < len(CERTIFICATE) < 5600
    assert KEY.spki_sha256 == hashlib.sha256(KEY.spki).digest()


def test_a_key_comes_back_from_its_seed_and_from_pkcs8() -> None:
    key = TlsKey.generate()
    assert TlsKey.from_seed(key.seed).spki == key.spki != KEY.spki
    loaded = load_der_private_key(key.pkcs8_der(), None)
    assert loaded.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == key.spki


def test_the_certificate_carries_key_name_and_dates_and_verifies() -> None:
    certificate = x509.load_der_x509_certificate(CERTIFICATE)
    certificate.verify_directly_issued_by(certificate)
    assert (certificate.not_valid_before_utc, certificate.not_valid_after_utc) == (START, START + LIFE)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example"]
    assert spki_of(CERTIFICATE) == KEY.spki
    assert is_mldsa65(CERTIFICATE)


def test_the_longest_domain_fits() -> None:
    name = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert len(name) == 253
    assert spki_of(KEY.self_signed(name, START, LIFE)) == KEY.spki


def test_names_that_are_not_ascii_are_refused() -> None:
    with pytest.raises(ValueError, match=r"(?i)a-label|ascii"):
        KEY.self_signed("é.example", START, LIFE)


def test_a_classical_certificate_is_told_apart() -> None:
    assert not is_mldsa65(classical_certificate())
    assert len(spki_of(classical_certificate())) == 44


def test_a_certificate_with_a_key_of_unknown_kind_is_refused() -> None:
    composite = base64.b64decode(vectors("composite-mldsa65-ed25519")["tests"][0]["x5c"])
    assert not is_mldsa65(composite)
    with pytest.raises(BadMessage):
        spki_of(composite)


@pytest.mark.spec("crypto-20")
@settings(max_examples=60)
@given(st.binary(max_size=200), st.integers(0, len(CERTIFICATE) - 1), st.integers(1, 255), st.integers(0, 5000))
def test_arbitrary_bytes_give_bad_message_only(junk: bytes, position: int, change: int, size: int) -> None:
    damaged = bytearray(CERTIFICATE)
    damaged[position] ^= change
    for data in (junk, bytes(damaged), CERTIFICATE[:size]):
        assert is_mldsa65(data) in {True, False}
        with contextlib.suppress(BadMessage):
            spki_of(data)


@settings(max_examples=200)
@given(st.integers(0, 200), st.integers(1, 255))
def test_damaged_heads_give_bad_message_only(position: int, change: int) -> None:
    damaged = bytearray(CERTIFICATE)
    damaged[position] ^= change
    assert is_mldsa65(bytes(damaged)) in {True, False}
    with contextlib.suppress(BadMessage):
        spki_of(bytes(damaged))


def test_an_unknown_version_is_a_bad_message() -> None:
    version_4 = CERTIFICATE.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020103"), 1)
    assert version_4 != CERTIFICATE
    assert not is_mldsa65(version_4)
    with pytest.raises(BadMessage):
        spki_of(version_4)


def test_a_warning_about_an_odd_certificate_is_a_bad_message_where_warnings_are_errors() -> None:
    serial = CERTIFICATE.index(bytes.fromhex("a003020102")) + 5
    negative = CERTIFICATE[: serial + 2] + b"\x80" + CERTIFICATE[serial + 3 :]
    assert not is_mldsa65(negative)
    with pytest.raises(BadMessage):
        spki_of(negative)


@pytest.mark.parametrize("size", [0, 31, 33, 54])
def test_seeds_of_a_wrong_size_are_the_operators_problem(size: int) -> None:
    with pytest.raises(LocalError, match="note:"):
        TlsKey.from_seed(Secret(bytes(size)))


def test_the_repr_shows_the_public_digest_only() -> None:
    assert repr(KEY) == f"TlsKey({KEY.spki_sha256.hex()})"
    with pytest.raises(TypeError):
        pickle.dumps(KEY)
