import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volly_fed.crypto.kdf import digest, framed, hkdf_sha256, mac, mac_equal
from volly_fed.crypto.secret import Secret

RFC_5869 = [  # appendix A.1 to A.3: material, salt, info, output
    (
        "0b" * 22,
        "000102030405060708090a0b0c",
        "f0f1f2f3f4f5f6f7f8f9",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        bytes(range(0x50)).hex(),
        bytes(range(0x60, 0xB0)).hex(),
        bytes(range(0xB0, 0x100)).hex(),
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
        "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
        "cc30c58179ec3e87c14c01d5c1f3434f1d87",
    ),
    (
        "0b" * 22,
        "",
        "",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
]


@pytest.mark.parametrize(("material", "salt", "info", "output"), RFC_5869)
def test_hkdf_gives_the_answers_of_rfc_5869(material: str, salt: str, info: str, output: str) -> None:
    wanted = bytes.fromhex(output)
    got = hkdf_sha256(
        Secret(bytes.fromhex(material)), salt=bytes.fromhex(salt), info=bytes.fromhex(info), size=len(wanted)
    )
    assert got.reveal() == wanted


@pytest.mark.parametrize("size", [-1, 0, 8161])
def test_hkdf_refuses_sizes_it_cannot_give(size: int) -> None:
    with pytest.raises(ValueError, match="1 to 8160"):
        hkdf_sha256(Secret(b"x"), salt=b"", info=b"", size=size)


def test_hkdf_gives_its_largest_size() -> None:
    assert len(hkdf_sha256(Secret(b"x"), salt=b"", info=b"", size=8160)) == 8160


def test_mac_is_hmac_over_framed_parts() -> None:
    message = bytes(7) + b"\x02ab" + bytes(8) + bytes(7) + b"\x01c"
    assert mac(Secret(b"key"), b"ab", b"", b"c") == hmac.digest(b"key", message, "sha256")


@pytest.mark.spec("crypto-16")
@given(st.lists(st.binary(max_size=12), max_size=5), st.lists(st.binary(max_size=12), max_size=5))
def test_different_lists_of_parts_are_framed_differently(left: list[bytes], right: list[bytes]) -> None:
    assert (framed(*left) == framed(*right)) == (left == right)


def test_mac_equal_compares() -> None:
    assert mac_equal(b"ab", b"ab")
    assert not mac_equal(b"ab", b"ac")
    assert not mac_equal(b"ab", b"a")


def test_digest_is_over_label_and_joined_parts() -> None:
    assert digest(b"label\0", b"a", b"bc") == hashlib.sha256(b"label\0abc").digest()
