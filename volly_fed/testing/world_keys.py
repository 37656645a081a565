"""The test world's private keys: made from a seed, for every DNSSEC algorithm in use.

in: a seed and an algorithm number; out: a key, always the same one.
Never for anything real: whoever knows the seed knows the key.
Source: RFC 5702, RFC 6605, RFC 8080, draft-westerbaan-dnssec-mldsa.
"""

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa
from dns.dnssectypes import Algorithm

PrivateKey: TypeAlias = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | mldsa.MLDSA44PrivateKey
)

RSA: Final = frozenset({Algorithm.RSASHA1, Algorithm.RSASHA1NSEC3SHA1, Algorithm.RSASHA256, Algorithm.RSASHA512})
"""The algorithms of RSA keys; the first two hash with SHA-1."""

_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_P384_ORDER: Final = int(
    "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973", 16
)
_ED448_BYTES: Final = 57
_RSA_BITS: Final = 2048
_EXPONENT: Final = 65537
_SIEVE: Final = 4000
"""Numbers divisible by a prime below this are not tested further."""
_WITNESSES: Final = (2, 3, 5, 7, 11)
"""Enough for numbers that nobody has chosen to deceive."""


def private_key(seed: bytes, algorithm: Algorithm) -> PrivateKey:
    """The key of `algorithm`, one of 5, 7, 8, 10, 13, 14, 15, 16 and 18; ValueError for others.

    An RSA key takes about half a second, once in a process.
    """
    if algorithm in RSA:
        return _rsa_key(seed)
    match algorithm:
        case Algorithm.ECDSAP256SHA256:
            return ec.derive_private_key(int.from_bytes(seed) % (_P256_ORDER - 1) + 1, ec.SECP256R1())
        case Algorithm.ECDSAP384SHA384:
            wide = int.from_bytes(hashlib.sha512(seed).digest())
            return ec.derive_private_key(wide % (_P384_ORDER - 1) + 1, ec.SECP384R1())
        case Algorithm.ED25519:
            return ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        case Algorithm.ED448:
            return ed448.Ed448PrivateKey.from_private_bytes(hashlib.sha512(seed).digest()[:_ED448_BYTES])
        case Algorithm.MLDSA44:
            return mldsa.MLDSA44PrivateKey.from_seed_bytes(seed)
    raise ValueError(f"the test world signs with algorithms 5, 7, 8, 10, 13, 14, 15, 16 and 18, not {int(algorithm)}")


@lru_cache(maxsize=256)
def _rsa_key(seed: bytes) -> rsa.RSAPrivateKey:
    """`cryptography` makes RSA keys from its own randomness only, so the primes are found here."""
    p, q = _prime(seed + b"|p"), _prime(seed + b"|q")
    d = pow(_EXPONENT, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=rsa.rsa_crt_dmp1(d, p),
        dmq1=rsa.rsa_crt_dmq1(d, q),
        iqmp=rsa.rsa_crt_iqmp(p, q),
        public_numbers=rsa.RSAPublicNumbers(_EXPONENT, p * q),
    )
    return numbers.private_key()


def _prime(seed: bytes) -> int:
    """The first prime after a number that `seed` gives, with its two top bits set, so that p * q has full length."""
    bits = _RSA_BITS // 2
    start = int.from_bytes(hashlib.shake_256(seed).digest(bits // 8)) | 3 << (bits - 2) | 1
    return next(number for number in _sieved(start) if (number - 1) % _EXPONENT and _is_prime(number))


def _sieved(start: int) -> Iterator[int]:
    """Odd numbers from `start` on that no small prime divides."""
    remainders = [(prime, start % prime) for prime in _small_primes()]
    offset = 0
    while True:
        if all((remainder + offset) % prime for prime, remainder in remainders):
            yield start + offset
        offset += 2


@lru_cache(maxsize=1)
def _small_primes() -> tuple[int, ...]:
    return tuple(number for number in range(3, _SIEVE, 2) if all(number % k for k in range(3, int(number**0.5) + 1, 2)))


def _is_prime(number: int) -> bool:
    """Miller-Rabin."""
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    return all(_is_witnessed(number, base, odd, twos) for base in _WITNESSES)


def _is_witnessed(number: int, base: int, odd: int, twos: int) -> bool:
    power = pow(base, odd, number)
    if power in (1, number - 1):
        return True
    return any((power := pow(power, 2, number)) == number - 1 for _ in range(twos - 1))
