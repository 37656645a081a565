"""What each trust level allows, as one table.

in: a TrustLevel; out: its Rights, or gate by gate what follows from it. The gates turn them into decisions.
Never: looks at a domain or a policy. Source: docs/architecture.md, "Trust levels"; spec/registries holds it as data.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType

import attrs

from volly_fed.codepoints import Gate, TrustLevel


class Direction(enum.StrEnum):
    """Which way envelopes are relayed, seen from here."""

    OUT = "out"
    IN = "in"


class Reach(enum.StrEnum):
    """Which mailboxes a peer's envelopes may be put in, the capability being right."""

    ANY = "any mailbox"
    NAMED = "mailboxes that named this peer or *"
    NOTHING = "no mailbox"


class Audience(enum.StrEnum):
    """Which of our users a peer is shown, by what they wish."""

    WILLING = "users who named this peer or *"
    NAMED = "users who named this peer"
    NOBODY = "nobody"


@attrs.frozen(kw_only=True)
class Rights:
    """One row of the table: `link` covers dial, accept and establish."""

    link: bool
    show: Audience
    hear: bool
    relay_out: bool
    relay_in: bool
    deliver: Reach


RIGHTS: Mapping[TrustLevel, Rights] = MappingProxyType(  # [trust-1]
    {
        TrustLevel.FULL: Rights(
            link=True, show=Audience.WILLING, hear=True, relay_out=True, relay_in=True, deliver=Reach.ANY
        ),
        TrustLevel.SELECTIVE: Rights(
            link=True, show=Audience.NAMED, hear=True, relay_out=True, relay_in=True, deliver=Reach.NAMED
        ),
        TrustLevel.METADATA: Rights(
            link=True, show=Audience.WILLING, hear=True, relay_out=False, relay_in=False, deliver=Reach.NOTHING
        ),
        TrustLevel.NONE: Rights(
            link=False, show=Audience.NOBODY, hear=False, relay_out=False, relay_in=False, deliver=Reach.NOTHING
        ),
    }
)


@attrs.frozen(kw_only=True)
class Passage:
    """One gate, one way, on one level: whether it is open, and what it asks beside the level ("": nothing)."""

    gate: Gate
    direction: Direction | None = None
    open: bool
    condition: str = ""

    @property
    def name(self) -> str:
        """The gate's, with the direction where it has two."""
        return f"{self.gate} {self.direction}" if self.direction else str(self.gate)


def passages(level: TrustLevel) -> tuple[Passage, ...]:
    """Every gate, in the order in which a link meets them, on `level`."""
    rights = RIGHTS[level]
    shown, delivered = rights.show is not Audience.NOBODY, rights.deliver is not Reach.NOTHING
    return (
        Passage(gate=Gate.DIAL, open=rights.link),
        Passage(gate=Gate.ACCEPT, open=rights.link),
        Passage(gate=Gate.ESTABLISH, open=rights.link, condition="proven identity" if rights.link else ""),
        Passage(gate=Gate.SHOW, open=shown, condition=str(rights.show) if shown else ""),
        Passage(gate=Gate.HEAR, open=rights.hear),
        Passage(gate=Gate.RELAY, direction=Direction.OUT, open=rights.relay_out),
        Passage(gate=Gate.RELAY, direction=Direction.IN, open=rights.relay_in),
        Passage(gate=Gate.DELIVER, open=delivered, condition=str(rights.deliver) if delivered else ""),
    )
