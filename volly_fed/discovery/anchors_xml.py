"""root-anchors.xml: IANA's trust anchors with the times between which they count.

in: text; out: a zone and its digests, or BadMessage.
Never: expands entities (a document type is refused). Source: RFC 9718 §2.
"""

import datetime
import xml.etree.ElementTree as ET
from typing import Final

import attrs
import dns.exception
import dns.rdata
from dns.rdataclass import IN
from dns.rdtypes.ANY.DS import DS

from volly_fed.errors import BadMessage

_DS_FIELDS: Final = ("KeyTag", "Algorithm", "DigestType", "Digest")


@attrs.frozen(kw_only=True)
class KeyDigest:
    """One anchor; times are seconds since 1970."""

    ds: DS
    valid_from: float
    valid_until: float | None

    def valid_at(self, now: float | None) -> bool:
        """Whether it counts at `now`; without a time, whether its end is not announced."""
        if now is None:
            return self.valid_until is None
        return self.valid_from <= now and (self.valid_until is None or now < self.valid_until)


def read_xml(text: str) -> tuple[str, list[KeyDigest]]:
    """The zone's name and all its digests, valid or not. Raises BadMessage. The caller limits the size."""
    if "<!" in text.replace("<!--", ""):
        raise BadMessage("a document type or entities in the trust anchors' XML are refused")
    try:
        root = ET.fromstring(text.strip())  # noqa: S314  no document type can be left: see above
        if root.tag != "TrustAnchor":
            raise BadMessage("the XML is not a TrustAnchor (RFC 9718)")
        return _text(root, "Zone"), [_digest(element) for element in root.iter("KeyDigest")]
    except (ET.ParseError, ValueError, dns.exception.DNSException) as error:
        raise BadMessage(f"malformed XML of trust anchors ({error})") from error


def _digest(element: ET.Element) -> KeyDigest:
    ds = dns.rdata.from_text(IN, "DS", " ".join(_text(element, field) for field in _DS_FIELDS))
    assert isinstance(ds, DS)
    until = element.get("validUntil")
    return KeyDigest(
        ds=ds,
        valid_from=_seconds(element.get("validFrom", "")),
        valid_until=None if until is None else _seconds(until),
    )


def _text(element: ET.Element, tag: str) -> str:
    found = element.findtext(tag, "").strip()
    if not found:
        raise BadMessage(f"the XML of trust anchors has a {element.tag} without {tag}")
    return found


def _seconds(text: str) -> float:
    """XML Schema's dateTime. Raises ValueError, also where the time zone is missing."""
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.timestamp()
