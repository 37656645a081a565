"""What several of these tests need: tags, keys and randomness that come back the same."""

import hashlib
import random

from volly_fed.codepoints import FilterClass
from volly_fed.crypto.secret import Secret
from volly_fed.machine import RandomSource
from volly_fed.presence.placement import Placement


def tag(number: int) -> bytes:
    """The tag with this number."""
    return hashlib.sha256(b"tag %d" % number).digest()[:16]


def tags(count: int, first: int = 0) -> list[bytes]:
    """So many different ones."""
    return [tag(number) for number in range(first, first + count)]


def placement(size: FilterClass = FilterClass.TAGS_4K, key: bytes = b"k" * 32) -> Placement:
    """Where tags are in some filter."""
    return Placement(Secret(key), size)


def source(seed: int = 1) -> RandomSource:
    """Randomness."""
    return random.Random(seed).randbytes
