"""Byte lengths of what the algorithms take and give.

Sources: FIPS 204 table 2 (ML-DSA-65), FIPS 203 table 3 (ML-KEM-768), RFC 8032, RFC 7748,
draft-connolly-cfrg-xwing-kem, draft-ietf-lamps-pq-composite-sigs, RFC 9180.
"""

from typing import Final

MLDSA65_SEED: Final = 32
MLDSA65_PUBLIC: Final = 1952
MLDSA65_SIGNATURE: Final = 3309
MAX_CONTEXT: Final = 255
"""Of an ML-DSA context string (FIPS 204 §5.2), and so of a composite one."""

ED25519_SEED: Final = 32
ED25519_PUBLIC: Final = 32
ED25519_SIGNATURE: Final = 64

MLKEM768_SEED: Final = 64
MLKEM768_PUBLIC: Final = 1184
MLKEM768_CIPHERTEXT: Final = 1088
X25519: Final = 32
"""Seed, public key, ephemeral key and shared secret alike."""
SHARED_SECRET: Final = 32

IDENTITY_SEED: Final = MLDSA65_SEED + ED25519_SEED
IDENTITY_PUBLIC: Final = MLDSA65_PUBLIC + ED25519_PUBLIC
IDENTITY_SIGNATURE: Final = MLDSA65_SIGNATURE + ED25519_SIGNATURE

MAILBOX_SEED: Final = 32
MAILBOX_PUBLIC: Final = MLKEM768_PUBLIC + X25519
MAILBOX_CIPHERTEXT: Final = MLKEM768_CIPHERTEXT + X25519

AEAD_KEY: Final = 32
AEAD_NONCE: Final = 12
AEAD_TAG: Final = 16
HPKE_OVERHEAD: Final = MAILBOX_CIPHERTEXT + AEAD_TAG

SHA256: Final = 32
