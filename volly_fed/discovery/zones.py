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
from volly_fed.discovery.proof import Proof, weight_of_proof
from volly_fed.discovery.wire_name import above
from volly_fed.errors import Indeterminate

ROOT: Final = dns.name.root


@attrs.frozen(kw_only=True)
class ZoneKeys:
    """The keys of a zone whose chain holds."""

    keys: KeySet
    expires: float
    proof: Proof = attrs.field(default=(), eq=False, repr=False)
    """The chain from the anchor down to these keys."""

    @property
    def weight(self) -> int:
        """Bytes of memory, estimated."""
        keys = sum(len(key.key) + limits.DNS_RECORD_BYTES for key in self.keys)
        return keys + weight_of_proof(self.proof)


@attrs.frozen(kw_only=True)
class Unsigned:
    """A zone that is proved to be insecure."""

    reason: str
    expires: float

    @property
    def weight(self) -> int:
        """Bytes of memory, estimated."""
        return limits.DNS_RECORD_BYTES


@attrs.frozen
class _Known:
    zone: ZoneKeys | Unsigned
    since: float
    weight: int

    def is_current(self, now: float) -> bool:
        return self.since - limits.DNS_CLOCK_SKEW <= now < self.zone.expires


class Zones:
    """What is known of zones, shared by all walks of one resolver.

    At most limits.DNS_CACHE_ENTRIES of them and limits.DNS_CACHE_BYTES.
    """

    def __init__(self, anchors: Anchors, *, require_mldsa44: bool = False) -> None:
        """`require_mldsa44`: a zone whose DS set has a usable ML-DSA-44 key must sign with it all that it says.

        Without it any one good signature will do (RFC 6840 §5.11), and whoever breaks the classical one needs no other.
        """
        self.anchors = anchors
        self.require_mldsa44 = require_mldsa44
        self._known: dict[dns.name.Name, _Known] = {}
        self._weight = 0

    def get(self, zone: dns.name.Name, now: float) -> ZoneKeys | Unsigned | None:
        """What is known of `zone`, unless it has expired, or is from a future that the clock has turned back from."""
        known = self._known.get(zone)
        return known.zone if known is not None and known.is_current(now) else None

    def put(self, zone: dns.name.Name, known: ZoneKeys | Unsigned, *, now: float) -> None:
        """Remember; the oldest entries make room."""
        self._drop(zone)
        entry = self._known[zone] = _Known(known, now, known.weight)
        self._weight += entry.weight
        while len(self._known) > limits.DNS_CACHE_ENTRIES or self._weight > limits.DNS_CACHE_BYTES:
            self._drop(next(iter(self._known)))

    def current(self, now: float) -> Iterator[tuple[dns.name.Name, ZoneKeys | Unsigned]]:
        """Every zone that `get` would still know."""
        return ((zone, known.zone) for zone, known in self._known.items() if known.is_current(now))

    def forget(self, top: dns.name.Name) -> int:
        """Forget `top` and every zone below it; says how many that were."""
        zones = [zone for zone in self._known if zone.is_subdomain(top)]
        for zone in zones:
            self._drop(zone)
        return len(zones)

    def _drop(self, zone: dns.name.Name) -> None:
        known = self._known.pop(zone, None)
        if known is not None:
            self._weight -= known.weight

    def anchor_above(self, name: dns.name.Name) -> dns.name.Name:
        """The closest anchored zone at or above `name`. Raises Indeterminate where there is none."""
        above = [zone for zone in self.anchors if name.is_subdomain(zone)]
        if not above:
            raise Indeterminate("no trust anchor covers the name")
        return max(above, key=len)

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
            name = above(name)
        return questions
