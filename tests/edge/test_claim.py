import os

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.edge.net import HOME, WALL, edge_fingerprint
from volly_fed import limits
from volly_fed.client import DeviceKeys
from volly_fed.codepoints import ErrorCode
from volly_fed.crypto.kem import MailboxKey
from volly_fed.crypto.secret import Secret
from volly_fed.edge.claim import (
    PendingClaim,
    answer_challenge,
    check_acknowledge,
    check_proof,
    make_acknowledge,
    make_challenge,
)
from volly_fed.errors import BadMessage, RemoteError
from volly_fed.names import DomainName
from volly_fed.wire.messages import Challenge, Claim, Proof

E1, E2 = edge_fingerprint("e1"), edge_fingerprint("e2")


def challenge(keys: DeviceKeys) -> PendingClaim:
    claim = Claim(request=7, key=keys.mailbox.public)
    return make_challenge(claim, domain=HOME, edge=E1, now=WALL, random=os.urandom)


def answer(keys: DeviceKeys, message: Challenge) -> tuple[Proof, Secret]:
    return answer_challenge(keys.mailbox, message, keys.registration, domain=HOME, edge=E1, now=WALL)


def test_the_holder_proves_its_mailbox_and_both_ends_share_the_acknowledgement_key(bob: DeviceKeys) -> None:
    pending = challenge(bob)
    proof, key = answer(bob, pending.challenge)
    claimed = check_proof(pending, proof, WALL)
    assert claimed.mailbox == bob.address.mailbox
    assert claimed.registration_bytes == bob.registration
    assert claimed.key == key


def test_who_lacks_the_key_proves_nothing(bob: DeviceKeys) -> None:
    pending = challenge(bob)
    stranger = MailboxKey.generate(os.urandom)
    proof, _ = answer_challenge(stranger, pending.challenge, bob.registration, domain=HOME, edge=E1, now=WALL)
    with pytest.raises(RemoteError) as caught:
        check_proof(pending, proof, WALL)
    assert caught.value.code is ErrorCode.BAD_PROOF


@pytest.mark.parametrize("field", ["nonce", "domain", "edge", "expiry"])
def test_a_proof_is_good_for_one_nonce_domain_edge_and_expiry(bob: DeviceKeys, field: str) -> None:
    """The same shared secret, everything else equal: each bound field alone makes the proof useless."""
    pending = challenge(bob)
    real = pending.challenge
    other = {
        "nonce": attrs.evolve(real, nonce=bytes(32)),
        "domain": attrs.evolve(real, domain=DomainName("other.test")),
        "edge": attrs.evolve(real, edge=E2),
        "expiry": attrs.evolve(real, expiry=int(WALL) + 5),
    }[field]
    edge = E2 if field == "edge" else E1
    proof, _ = answer_challenge(bob.mailbox, other, bob.registration, domain=other.domain, edge=edge, now=WALL)
    with pytest.raises(RemoteError) as caught:
        check_proof(pending, proof, WALL)
    assert caught.value.code is ErrorCode.BAD_PROOF


@pytest.mark.spec("edge-15")
def test_a_proof_is_no_good_for_a_second_challenge(bob: DeviceKeys) -> None:
    first, second = challenge(bob), challenge(bob)
    proof, _ = answer(bob, first.challenge)
    with pytest.raises(RemoteError):
        check_proof(second, proof, WALL)


@pytest.mark.spec("edge-19")
def test_a_late_proof_is_refused(bob: DeviceKeys) -> None:
    pending = challenge(bob)
    proof, _ = answer(bob, pending.challenge)
    check_proof(pending, proof, WALL + limits.CLAIM_LIFETIME)
    with pytest.raises(RemoteError, match="expired"):
        check_proof(pending, proof, WALL + limits.CLAIM_LIFETIME + 1)


def test_the_registration_cannot_be_altered_on_the_way(bob: DeviceKeys) -> None:
    pending = challenge(bob)
    proof, _ = answer(bob, pending.challenge)
    wider = bob.with_pass("mallory", os.urandom).registration
    with pytest.raises(RemoteError) as caught:
        check_proof(pending, attrs.evolve(proof, registration=wider), WALL)
    assert caught.value.code is ErrorCode.BAD_PROOF


def test_a_holder_who_registers_rubbish_is_told_so(bob: DeviceKeys) -> None:
    pending = challenge(bob)
    proof, _ = answer_challenge(bob.mailbox, pending.challenge, b"rubbish", domain=HOME, edge=E1, now=WALL)
    with pytest.raises(BadMessage):
        check_proof(pending, proof, WALL)


@pytest.mark.parametrize(("domain", "edge"), [(DomainName("other.test"), E1), (HOME, E2)])
@pytest.mark.spec("edge-16")
def test_a_device_answers_only_for_its_own_domain_and_edge(bob: DeviceKeys, domain: DomainName, edge: bytes) -> None:
    pending = challenge(bob)
    elsewhere = attrs.evolve(pending.challenge, domain=domain, edge=edge)
    with pytest.raises(RemoteError) as caught:
        answer(bob, elsewhere)
    assert caught.value.code is ErrorCode.WRONG_NAME


@pytest.mark.spec("edge-17")
def test_a_device_does_not_answer_an_old_challenge(bob: DeviceKeys) -> None:
    old = attrs.evolve(challenge(bob).challenge, expiry=int(WALL) - limits.CLOCK_SKEW - 1)
    with pytest.raises(RemoteError, match="clock"):
        answer(bob, old)


def test_a_key_that_is_no_key_is_a_bad_message() -> None:
    claim = Claim(request=1, key=b"\xff" * 1216)
    with pytest.raises(BadMessage):
        make_challenge(claim, domain=HOME, edge=E1, now=WALL, random=os.urandom)


def test_an_acknowledgement_covers_mailbox_ids_and_digests(bob: DeviceKeys) -> None:
    key, mailbox = Secret(bytes(32)), bob.address.mailbox
    received = [(os.urandom(16), os.urandom(32)) for _ in range(3)]
    digests = [digest for _, digest in received]
    message = make_acknowledge(key, mailbox, received)
    check_acknowledge(key, message, digests)
    forged = [
        (key, attrs.evolve(message, mailbox=bytes(32)), digests),
        (key, attrs.evolve(message, ids=message.ids[:2]), digests[:2]),
        (key, attrs.evolve(message, ids=[*message.ids, os.urandom(16)]), [*digests, digests[0]]),
        (key, attrs.evolve(message, ids=message.ids[::-1]), digests),
        (key, message, [digests[0], digests[1], os.urandom(32)]),
        (key, attrs.evolve(message, mac=bytes(32)), digests),
        (Secret(os.urandom(32)), message, digests),
    ]
    for wrong_key, wrong, wrong_digests in forged:
        with pytest.raises(RemoteError) as caught:
            check_acknowledge(wrong_key, wrong, wrong_digests)
        assert caught.value.code is ErrorCode.BAD_PROOF


@given(registration=st.binary(max_size=200), mac=st.binary(min_size=32, max_size=32))
@pytest.mark.spec("edge-19")
def test_any_other_proof_is_refused_with_bad_proof(registration: bytes, mac: bytes) -> None:
    proof = Proof(request=7, mac=mac, registration=registration)
    with pytest.raises(RemoteError) as caught:
        check_proof(_PENDING, proof, WALL)
    assert caught.value.code is ErrorCode.BAD_PROOF


_PENDING = challenge(DeviceKeys.generate(HOME, os.urandom))


def test_secrets_do_not_show(bob: DeviceKeys) -> None:
    pending = challenge(bob)
    proof, _ = answer(bob, pending.challenge)
    claimed = check_proof(pending, proof, WALL)
    shown = repr(pending) + repr(claimed)
    assert "Secret(32 bytes)" in shown
    assert repr(bob.address.mailbox) not in shown
