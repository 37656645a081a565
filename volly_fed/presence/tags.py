"""A presence tag: 16 bytes that only somebody's contacts can compute, and that mean nothing after the epoch.

in: the presence key that contacts hold, an epoch, a scope (a peer's domain, or "*"); out: the tag.
Never: sees a name. Runs on devices and in tests; a homeserver gets tags and cannot make one.
Source: RFC 2104 (HMAC).
"""

import hmac

from volly_fed import limits
from volly_fed.codepoints import Label
from volly_fed.crypto.secret import Secret
from volly_fed.presence import bounds

TAG_BYTES = 16
KEY_BYTES = 32
_EPOCH_BYTES = 8


def epoch_of(wall: float) -> int:
    """The epoch that the unix time `wall` is in."""
    return int(wall // bounds.EPOCH)


def epochs_at(wall: float) -> tuple[int, int]:
    """The oldest and the newest epoch that a peer's filter may be of, its clock being off by limits.CLOCK_SKEW."""
    return epoch_of(wall - limits.CLOCK_SKEW - bounds.EPOCH_GRACE), epoch_of(wall + limits.CLOCK_SKEW)


def presence_tag(key: Secret, epoch: int, scope: str) -> bytes:
    """The tag of whoever has the presence key `key`. Raises ValueError unless it has 32 bytes.

    `scope` is a domain in canonical form or "*". It comes last and everything before it has one length.
    """
    if len(key) != KEY_BYTES:
        raise ValueError("a presence key has 32 bytes")
    message = Label.PRESENCE + epoch.to_bytes(_EPOCH_BYTES, "big") + scope.encode("ascii")  # [presence-1]
    return hmac.digest(key.reveal(), message, "sha256")[:TAG_BYTES]
