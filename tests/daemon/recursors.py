"""Resolvers of every kind in front of a test world: those that validate, and those that do not, hide it, strip or lie.

They judge with our own validator: what is tested with them is what a resolver's flags are worth, not how it validates.
"""

import enum

import attrs
import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
from dns.rdatatype import RdataType

from tests.discovery.harness import NOW, Judge, without
from volly_fed.daemon.dns.probe import ProbeNames
from volly_fed.discovery.endpoint import Status
from volly_fed.names import DomainName
from volly_fed.testing.world import World

PROBE = ProbeNames(secure=DomainName("a.test"), bogus=DomainName("expired.test"), unsigned=DomainName("unsigned.test"))


class Kind(enum.Enum):
    """What a resolver does with what it finds out."""

    VALIDATING = enum.auto()
    NOT_VALIDATING = enum.auto()
    HIDING = enum.auto()
    """Validates, but never sets AD."""
    PERMISSIVE = enum.auto()
    """Sets AD on what is secure, and gives out what is bogus."""
    LYING = enum.auto()
    """Sets AD on everything."""
    STRIPPING = enum.auto()
    """Removes signatures, does not validate."""
    FAILING = enum.auto()
    """SERVFAIL, with or without CD."""


@attrs.define
class Recursor:
    """`Names` for a WorldServer. `kind` may be changed at any time; `refuse` lists names it calls bogus regardless."""

    world: World
    kind: Kind = Kind.VALIDATING
    now: float = NOW
    explain: str = ""
    refuse: set[str] = attrs.field(factory=set)
    unsure: set[str] = attrs.field(factory=set)
    """Names that it does not vouch for, although they are signed."""
    asked: list[tuple[str, str]] = attrs.field(factory=list)

    def reply(self, query: dns.message.Message, *, udp: bool) -> dns.message.Message:
        """The response; of what size it may be is the server's business, so `udp` makes no difference."""
        del udp
        (question,) = query.question
        name, rdtype = question.name.to_text(), question.rdtype.name
        self.asked.append((name, rdtype))
        if self.kind is Kind.FAILING:
            return self._refusal(query)
        response = self.world.respond(query, udp=False)
        assert isinstance(response, dns.message.Message)
        if not query.ednsflags & dns.flags.DO:
            keep = {question.rdtype, RdataType.CNAME, RdataType.SOA}
            for section in (response.answer, response.authority):
                section[:] = [rrset for rrset in section if rrset.rdtype in keep]
        if self.kind is Kind.STRIPPING:
            without(response, RdataType.RRSIG, RdataType.NSEC)
        if not query.flags & dns.flags.CD:
            return self._judged(query, response, self._status(name, rdtype))
        return response

    def _status(self, name: str, rdtype: str) -> Status:
        if any(name.endswith(refused) for refused in self.refuse):
            return Status.BOGUS
        if any(name.endswith(unsure) for unsure in self.unsure):
            return Status.INSECURE
        return Judge(self.world, now=self.now)(name, rdtype).status

    def _judged(self, query: dns.message.Message, response: dns.message.Message, status: Status) -> dns.message.Message:
        if status is Status.BOGUS and self.kind in (Kind.VALIDATING, Kind.HIDING):
            return self._refusal(query)
        vouches = status is Status.SECURE and self.kind in (Kind.VALIDATING, Kind.PERMISSIVE)
        if vouches or self.kind is Kind.LYING:
            response.flags |= dns.flags.AD
        return response

    def _refusal(self, query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query, recursion_available=True)
        response.set_rcode(dns.rcode.SERVFAIL)
        if self.explain:
            option = dns.edns.EDEOption(dns.edns.EDECode.SIGNATURE_EXPIRED, self.explain)
            response.use_edns(options=[option])
        return response
