"""Who there is, what the attacker may have, and what DNS says to whom: the settings that the model is searched in.

in: nothing; out: constants, Power, Check, Scenario, Setting.
"""

import enum
from functools import cached_property

import attrs

# Domains: a and b are honest, e is the attacker's own, with keys and a zone of his own, known to both of them.
A, B, E = "a", "b", "e"
HONEST = (A, B)


def identity_of(domain: str) -> str:
    """The identity key of a domain."""
    return f"identity of {domain}"


def tls_key_of(domain: str) -> str:
    """The TLS key of a domain."""
    return f"TLS key of {domain}"


class Kind(enum.Enum):
    """What an end is set up for: its ALPN, and where it learns what a peer may show."""

    FEDERATION = "volly-fed/1"
    """Identity and TLS keys by DNS, then pins."""
    EDGE = "volly-edge/1"
    """Enrolled identities; any TLS key."""


class Group(enum.StrEnum):
    """Key exchanges."""

    HYBRID = "X25519MLKEM768"
    CLASSICAL = "X25519"


class Power(enum.Enum):
    """What an attacker may have beyond the network and a domain of his own; the value says it in words."""

    ML_DSA = "ML-DSA-65 broken (identities' first half, all TLS certificates)"
    ED25519 = "Ed25519 broken (identities' second half)"
    TLS_A = "TLS key of a stolen"
    TLS_B = "TLS key of b stolen"
    ZONE_A = "zone of a forged"
    ZONE_B = "zone of b forged"
    IDENTITY_A = "identity key of a stolen"
    IDENTITY_B = "identity key of b stolen"
    # What follows are assumptions that we make of others' work; with one of them gone, the second line is what counts.
    KEY_EXCHANGE = "key exchange broken: he reads and writes inside others' connections"
    EXPORTER = "the exporter is the same on every connection"
    OTHER_PROTOCOL = "the identity keys sign what he likes, under another label and context"
    CLASSICAL_GROUP = "b also takes X25519 alone"


class Check(enum.Enum):
    """What an honest end looks at besides the transcript; the value says what it is without."""

    ML_DSA = "the ML-DSA-65 half of AUTH is not checked"
    ED25519 = "the Ed25519 half of AUTH is not checked"
    PUBLISHED_IDENTITY = "the identity shown need not be a published (or enrolled) one"
    PUBLISHED_TLS_KEY = "the TLS key shown need not be in TLSA"
    PIN = "an identity that differs from the pinned one is not quarantined"
    ANSWER_NAME = "the dialler does not look at the name that answers"
    WANTED_NAME = "an end does not look at the name that HELLO wants"
    OWN_IDENTITY = "an end may be shown its own identity, and dial its own name"


class Scenario(enum.Enum):
    """Who runs which four sessions: (domain, kind) of two diallers and of two acceptors."""

    TWICE = ((A, Kind.FEDERATION), (A, Kind.FEDERATION), (B, Kind.FEDERATION), (B, Kind.FEDERATION))
    """a dials twice, b accepts twice."""
    CROSSED = ((A, Kind.FEDERATION), (B, Kind.FEDERATION), (B, Kind.FEDERATION), (A, Kind.FEDERATION))
    """Both dial and both accept."""
    EDGE = ((A, Kind.EDGE), (A, Kind.EDGE), (B, Kind.EDGE), (B, Kind.EDGE))
    """a is an edge node of b."""
    MIXED = ((A, Kind.FEDERATION), (A, Kind.EDGE), (B, Kind.FEDERATION), (B, Kind.EDGE))
    """a is a peer of b and, under the same name and identity, one of its edge nodes: what operators should not do."""


_STOLEN_TLS = {A: Power.TLS_A, B: Power.TLS_B}
_FORGED = {A: Power.ZONE_A, B: Power.ZONE_B}
_STOLEN_IDENTITY = {A: Power.IDENTITY_A, B: Power.IDENTITY_B}


@attrs.frozen(kw_only=True)
class Setting:
    """One model: who plays, what the attacker has, and what is left out of the protocol.

    `sessions`: how many diallers and acceptors, two or one. `pinned`: a and b know each other from before; else it is
    their first contact. `dropped`: fields of terms.FIELDS that are not signed. `skipped`: checks that are not made.
    """

    scenario: Scenario = Scenario.TWICE
    sessions: tuple[int, int] = (2, 2)
    powers: frozenset[Power] = frozenset()
    pinned: bool = False
    dropped: frozenset[str] = frozenset()
    skipped: frozenset[Check] = frozenset()

    @cached_property
    def usable_tls_keys(self) -> tuple[str, ...]:
        """The TLS keys that the attacker can answer or call with: TLS proves them with ML-DSA-65 alone."""
        all_of_them = Power.ML_DSA in self.powers
        held = [E, *(d for d in HONEST if all_of_them or _STOLEN_TLS[d] in self.powers)]
        return tuple(tls_key_of(domain) for domain in held)

    def forged(self, domain: str) -> bool:
        """Whether the attacker's records of `domain` are believed."""
        return domain in _FORGED and _FORGED[domain] in self.powers

    def stolen(self, domain: str) -> bool:
        """Whether the attacker has the identity key of `domain`."""
        return domain == E or _STOLEN_IDENTITY[domain] in self.powers

    def may_show_tls_key(self, kind: Kind, domain: str, key: str) -> bool:
        """Whether `key` is in the TLSA records of `domain`, as others see them. The attacker's own zone has any."""
        if kind is Kind.EDGE or Check.PUBLISHED_TLS_KEY in self.skipped or domain == E:
            return True
        return key == tls_key_of(domain) or (self.forged(domain) and key == tls_key_of(E))

    def identities_of(self, kind: Kind, domain: str) -> tuple[str, ...]:
        """The identities that `domain` may show to others."""
        everybody = tuple(identity_of(each) for each in (A, B, E))
        if Check.PUBLISHED_IDENTITY in self.skipped:
            return everybody
        if kind is Kind.FEDERATION and domain == E:
            return everybody  # his zone may name others' identities
        forged = kind is Kind.FEDERATION and self.forged(domain)
        return (identity_of(domain), identity_of(E)) if forged else (identity_of(domain),)

    @cached_property
    def signable(self) -> frozenset[str]:
        """The identities whose signatures the attacker can make, over whatever he likes, so that they are taken."""
        halves = ((Check.ML_DSA, Power.ML_DSA), (Check.ED25519, Power.ED25519))
        any_half = all(check in self.skipped or broken in self.powers for check, broken in halves)
        any_purpose = Power.OTHER_PROTOCOL in self.powers and {"label", "context"} <= self.dropped
        return frozenset(identity_of(d) for d in (A, B, E) if self.stolen(d) or any_half or any_purpose)
