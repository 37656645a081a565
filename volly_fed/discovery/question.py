"""What is asked: a name and a type, and the query's bytes.

in: names; out: bytes. Never: a class other than IN. Source: RFC 1035 §4.1, RFC 6891 §6.1.2, RFC 3225.
"""

import struct
from typing import Final

import attrs
import dns.flags
import dns.name
import dns.rdatatype
from dns.rdataclass import IN
from dns.rdatatype import RdataType

from volly_fed import limits

_HEADER: Final = 12
_QUERY: Final = struct.Struct("!6H")
_ASKED: Final = struct.Struct("!HH")
_OPT: Final = struct.pack("!BHHIH", 0, RdataType.OPT, limits.DNS_UDP_PAYLOAD, dns.flags.DO, 0)
"""RFC 6891 §6.1.2: the root's name, the size of UDP answers that we take, DO (RFC 3225), and no options."""


@attrs.frozen(eq=False)
class Question:
    """What is asked; the class is always IN. Names compare without regard to case."""

    name: dns.name.Name
    rdtype: RdataType
    wire: bytes = attrs.field(init=False, repr=False)
    """As it stands in a query, the name in lower case; made once, because it is compared and hashed all the time."""

    @wire.default
    def _(self) -> bytes:
        return self.name.to_digestable() + _ASKED.pack(self.rdtype, IN)

    @property
    def owner(self) -> bytes:
        """The name's part of `wire`."""
        return self.wire[: -_ASKED.size]

    def __str__(self) -> str:
        return f"{self.name} {dns.rdatatype.to_text(self.rdtype)}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Question) and self.wire == other.wire

    def __hash__(self) -> int:
        return hash(self.wire)


def query_for(question: Question, ident: int) -> bytes:
    """The query's bytes: RD to have it resolved, DO to get signatures, CD because we validate ourselves."""
    return _QUERY.pack(ident, dns.flags.RD | dns.flags.CD, 1, 0, 0, 1) + question.wire + _OPT


def has_ident(wire: bytes, ident: int) -> bool:
    """Whether `wire` can be the response to query number `ident`: cheap enough for a flood of forgeries."""
    return len(wire) >= _HEADER and int.from_bytes(wire[:2]) == ident
