"""Does a provider give the right answers? Known answers first, then one provider against the other.

in: two providers; out: None, or what is wrong in words.
Never: lets an exception of the tested library out; whatever it raises is a wrong answer.
The known answers are digests over what FIPS 203 and 204 make of fixed seeds; they catch two libraries that are wrong
in the same way.
"""

import hashlib
from typing import TYPE_CHECKING

from volly_fed.crypto import sizes
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage

if TYPE_CHECKING:
    from volly_fed.crypto.provider import Provider

_SIGNING_SEED = bytes(range(sizes.MLDSA65_SEED))
_KEM_SEED = bytes(range(sizes.MLKEM768_SEED))
_MESSAGE, _CONTEXT = b"volly-fed self-test", b"volly-fed/self-test/v1"
_KNOWN_SIGNING = "d666806e11cee19a7c989f7445f90dd419cf4d2d51db8c0fdb4c0f0a542238c9"
_KNOWN_KEM = "c76b1bca6374942640054119e2fefc3eb05dedf20eb4282ea573f74c01bb4797"


def disagreement(candidate: "Provider", reference: "Provider") -> str | None:
    """What `candidate` gets wrong, or None when its answers are known and `reference` agrees. A few milliseconds."""
    for check in (_known, _agreed_kem, _refused_kem, _agreed_signatures, _refused_signatures):
        try:
            reason = check(candidate, reference)
        except Exception as error:  # a library under test may raise anything; that is its answer
            reason = f"{check.__name__.strip('_').replace('_', ' ')}: {type(error).__name__}"
        if reason is not None:
            return reason
    return None


def _known(candidate: "Provider", reference: "Provider") -> str | None:
    del reference
    kem = candidate.mlkem768_key(Secret(_KEM_SEED))
    # a ciphertext of zeros is nobody's: decapsulation answers with J(z|c), which is as fixed as the seed
    answer = kem.public + kem.decapsulate(bytes(sizes.MLKEM768_CIPHERTEXT)).reveal()
    if hashlib.sha256(answer).hexdigest() != _KNOWN_KEM:
        return "the ML-KEM-768 known answer is wrong"
    if hashlib.sha256(candidate.mldsa65_key(Secret(_SIGNING_SEED)).public).hexdigest() != _KNOWN_SIGNING:
        return "the ML-DSA-65 known answer is wrong"
    return None


def _agreed_kem(candidate: "Provider", reference: "Provider") -> str | None:
    theirs, ours = candidate.mlkem768_key(Secret(_KEM_SEED)), reference.mlkem768_key(Secret(_KEM_SEED))
    shared, ciphertext = reference.mlkem768_encapsulate(ours.public)
    if theirs.decapsulate(ciphertext) != shared:
        return "ML-KEM-768 decapsulation is wrong"
    shared, ciphertext = candidate.mlkem768_encapsulate(ours.public)
    if ours.decapsulate(ciphertext) != shared:
        return "ML-KEM-768 encapsulation is wrong"
    return None


def _refused_kem(candidate: "Provider", reference: "Provider") -> str | None:
    del reference
    out_of_range = b"\xff" * sizes.MLKEM768_PUBLIC
    for public in (out_of_range, out_of_range[:-1], b""):
        try:
            candidate.mlkem768_encapsulate(public)
        except BadMessage:
            continue
        return "an invalid ML-KEM-768 public key is accepted"
    return None


def _agreed_signatures(candidate: "Provider", reference: "Provider") -> str | None:
    theirs, ours = candidate.mldsa65_key(Secret(_SIGNING_SEED)), reference.mldsa65_key(Secret(_SIGNING_SEED))
    if not reference.mldsa65_verify(ours.public, theirs.sign(_MESSAGE, _CONTEXT), _MESSAGE, _CONTEXT):
        return "its ML-DSA-65 signature does not verify"
    if not candidate.mldsa65_verify(ours.public, ours.sign(_MESSAGE, _CONTEXT), _MESSAGE, _CONTEXT):
        return "a right ML-DSA-65 signature is refused"
    return None


def _refused_signatures(candidate: "Provider", reference: "Provider") -> str | None:
    ours = reference.mldsa65_key(Secret(_SIGNING_SEED))
    right = ours.sign(_MESSAGE, _CONTEXT)
    flipped = bytes([right[0] ^ 1]) + right[1:]
    for signature, message, context in (
        (flipped, _MESSAGE, _CONTEXT),
        (right, _MESSAGE + b".", _CONTEXT),
        (right, _MESSAGE, b""),
        (right, _MESSAGE, _CONTEXT + b"."),
        (right[:-1], _MESSAGE, _CONTEXT),
        (right + b"\0", _MESSAGE, _CONTEXT),
    ):
        if candidate.mldsa65_verify(ours.public, signature, message, context):
            return "a wrong ML-DSA-65 signature is accepted"
    return None
