"""AES-256 on single blocks, against FIPS 197 appendix C.3."""

import pytest

from volly_fed.crypto.block import Blocks
from volly_fed.crypto.secret import Secret

KEY = Secret(bytes(range(32)))
PLAIN = bytes.fromhex("00112233445566778899aabbccddeeff")
CIPHER = bytes.fromhex("8ea2b7ca516745bfeafc49904b496089")


def test_the_published_block() -> None:
    blocks = Blocks(KEY)
    assert blocks.encrypt(PLAIN) == CIPHER
    assert blocks.encrypt(PLAIN * 3) == CIPHER * 3
    assert blocks.encrypt(b"") == b""


def test_a_block_does_not_depend_on_the_call_before() -> None:
    blocks = Blocks(KEY)
    with pytest.raises(ValueError, match="whole blocks"):
        blocks.encrypt(PLAIN[:-1])
    assert blocks.encrypt(PLAIN) == CIPHER


def test_only_aes_256() -> None:
    with pytest.raises(ValueError, match="size"):
        Blocks(Secret(bytes(16)))
