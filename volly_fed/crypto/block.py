"""AES-256 on single blocks: a keyed permutation of 16 bytes, for placing presence tags in a filter.

in: a 32-byte Secret, blocks; out: as many blocks.
Never: hides anything. Equal blocks give equal blocks (that is what ECB means), so this is no way to encrypt a message.
Source: FIPS 197; what it is used for: presence.placement.
"""

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB

from volly_fed.crypto.secret import Secret

BLOCK = 16


class Blocks:
    """AES-256 under one key. Making it costs microseconds, so it is kept; a single block then takes less than one."""

    __slots__ = ("_context",)

    def __init__(self, key: Secret) -> None:
        """Raises ValueError unless `key` has 32 bytes."""
        self._context: CipherContext = Cipher(AES256(key.reveal()), ECB()).encryptor()  # noqa: S305 # see above

    def encrypt(self, blocks: bytes) -> bytes:
        """Each 16 bytes of `blocks` by itself; raises ValueError when the last are fewer."""
        if len(blocks) % BLOCK:  # OpenSSL would keep them for the next call
            raise ValueError("whole blocks are wanted")
        return self._context.update(blocks)
