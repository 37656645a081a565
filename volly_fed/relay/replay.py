"""The duplicate rule: what makes two envelopes the same one, and how long that must be remembered.

Two envelopes are the same if id and expiry are the same. The expiry is part of it so that what is remembered lies
sorted by when it can be forgotten; a relay that changes it makes a new envelope, which any relay can do anyway, and
which the client's own set of ids, bound inside the sealed body, catches.
in: times; out: times. The set itself is the store's.
"""

from volly_fed import limits


def forget_before(now: float) -> int:
    """Ids whose expiry (Unix seconds) is below this may be forgotten at `now`.

    By then relay.check_lifetime refuses their envelopes as expired, so that nothing is taken twice.
    """
    return int(now) - limits.CLOCK_SKEW
