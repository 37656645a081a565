"""The gates `show` and `hear`, and which of a user's tags a peer is shown: level x scope, as one table.

in: the level that was frozen into a session, the peer's domain, the tags a device has given with their scopes.
out: Decision, and at most one tag per user.
Never: shows a user to a peer whom the user's scopes do not name. Source: docs/architecture.md, "Trust levels".
"""

import enum
from collections.abc import Collection, Mapping
from types import MappingProxyType

import attrs

from volly_fed.codepoints import TrustLevel
from volly_fed.names import DomainName
from volly_fed.trust.gates import EVERYBODY, Decision


class Audience(enum.StrEnum):
    """Which users a peer is shown."""

    WIDE = "users whose scope includes it or *"
    NAMED = "users who named it"
    NOBODY = "nobody"


@attrs.frozen(kw_only=True)
class Rights:
    """One row: what we show a peer, and whether we listen to what it shows."""

    show: Audience
    hear: bool


RIGHTS: Mapping[TrustLevel, Rights] = MappingProxyType(
    {
        TrustLevel.FULL: Rights(show=Audience.WIDE, hear=True),
        TrustLevel.SELECTIVE: Rights(show=Audience.NAMED, hear=True),
        TrustLevel.METADATA: Rights(show=Audience.WIDE, hear=True),
        TrustLevel.NONE: Rights(show=Audience.NOBODY, hear=False),
    }
)


def show(level: TrustLevel, domain: DomainName, scopes: Collection[str]) -> Decision:
    """Whether a user who is online for `scopes` is shown to `domain`."""
    audience = RIGHTS[level].show
    allowed = _chosen_scope(audience, domain, scopes) is not None
    return Decision(allowed, f"{domain} is shown {audience.value}: {level}", level)


def hear(level: TrustLevel, domain: DomainName) -> Decision:
    """Whether we ask `domain` for its filter, and take it."""
    allowed = RIGHTS[level].hear
    return Decision(allowed, f"what {domain} shows is {'heard' if allowed else 'not heard'}: {level}", level)


def tag_to_show(level: TrustLevel, domain: DomainName, tags: Mapping[str, bytes]) -> bytes | None:
    """Of one user's `tags`, scope by scope, the one that `domain` is shown; None: this user is not shown to it.

    One, even where two scopes fit: watchers try both, and two would make the user count twice.
    """
    scope = _chosen_scope(RIGHTS[level].show, domain, tags)
    return None if scope is None else tags[scope]


def _chosen_scope(audience: Audience, domain: DomainName, scopes: Collection[str]) -> str | None:
    if audience is not Audience.NOBODY and domain in scopes:
        return domain
    return EVERYBODY if audience is Audience.WIDE and EVERYBODY in scopes else None
