"""Target: envelopes, one by one and as a batch's columns, against what the general codec makes of them.

in: steps, each an envelope; a body's bytes are left out of the input where they are zeros. Never lets through: another
error than BadMessage, an envelope that the codec would refuse, heads that differ from what reading one by one gives.
"""

from fuzz import mutators
from fuzz.target import Target, join, split
from volly_fed import limits
from volly_fed.codepoints import ENVELOPE_VERSION, EnvelopeClass
from volly_fed.errors import BadMessage
from volly_fed.names import BadName, DomainName, MailboxId, parse_domain
from volly_fed.relay.envelope import Envelope, Head, encode_envelope, parse_envelope, read_head, read_heads
from volly_fed.wire import codec

_FIELDS = 8
_EXPIRY = 1_800_000_000


def run(data: bytes) -> None:
    """Each step's number says with how many zeros it ends."""
    frames = [payload + bytes(_zeros(number)) for number, payload in split(data)]
    heads = [_head(frame) for frame in frames]
    if not frames:
        return
    columns = read_heads(frames)
    if columns is not None:
        for at, head in enumerate(heads):
            assert head is not None, "taken in a batch, and refused alone"
            row = (columns.mailboxes[at], columns.domain, columns.ids[at], columns.expiries[at])
            assert head[:6] == (*row, columns.urgencies[at], columns.capabilities[at]), "another head in a batch"


def _zeros(number: int) -> int:
    return (0, *limits.BODY_CLASSES)[number % (len(limits.BODY_CLASSES) + 1)]


def _head(frame: bytes) -> Head | None:
    try:
        head = read_head(frame)
    except BadMessage:
        head = None
    try:
        envelope = parse_envelope(frame)
    except BadMessage:
        envelope = None
    assert (head is None) == (envelope is None), "a head without an envelope, or the other way"
    assert (envelope is not None) == _is_envelope(frame), "not what the codec says"
    if head is not None and envelope is not None:
        assert encode_envelope(envelope) == frame, "an envelope with two spellings"
        assert head[:3] == (envelope.mailbox, envelope.domain, envelope.id)
        assert head[3:] == (envelope.expiry, envelope.urgency, envelope.capability, len(envelope.body))
    return head


def _is_envelope(frame: bytes) -> bool:
    """By the general codec, field by field."""
    try:
        value = codec.decode(frame, limit=limits.MAX_ENVELOPE)
    except BadMessage:
        return False
    if type(value) is not list or len(value) != _FIELDS:
        return False
    version, mailbox, domain, identity, expiry, urgency, capability, body = value
    return (
        (type(version), version) == (int, ENVELOPE_VERSION)
        and (type(mailbox), type(identity), type(capability), type(body)) == (bytes, bytes, bytes, bytes)
        and (len(mailbox), len(identity), len(capability)) == (32, 16, 16)  # type: ignore[arg-type] # bytes, by the line above
        and len(body) in limits.BODY_CLASSES  # type: ignore[arg-type] # as above
        and type(expiry) is int
        and type(urgency) is int
        and urgency in [*EnvelopeClass]
        and _is_domain(domain)
    )


def _is_domain(value: object) -> bool:
    try:
        return type(value) is str and parse_domain(value) == value
    except BadName:
        return False


def sample(domain: str = "b.example", expiry: int = _EXPIRY, urgency: int = 1) -> bytes:
    """A good envelope's beginning, with the smallest body's head and no body."""
    body = bytes(limits.BODY_CLASSES[0])
    envelope = Envelope(
        MailboxId(bytes(range(32))), DomainName(domain), b"i" * 16, expiry, EnvelopeClass(urgency), b"c" * 16, body
    )
    return encode_envelope(envelope)[: -len(body)]


def seeds() -> list[bytes]:
    """Usual and unusual ones, alone and in batches."""
    usual, long = sample(), sample(domain=".".join(["x" * 40] * 5))
    small, large = sample(expiry=7), sample(expiry=1 << 40)
    return [
        *(join([(1, one)]) for one in (usual, long, small, large, sample(urgency=0))),
        join([(1, usual)] * 3),
        join([(1, usual), (1, sample("b.example", 1_900_000_000, 2))]),
        join([(1, usual), (1, long)]),
        join([(1, usual), (1, usual.replace(_EXPIRY.to_bytes(4, "big"), bytes(4)))]),  # not in its shortest form
    ]


TARGET = Target(
    run=run,
    seeds=seeds,
    mutate=mutators.steps(len(limits.BODY_CLASSES) + 1, inner=mutators.plain, fresh=lambda _: (1, sample())),
    longest=2048,
)
