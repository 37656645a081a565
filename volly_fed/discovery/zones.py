"""What is known of zones: the keys that are proved, and which zones are proved to be unsigned.

in: what a walk (`chain`) found out; out: the same, until it expires. Shared by all walks of one resolver.
Never: decides anything; does I/O. Source: RFC 4035 §4.3 and §5, RFC 6840 §5.11.
"""

from collections.abc import Iterator
from typing import Final

import attrs
import dns.name
from dns.rdatatype import RdataType

from volly_fed import limits
from volly_fed.discovery.anchors import Anchors
from volly_fed.discovery.keys import KeySet
from volly_fed.discovery.message import Question
from volly_fed.discovery.proof import Proof
from volly_fed.errors import Indeterminate

ROOT: Final = dns.name.root


@attrs.frozen(kw_only=True)
class ZoneKeys:
    """The keys of a zone whose chain holds."""

    keys: KeySet
    expires: float
    proof: Proof = attrs.field(default=(), eq=False, repr=False)
    """The chain from the anchor down to these keys."""


@attrs.frozen(kw_only=True)
class Unsigned:
    """A zone that is proved to be insecure."""

    reason: str
    expires: float


class Zones:
    """What is known of zones, shared by all walks of one resolver; at most limits.DNS_CACHE_ENTRIES of them."""

    def __init__(self, anchors: Anchors, *, require_mldsa44: bool = False) -> None:
        """`require_mldsa44`: a zone whose DS set has a usable ML-DSA-44 key must sign with it all that it says.

        Without it any one good signature will do (RFC 6840 §5.11), and whoever breaks the classical one needs no other.
        """
        self.anchors = anchors
        self.require_mldsa44 = require_mldsa44
        self._known: dict[dns.name.Name, ZoneKeys | Unsigned] = {}

    def get(self, zone: dns.name.Name, now: float) -> ZoneKeys | Unsigned | None:
        """What is known of `zone`, unless it has expired."""
        known = self._known.get(zone)
        return known if known is not None and known.expires > now else None

    def put(self, zone: dns.name.Name, known: ZoneKeys | Unsigned) -> None:
        """Remember; the oldest entry makes room."""
        self._known.pop(zone, None)
        self._known[zone] = known
        while len(self._known) > limits.DNS_CACHE_ENTRIES:
            del self._known[next(iter(self._known))]

    def current(self, now: float) -> Iterator[tuple[dns.name.Name, ZoneKeys | Unsigned]]:
        """Every zone that `get` would still know."""
        return ((zone, known) for zone, known in self._known.items() if known.expires > now)

    def forget(self, top: dns.name.Name) -> int:
        """Forget `top` and every zone below it; says how many that were."""
        zones = [zone for zone in self._known if zone.is_subdomain(top)]
        for zone in zones:
            del self._known[zone]
        return len(zones)

    def anchor_above(self, name: dns.name.Name) -> dns.name.Name:
        """The closest anchored zone at or above `name`. Raises Indeterminate where there is none."""
        while name not in self.anchors:
            if name == ROOT:
                raise Indeterminate("no trust anchor covers the name")
            name = name.parent()
        return name

    def unknown_above(self, name: dns.name.Name, now: float) -> list[Question]:
        """What a walk to `name` will probably ask: DS and DNSKEY of every possible zone that is not known yet."""
        questions: list[Question] = []
        for _ in range(limits.DNS_PREFETCH_ZONES):
            if self.get(name, now) is not None:
                break
            questions.append(Question(name, RdataType.DNSKEY))
            if name in self.anchors or name == ROOT:
                break
            questions.append(Question(name, RdataType.DS))
            name = name.parent()
        return questions
