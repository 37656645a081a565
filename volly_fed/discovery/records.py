"""Rdata to values: SRV, TLSA and the identity TXT record, and the order in which SRV targets are tried.

in: rdata bytes or dnspython rdata that came out of the validator; out: frozen values.
Never: a name in other than canonical form. Source: RFC 2782, RFC 6698 §2, docs of the identity record.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import attrs
import dns.rdata
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.SRV import SRV

from volly_fed.discovery.dane import TlsaRecord
from volly_fed.errors import BadMessage
from volly_fed.machine import RandomSource
from volly_fed.names import BadName, DomainName, Fingerprint, fingerprint_text, parse_domain, parse_fingerprint

IDENTITY_VERSION: Final = "v=vf1"
_TLSA_HEADER: Final = 3  # usage, selector and matching type: a byte each (RFC 6698 §2.1)
_SHUFFLE_BYTES: Final = 4


@attrs.frozen(kw_only=True)
class SrvRecord:
    """One SRV record; `target` is None where it is ".", the statement that the service does not exist."""

    priority: int
    weight: int
    port: int
    target: DomainName | None


@attrs.frozen(kw_only=True)
class Identity:
    """The identity record: the fingerprint in use, and the one to expect next, where a change is announced."""

    current: Fingerprint
    next: Fingerprint | None = None

    def __str__(self) -> str:
        following = f" next={fingerprint_text(self.next)}" if self.next else ""
        return f"{IDENTITY_VERSION} id={fingerprint_text(self.current)}{following}"


def parse_srv(rdata: dns.rdata.Rdata) -> SrvRecord:
    """One SRV record. Raises BadMessage where the target is no host name or the port is 0."""
    if not isinstance(rdata, SRV):
        raise BadMessage("this is not an SRV record")
    try:
        target = None if len(rdata.target) <= 1 else parse_domain(rdata.target.to_text())
    except BadName as error:
        raise BadMessage(f"SRV target: {error}") from error
    if target is not None and not rdata.port:
        raise BadMessage("an SRV record with a target needs a port")
    return SrvRecord(priority=rdata.priority, weight=rdata.weight, port=rdata.port, target=target)


def parse_tlsa(rdata: dns.rdata.Rdata) -> TlsaRecord:
    """One TLSA record, usable or not (`dane.objection` judges). Raises BadMessage below three bytes of rdata."""
    wire = rdata.to_digestable()
    if len(wire) < _TLSA_HEADER:
        raise BadMessage("a TLSA record has at least three bytes")
    return TlsaRecord(usage=wire[0], selector=wire[1], matching=wire[2], data=wire[_TLSA_HEADER:])


def txt_strings(rdatas: Iterable[dns.rdata.Rdata]) -> list[bytes]:
    """The TXT records' strings, those of one record joined without a separator (as RFC 7208 §3.3 does)."""
    return [b"".join(rdata.strings) for rdata in rdatas if isinstance(rdata, TXT)]


def is_identity(text: bytes) -> bool:
    """Whether a TXT record claims to be an identity record: others at the same owner are no error."""
    return text.split(b" ", 1)[0] == IDENTITY_VERSION.encode()


def parse_identity(text: bytes) -> Identity:
    """`v=vf1 id=<43 characters> [next=<43 characters>]`, fields separated by spaces.

    Raises BadMessage where `id` is missing, a field comes twice, or a fingerprint is malformed. Unknown fields are no
    error: later versions may add them.
    """
    if not is_identity(text):
        raise BadMessage(f"the identity record begins with {IDENTITY_VERSION}")
    fields: dict[str, str] = {}
    for item in text.decode("ascii", "replace").split()[1:]:
        key, equals, value = item.partition("=")
        if not equals or key in fields:
            raise BadMessage("the identity record has a field that is malformed or comes twice")
        fields[key] = value  # [discovery-4]
    if "id" not in fields:
        raise BadMessage("the identity record has no id= field")
    try:
        following = parse_fingerprint(fields["next"]) if "next" in fields else None
        return Identity(current=parse_fingerprint(fields["id"]), next=following)
    except (BadName, ValueError) as error:
        raise BadMessage(f"the identity record: {error}") from error


def choose_identity(texts: Sequence[bytes]) -> Identity:
    """The one identity record among TXT strings. Raises BadMessage where there is none, or more than one."""
    claims = [text for text in texts if is_identity(text)]  # [discovery-2]
    if len(claims) != 1:  # [discovery-3]
        raise BadMessage(f"there must be exactly one TXT record beginning with {IDENTITY_VERSION}, not {len(claims)}")
    return parse_identity(claims[0])


def order_srv(records: Iterable[SrvRecord], random: RandomSource) -> list[SrvRecord]:
    """The order to try targets in: priority ascending, weighted random inside (RFC 2782, "Weight")."""
    groups: dict[int, list[SrvRecord]] = {}
    for record in records:
        groups.setdefault(record.priority, []).append(record)
    ordered: list[SrvRecord] = []
    for priority in sorted(groups):
        # RFC 2782: those of weight 0 first, so that they have a very small chance and not none
        waiting = sorted(groups[priority], key=lambda record: record.weight != 0)
        while waiting:
            ordered.append(waiting.pop(_draw([record.weight for record in waiting], random)))
    return ordered


def _draw(weights: list[int], random: RandomSource) -> int:
    point = int.from_bytes(random(_SHUFFLE_BYTES)) % (sum(weights) + 1)
    running = 0
    for index, weight in enumerate(weights):
        running += weight
        if running >= point:
            return index
    raise AssertionError("the running sum ends at the total")
