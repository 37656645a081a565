"""Pinned identities: what a domain showed before, against what it shows and publishes now.

in: the fingerprint shown, the published ones, the stored pin; out: a verdict, or a new pin for the daemon to store.
Never: stores anything, or lets a changed identity through: continuity statements come on top of this.
"""

import enum

import attrs

from volly_fed.names import DomainName, Fingerprint


@attrs.frozen(kw_only=True)
class Pin:
    """The identity a domain is held to; times are seconds since 1970, since pins outlive processes."""

    domain: DomainName
    fingerprint: Fingerprint
    first_seen: float
    last_seen: float

    def seen(self, now: float) -> "Pin":
        """The same pin, met again at `now`; a clock that runs backwards changes nothing."""
        return attrs.evolve(self, last_seen=max(now, self.last_seen))


class IdentityVerdict(enum.Enum):
    """What to make of a shown identity; the value is the reason in words."""

    FIRST_CONTACT = "first contact: the identity is the published one and gets pinned"
    MATCH = "the identity is the pinned one, and is published"
    CHANGED = "the identity is published, but differs from the pinned one: quarantined until the operator decides"
    NOT_PUBLISHED = "the identity is not the one the domain publishes"

    @property
    def trusted(self) -> bool:
        """Whether a link may be established on it."""
        return self in (IdentityVerdict.FIRST_CONTACT, IdentityVerdict.MATCH)


def judge_identity(
    shown: Fingerprint, published: tuple[Fingerprint, Fingerprint | None], pin: Pin | None
) -> IdentityVerdict:
    """The verdict on `shown`, given the published (current, next) fingerprints and the pin, if there is one.

    The zone has to name the identity in every case: a pin alone does not let a withdrawn identity back in.
    """
    if shown not in published:
        return IdentityVerdict.NOT_PUBLISHED
    if pin is None:
        return IdentityVerdict.FIRST_CONTACT
    return IdentityVerdict.MATCH if pin.fingerprint == shown else IdentityVerdict.CHANGED
