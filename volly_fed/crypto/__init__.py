"""The only package that touches cryptographic libraries; everything above it sees bytes, Secrets and key objects.

secret       bytes that must not be shown          sizes        byte lengths of keys, signatures and ciphertexts
kdf          HKDF, HMAC, labelled digests          provider     which library does ML-DSA and ML-KEM: choice and default
signature    composite identity keys               openssl      the default provider (cryptography)
kem          X-Wing mailbox keys, HPKE             liboqs       the provider for an installed liboqs, its safe loading
hpke         RFC 9180 key schedule                 probe        does a loadable liboqs exist? asked in a child process
certificate  ML-DSA-65 TLS keys                    selftest     known answers, and one provider against the other
"""

from volly_fed.crypto.certificate import TlsKey, is_mldsa65, spki_of
from volly_fed.crypto.kdf import digest, framed, hkdf_sha256, mac, mac_equal
from volly_fed.crypto.kem import MailboxKey, encapsulate, hpke_open, hpke_seal, mailbox_id
from volly_fed.crypto.provider import Provider, choose_provider, current, use
from volly_fed.crypto.secret import Secret
from volly_fed.crypto.signature import BadSignature, IdentityKey, fingerprint, verify_identity

__all__ = [
    "BadSignature",
    "IdentityKey",
    "MailboxKey",
    "Provider",
    "Secret",
    "TlsKey",
    "choose_provider",
    "current",
    "digest",
    "encapsulate",
    "fingerprint",
    "framed",
    "hkdf_sha256",
    "hpke_open",
    "hpke_seal",
    "is_mldsa65",
    "mac",
    "mac_equal",
    "mailbox_id",
    "spki_of",
    "use",
    "verify_identity",
]
