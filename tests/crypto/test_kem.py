import os
import pickle
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.crypto.published import vectors
from volly_fed.codepoints import Label
from volly_fed.crypto.hpke import key_schedule
from volly_fed.crypto.kdf import digest
from volly_fed.crypto.kem import MailboxKey, encapsulate, hpke_open, hpke_seal, mailbox_id
from volly_fed.crypto.provider import Provider
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage, LocalError
from volly_fed.names import mailbox_text

KEY, OTHER = MailboxKey.from_seed(Secret(bytes(range(32)))), MailboxKey.from_seed(Secret(bytes(32)))
INFO, AAD, TEXT = b"volly-fed/test/v1", b"an envelope id", b"hello"
SEALED = hpke_seal(KEY.public, TEXT, INFO, AAD)


@pytest.mark.spec("crypto-11")
def test_published_xwing_vectors(provider: Provider) -> None:
    tests = vectors("xwing")
    assert len(tests) == 3
    for test in tests:
        key = MailboxKey.from_seed(Secret(bytes.fromhex(test["sk"])), provider=provider)
        assert key.public.hex() == test["pk"]
        assert key.decapsulate(bytes.fromhex(test["ct"])).reveal().hex() == test["ss"]


def test_sizes_and_agreement(provider: Provider) -> None:
    key = MailboxKey.generate(os.urandom, provider=provider)
    shared, ciphertext = encapsulate(key.public, provider=provider)
    assert (len(key.seed), len(key.public), len(ciphertext), len(shared)) == (32, 1216, 1120, 32)
    assert key.decapsulate(ciphertext) == shared
    assert MailboxKey.from_seed(key.seed).decapsulate(ciphertext) == shared


def test_generate_takes_its_bytes_from_the_random_source() -> None:
    assert MailboxKey.generate(lambda size: bytes(range(size))).public == KEY.public


@pytest.mark.spec("client-10")
def test_encapsulations_are_fresh() -> None:
    assert encapsulate(KEY.public)[1] != encapsulate(KEY.public)[1]


@pytest.mark.spec("crypto-12")
@pytest.mark.parametrize("position", [0, 1087, 1088, 1119])
def test_a_changed_ciphertext_gives_an_unrelated_secret(position: int) -> None:
    shared, ciphertext = encapsulate(KEY.public)
    damaged = bytearray(ciphertext)
    damaged[position] ^= 1
    assert KEY.decapsulate(bytes(damaged)) != shared
    assert OTHER.decapsulate(ciphertext) != shared


@pytest.mark.parametrize("size", [0, 1119, 1121])
def test_ciphertexts_of_a_wrong_size_are_refused(size: int) -> None:
    with pytest.raises(BadMessage):
        KEY.decapsulate(bytes(size))


def test_an_x25519_half_of_zeros_is_refused() -> None:
    _, ciphertext = encapsulate(KEY.public)
    with pytest.raises(BadMessage):
        KEY.decapsulate(ciphertext[:1088] + bytes(32))
    with pytest.raises(BadMessage):
        encapsulate(KEY.public[:1184] + bytes(32))


@pytest.mark.spec("crypto-9")
def test_invalid_public_keys_are_refused(provider: Provider) -> None:
    for public in (b"", KEY.public[:-1], KEY.public + b"\0", b"\xff" * 1184 + KEY.public[1184:]):
        with pytest.raises(BadMessage):
            encapsulate(public, provider=provider)
    for public in (b"", KEY.public[:-1], KEY.public + b"\0"):
        with pytest.raises(BadMessage):
            mailbox_id(public)


def test_the_mailbox_id_is_labelled_and_the_repr_shows_nothing_else() -> None:
    assert mailbox_id(KEY.public) == digest(Label.MAILBOX, KEY.public)
    assert repr(KEY) == f"MailboxKey({mailbox_text(mailbox_id(KEY.public))})"
    with pytest.raises(TypeError):
        pickle.dumps(KEY)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_seeds_of_a_wrong_size_are_the_operators_problem(size: int) -> None:
    with pytest.raises(LocalError, match="note:"):
        MailboxKey.from_seed(Secret(bytes(size)))


@pytest.mark.spec("crypto-14")
def test_what_is_sealed_opens_and_is_1136_bytes_longer() -> None:
    assert len(SEALED) == len(TEXT) + 1136
    assert hpke_open(KEY, SEALED, INFO, AAD) == TEXT
    assert hpke_open(KEY, hpke_seal(KEY.public, b"", b""), b"") == b""
    assert hpke_seal(KEY.public, TEXT, INFO) != hpke_seal(KEY.public, TEXT, INFO)


def test_everything_that_differs_is_refused_in_the_same_words() -> None:
    damaged = bytearray(SEALED)
    damaged[-1] ^= 1
    foreign = hpke_seal(OTHER.public, TEXT, INFO, AAD)
    texts = set()
    for key, sealed, info, aad in (
        (OTHER, SEALED, INFO, AAD),
        (KEY, SEALED, INFO + b".", AAD),
        (KEY, SEALED, INFO, AAD + b"."),
        (KEY, SEALED, INFO, b""),
        (KEY, bytes(damaged), INFO, AAD),
        (KEY, SEALED + b"\0", INFO, AAD),
        (KEY, foreign, INFO, AAD),
        (KEY, foreign[:1120] + SEALED[1120:], INFO, AAD),
    ):
        with pytest.raises(BadMessage) as caught:
            hpke_open(key, sealed, info, aad)
        texts.add(str(caught.value))
    assert len(texts) == 1


def test_a_traceback_that_prints_locals_shows_no_key() -> None:
    shared = KEY.decapsulate(SEALED[:1120])
    try:
        hpke_open(KEY, SEALED, INFO, b"")
    except BadMessage as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "Secret(32 bytes)" in shown
    for secret in (shared, key_schedule(shared, INFO)[0], KEY.seed):
        assert repr(secret.reveal())[2:-1] not in shown
        assert secret.reveal().hex() not in shown


@settings(max_examples=60)
@given(st.binary(max_size=1300), st.integers(0, len(SEALED) - 1), st.integers(1, 255), st.integers(0, len(SEALED) - 1))
def test_arbitrary_bytes_give_bad_message_only(junk: bytes, position: int, change: int, size: int) -> None:
    damaged = bytearray(SEALED)
    damaged[position] ^= change
    # the highest bit of an X25519 key is ignored (RFC 7748 §5), but X-Wing hashes the key as sent
    for sealed in (junk, bytes(damaged), SEALED[:size], junk + SEALED):
        if sealed == SEALED:
            continue
        with pytest.raises(BadMessage):
            hpke_open(KEY, sealed, INFO, AAD)


@settings(max_examples=60)
@given(st.integers(0, 1215), st.integers(1, 255))
def test_changed_public_keys_encapsulate_to_nobody_or_are_refused(position: int, change: int) -> None:
    damaged = bytearray(KEY.public)
    damaged[position] ^= change
    try:
        shared, ciphertext = encapsulate(bytes(damaged))
    except BadMessage:
        return
    assert KEY.decapsulate(ciphertext) != shared
