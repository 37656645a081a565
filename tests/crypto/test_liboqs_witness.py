"""The vectors, and the default provider, before the real liboqs: another implementation than OpenSSL's."""

import importlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crypto import formulas
from tests.making import expand, recorded
from tests.vectors import read, vector_files
from volly_fed.crypto import provider as provider_module
from volly_fed.crypto.kem import MailboxKey, encapsulate, hpke_open, hpke_seal
from volly_fed.crypto.openssl import OpenSslProvider
from volly_fed.crypto.provider import Provider
from volly_fed.crypto.secret import Secret
from volly_fed.crypto.selftest import disagreement
from volly_fed.crypto.signature import BadSignature, IdentityKey, verify_identity

try:
    from tests.crypto import liboqs_wasm
except ImportError as error:  # wasmtime has no wheel for every machine
    _unusable: str | None = str(error)
else:
    _unusable = None

pytestmark = pytest.mark.slow  # about five seconds to compile liboqs: once, not once on every worker

FOREIGN = {"crypto-certificate", "crypto-derivation", "crypto-key-schedule"}
"""Kinds of vectors of crypto with nothing in them that liboqs could do."""

KINDS = {"sealed-content", "claim-answer", "continuity", "machine"}
"""Kinds of vectors of other concepts that sign, verify or decapsulate."""

# draft-connolly-cfrg-xwing-kem, first test vector: the randomness of the encapsulation. Ours cannot be given any.
XWING_ESEED = bytes.fromhex(
    "3cb1eea988004b93103cfb0aeefd2a686e01fa4a58e8a3639ca8a1e3f9ae57e2"
    "35b8cc873c23dc62b8d260169afa2f75ab916a58d974918835d25e6a435085b2"
)

OPENSSL = OpenSslProvider()


def concerned(path: Path) -> bool:
    kind = read(path)["kind"]
    return kind in KINDS or (path.parent.name == "crypto" and kind not in FOREIGN)


FILES = [path for path in vector_files() if concerned(path)]


@pytest.fixture(scope="module")
def liboqs() -> "liboqs_wasm.Witness":
    reason = _unusable
    if reason is None:
        try:
            return liboqs_wasm.Witness(liboqs_wasm.Machine(liboqs_wasm.module_bytes()))
        except liboqs_wasm.Absent as error:
            reason = str(error)
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def chosen(liboqs: "liboqs_wasm.Witness") -> Iterator["liboqs_wasm.Witness"]:
    """liboqs is what everything uses that names no provider."""
    liboqs.machine.calls.clear()
    provider_module.use(liboqs)
    yield liboqs
    provider_module.use(OPENSSL)


@pytest.fixture(params=["liboqs to OpenSSL", "OpenSSL to liboqs"])
def ends(request: pytest.FixtureRequest, liboqs: "liboqs_wasm.Witness") -> tuple[Provider, Provider]:
    """Who makes something, and who is handed it."""
    return (liboqs, OPENSSL) if request.param.startswith("liboqs") else (OPENSSL, liboqs)


def test_it_is_liboqs(liboqs: "liboqs_wasm.Witness") -> None:
    assert liboqs.description == "liboqs 0.15.0, WebAssembly"


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_vectors_hold_with_liboqs(path: Path, chosen: "liboqs_wasm.Witness") -> None:
    document = read(path)
    consume = importlib.import_module(f"tests.{path.parent.name}.vectors").CONSUMERS[document["kind"]]
    for case in document["cases"]:
        consume(case["given"], case["expect"])
    assert chosen.machine.calls, "liboqs was not asked at all"


def test_the_self_test_passes_whoever_is_the_reference(liboqs: "liboqs_wasm.Witness") -> None:
    assert disagreement(liboqs, OPENSSL) is None
    assert disagreement(OPENSSL, liboqs) is None


@pytest.mark.parametrize("number", range(4))
def test_an_identity_signs_with_one_and_is_verified_by_the_other(number: int, ends: tuple[Provider, Provider]) -> None:
    signer, verifier = ends
    seed, message, context = (
        Secret(expand(f"witness {number}", 64)),
        expand("message", 100 * number),
        b"volly-fed/" * number,
    )
    key = IdentityKey.from_seed(seed, provider=signer)
    assert key.public == IdentityKey.from_seed(seed, provider=verifier).public == formulas.identity(seed.reveal())
    signature = key.sign(message, context)
    verify_identity(key.public, signature, message, context, provider=verifier)
    flipped = bytes([signature[0] ^ 1]) + signature[1:]
    for wrong in (
        (signature, message, context + b"x"),
        (signature, message + b"x", context),
        (flipped, message, context),
    ):
        with pytest.raises(BadSignature):
            verify_identity(key.public, *wrong, provider=verifier)


@pytest.mark.parametrize("context", [b"", b"volly-fed/test/v1", b"x" * 255], ids=len)
def test_the_post_quantum_half_alone_is_bound_to_its_context(context: bytes, ends: tuple[Provider, Provider]) -> None:
    signer, verifier = ends
    key = signer.mldsa65_key(Secret(expand("half", 32)))
    signature = key.sign(b"message", context)
    assert verifier.mldsa65_verify(key.public, signature, b"message", context)
    for wrong in (context[:-1] if context else b"x", context[:-1] + b"y", b"other"):
        assert not verifier.mldsa65_verify(key.public, signature, b"message", wrong)


@pytest.mark.parametrize("number", range(4))
def test_a_mailbox_is_encapsulated_to_by_one_and_opened_by_the_other(
    number: int, ends: tuple[Provider, Provider]
) -> None:
    sender, holder = ends
    seed = Secret(expand(f"mailbox {number}", 32))
    key = MailboxKey.from_seed(seed, provider=holder)
    assert key.public == MailboxKey.from_seed(seed, provider=sender).public == formulas.mailbox(seed.reveal())
    shared, ciphertext = encapsulate(key.public, provider=sender)
    assert key.decapsulate(ciphertext) == shared
    assert formulas.decapsulate(seed.reveal(), ciphertext) == shared.reveal()
    foreign = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
    implicit = key.decapsulate(foreign)
    assert implicit == MailboxKey.from_seed(seed, provider=sender).decapsulate(foreign) != shared
    assert hpke_open(key, hpke_seal(key.public, b"text", b"info", b"aad", provider=sender), b"info", b"aad") == b"text"


def test_liboqs_makes_the_published_ciphertext(liboqs: "liboqs_wasm.Witness") -> None:
    published = recorded()
    key = MailboxKey.from_seed(Secret(published["xwing_seed"]), provider=OPENSSL)
    with liboqs.machine.entropy.given(XWING_ESEED[:32]):
        _, ciphertext = liboqs.mlkem768_encapsulate(key.public[:1184])
    assert ciphertext == published["xwing_ciphertext"][:1088]


def test_another_wheel_is_refused(tmp_path: Path, liboqs: "liboqs_wasm.Witness") -> None:
    with pytest.raises(liboqs_wasm.Absent, match="make quick downloads it"):
        liboqs_wasm.module_bytes(tmp_path)
    (tmp_path / "pyoqs_wasm-0.15.0-py3-none-any.whl").write_bytes(b"something else")
    with pytest.raises(liboqs_wasm.Wrong, match="another hash"):
        liboqs_wasm.module_bytes(tmp_path)
