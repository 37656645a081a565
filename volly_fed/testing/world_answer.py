"""What the test world's name server answers: one server that hosts every zone and plays the recursor in front of it.

in: signed zones and a query; out: a response, with denial proofs where DO asks for them. Pure: no sockets, no clock.
Never: sets AD; whoever asks has to validate. Source: RFC 1034 §4.3.2, RFC 4035 §3.1, RFC 5155 §7.2.
"""

import bisect
from collections.abc import Iterable
from typing import Final

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rrset
import dns.zone
from dns.rdataclass import IN
from dns.rdatatype import RdataType

from volly_fed import limits
from volly_fed.testing.world_sign import Nsec3

RRsets = list[dns.rrset.RRset]
_DNSSEC_TYPES: Final = {RdataType.RRSIG, RdataType.NSEC, RdataType.NSEC3}
_ALIAS_HOPS: Final = 12


class ZoneView:
    """One zone with the indexes that answering needs."""

    def __init__(self, zone: dns.zone.Zone, nsec3: Nsec3 | None) -> None:
        assert zone.origin is not None
        self.origin = zone.origin
        self._zone = zone
        self._nsec3 = nsec3
        denial = RdataType.NSEC3 if nsec3 else RdataType.NSEC
        self._denial = denial
        self._chain = sorted(name for name in zone.nodes if zone.get_rdataset(name, denial))
        hashed = set(self._chain) if nsec3 else set()
        self._names = {name for name in zone.nodes if name not in hashed}
        for name in list(self._names):
            self._names.update(_ancestors(name, self.origin))
        self._cuts = {name for name in self._names if name != self.origin and zone.get_rdataset(name, RdataType.NS)}

    def rrset(self, name: dns.name.Name, rdtype: RdataType, owner: dns.name.Name | None = None) -> RRsets:
        """The RRset and its signatures, or nothing; `owner` renames it (wildcards)."""
        found: RRsets = []
        for kind, covers in ((rdtype, RdataType.NONE), (RdataType.RRSIG, rdtype)):
            rdataset = self._zone.get_rdataset(name, kind, covers)
            if rdataset:
                found.append(dns.rrset.from_rdata_list(owner or name, rdataset.ttl, list(rdataset)))
        return found

    def exists(self, name: dns.name.Name) -> bool:
        """Whether the name is in the zone, empty non-terminals included."""
        return name in self._names

    def cut_above(self, name: dns.name.Name) -> dns.name.Name | None:
        """The highest delegation at or above `name`."""
        path = [name, *_ancestors(name, self.origin)] if name != self.origin else []
        return next((cut for cut in reversed(path) if cut in self._cuts), None)

    def soa(self) -> RRsets:
        """The apex SOA and its signature."""
        return self.rrset(self.origin, RdataType.SOA)

    def closest_encloser(self, name: dns.name.Name) -> dns.name.Name:
        """The longest existing ancestor of `name`."""
        while not self.exists(name):
            name = name.parent()
        return name

    def deny_type(self, name: dns.name.Name, source: dns.name.Name) -> RRsets:
        """Proof that `name`, which exists or comes from the wildcard `source`, lacks the type."""
        if name == source:
            return self._at(name)
        wildcard = source.parent()
        if self._nsec3:
            return self._at(wildcard) + self._cover(_next_closer(name, wildcard)) + self._at(source)
        return self._at(source) + self._cover(name)

    def deny_name(self, name: dns.name.Name) -> RRsets:
        """Proof that neither `name` nor a wildcard for it exists."""
        encloser = self.closest_encloser(name)
        wildcard = dns.name.from_text("*", encloser)
        if self._nsec3:
            return self._at(encloser) + self._cover(_next_closer(name, encloser)) + self._cover(wildcard)
        return self._cover(name) + self._cover(wildcard)

    def deny_closer(self, name: dns.name.Name, source: dns.name.Name) -> RRsets:
        """Proof that no name closer than the wildcard `source` answers for `name`."""
        return self._cover(_next_closer(name, source.parent()) if self._nsec3 else name)

    def _at(self, name: dns.name.Name) -> RRsets:
        """The denial record of `name`; for one that has none (empty non-terminal, opt-out), those around it."""
        if not self._chain:
            return []
        owner = self._nsec3.owner(name, self.origin) if self._nsec3 else name
        found = self.rrset(owner, self._denial)
        if found or not self._nsec3:
            return found or self._cover(name)
        encloser = name.parent()
        while not self.rrset(self._nsec3.owner(encloser, self.origin), self._denial) and encloser != self.origin:
            encloser = encloser.parent()
        return self._at(encloser) + self._cover(_next_closer(name, encloser))

    def _cover(self, name: dns.name.Name) -> RRsets:
        if not self._chain:
            return []
        key = self._nsec3.owner(name, self.origin) if self._nsec3 else name
        return self.rrset(self._chain[bisect.bisect_right(self._chain, key) - 1], self._denial)


class _Reply:
    """A response while it is put together."""

    def __init__(self) -> None:
        self.rcode = dns.rcode.NOERROR
        self.answer: RRsets = []
        self.authority: RRsets = []


class Responder:
    """Answers from a set of zones as a recursor would, following aliases from zone to zone."""

    def __init__(self, views: Iterable[ZoneView]) -> None:
        self._views = {view.origin: view for view in views}

    def respond(self, query: dns.message.Message) -> dns.message.Message:
        """The response to a query of one question; REFUSED where no zone holds the name."""
        question = query.question[0]
        reply, wants_dnssec = _Reply(), bool(query.ednsflags & dns.flags.DO)
        try:
            self._resolve(reply, question.name, question.rdtype)
        except dns.name.NameTooLong:
            reply.rcode = dns.rcode.YXDOMAIN  # RFC 6672 §2.2
        response = dns.message.make_response(query, recursion_available=True, our_payload=limits.DNS_UDP_PAYLOAD)
        if wants_dnssec:
            response.ednsflags |= dns.flags.DO  # RFC 3225 §3: copied; dnspython does not
        if not query.flags & dns.flags.RD:
            response.flags |= dns.flags.AA  # without recursion it is the zone's own server that is asked
        response.set_rcode(reply.rcode)
        for section, rrsets in ((response.answer, reply.answer), (response.authority, reply.authority)):
            section.extend(_chosen(rrsets, question.rdtype, wants_dnssec))
        return response

    def _resolve(self, reply: _Reply, name: dns.name.Name, rdtype: RdataType) -> None:
        for _ in range(_ALIAS_HOPS):
            view = self._view(name, rdtype)
            if view is None:
                reply.rcode = dns.rcode.REFUSED
                return
            cut = view.cut_above(name)
            if cut is not None and not (rdtype == RdataType.DS and name == cut):
                reply.rcode = dns.rcode.SERVFAIL  # delegated to a zone that nobody serves
                return
            following = self._look(reply, view, name, rdtype)
            if following is None:
                return
            name = following
        reply.rcode = dns.rcode.SERVFAIL

    def _view(self, name: dns.name.Name, rdtype: RdataType) -> ZoneView | None:
        if rdtype == RdataType.DS and name != dns.name.root:
            name = name.parent()  # RFC 4035 §3.1.4.1: the parent answers
        for candidate in (name, *_ancestors(name, dns.name.root)):
            if candidate in self._views:
                return self._views[candidate]
        return None

    def _look(self, reply: _Reply, view: ZoneView, name: dns.name.Name, rdtype: RdataType) -> dns.name.Name | None:
        """Answer for one name of one zone; returns the alias's target where there is one to follow."""
        source = name
        if not view.exists(name):
            redirected = self._dname(reply, view, name)
            if redirected is not None:
                return redirected
            source = dns.name.from_text("*", view.closest_encloser(name))
            if not view.exists(source):
                reply.rcode = dns.rcode.NXDOMAIN
                reply.authority += view.soa() + view.deny_name(name)
                return None
        found = view.rrset(source, rdtype, name)
        alias = [] if found or rdtype == RdataType.CNAME else view.rrset(source, RdataType.CNAME, name)
        reply.answer += found or alias
        if not found and not alias:
            reply.authority += view.soa() + view.deny_type(name, source)
        elif source != name:
            reply.authority += view.deny_closer(name, source)
        target: dns.name.Name | None = alias[0][0].target if alias else None
        return target

    def _dname(self, reply: _Reply, view: ZoneView, name: dns.name.Name) -> dns.name.Name | None:
        for ancestor in _ancestors(name, view.origin):
            found = view.rrset(ancestor, RdataType.DNAME)
            if found:
                target: dns.name.Name = name.relativize(ancestor).derelativize(found[0][0].target)
                cname = dns.rdata.from_text(IN, RdataType.CNAME, target.to_text())
                reply.answer += [*found, dns.rrset.from_rdata(name, found[0].ttl, cname)]
                return target
        return None


def _ancestors(name: dns.name.Name, origin: dns.name.Name) -> list[dns.name.Name]:
    """The names above `name` up to `origin`, nearest first."""
    found = []
    while name not in (origin, dns.name.root):
        name = name.parent()
        found.append(name)
    return found


def _next_closer(name: dns.name.Name, encloser: dns.name.Name) -> dns.name.Name:
    """RFC 5155 §1.3: one label longer than the closest encloser."""
    return name.split(len(encloser) + 1)[1]


def _chosen(rrsets: RRsets, rdtype: RdataType, wants_dnssec: bool) -> RRsets:
    """Each RRset once, without the DNSSEC types that nobody asked for."""
    chosen: dict[tuple[dns.name.Name, RdataType, RdataType], dns.rrset.RRset] = {}
    for rrset in rrsets:
        if wants_dnssec or rrset.rdtype == rdtype or rrset.rdtype not in _DNSSEC_TYPES:
            chosen.setdefault((rrset.name, rrset.rdtype, rrset.covers), rrset)
    return list(chosen.values())
