from typing import Any

import pytest
from cryptography.hazmat.bindings._rust import openssl as rust_openssl
from cryptography.hazmat.primitives import hpke as library
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from tests.crypto.published import vectors
from volly_fed.crypto import hpke
from volly_fed.crypto.kem import MailboxKey, hpke_open, hpke_seal
from volly_fed.crypto.provider import Provider
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage

INFO, AAD, TEXT = b"volly-fed/test/v1", b"an envelope id", b"hello" * 100


def hkdf_vectors() -> list[dict[str, Any]]:
    return [test for test in vectors("hpke-mlkem768-x25519") if test["kdf_id"] == hpke.KDF_HKDF_SHA256]


@pytest.mark.spec("crypto-13")
def test_published_key_schedule_and_first_message(provider: Provider) -> None:
    tests = hkdf_vectors()
    assert tests
    for test in tests:
        key = MailboxKey.from_seed(Secret(bytes.fromhex(test["skRm"])), provider=provider)
        assert key.public.hex() == test["pkRm"]
        shared = key.decapsulate(bytes.fromhex(test["enc"]))
        assert shared.reveal().hex() == test["shared_secret"]
        aead, nonce = hpke.key_schedule(shared, bytes.fromhex(test["info"]), aead=test["aead_id"])
        assert (aead.reveal().hex(), nonce.hex()) == (test["key"], test["base_nonce"])
        assert test["aead_id"] == 3
        first = {name: bytes.fromhex(value) for name, value in test["encryptions"][0].items()}
        assert ChaCha20Poly1305(aead.reveal()).decrypt(nonce, first["ct"], first["aad"]) == first["pt"]


def suite() -> library.Suite:
    return library.Suite(library.KEM.MLKEM768_X25519, library.KDF.HKDF_SHA256, library.AEAD.AES_256_GCM)


def test_the_librarys_hpke_opens_ours_and_the_other_way_round() -> None:
    key = MailboxKey.from_seed(Secret(bytes(range(32))))
    private = library.MLKEM768X25519PrivateKey(key._post_quantum._key, key._classical)  # type: ignore[attr-defined]  # the library's own key object
    public = private.public_key()
    assert suite().decrypt(hpke_seal(key.public, TEXT, INFO), private, INFO) == TEXT
    assert hpke_open(key, suite().encrypt(TEXT, public, INFO), INFO) == TEXT
    sealed = rust_openssl.hpke._encrypt_with_aad(suite(), TEXT, public, INFO, AAD)
    assert hpke_open(key, sealed, INFO, AAD) == TEXT
    assert (
        rust_openssl.hpke._decrypt_with_aad(suite(), hpke_seal(key.public, TEXT, INFO, AAD), private, INFO, AAD) == TEXT
    )


def test_info_and_code_point_change_key_and_nonce() -> None:
    shared = Secret(bytes(32))
    contexts = [
        hpke.key_schedule(shared, INFO),
        hpke.key_schedule(shared, b""),
        hpke.key_schedule(shared, INFO, aead=3),
    ]
    assert len({key.reveal() for key, _ in contexts}) == len({nonce for _, nonce in contexts}) == 3


def test_only_the_same_secret_info_and_aad_open() -> None:
    shared = Secret(bytes(32))
    sealed = hpke.seal(shared, TEXT, INFO, AAD)
    assert len(sealed) == len(TEXT) + 16
    assert hpke.open_(shared, sealed, INFO, AAD) == TEXT
    for secret, info, aad in ((Secret(b"\1" * 32), INFO, AAD), (shared, b"", AAD), (shared, INFO, b"")):
        with pytest.raises(BadMessage):
            hpke.open_(secret, sealed, info, aad)
