"""A primary name server that takes signed updates, as far as RFC 2136 §3 matters here; and what may go wrong with it.

in: RRsets, a key, faults; out: answers over TCP, and the RRsets as updates have left them.
"""

from collections.abc import Callable, Iterable

import attrs
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rrset
import dns.tsig
import dns.update
import trio
from dns.rdatatype import RdataType

KEY = dns.tsig.Key("volly.test.", b"k" * 32, "hmac-sha256")
SOA = "ns.test. host.test. 1 60 60 60 60"

Key = tuple[dns.name.Name, RdataType]


@attrs.define
class FakePrimary:
    """Zones by name; RRsets by owner and type. Faults are set by the test."""

    zones: tuple[str, ...]
    records: dict[Key, tuple[int, set[dns.rdata.Rdata]]] = attrs.field(factory=dict)
    key: dns.tsig.Key = KEY
    updates: list[dns.message.Message] = attrs.field(factory=list)
    rcode: dns.rcode.Rcode | None = None
    """Answer every update so, signed."""
    forge: bool = False
    """Somebody in between turns every answer to an update into an agreement."""
    tsig_error: dns.rcode.Rcode | None = None
    unsigned: bool = False
    """Answer updates without TSIG."""
    forgetful: bool = False
    """Agree to updates and do nothing."""
    before_update: Callable[[], None] = lambda: None
    """Somebody else, just in time."""

    def put(self, lines: Iterable[str]) -> None:
        for line in lines:
            owner, ttl, _, kind, data = line.split(maxsplit=4)
            key = (dns.name.from_text(owner), RdataType.make(kind))
            rdata = dns.rdata.from_text("IN", kind, data)
            self.records.setdefault(key, (int(ttl), set()))[1].add(rdata)

    def lines(self) -> set[str]:
        return {
            f"{owner} {ttl} IN {rdtype.name} {rdata.to_text()}"
            for (owner, rdtype), (ttl, rdatas) in self.records.items()
            for rdata in rdatas
        }

    async def serve(self, *, task_status: trio.TaskStatus[int]) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started(listeners[0].socket.getsockname()[1])
        await trio.serve_listeners(self._connection, listeners)

    async def _connection(self, stream: trio.SocketStream) -> None:
        size = int.from_bytes(await stream.receive_some(2))
        wire = b""
        while len(wire) < size:
            wire += await stream.receive_some(size - len(wire))
        answer = self.answer(wire)
        await stream.send_all(len(answer).to_bytes(2) + answer)

    def answer(self, wire: bytes) -> bytes:
        try:
            query = dns.message.from_wire(wire, keyring={self.key.name: self.key})
        except dns.message.UnknownTSIGKey:
            return self._refuse_key(wire, dns.rcode.BADKEY)
        except dns.tsig.BadSignature:
            return self._refuse_key(wire, dns.rcode.BADSIG)
        is_update = isinstance(query, dns.update.UpdateMessage)
        if is_update and self.tsig_error is not None:
            return self._refuse_key(wire, self.tsig_error)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        if isinstance(query, dns.update.UpdateMessage):
            self.updates.append(query)
            self.before_update()
            response.set_rcode(self._update(query))
            if self.unsigned:
                response.tsig = None
                response.keyring = None
        else:
            self._query(query.question[0], response)
        sent = response.to_wire()
        return sent[:3] + bytes([sent[3] & 0xF0]) + sent[4:] if self.forge and is_update else sent

    def _refuse_key(self, wire: bytes, code: dns.rcode.Rcode) -> bytes:
        """RFC 8945 §5.3.2: NOTAUTH with a TSIG record that has no MAC."""
        query = dns.message.from_wire(wire, keyring=False)
        response = dns.message.make_response(query)
        response.set_rcode(dns.rcode.NOTAUTH)
        response.use_tsig(self.key, tsig_error=code)
        return response.to_wire()

    def _zone(self, name: dns.name.Name) -> dns.name.Name | None:
        zones = [zone for zone in map(dns.name.from_text, self.zones) if name.is_subdomain(zone)]
        return max(zones, key=len, default=None)

    def _query(self, question: dns.rrset.RRset, response: dns.message.Message) -> None:
        zone = self._zone(question.name)
        if zone is None:
            response.flags &= ~dns.flags.AA
            response.set_rcode(dns.rcode.REFUSED)
            return
        ttl, rdatas = self.records.get((question.name, question.rdtype), (0, set()))
        if rdatas:
            response.answer.append(dns.rrset.from_rdata_list(question.name, ttl, list(rdatas)))
        else:
            section = (
                response.answer if zone == question.name and question.rdtype == RdataType.SOA else response.authority
            )
            section.append(dns.rrset.from_text(zone, 60, "IN", "SOA", SOA))

    def _update(self, query: dns.update.UpdateMessage) -> dns.rcode.Rcode:
        if not query.had_tsig or self.rcode is not None:
            return self.rcode or dns.rcode.REFUSED
        expected: dict[Key, set[dns.rdata.Rdata]] = {}
        for rrset in query.prerequisite:
            expected.setdefault((rrset.name, rrset.rdtype), set()).update(rrset)
        for key, rdatas in expected.items():
            if self.records.get(key, (0, set()))[1] != rdatas:
                return dns.rcode.NXRRSET if rdatas else dns.rcode.YXRRSET
        for rrset in query.update if not self.forgetful else ():
            _, rdatas = self.records.setdefault((rrset.name, rrset.rdtype), (rrset.ttl, set()))
            if rrset.deleting == dns.rdataclass.NONE:
                rdatas.difference_update(rrset)
            else:
                rdatas.update(rrset)
        return dns.rcode.NOERROR
