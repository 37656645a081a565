"""What each trust level allows, as one table.

in: a TrustLevel; out: its Rights. The gates turn them into decisions with reasons.
Never: looks at a domain or a policy. Source: docs/architecture.md, "Trust levels".
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType

import attrs

from volly_fed.codepoints import TrustLevel


class Direction(enum.StrEnum):
    """Which way envelopes are relayed, seen from here."""

    OUT = "out"
    IN = "in"


class Reach(enum.StrEnum):
    """Which mailboxes a peer's envelopes may be put in, the capability being right."""

    ANY = "any mailbox"
    NAMED = "mailboxes that named this peer or *"
    NOTHING = "no mailbox"


@attrs.frozen(kw_only=True)
class Rights:
    """One row of the table: `link` covers dial, accept and establish."""

    link: bool
    relay_out: bool
    relay_in: bool
    deliver: Reach


RIGHTS: Mapping[TrustLevel, Rights] = MappingProxyType(
    {
        TrustLevel.FULL: Rights(link=True, relay_out=True, relay_in=True, deliver=Reach.ANY),
        TrustLevel.SELECTIVE: Rights(link=True, relay_out=True, relay_in=True, deliver=Reach.NAMED),
        TrustLevel.METADATA: Rights(link=True, relay_out=False, relay_in=False, deliver=Reach.NOTHING),
        TrustLevel.NONE: Rights(link=False, relay_out=False, relay_in=False, deliver=Reach.NOTHING),
    }
)
