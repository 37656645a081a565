"""Dynamic updates of a zone, signed with a shared key.

in: the primary server, the key, what RRsets hold and are to hold; out: the change made, and seen to be made.
Never: sends an update that is not signed, believes an answer to one that is not, or overwrites what somebody else has
changed meanwhile: the RRsets as they were read are the update's prerequisites. Source: RFC 2136, RFC 8945 (TSIG).
"""

import time
from collections.abc import Iterable
from typing import Final

import attrs
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.tsig
import dns.update
import trio
from dns.rdataclass import IN
from dns.rdatatype import RdataType

from volly_fed import limits
from volly_fed.daemon.files import explain
from volly_fed.errors import Indeterminate, LocalError

_LENGTH: Final = 2  # RFC 1035 §4.2.2
_TSIG_ERRORS: Final = (
    dns.tsig.PeerError,
    dns.tsig.BadTime,
    dns.tsig.BadSignature,
    dns.tsig.BadKey,
    dns.tsig.BadAlgorithm,
)
_MEANWHILE: Final = (dns.rcode.NXRRSET, dns.rcode.YXRRSET, dns.rcode.NXDOMAIN, dns.rcode.YXDOMAIN)
_NAME = "name and algorithm of the key must be the same at both ends"
_ALLOW = "allow it to update these records (knot: acl, BIND: update-policy)"
_CLOCK = "set this machine's clock right (and the server's)"


class ChangedMeanwhile(LocalError):
    """The zone is no longer as it was read; nothing was changed. Reading it again helps."""


@attrs.frozen(kw_only=True)
class RRset:
    """One RRset: absolute owner, type, and its records; none if it does not exist. `ttl` in seconds."""

    owner: dns.name.Name
    rdtype: RdataType
    ttl: int
    rdatas: frozenset[dns.rdata.Rdata] = frozenset()

    def __str__(self) -> str:
        return f"{self.owner} {dns.rdatatype.to_text(self.rdtype)}"

    def lines(self, sign: str, rdatas: Iterable[dns.rdata.Rdata]) -> list[str]:
        """Some of its records as zone-file lines that begin with `sign`, in a stable order."""
        kind = dns.rdatatype.to_text(self.rdtype)
        return sorted(f"{sign} {self.owner} {self.ttl} IN {kind} {rdata.to_text()}" for rdata in rdatas)


@attrs.frozen(kw_only=True)
class Change:
    """What one RRset holds and what it is to hold."""

    zone: dns.name.Name
    before: RRset
    after: RRset

    @property
    def removed(self) -> list[str]:
        """The records that go, as zone-file lines that begin with a minus sign."""
        return self.before.lines("-", self.before.rdatas - self.after.rdatas)

    @property
    def added(self) -> list[str]:
        """The records that come, as zone-file lines that begin with a plus sign."""
        return self.after.lines("+", self.after.rdatas - self.before.rdatas)

    def __bool__(self) -> bool:
        return self.before.rdatas != self.after.rdatas


@attrs.frozen(kw_only=True)
class Primary:
    """The server that takes updates, and the key that it takes them with."""

    address: str
    port: int
    key: dns.tsig.Key = attrs.field(repr=False)

    def __str__(self) -> str:
        return f"DNS server {self.address} port {self.port}"

    async def zone_of(self, name: dns.name.Name) -> dns.name.Name:
        """The zone of this server that holds `name`. Raises LocalError where it has none, and like `read`."""
        response = await self._ask(dns.message.make_query(name, RdataType.SOA, flags=0))
        for rrset in (*response.answer, *response.authority):
            if rrset.rdtype == RdataType.SOA and name.is_subdomain(rrset.name) and response.flags & dns.flags.AA:
                return rrset.name
        raise LocalError(
            f"{self} does not hold the zone of {name} ({dns.rcode.to_text(response.rcode())})\n"
            "note: set dns_update.server to the primary server of that zone"
        )

    async def read(self, owner: dns.name.Name, rdtype: RdataType, ttl: int) -> RRset:
        """What the server itself has there; `ttl` stands in where there is nothing.

        Not authenticated: what was read becomes the prerequisite of the update, which is. Raises LocalError for an
        answer that cannot be used, Indeterminate where none comes in time.
        """
        response = await self._ask(dns.message.make_query(owner, rdtype, flags=0))
        if response.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN) or not response.flags & dns.flags.AA:
            raise LocalError(
                f"{self} does not answer for {owner} ({dns.rcode.to_text(response.rcode())})\n"
                "note: dns_update.server must be a server of that zone, and must answer queries from here"
            )
        rrset = response.get_rrset(response.answer, owner, IN, rdtype)
        if rrset is None:
            return RRset(owner=owner, rdtype=rdtype, ttl=ttl)
        return RRset(owner=owner, rdtype=rdtype, ttl=rrset.ttl, rdatas=frozenset(rrset))

    async def update(self, change: Change) -> None:
        """Make `change`: one RRset at a time, since knot wants one acl rule that allows all of an update.

        Returns when the server has agreed (signed) and shows it. Raises ChangedMeanwhile, LocalError when it does
        not, Indeterminate when there is no answer: then nobody knows, and the zone is to be read again.
        """
        message = _message(change)
        message.use_tsig(self.key)
        try:
            response = await self._ask(message)
        except dns.tsig.PeerError as error:
            raise LocalError(self._refusal(error, change)) from error
        except _TSIG_ERRORS as error:
            raise LocalError(
                f"the answer of {self} is not signed with the key {self.key.name}: {error}\n"
                f"note: it is not believed; somebody may be in between. {_CLOCK.capitalize()}, then try again"
            ) from error
        self._check(response, change)
        shown = await self.read(change.after.owner, change.after.rdtype, change.after.ttl)
        if shown.rdatas != change.after.rdatas:
            raise LocalError(
                f"{self} has agreed to the update and does not show it: {change.after}\n"
                "note: is there a CNAME record at that name, or does another program change the zone too?"
            )

    def _check(self, response: dns.message.Message, change: Change) -> None:
        code = response.rcode()
        name = dns.rcode.to_text(code)
        if code in _MEANWHILE and response.had_tsig:
            raise ChangedMeanwhile(f"{change.after} was changed meanwhile ({name})\nnote: try again")
        if code != dns.rcode.NOERROR:
            doubt = "" if response.had_tsig else ", in an answer that is not signed"
            raise LocalError(f"{self} refuses to change {change.after} ({name}{doubt})\nnote: {self._step(code)}")
        if not response.had_tsig:
            raise LocalError(
                f"the answer of {self} to the update is not signed, so it is not believed\n"
                "note: somebody may be in between; use a server that implements TSIG (RFC 8945)"
            )

    def _step(self, code: dns.rcode.Rcode) -> str:
        key = f"the key {self.key.name}"
        steps = {
            dns.rcode.REFUSED: f"{key}: {_ALLOW}",
            dns.rcode.NOTAUTH: f"dns_update.server must be the primary of the zone, and know {key}",
            dns.rcode.NOTZONE: "the records lie outside that zone; correct dns_update.zone, or leave it out",
            dns.rcode.NOTIMP: "that server does not implement dynamic updates; publish the records by hand",
            dns.rcode.SERVFAIL: "see the log of that server: it could not write or sign the zone",
        }
        return steps.get(code, "see the log of that server")

    def _refusal(self, error: dns.tsig.PeerError, change: Change) -> str:
        key = f"the key {self.key.name}"
        if isinstance(error, dns.tsig.PeerBadKey):
            # knot says the same of a key that it knows and that no acl allows to change these records
            return f"{self} does not take {key} for {change.after} (BADKEY)\nnote: {_NAME}; {_ALLOW}"
        if isinstance(error, dns.tsig.PeerBadSignature):
            return f"{self} has another secret for {key} (BADSIG)\nnote: compare dns_update.tsig_key_file with its key"
        if isinstance(error, dns.tsig.PeerBadTime):
            here = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            return f"the clock of {self} is not ours, {here} (BADTIME)\nnote: {_CLOCK}"
        return f"{self} refuses the signature of {key}: {error}\nnote: see the log of that server"

    async def _ask(self, query: dns.message.Message) -> dns.message.Message:
        """One exchange over TCP. Raises dns.tsig's errors, LocalError for nonsense, Indeterminate for silence."""
        doubt = "" if query.keyring is None else "; whether the change was made is not known"
        try:
            with trio.fail_after(limits.DNS_UPDATE):
                wire = await self._exchange(query.to_wire())
        except trio.TooSlowError:
            raise Indeterminate(f"{self} does not answer{doubt}\nnote: check [dns_update] and try again") from None
        except (OSError, EOFError, trio.BrokenResourceError) as error:
            why = explain(error) if isinstance(error, OSError) else "it closes the connection"
            raise Indeterminate(
                f"{self} cannot be asked: {why}{doubt}\nnote: check [dns_update] and try again"
            ) from error
        response = self._parsed(wire, query)
        if response.id != query.id or not response.flags & dns.flags.QR:
            raise LocalError(f"{self} answers something else\nnote: is that a DNS server?")
        return response

    def _parsed(self, wire: bytes, query: dns.message.Message) -> dns.message.Message:
        """The response; its TSIG, where it has one, is right. Without one it is no error here: refusals may lack it."""
        try:
            unsigned = query.keyring is not None and not dns.message.from_wire(wire, keyring=False).had_tsig
            if unsigned or query.keyring is None:
                return dns.message.from_wire(wire)
            return dns.message.from_wire(wire, keyring=query.keyring, request_mac=query.mac)
        except _TSIG_ERRORS:
            raise
        except Exception as error:  # dnspython leaks KeyError, struct.error and others: all mean malformed
            raise LocalError(
                f"{self} answers nonsense ({type(error).__name__})\nnote: is that a DNS server?"
            ) from error

    async def _exchange(self, wire: bytes) -> bytes:
        async with await trio.open_tcp_stream(self.address, self.port) as stream:
            await stream.send_all(len(wire).to_bytes(_LENGTH) + wire)
            size = int.from_bytes(await _exactly(stream, _LENGTH))
            return await _exactly(stream, size)


def _message(change: Change) -> dns.update.UpdateMessage:
    message = dns.update.UpdateMessage(change.zone)
    owner = change.before.owner
    if change.before.rdatas:
        message.present(owner, *change.before.rdatas)  # RFC 2136 §2.4.2: these records and no others
    else:
        message.absent(owner, change.before.rdtype)
    for rdata in change.after.rdatas - change.before.rdatas:
        message.add(owner, change.after.ttl, rdata)
    for rdata in change.before.rdatas - change.after.rdatas:
        message.delete(owner, rdata)
    return message


async def _exactly(stream: trio.SocketStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = await stream.receive_some(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data
