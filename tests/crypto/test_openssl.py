"""ML-DSA-65 and ML-KEM-768 of both providers against Wycheproof; liboqs-python is played by tests.crypto.fake_oqs."""

import pytest

from tests.crypto.published import wycheproof
from volly_fed.crypto.openssl import OpenSslProvider
from volly_fed.crypto.provider import Provider
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage


def test_wycheproof_mldsa65_verification(provider: Provider) -> None:
    count = 0
    for group, test in wycheproof("mldsa_65_verify_test"):
        valid = provider.mldsa65_verify(
            bytes.fromhex(group["publicKey"]),
            bytes.fromhex(test["sig"]),
            bytes.fromhex(test["msg"]),
            bytes.fromhex(test.get("ctx", "")),
        )
        assert valid == (test["result"] == "valid"), test["tcId"]
        count += 1
    assert count == 210


def test_wycheproof_mldsa65_seeds_and_signatures(provider: Provider) -> None:
    """Signing is hedged, so the published signatures are verified, and ours with the published keys."""
    count = 0
    for group, test in wycheproof("mldsa_65_sign_seed_test"):
        seed = bytes.fromhex(group["privateSeed"])
        if len(seed) != 32:
            with pytest.raises(ValueError, match=r"."):
                provider.mldsa65_key(Secret(seed))
            continue
        public = bytes.fromhex(group["publicKey"])
        key = provider.mldsa65_key(Secret(seed))
        assert key.public == public
        if "msg" not in test:
            continue  # takes the hash of the message ("mu") only, which we never sign
        message, context = bytes.fromhex(test["msg"]), bytes.fromhex(test.get("ctx", ""))
        if test["result"] == "valid":
            assert provider.mldsa65_verify(public, bytes.fromhex(test["sig"]), message, context), test["tcId"]
            assert provider.mldsa65_verify(public, key.sign(message, context), message, context), test["tcId"]
        else:
            with pytest.raises(ValueError, match=r"."):
                key.sign(message, context)
        count += 1
    assert count > 80


def test_wycheproof_mlkem768_decapsulation(provider: Provider) -> None:
    count = 0
    for _, test in wycheproof("mlkem_768_test"):
        seed, ciphertext = bytes.fromhex(test["seed"]), bytes.fromhex(test["c"])
        count += 1
        if test["result"] == "valid":
            key = provider.mlkem768_key(Secret(seed))
            assert key.public.hex() == test["ek"]
            assert key.decapsulate(ciphertext).reveal().hex() == test["K"], test["tcId"]
        elif len(seed) != 64:
            with pytest.raises(ValueError, match=r"."):
                provider.mlkem768_key(Secret(seed))
        else:
            with pytest.raises(BadMessage):
                provider.mlkem768_key(Secret(seed)).decapsulate(ciphertext)
    assert count == 193


def test_wycheproof_mlkem768_invalid_public_keys(provider: Provider) -> None:
    count = 0
    for _, test in wycheproof("mlkem_768_encaps_test"):
        public = bytes.fromhex(test["ek"])
        if test["result"] == "valid":
            shared, ciphertext = provider.mlkem768_encapsulate(public)
            assert (len(shared), len(ciphertext)) == (32, 1088)
        else:
            with pytest.raises(BadMessage):
                provider.mlkem768_encapsulate(public)
        count += 1
    assert count == 265


def test_wycheproof_mlkem768_key_generation(provider: Provider) -> None:
    count = 0
    for _, test in wycheproof("mlkem_768_keygen_seed_test"):
        assert provider.mlkem768_key(Secret(bytes.fromhex(test["seed"]))).public.hex() == test["ek"]
        count += 1
    assert count == 100


def test_a_wrong_sized_ciphertext_is_a_bad_message(provider: Provider) -> None:
    key = provider.mlkem768_key(Secret(bytes(64)))
    for size in (0, 1087, 1089):
        with pytest.raises(BadMessage):
            key.decapsulate(bytes(size))


def test_wrong_sizes_and_long_contexts_do_not_verify(provider: Provider) -> None:
    key = provider.mldsa65_key(Secret(bytes(32)))
    right = key.sign(b"m", b"c")
    assert provider.mldsa65_verify(key.public, right, b"m", b"c")
    assert not provider.mldsa65_verify(key.public[:-1], right, b"m", b"c")
    assert not provider.mldsa65_verify(key.public + b"\0", right, b"m", b"c")
    assert not provider.mldsa65_verify(key.public, right[:-1], b"m", b"c")
    assert not provider.mldsa65_verify(key.public, right + b"\0", b"m", b"c")
    assert not provider.mldsa65_verify(key.public, right, b"m", bytes(256))


def test_the_description_names_library_and_reason() -> None:
    assert OpenSslProvider().description.startswith("OpenSSL ")
    assert OpenSslProvider(note="because").description.endswith(" (because)")
