import pytest

from tests.crypto.fake_oqs import Faults
from volly_fed.crypto import sizes
from volly_fed.crypto.liboqs import LiboqsProvider
from volly_fed.crypto.openssl import OpenSslProvider
from volly_fed.crypto.provider import SigningKey
from volly_fed.crypto.secret import Secret
from volly_fed.crypto.selftest import disagreement


def test_right_providers_agree(fake_liboqs: LiboqsProvider) -> None:
    assert disagreement(OpenSslProvider(), OpenSslProvider()) is None
    assert disagreement(fake_liboqs, OpenSslProvider()) is None


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("public key", "ML-KEM-768 known answer"),
        ("decapsulation", "decapsulation is wrong"),
        ("encapsulation", "encapsulation is wrong"),
        ("invalid key", "invalid ML-KEM-768 public key is accepted"),
        ("absent kem", "LookupError"),
        ("accepts", "wrong ML-DSA-65 signature is accepted"),
        ("ignores context", "wrong ML-DSA-65 signature is accepted"),
        ("refuses", "right ML-DSA-65 signature is refused"),
        ("raises", "RuntimeError"),
    ],
)
def test_each_wrong_answer_is_found(fault: str, reason: str, fake_liboqs: LiboqsProvider) -> None:
    Faults.active = {fault}
    found = disagreement(fake_liboqs, OpenSslProvider())
    assert found is not None
    assert reason in found


class WrongSigner:
    """OpenSSL, but its keys come from another seed, or sign something else."""

    name, description = "wrong", "wrong"

    def __init__(self, fault: str) -> None:
        self._openssl, self._fault = OpenSslProvider(), fault
        self.mldsa65_verify = self._openssl.mldsa65_verify
        self.mlkem768_key = self._openssl.mlkem768_key
        self.mlkem768_encapsulate = self._openssl.mlkem768_encapsulate

    def mldsa65_key(self, seed: Secret) -> SigningKey:
        if self._fault == "seed":
            return self._openssl.mldsa65_key(Secret(bytes(sizes.MLDSA65_SEED)))
        return WrongKey(self._openssl.mldsa65_key(seed))


class WrongKey:
    def __init__(self, key: SigningKey) -> None:
        self._key, self.public = key, key.public

    def sign(self, message: bytes, context: bytes) -> bytes:
        return self._key.sign(message, context + b".")


@pytest.mark.parametrize(("fault", "reason"), [("seed", "ML-DSA-65 known answer"), ("context", "does not verify")])
def test_wrong_signers_are_found(fault: str, reason: str) -> None:
    found = disagreement(WrongSigner(fault), OpenSslProvider())
    assert found is not None
    assert reason in found
