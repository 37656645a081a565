"""What every authoritative server of a zone says of one name: each server, each of its addresses, asked directly.

in: a name, a type, a Resolver that finds zone, servers and keys; out: a View for each address.
Never: asks a private address unless the resolver may hand them out, or takes one server's word for another's.
Source: RFC 1034 §4.2.1, RFC 2182, RFC 4035 §3.1; RFC 7671 §8.1 (a roll-over waits for all servers).
"""

from collections.abc import Sequence

import attrs
import dns.message
import dns.name
import dns.rdata
import trio
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.NS import NS

from volly_fed import limits
from volly_fed.daemon.dns.resolver import Resolver
from volly_fed.daemon.upkeep.authoritative_query import Unroutable, ask
from volly_fed.discovery import plan
from volly_fed.discovery.address import sort_addresses
from volly_fed.discovery.budget import Budget
from volly_fed.discovery.dnssec import Answer
from volly_fed.discovery.endpoint import Status
from volly_fed.discovery.message import Message, Question, find, signatures
from volly_fed.discovery.signature import verify_rrset
from volly_fed.errors import Bogus, Indeterminate
from volly_fed.names import DomainName

DNS_PORT = 53


@attrs.frozen(kw_only=True)
class Server:
    """One address of one name server; `error` says why there is none to ask, `address` is "" then."""

    name: str
    address: str = ""
    error: str = ""


@attrs.frozen(kw_only=True)
class Zone:
    """A signed zone, as the validator sees it, and who serves it."""

    name: dns.name.Name
    keys: tuple[DNSKEY, ...]
    servers: tuple[Server, ...]
    """Every address of every name server, at most limits.DNS_SERVERS_POLLED; in a stable order."""


@attrs.frozen(kw_only=True)
class View:
    """What one address of one authoritative server says of a name."""

    server: str
    """The name server's name, without the final dot."""
    address: str
    rdatas: tuple[dns.rdata.Rdata, ...] = ()
    """In canonical order; empty where the server says that there are none, and where `error` is set."""
    ttl: int | None = None
    signed_until: float | None = None
    """Seconds since 1970, of the signature that ends first; None where nothing is signed."""
    signature_inception: float | None = None
    serial: int | None = None
    error: str = ""
    """Why there is no answer: nothing else in the view means anything then."""
    unproved: str = ""
    """What is wrong with the signature over `rdatas`, checked with the zone's validated keys; "" if nothing is."""
    reachable: bool = True
    """False where the trouble is this machine's (no IPv6, say), not the server's."""


async def poll(resolver: Resolver, name: str, rdtype: str, *, port: int = DNS_PORT) -> list[View]:
    """What every authoritative server of the zone that holds `name` says of its records of the type `rdtype`.

    `port` is where they listen: other than 53 in test networks only. Servers that do not answer are no error: their
    View says so. Raises the DiscoveryError family where the zone or its servers cannot be found: Insecure for an
    unsigned zone, Bogus, Indeterminate, and NoRecords for a name that is none. An alias is followed first (RFC 7671 §7
    has TLSA records live behind one): the servers are those of the zone that it ends in.
    """
    canonical = (await resolver.lookup(name, rdtype)).canonical.to_text()
    zone = await find_zone(resolver, canonical)
    return await poll_zone(zone, canonical, rdtype, now=resolver.now(), port=port)


async def find_zone(resolver: Resolver, name: str) -> Zone:
    """The zone that holds `name` (or would hold it), its keys and its servers. Raises like `poll`."""
    origin = await _apex(resolver, plan.absolute(name))
    text = origin.to_text()
    keys = _found(await resolver.lookup(text, "DNSKEY"))
    hosts = [rdata.target for rdata in _found(await resolver.lookup(text, "NS")).rdatas if isinstance(rdata, NS)]
    servers = await _servers(resolver, sorted(hosts))
    return Zone(
        name=origin, keys=tuple(rdata for rdata in keys.rdatas if isinstance(rdata, DNSKEY)), servers=tuple(servers)
    )


async def delegation(resolver: Resolver, zone: Zone, *, port: int = DNS_PORT) -> frozenset[str]:
    """The servers that the zone above names for `zone`: what resolvers follow, whatever the zone itself says.

    Names without the final dot. Nobody signs them (RFC 4035 §2.2), so they are good for advice only. Raises the
    DiscoveryError family where the zone above, or an answer of it, cannot be had.
    """
    above = await find_zone(resolver, zone.name.parent().to_text())
    question = Question(zone.name, RdataType.NS)
    reachable = [server for server in above.servers if server.address]
    for server in reachable[: limits.DNS_ATTEMPTS]:
        try:
            message = await ask(server.address, port, question, referral=True)
        except Indeterminate:
            continue
        rrset = find([*message.answer, *message.authority], question.name, question.rdtype)
        if rrset is not None:
            return frozenset(rdata.target.to_text(omit_final_dot=True).lower() for rdata in rrset)
    raise Indeterminate(f"{question}: no server of {above.name} tells")


async def poll_zone(zone: Zone, name: str, rdtype: str, *, now: float, port: int = DNS_PORT) -> list[View]:
    """Like `poll`, of a zone that is known already; `now` is in seconds since 1970. Raises nothing."""
    question = Question(plan.absolute(name), RdataType.make(rdtype))
    views: dict[Server, View] = {}
    limiter = trio.CapacityLimiter(limits.DNS_IN_FLIGHT)

    async def visit(server: Server) -> None:
        async with limiter:
            views[server] = await _view(zone, server, question, now, port)

    async with trio.open_nursery() as nursery:
        for server in zone.servers:
            nursery.start_soon(visit, server)
    return [views[server] for server in zone.servers]


async def _apex(resolver: Resolver, name: dns.name.Name) -> dns.name.Name:
    """The closest zone at or above `name`: where the SOA is."""
    while True:
        answer = await resolver.lookup(name.to_text(), "SOA")
        if answer.found and answer.canonical == name:
            return name
        here = answer.canonical == name  # else an alias led elsewhere, which says nothing about this zone
        if (here and answer.status is not Status.SECURE) or name == dns.name.root:
            raise plan.failure(answer.status, f"the zone of {name}: {answer.reason or 'no SOA record'}")
        name = name.parent()


def _found(answer: Answer) -> Answer:
    if not answer.found:
        raise plan.failure(answer.status, f"{answer.question}: {answer.reason or 'no records'}")
    return answer


async def _servers(resolver: Resolver, hosts: Sequence[dns.name.Name]) -> list[Server]:
    found: dict[dns.name.Name, list[Server]] = {}

    async def resolve(host: dns.name.Name) -> None:
        found[host] = await _addresses(resolver, host)

    async with trio.open_nursery() as nursery:
        for host in hosts[: limits.DNS_SERVERS_POLLED]:
            nursery.start_soon(resolve, host)
    return [server for host in hosts if host in found for server in found[host]][: limits.DNS_SERVERS_POLLED]


async def _addresses(resolver: Resolver, host: dns.name.Name) -> list[Server]:
    """The addresses of one name server. Those of an unsigned zone will do: what the server says is signed."""
    name = host.to_text(omit_final_dot=True).lower()
    answers = [await resolver.lookup(host.to_text(), rdtype) for rdtype in ("AAAA", "A")]
    rdatas = [rdata for answer in answers for rdata in answer.rdatas]
    literals, refused = sort_addresses(rdatas, allow_private=resolver.allow_private)
    servers = [Server(name=name, address=literal) for literal in literals]
    if refused:
        error = f"{refused} of its addresses are private, local or reserved ([dns] allow_private_addresses is off)"
        servers.append(Server(name=name, error=error))
    if not rdatas:
        reason = next((answer.reason for answer in answers if answer.reason), "")
        servers.append(Server(name=name, error=f"it has no address{f' ({reason})' if reason else ''}"))
    return servers


async def _view(zone: Zone, server: Server, question: Question, now: float, port: int) -> View:
    view = View(server=server.name, address=server.address, error=server.error)
    if server.error:
        return view
    try:
        message = await ask(server.address, port, question)
        serial = _serial(await ask(server.address, port, Question(zone.name, RdataType.SOA)), zone.name)
    except Indeterminate as error:
        return attrs.evolve(view, error=str(error), reachable=not isinstance(error, Unroutable))
    return _read(attrs.evolve(view, serial=serial), zone, message, question, now)


def _serial(message: Message, origin: dns.name.Name) -> int | None:
    rrset = find(message.answer, origin, RdataType.SOA)
    return int(rrset.first.serial) if rrset is not None else None


def _read(view: View, zone: Zone, message: Message, question: Question, now: float) -> View:
    rrset = find(message.answer, question.name, question.rdtype)
    if rrset is None:
        return view
    rrsigs = signatures(message.answer, rrset)
    unproved = ""
    try:
        verify_rrset(rrset, rrsigs, zone=zone.name, keys=zone.keys, now=now, budget=Budget())
    except (Bogus, Indeterminate) as error:
        unproved = str(error)
    first = min(rrsigs, key=lambda rrsig: rrsig.expiration, default=None)
    return attrs.evolve(
        view,
        rdatas=tuple(sorted(rrset)),
        ttl=rrset.ttl,
        signed_until=None if first is None else float(first.expiration),
        signature_inception=None if first is None else float(first.inception),
        unproved=unproved,
    )


def server_text(view: View) -> str:
    """The server and its address, for people."""
    return f"{view.server} [{view.address}]" if view.address else view.server


def zone_text(zone: Zone) -> DomainName:
    """The zone's name without the final dot; "." for the root."""
    return DomainName(zone.name.to_text(omit_final_dot=True) or ".")
