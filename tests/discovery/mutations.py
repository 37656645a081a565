"""What can be done to a DNS message on its way, as an attacker or a broken resolver would: seeded, and repeatable."""

from collections.abc import Callable, Sequence
from random import Random

import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataset
import dns.rrset
from dns.rdataclass import IN
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.RRSIG import RRSIG

Section = list[dns.rrset.RRset]
Change = Callable[[Random, dns.message.Message, "Pool"], None]
_ROOM = 65535
_DENIALS = (RdataType.NSEC, RdataType.NSEC3)


class Pool:
    """Genuine messages of the same world, to be replayed."""

    def __init__(self, wires: Sequence[bytes]) -> None:
        self._wires = list(wires)
        messages = [dns.message.from_wire(wire) for wire in wires]
        self.names = sorted({rrset.name for message in messages for rrset in message.answer})
        self._denials = [wire for wire, message in zip(wires, messages, strict=True) if not message.answer]
        self._expanded = [wire for wire, message in zip(wires, messages, strict=True) if _is_expanded(message)]

    def message(self, random: Random) -> dns.message.Message:
        """One of them."""
        return dns.message.from_wire(random.choice(self._wires))

    def denial(self, random: Random) -> dns.message.Message:
        """One of those that deny something."""
        return dns.message.from_wire(random.choice(self._denials))

    def expanded(self, random: Random) -> dns.message.Message:
        """One of those that a wildcard made."""
        return dns.message.from_wire(random.choice(self._expanded))


def _is_expanded(message: dns.message.Message) -> bool:
    return any(
        isinstance(rdata, RRSIG) and rdata.labels < len(rrset.name) - 1 for rrset in message.answer for rdata in rrset
    )


def changed(random: Random, wire: bytes, pool: Pool) -> bytes:
    """The message with one to three things done to it, some of them to its bytes."""
    if random.random() < 0.25:
        return _bytes_changed(random, wire)
    message = dns.message.from_wire(wire)
    for _ in range(random.randint(1, 3)):
        random.choice(CHANGES)(random, message, pool)
    try:
        wire = message.to_wire(max_size=_ROOM)
    except Exception:  # what cannot be written cannot be sent
        return b""
    return _bytes_changed(random, wire) if random.random() < 0.1 else wire


def _bytes_changed(random: Random, wire: bytes) -> bytes:
    made = bytearray(wire)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(2, len(made)) if len(made) > 2 else 0
        match random.randrange(5):
            case 0:
                made[at : at + 1] = random.randbytes(1)
            case 1:
                made[at : at + 1] = bytes([made[at] ^ 1 << random.randrange(8)]) if at < len(made) else b""
            case 2:
                del made[at : at + random.randint(1, 12)]
            case 3:
                made[at:at] = random.randbytes(random.randint(1, 8))
            case 4:
                made += made[at:]
    return bytes(made)


def _section(random: Random, message: dns.message.Message) -> Section:
    return random.choice([message.answer, message.authority])


def _pick(random: Random, message: dns.message.Message) -> tuple[Section, dns.rrset.RRset | None]:
    section = _section(random, message)
    section = section or message.answer or message.authority
    return section, random.choice(section) if section else None


def _drop(random: Random, message: dns.message.Message, _: Pool) -> None:
    section, rrset = _pick(random, message)
    if rrset is not None:
        section.remove(rrset)


def _drop_one(random: Random, message: dns.message.Message, pool: Pool) -> None:
    _, rrset = _pick(random, message)
    if rrset is not None and len(rrset) > 1:
        rrset.remove(random.choice(list(rrset)))  # type: ignore[no-untyped-call]  # dnspython's gap


def _drop_kind(random: Random, message: dns.message.Message, _: Pool) -> None:
    kinds: Sequence[RdataType] = random.choice([(RdataType.RRSIG,), _DENIALS, (RdataType.DS,), (RdataType.DNSKEY,)])
    for section in (message.answer, message.authority):
        section[:] = [rrset for rrset in section if rrset.rdtype not in kinds]


def _clear(random: Random, message: dns.message.Message, _: Pool) -> None:
    _section(random, message).clear()


def _double(random: Random, message: dns.message.Message, pool: Pool) -> None:
    _, rrset = _pick(random, message)
    if rrset is not None:
        _section(random, message).append(rrset)


def _move(random: Random, message: dns.message.Message, _: Pool) -> None:
    section, rrset = _pick(random, message)
    if rrset is not None:
        section.remove(rrset)
        random.choice([message.answer, message.authority, message.additional]).append(rrset)


def _swap_sections(_: Random, message: dns.message.Message, __: Pool) -> None:
    message.answer[:], message.authority[:] = list(message.authority), list(message.answer)


def _other_name(random: Random, message: dns.message.Message, pool: Pool) -> dns.name.Name:
    name = message.question[0].name
    match random.randrange(5):
        case 0:
            return name
        case 1 if name != dns.name.root:
            return name.parent()
        case 2:
            return dns.name.from_text(random.choice(["*", "\\000", "x", "ns"]), name)
        case 3 if name != dns.name.root:
            return dns.name.from_text("*", name.parent())
    return random.choice(pool.names)


def _rename(random: Random, message: dns.message.Message, pool: Pool) -> None:
    """One owner name becomes another one, signatures included."""
    section, chosen = _pick(random, message)
    if chosen is not None:
        old, new = chosen.name, _other_name(random, message, pool)
        for index, rrset in enumerate(section):
            if rrset.name == old:
                section[index] = dns.rrset.from_rdata_list(new, rrset.ttl, list(rrset))


def _time(random: Random, message: dns.message.Message, pool: Pool) -> None:
    _, rrset = _pick(random, message)
    if rrset is not None:
        rrset.ttl = random.choice([0, 1, 2**31 - 1, random.randrange(2**31)])


def _forge_signature(random: Random, message: dns.message.Message, pool: Pool) -> None:
    """One field of one RRSIG."""
    for section in (message.answer, message.authority):
        for index, rrset in enumerate(section):
            if rrset.rdtype == RdataType.RRSIG and random.random() < 0.7:
                first = rrset[0]
                assert isinstance(first, RRSIG)
                made = first.replace(**_field(random, first, message, pool))
                section[index] = dns.rrset.from_rdata(rrset.name, rrset.ttl, made)


def _field(random: Random, rrsig: RRSIG, message: dns.message.Message, pool: Pool) -> dict[str, object]:
    fields: list[dict[str, object]] = [
        {"labels": random.randrange(6)},
        {"original_ttl": random.randrange(2**31)},
        {"expiration": random.randrange(2**32)},
        {"inception": random.randrange(2**32)},
        {"key_tag": random.randrange(2**16)},
        {"algorithm": random.choice([5, 8, 13, 15, 18, 253])},
        {"signer": _other_name(random, message, pool)},
        {"signature": random.randbytes(len(rrsig.signature))},
        {"signature": rrsig.signature[:-1]},
    ]
    return random.choice(fields)


def _replay(random: Random, message: dns.message.Message, pool: Pool) -> None:
    """The sections of another message, in place of these or beside them, maybe under the name that was asked for."""
    other = pool.message(random)
    owner = message.question[0].name if random.random() < 0.4 else None
    old = other.question[0].name
    for ours, theirs in ((message.answer, other.answer), (message.authority, other.authority)):
        if random.random() < 0.7:
            ours.clear()
        for rrset in theirs:
            name = owner if owner is not None and rrset.name == old else rrset.name
            ours.append(dns.rrset.from_rdata_list(name, rrset.ttl, list(rrset)))
    if random.random() < 0.5:
        message.set_rcode(other.rcode())


def _replay_denial(random: Random, message: dns.message.Message, pool: Pool) -> None:
    """Nothing in the answer, and denial records from several other messages."""
    message.answer.clear()
    if random.random() < 0.5:
        message.authority.clear()
    for _ in range(random.randint(1, 4)):
        message.authority.extend(pool.denial(random).authority)
    message.set_rcode(random.choice([dns.rcode.NOERROR, dns.rcode.NXDOMAIN]))


def _expand(random: Random, message: dns.message.Message, pool: Pool) -> None:
    """A genuine RRset of the type asked for, under the name asked for, with denial records from elsewhere."""
    asked = message.question[0]
    candidates = [pool.expanded(random) if random.random() < 0.7 else pool.message(random) for _ in range(8)]
    for other in candidates:
        if other.question[0].rdtype == asked.rdtype and other.answer:
            message.answer[:] = [dns.rrset.from_rdata_list(asked.name, r.ttl, list(r)) for r in other.answer]
            denials = [pool.denial(random).authority for _ in range(random.randint(1, 6))]
            message.authority[:] = [rrset for section in denials for rrset in section]
            if random.random() < 0.3:
                message.authority.extend(other.authority)
            return


def _forge(random: Random, message: dns.message.Message, pool: Pool) -> None:
    """A record of the forger's own."""
    name = _other_name(random, message, pool)
    texts = [
        ("A", "203.0.113.66"),
        ("AAAA", "2001:db8:66::1"),
        ("TXT", '"v=vf1 id=' + "B" * 43 + '"'),
        ("TLSA", "3 1 1 " + "66" * 32),
        ("SRV", "0 0 5223 evil.test."),
        ("CNAME", "evil.test."),
        ("CNAME", str(random.choice(pool.names))),
        ("DNAME", "evil.test."),
        ("DS", "1 15 2 " + "66" * 32),
        ("DS", "1 5 1 " + "66" * 20),
        ("NSEC", random.choice(["test. NS", "z.test. A", "\\255.test. NS SOA"])),
        ("SOA", ". . 1 2 3 4 5"),
    ]
    rdtype, text = random.choice(texts)
    rdata = dns.rdata.from_text(IN, rdtype, text)
    _section(random, message).append(dns.rrset.from_rdata(name, 3600, rdata))


def _rcode(random: Random, message: dns.message.Message, _: Pool) -> None:
    message.set_rcode(dns.rcode.Rcode(random.choice([0, 0, 3, 3, 2, 5, 9, 16])))


def _flags(random: Random, message: dns.message.Message, _: Pool) -> None:
    message.flags ^= 1 << random.choice([4, 5, 7, 8, 9, 10, 11, 15])


def _shuffle(random: Random, message: dns.message.Message, _: Pool) -> None:
    random.shuffle(message.answer)
    random.shuffle(message.authority)


CHANGES: tuple[Change, ...] = (
    *(_drop, _drop_one, _drop_kind, _drop_kind, _clear, _double, _move, _swap_sections, _rename, _rename, _time),
    *(_forge_signature, _forge_signature, _replay, _replay, _replay_denial, _replay_denial, _expand, _expand),
    *(_forge, _rcode, _flags, _shuffle),
)
