import base64
import os
import pickle
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.crypto.fake_oqs import Faults
from tests.crypto.published import vectors
from volly_fed.codepoints import ErrorCode, Label
from volly_fed.crypto import provider as provider_module
from volly_fed.crypto.kdf import digest
from volly_fed.crypto.liboqs import LiboqsProvider
from volly_fed.crypto.provider import Provider
from volly_fed.crypto.secret import Secret
from volly_fed.crypto.signature import BadSignature, IdentityKey, _prepared, fingerprint, verify_identity
from volly_fed.errors import BadMessage, LocalError
from volly_fed.names import fingerprint_text

MESSAGE, CONTEXT = b"a transcript", b"volly-fed/test/v1"
KEY, OTHER = IdentityKey.from_seed(Secret(bytes(range(64)))), IdentityKey.from_seed(Secret(bytes(64)))
SIGNATURE = KEY.sign(MESSAGE, CONTEXT)
MLDSA = 3309


def assert_refused(signature: bytes, public: bytes = KEY.public, message: bytes = MESSAGE) -> None:
    with pytest.raises(BadSignature) as caught:
        verify_identity(public, signature, message, CONTEXT)
    assert caught.value.code is ErrorCode.BAD_SIGNATURE


def flipped(data: bytes, position: int) -> bytes:
    damaged = bytearray(data)
    damaged[position] ^= 1
    return bytes(damaged)


def test_sizes_and_evidence() -> None:
    assert (len(KEY.public), len(SIGNATURE), len(KEY.seed)) == (1984, 3373, 64)
    assert verify_identity(KEY.public, SIGNATURE, MESSAGE, CONTEXT) == fingerprint(KEY.public)


def test_a_key_comes_back_from_its_seed() -> None:
    key = IdentityKey.generate(os.urandom)
    again = IdentityKey.from_seed(key.seed)
    assert again.public == key.public
    verify_identity(key.public, again.sign(MESSAGE, CONTEXT), MESSAGE, CONTEXT)


def test_generate_takes_its_bytes_from_the_random_source() -> None:
    assert IdentityKey.generate(lambda size: bytes(range(size))).public == KEY.public


def composite() -> tuple[Any, Any]:
    file = vectors("composite-mldsa65-ed25519")
    return file, file["tests"][0]


def test_published_composite_signatures_verify(provider: Provider) -> None:
    file, test = composite()
    public, message, context = (base64.b64decode(text) for text in (test["pk"], file["m"], file["ctx"]))
    verify_identity(public, base64.b64decode(test["s"]), message, b"", provider=provider)
    verify_identity(public, base64.b64decode(test["sWithContext"]), message, context, provider=provider)
    with pytest.raises(BadSignature):
        verify_identity(public, base64.b64decode(test["s"]), message, context, provider=provider)
    with pytest.raises(BadSignature):
        verify_identity(public, base64.b64decode(test["sWithContext"]), message, b"", provider=provider)


def test_the_published_private_key_gives_the_published_public_key(provider: Provider) -> None:
    file, test = composite()
    key = IdentityKey.from_seed(Secret(base64.b64decode(test["sk"])), provider=provider)
    public, message = base64.b64decode(test["pk"]), base64.b64decode(file["m"])
    assert key.public == public
    verify_identity(public, key.sign(message, b""), message, b"", provider=provider)


@pytest.mark.spec("crypto-3")
@pytest.mark.parametrize("position", [0, 1000, MLDSA - 1, MLDSA, MLDSA + 31, MLDSA + 32, -1])
def test_damage_to_either_half_is_refused(position: int) -> None:
    assert_refused(flipped(SIGNATURE, position))


def test_one_right_half_with_a_foreign_other_half_is_refused() -> None:
    foreign = OTHER.sign(MESSAGE, CONTEXT)
    assert_refused(SIGNATURE[:MLDSA] + foreign[MLDSA:])
    assert_refused(foreign[:MLDSA] + SIGNATURE[MLDSA:])


@pytest.mark.spec("crypto-2")
def test_each_half_alone_would_have_verified() -> None:
    """The refusals above are the composite's: the remaining half really was right."""
    prepared = _prepared(MESSAGE, CONTEXT)
    Ed25519PublicKey.from_public_bytes(KEY.public[1952:]).verify(SIGNATURE[MLDSA:], prepared)
    assert provider_module.current().mldsa65_verify(
        KEY.public[:1952], SIGNATURE[:MLDSA], prepared, b"COMPSIG-MLDSA65-Ed25519-SHA512"
    )


def test_component_signatures_over_the_bare_message_are_refused() -> None:
    seed = KEY.seed.reveal()
    post_quantum, classical = (
        MLDSA65PrivateKey.from_seed_bytes(seed[:32]),
        Ed25519PrivateKey.from_private_bytes(seed[32:]),
    )
    assert_refused(post_quantum.sign(MESSAGE, CONTEXT) + classical.sign(MESSAGE))
    prepared = _prepared(MESSAGE, CONTEXT)
    assert_refused(post_quantum.sign(prepared) + classical.sign(prepared))  # without the label as ML-DSA context


def test_another_message_context_or_key_is_refused() -> None:
    assert_refused(SIGNATURE, message=MESSAGE + b".")
    assert_refused(SIGNATURE, public=OTHER.public)
    assert_refused(SIGNATURE, public=KEY.public[:1952] + OTHER.public[1952:])
    assert_refused(SIGNATURE, public=OTHER.public[:1952] + KEY.public[1952:])
    for context in (b"", CONTEXT + b"1", CONTEXT[:-1]):
        with pytest.raises(BadSignature):
            verify_identity(KEY.public, SIGNATURE, MESSAGE, context)


@pytest.mark.spec("crypto-4")
@pytest.mark.parametrize("size", [0, 64, MLDSA, 3372, 3374])
def test_signatures_of_a_wrong_size_are_refused(size: int) -> None:
    assert_refused((SIGNATURE + b"\0")[:size])


@pytest.mark.parametrize("size", [0, 32, 1952, 1983, 1985])
def test_keys_of_a_wrong_size_are_refused(size: int) -> None:
    assert_refused(SIGNATURE, public=(KEY.public + b"\0")[:size])
    with pytest.raises(BadMessage):
        fingerprint((KEY.public + b"\0")[:size])


@settings(max_examples=40)
@given(st.binary(max_size=4000), st.binary(max_size=2000))
def test_arbitrary_bytes_give_bad_signature_only(signature: bytes, public: bytes) -> None:
    for one, other in ((signature, KEY.public), (SIGNATURE, public), (signature, public)):
        with pytest.raises(BadSignature):
            verify_identity(other, one, MESSAGE, CONTEXT)


@settings(max_examples=40)
@given(st.integers(0, 3372), st.integers(1, 255))
def test_any_changed_byte_gives_bad_signature(position: int, change: int) -> None:
    damaged = bytearray(SIGNATURE)
    damaged[position] ^= change
    assert_refused(bytes(damaged))


def test_contexts_have_at_most_255_bytes() -> None:
    signature = KEY.sign(MESSAGE, bytes(255))
    verify_identity(KEY.public, signature, MESSAGE, bytes(255))
    with pytest.raises(ValueError, match="255"):
        KEY.sign(MESSAGE, bytes(256))
    with pytest.raises(ValueError, match="255"):
        verify_identity(KEY.public, signature, MESSAGE, bytes(256))


@pytest.mark.parametrize("size", [0, 32, 63, 65])
def test_seeds_of_a_wrong_size_are_the_operators_problem(size: int) -> None:
    with pytest.raises(LocalError, match="note:"):
        IdentityKey.from_seed(Secret(bytes(size)))


@pytest.mark.spec("crypto-6")
def test_the_fingerprint_is_labelled_and_the_repr_shows_nothing_else() -> None:
    assert fingerprint(KEY.public) == digest(Label.IDENTITY, KEY.public)
    assert repr(KEY) == f"IdentityKey({fingerprint_text(fingerprint(KEY.public))})"
    with pytest.raises(TypeError):
        pickle.dumps(KEY)


def test_the_default_provider_is_the_one_in_use(fake_liboqs: LiboqsProvider) -> None:
    provider_module.use(fake_liboqs)
    Faults.active = {"refuses"}
    assert_refused(SIGNATURE)
    Faults.active = set()
    verify_identity(KEY.public, SIGNATURE, MESSAGE, CONTEXT)
