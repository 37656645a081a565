"""Proof that a device holds a mailbox: encapsulation to its key, answered with a MAC (both ends of it).

in: CLAIM, CHALLENGE, PROOF, ACKNOWLEDGE; out: what to answer, and the claim's keys.
The edge only passes these on: without the shared secret it can neither claim, nor change a registration, nor delete.
Keys: HKDF(shared secret, salt = SHA-256(nonce, domain, edge, expiry), info = one label each).
Never: keeps a key beyond the claim. Source: FIPS 203, draft-connolly-cfrg-xwing-kem, RFC 5869, RFC 2104.
"""

import hashlib
from collections.abc import Sequence

import attrs

from volly_fed import limits
from volly_fed.codepoints import ErrorCode, Label
from volly_fed.crypto.kdf import framed, hkdf_sha256, mac, mac_equal
from volly_fed.crypto.kem import MailboxKey, encapsulate, mailbox_id
from volly_fed.crypto.secret import Secret
from volly_fed.edge.registration import Registration, parse_registration
from volly_fed.errors import RemoteError
from volly_fed.machine import RandomSource
from volly_fed.names import DomainName, Fingerprint, MailboxId
from volly_fed.wire.messages import DIGEST_BYTES, NONCE_BYTES, Acknowledge, Challenge, Claim, Proof

_NOT_PROVED = "the proof does not fit the challenge"


@attrs.frozen(kw_only=True)
class ClaimKeys:
    """What both ends derive from one challenge. The MAC under `claim` is checked once, `acknowledge` is used on."""

    claim: Secret
    acknowledge: Secret


@attrs.frozen(kw_only=True)
class PendingClaim:
    """A challenge that waits for its proof; good for one attempt."""

    challenge: Challenge
    mailbox: MailboxId = attrs.field(repr=False)
    keys: ClaimKeys


@attrs.frozen(kw_only=True)
class ClaimedMailbox:
    """What a proof proved: the mailbox, and what it lets in, as the device wrote it and as we read it."""

    mailbox: MailboxId = attrs.field(repr=False)
    registration: Registration
    registration_bytes: bytes = attrs.field(repr=False)
    key: Secret
    """Under it the device's acknowledgements are checked."""


def frame_digest(frame: bytes) -> bytes:
    """32 bytes that stand for one encoded envelope in acknowledgements."""
    return hashlib.sha256(frame).digest()


def make_challenge(
    claim: Claim, *, domain: DomainName, edge: Fingerprint, now: float, random: RandomSource
) -> PendingClaim:
    """The homeserver's challenge to whoever shows `claim.key` through `edge`; `now` is the wall clock.

    Raises BadMessage when the key is not an X-Wing public key.
    """
    shared, ciphertext = encapsulate(claim.key)
    challenge = Challenge(
        request=claim.request,
        ciphertext=ciphertext,
        nonce=random(NONCE_BYTES),
        domain=domain,
        edge=edge,
        expiry=int(now) + limits.CLAIM_LIFETIME,
    )
    return PendingClaim(challenge=challenge, mailbox=mailbox_id(claim.key), keys=_derive(shared, challenge))


def check_proof(pending: PendingClaim, proof: Proof, now: float) -> ClaimedMailbox:
    """The claim that `proof` proves.

    Raises RemoteError BAD_PROOF when it is late or not by the mailbox's holder, BadMessage when the holder
    registered something unreadable.
    """
    if now > pending.challenge.expiry:
        raise RemoteError("the challenge has expired", code=ErrorCode.BAD_PROOF)
    expected = _proof_mac(pending.keys.claim, pending.challenge, pending.mailbox, proof.registration)
    if not mac_equal(expected, proof.mac):  # [edge-19]
        raise RemoteError(_NOT_PROVED, code=ErrorCode.BAD_PROOF)
    return ClaimedMailbox(
        mailbox=pending.mailbox,
        registration=parse_registration(proof.registration),
        registration_bytes=proof.registration,
        key=pending.keys.acknowledge,
    )


def answer_challenge(
    key: MailboxKey, challenge: Challenge, registration: bytes, *, domain: DomainName, edge: Fingerprint, now: float
) -> tuple[Proof, Secret]:
    """The device's proof, and the key of its acknowledgements.

    Raises RemoteError when the challenge is for another domain or edge than the device talks to, or out of date
    (the device's clock may be off by limits.CLOCK_SKEW); BadMessage when it does not open.
    """
    if challenge.domain != domain or challenge.edge != edge:  # [edge-16]
        raise RemoteError("the challenge is for another domain or edge", code=ErrorCode.WRONG_NAME)
    if now - limits.CLOCK_SKEW > challenge.expiry:  # [edge-17]
        raise RemoteError("the challenge has expired; note: check this device's clock", code=ErrorCode.EXPIRED)
    keys = _derive(key.decapsulate(challenge.ciphertext), challenge)
    proof_mac = _proof_mac(keys.claim, challenge, mailbox_id(key.public), registration)
    return Proof(request=challenge.request, mac=proof_mac, registration=registration), keys.acknowledge


def make_acknowledge(key: Secret, mailbox: MailboxId, received: Sequence[tuple[bytes, bytes]]) -> Acknowledge:
    """The device's acknowledgement of `received`: (envelope id, frame digest), at most limits.ACK_IDS.

    The digests are under the MAC, so that an edge that alters an envelope cannot have the original deleted.
    """
    ids = [item[0] for item in received]
    return Acknowledge(
        mailbox=mailbox, ids=ids, mac=_acknowledge_mac(key, mailbox, ids, [item[1] for item in received])
    )


def check_acknowledge(key: Secret, message: Acknowledge, digests: Sequence[bytes]) -> None:
    """Accept `message` for envelopes that were delivered with these digests, in the order of its ids.

    Raises RemoteError BAD_PROOF otherwise; then nothing may be deleted.
    """
    expected = _acknowledge_mac(key, MailboxId(message.mailbox), message.ids, digests)
    if not mac_equal(expected, message.mac):
        raise RemoteError("the acknowledgement is not the device's", code=ErrorCode.BAD_PROOF)


def _derive(shared: Secret, challenge: Challenge) -> ClaimKeys:
    salt = hashlib.sha256(framed(*_bound(challenge))).digest()

    def derive(info: bytes) -> Secret:
        return hkdf_sha256(shared, salt=salt, info=info, size=DIGEST_BYTES)

    return ClaimKeys(claim=derive(Label.CLAIM_KEY), acknowledge=derive(Label.ACKNOWLEDGE_KEY))


def _bound(challenge: Challenge) -> tuple[bytes, ...]:
    """What a challenge is good for: once, here, through this edge, until then."""
    return challenge.nonce, challenge.domain.encode("ascii"), challenge.edge, challenge.expiry.to_bytes(8, "big")


def _proof_mac(key: Secret, challenge: Challenge, mailbox: MailboxId, registration: bytes) -> bytes:
    return mac(key, Label.CLAIM, *_bound(challenge), mailbox, registration)


def _acknowledge_mac(key: Secret, mailbox: MailboxId, ids: Sequence[bytes], digests: Sequence[bytes]) -> bytes:
    # ids and digests have fixed sizes, so joining each kind loses nothing and costs one update for a whole batch
    return mac(key, Label.ACKNOWLEDGE, mailbox, b"".join(ids), b"".join(digests))
