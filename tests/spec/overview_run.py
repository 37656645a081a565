"""The example run as text: the blocks of spec/*.md between `<!-- run NAME -->` and `<!-- end of run -->`.

in: the recording; out: blocks. `python -m tests.spec.overview_run` writes them into the documents; a test compares.
Byte strings longer than 48 bytes are cut to their first 16; their length and SHA-256 are with them.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import attrs
import dns.name
import dns.rdata
from dns.rdataclass import IN
from dns.rdatatype import RdataType

from tests.spec.run import A, B, Bytes, bindings, recording
from tests.vectors import SPEC
from volly_fed.codepoints import Role
from volly_fed.crypto.signature import fingerprint
from volly_fed.handshake.transcript import hello_hash, signed_input
from volly_fed.relay.envelope import parse_envelope
from volly_fed.wire import codec, parse_message
from volly_fed.wire.messages import Batch

BLOCK = re.compile(r"<!-- run (?P<name>[a-z]+) -->\n.*?<!-- end of run -->\n", re.DOTALL)
_LONG, _SHOWN, _COLUMN = 48, 16, 46


def rendered(name: str, run: Bytes) -> str:
    """One block with its markers."""
    body = "\n".join(line.rstrip() for line in BLOCKS[name](run))
    return f"<!-- run {name} -->\n\n```text\n{body}\n```\n\n<!-- end of run -->\n"


def records(_run: Bytes) -> Iterator[str]:
    for server in (A, B):
        yield f"$ORIGIN {server.name}."
        for line in server.records():
            owner, rest = line.split(" IN ")
            yield f"{owner:18} 3600 IN {rest}"


def rdata(_run: Bytes) -> Iterator[str]:
    origin = dns.name.from_text(f"{B.name}.")
    for line in B.records():
        owner, rest = line.split(" IN ")
        kind, text = rest.split(" ", 1)
        made = dns.rdata.from_text(IN, RdataType.from_text(kind), text, origin=origin, relativize=False)
        yield f"{dns.name.from_text(owner, origin)} {kind}"
        yield f"  {made.to_digestable().hex()}"


def upgrade(run: Bytes) -> Iterator[str]:
    for sent in _of(run, "request", "response"):
        yield f"{sent['from']}:"
        yield from (f"  {line}" for line in sent["text"][:-2])


def handshake(run: Bytes) -> Iterator[str]:
    yield from _messages(run, "hello", "auth")


def session(run: Bytes) -> Iterator[str]:
    yield from _messages(run, "open", "ack", "batch")


def envelope(run: Bytes) -> Iterator[str]:
    [sent] = _of(run, "batch")
    message = parse_message(bytes.fromhex(sent["message"]))
    assert isinstance(message, Batch)
    [frame] = message.envelopes
    made = parse_envelope(frame)
    yield f"envelope, {_measure(frame)}"
    fields = attrs.asdict(made)
    names = ("version", "mailbox", "domain", "id", "expiry", "class", "capability", "body")
    values = (1, *(int(v) if isinstance(v, int) else v for v in fields.values()))
    for name, value in zip(names, values, strict=True):
        start = frame[:1] if name == "version" else b""
        yield _line(start + codec.encode(value), value, name)


def transcript(run: Bytes) -> Iterator[str]:
    """Both signed inputs, put together from the messages and the channel alone."""
    one, other = (bytes.fromhex(sent["message"]) for sent in _of(run, "hello"))
    hellos = hello_hash(one, other)
    yield f"hash of the HELLOs  {hellos.hex()}"
    for role, binding in zip(Role, bindings(run["exporters"]), strict=True):
        signed = signed_input(role, binding, hellos, ours=True)
        exporter = bytes.fromhex(run["exporters"][str(int(role))])
        yield f"{'dialler' if role is Role.DIALLER else 'listener'} signs, {_measure(signed)}"
        label, at = signed[: signed.index(b"\0") + 1], 0
        size = 2 + len(binding.alpn), 2 + len(binding.group)
        pieces = (
            ("label, with its NUL", label),
            ("role", bytes([role])),
            ("exporter", exporter),
            ("ALPN", signed[(at := len(label) + 65) : (at := at + size[0])]),
            ("group", signed[at : (at := at + size[1])]),
            ("SHA-256 of the signer's SPKI", binding.own_spki_sha256),
            ("SHA-256 of the other's SPKI", binding.peer_spki_sha256),
            ("hash of the HELLOs", hellos),
        )
        assert b"".join(piece for _, piece in pieces) == signed
        for name, piece in pieces:
            yield f"  {piece.hex()}  # {name}"


def keys(_run: Bytes) -> Iterator[str]:
    for server in (A, B):
        public = server.identity.public
        yield f"{server.name}"
        yield f"  identity key  {public[:_SHOWN].hex()} … {_measure(public)}"
        yield f"  fingerprint   {fingerprint(public).hex()}"
        yield f"  TLS key       {server.tls.spki[:_SHOWN].hex()} … (SubjectPublicKeyInfo) {_measure(server.tls.spki)}"


BLOCKS = {f.__name__: f for f in (records, rdata, upgrade, handshake, session, envelope, transcript, keys)}


def _of(run: Bytes, *kinds: str) -> list[Bytes]:
    return [sent for sent in run["sent"] if sent["what"] in kinds]


def _messages(run: Bytes, *kinds: str) -> Iterator[str]:
    for sent in _of(run, *kinds):
        data = bytes.fromhex(sent["message"])
        yield f"{sent['from']}: {sent['what'].upper()} in a frame that begins {sent['frame']}; {_measure(data)}"
        yield from _map(data)


def _map(data: bytes) -> Iterator[str]:
    value: Any = codec.decode(data)
    kind = type(parse_message(data))
    names = {a.metadata["number"]: a.name for a in attrs.fields(kind)} | {0: "type"}
    for key, item in value.items():
        start = data[:1] if not key else b""
        yield _line(start + codec.encode({key: item})[1:], item, f"{key}: {names[key]}")


def _line(raw: bytes, value: Any, name: str) -> str:
    inner = value[0] if isinstance(value, list) and len(value) == 1 else value
    if isinstance(inner, bytes) and len(inner) > _LONG:
        head = raw[: len(raw) - len(inner)]
        return f"  {head.hex()} {inner[:_SHOWN].hex()} …    # {name}, {_measure(inner)}"
    shown = f" {value}" if isinstance(value, int | str) else ""
    return f"  {raw.hex():{_COLUMN}}  # {name}{shown}"


def _measure(data: bytes) -> str:
    return f"{len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}"


def current(text: str, run: Bytes) -> str:
    """`text` with every block as it is now."""
    return BLOCK.sub(lambda found: rendered(found["name"], run), text)


if __name__ == "__main__":
    for path in sorted(SPEC.glob("*.md")):
        path.write_text(current(path.read_text(), recording()))
