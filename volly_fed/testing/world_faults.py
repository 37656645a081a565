"""Ready-made misbehaviour of name servers, resolvers and the way to them, for `World.hook`.

in: what shall go wrong; out: a Hook. What is wrong with a zone as such is in `world_flaws`.
Never: keeps anything between two worlds; hooks that count do so for themselves alone.
Source: RFC 5452 (forgery), RFC 4035 §4 and §5, RFC 7766, RFC 6840 §5.11.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rrset
from dns.rdataclass import IN
from dns.rdatatype import RdataType

from volly_fed.testing.world import Hook, World
from volly_fed.testing.world_flaws import spoiled
from volly_fed.testing.world_server import Datagrams, Later, Reply

Message = dns.message.Message

_DNSSEC: Final = (RdataType.RRSIG, RdataType.NSEC, RdataType.NSEC3, RdataType.DS, RdataType.DNSKEY)
_IDENTS: Final = 1 << 16
_FORGED: Final = {RdataType.A: "203.0.113.66", RdataType.AAAA: "2001:db8:66::66"}
_FORGED_TTL: Final = 60


def servfail() -> Hook:
    """SERVFAIL, as from a resolver that found the zone bogus or its servers broken."""
    return _refusal(dns.rcode.SERVFAIL)


def refused() -> Hook:
    """REFUSED, as from a lame server."""
    return _refusal(dns.rcode.REFUSED)


def blackhole() -> Hook:
    """No answer at all."""
    return lambda _query, _response, _udp: None


def slow(seconds: float) -> Hook:
    """The right answer, `seconds` late."""
    return lambda _query, response, _udp: Later(seconds, response)


def truncated(*, tcp: bool = True) -> Hook:
    """Over UDP nothing but TC; over TCP the right answer, or, with `tcp=False`, silence."""

    def hook(query: Message, response: Message, udp: bool) -> Reply:
        if not udp:
            return response if tcp else None
        short = dns.message.make_response(query, recursion_available=True)
        short.flags |= dns.flags.TC
        return short

    return hook


def first(count: int, hook: Hook) -> Hook:
    """`hook` for the first `count` times that a question is asked, and the right answer from then on."""
    asked: Counter[tuple[dns.name.Name, RdataType]] = Counter()

    def counted(query: Message, response: Message, udp: bool) -> Reply:
        question = (query.question[0].name, query.question[0].rdtype)
        asked[question] += 1
        return hook(query, response, udp) if asked[question] <= count else response

    return counted


def lossy(lost: int = 1) -> Hook:
    """Packet loss: the first `lost` datagrams of every question disappear."""
    return first(lost, blackhole())


def only(rdtype: str, hook: Hook) -> Hook:
    """`hook` for questions of the type written `rdtype`, the right answer for others."""
    wanted = RdataType.make(rdtype)
    return lambda query, response, udp: hook(query, response, udp) if query.question[0].rdtype == wanted else response


def stripped(*rdtypes: str) -> Hook:
    """The answer without the records of these types; without any given, of all that belong to DNSSEC."""
    chosen = [RdataType.make(rdtype) for rdtype in rdtypes] or _DNSSEC
    return _filtering(lambda rrset: None if rrset.rdtype in chosen else rrset)


def without_algorithm(algorithm: int) -> Hook:
    """The answer without signatures of `algorithm`: the downgrade of a zone that is signed with several."""

    def keep(rrset: dns.rrset.RRset) -> dns.rrset.RRset | None:
        if rrset.rdtype != RdataType.RRSIG:
            return rrset
        others = [rdata for rdata in rrset if rdata.algorithm != algorithm]
        return dns.rrset.from_rdata_list(rrset.name, rrset.ttl, others) if others else None

    return _filtering(keep)


def bad_signatures() -> Hook:
    """Every signature in the answer has its last bit changed."""

    def spoil(rrset: dns.rrset.RRset) -> dns.rrset.RRset:
        if rrset.rdtype != RdataType.RRSIG:
            return rrset
        changed = [rdata.replace(signature=spoiled(rdata.signature)) for rdata in rrset]
        return dns.rrset.from_rdata_list(rrset.name, rrset.ttl, changed)

    return _filtering(spoil)


def authenticated(hook: Hook | None = None) -> Hook:
    """AD on every answer, or on those of `hook`: a resolver that lies, for nobody has validated anything."""

    def lying(query: Message, response: Message, udp: bool) -> Reply:
        reply = hook(query, response, udp) if hook is not None else response
        if isinstance(reply, dns.message.Message):
            reply.flags |= dns.flags.AD
        return reply

    return lying


def forged_nxdomain(world: World, *denied: str) -> Hook:
    """NXDOMAIN for whatever is asked, with all the proof that `world` has of the absence of other names, `denied`."""

    def hook(query: Message, response: Message, _udp: bool) -> Reply:
        shown = [_asked(world, name, query.question[0].rdtype) for name in denied]
        _replace(response, shown[0])
        known = {_key(rrset) for rrset in response.authority}
        for rrset in [rrset for message in shown[1:] for rrset in message.authority]:
            if _key(rrset) not in known:
                known.add(_key(rrset))
                response.authority.append(rrset)
        response.answer.clear()
        response.set_rcode(dns.rcode.NXDOMAIN)
        return response

    return hook


def replayed_denial(world: World, name: str, rdtype: str) -> Hook:
    """What `world` says of (`name`, `rdtype`) where that is absent, as the answer to whatever is asked."""

    def hook(_query: Message, response: Message, _udp: bool) -> Reply:
        _replace(response, _asked(world, name, RdataType.make(rdtype)))
        return response

    return hook


def renamed(world: World, name: str) -> Hook:
    """The records and signatures of `name`, shown under the name that is asked for."""

    def hook(query: Message, response: Message, _udp: bool) -> Reply:
        shown, owner = _asked(world, name, query.question[0].rdtype), query.question[0].name
        _replace(response, shown)
        response.answer = [dns.rrset.from_rdata_list(owner, rrset.ttl, list(rrset)) for rrset in shown.answer]
        return response

    return hook


def forged() -> Hook:
    """An address of the attacker's and no signature, where an address is asked for; otherwise the right answer."""
    return lambda query, response, _udp: _forgery(query) or response


def spoofed(*, forgeries: int = 3) -> Hook:
    """An attacker off the path, who guesses ids: forged answers with wrong ids arrive before the right one."""

    def hook(query: Message, response: Message, _udp: bool) -> Reply:
        datagrams: list[Message] = []
        for guess in range(1, forgeries + 1):
            forgery = _forgery(query) or dns.message.make_response(query)
            forgery.id = (query.id + guess) % _IDENTS
            datagrams.append(forgery)
        return Datagrams((*datagrams, response))

    return hook


def misdirected() -> Hook:
    """The right id with an answer to another question arrives first, then the right answer."""

    def hook(query: Message, response: Message, _udp: bool) -> Reply:
        asked = query.question[0]
        other = dns.message.make_query(dns.name.from_text("other", asked.name), asked.rdtype, id=query.id)
        return Datagrams((dns.message.make_response(other), response))

    return hook


def _refusal(rcode: dns.rcode.Rcode) -> Hook:
    def hook(query: Message, _response: Message, _udp: bool) -> Reply:
        refusal = dns.message.make_response(query, recursion_available=True)
        refusal.set_rcode(rcode)
        return refusal

    return hook


def _filtering(change: Callable[[dns.rrset.RRset], dns.rrset.RRset | None]) -> Hook:
    """Every RRset of the answer and authority sections, changed; None leaves one out."""

    def hook(_query: Message, response: Message, _udp: bool) -> Reply:
        response.answer = [kept for rrset in response.answer if (kept := change(rrset)) is not None]
        response.authority = [kept for rrset in response.authority if (kept := change(rrset)) is not None]
        return response

    return hook


def _asked(world: World, name: str, rdtype: RdataType) -> Message:
    return world.truth(dns.message.make_query(name, rdtype, want_dnssec=True))


def _replace(response: Message, shown: Message) -> None:
    response.answer, response.authority = shown.answer, shown.authority
    response.set_rcode(shown.rcode())


def _key(rrset: dns.rrset.RRset) -> tuple[dns.name.Name, RdataType, RdataType]:
    return rrset.name, rrset.rdtype, rrset.covers


def _forgery(query: Message) -> Message | None:
    asked = query.question[0]
    if asked.rdtype not in _FORGED:
        return None
    forgery = dns.message.make_response(query, recursion_available=True)
    rdata = dns.rdata.from_text(IN, asked.rdtype, _FORGED[asked.rdtype])
    forgery.answer.append(dns.rrset.from_rdata(asked.name, _FORGED_TTL, rdata))
    return forgery
