"""The edge link: who is let in, one link for each edge, and the rules of its stream."""

import os

import trio

from interop.edge_call import RawEdge
from interop.fake_device import FakeDevice
from interop.scenario import Failed, check, equal, scenario
from interop.server import Server
from interop.site import Keys
from interop.stage import Stage
from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.errors import Refused
from volly_fed.names import DomainName
from volly_fed.wire import Message
from volly_fed.wire import messages as wire
from volly_fed.wire.messages import STREAM_BYTES


async def refusal(stage: Stage, server: Server, name: str, keys: Keys | None, domain: str | None = None) -> ErrorCode:
    """The code with which an edge is refused."""
    try:
        await stage.edge(server, name, keys=keys, domain=DomainName(domain) if domain else None)
    except Refused as error:
        return error.code
    raise Failed("expected: the edge is refused")


@scenario("edges/not-enrolled", servers=1, covers=("edge-1", "handshake-13"))
async def not_enrolled(stage: Stage) -> None:
    """A name that is not enrolled is refused with POLICY, another identity under an enrolled name with
    IDENTITY_MISMATCH, and an edge that wants another domain with WRONG_NAME. The edge that is enrolled is let in.
    """
    server, keys = stage.servers[0], Keys.new("unknown")
    equal(await refusal(stage, server, "unknown", keys), ErrorCode.POLICY, "the code for a name that is not enrolled")
    equal(await refusal(stage, server, "edge-1", keys), ErrorCode.IDENTITY_MISMATCH, "the code for another identity")
    equal(await refusal(stage, server, "edge-1", None, "z.test"), ErrorCode.WRONG_NAME, "the code for another domain")
    await stage.edge(server)


@scenario("edges/second-link", servers=1, covers=("edge-4",))
async def second_link(stage: Stage) -> None:
    """An edge dials again while its link is there: the older one is closed with REPLACED, and the newer one works."""
    server = stage.servers[0]
    old = await stage.edge(server)
    await old.device()
    new = await stage.edge(server)
    equal((await old.ended()).code, ErrorCode.REPLACED, "what the older link is told")
    bob = await new.device()
    equal(await new.submit(envelope := bob.envelope()), [None], "what the homeserver says")
    equal(await bob.receive(1), [envelope], "what was delivered")


@scenario("edges/ends-in-order", servers=1, covers=("session-33", "session-34"))
async def ends_in_order(stage: Stage) -> None:
    """An edge closes its link in order, while what it has submitted is not acknowledged: it gets its acknowledgements,
    and a CLOSE in return.
    """
    edge = await stage.edge(stage.servers[0])
    bob = await edge.device()
    edge.offer(*bob.envelopes(100))
    await edge.submit(bob.envelope())
    end = await edge.close()
    equal(end.code, ErrorCode.NONE, "the code")
    equal(edge.unsettled(), [], "what is unsettled")


async def opened(edge: RawEdge, stream: bytes) -> int:
    """Open a stream; the cursor that is told."""
    await edge.say(wire.Open(stream=stream))
    return (await acknowledgement(edge, stream, -1)).cursor


async def acknowledgement(edge: RawEdge, stream: bytes, beyond: int) -> wire.Ack:
    """The first acknowledgement of `stream` with a cursor beyond that."""
    while True:
        message = await edge.hear()
        if isinstance(message, wire.Ack) and message.stream == stream and message.cursor > beyond:
            return message


@scenario("edges/stream-goes-on", servers=1, covers=("session-5", "session-6", "session-12"))
async def stream_goes_on(stage: Stage) -> None:
    """An edge has a second link. There it opens the same stream and is told how far that is settled, and what of it was
    refused. What it sends again under the same numbers is passed over, and what follows in the same batch is taken.
    """
    server, stream = stage.servers[0], os.urandom(STREAM_BYTES)
    watcher = await stage.edge(server, "edge-2")
    bob = await watcher.device()
    envelopes = bob.envelopes(3)
    edge = await stage.raw_edge(server)
    equal(await opened(edge, stream), 0, "the cursor of a new stream")
    await edge.say(wire.Batch(stream=stream, first=1, envelopes=[envelopes[0], b"garbage"]))
    answer = await acknowledgement(edge, stream, 1)
    equal([(number, code) for number, code, _ in answer.refusals], [(2, ErrorCode.MALFORMED)], "what is refused")
    again = await stage.raw_edge(server)
    await again.say(wire.Open(stream=stream))
    answer = await acknowledgement(again, stream, -1)
    equal(answer.cursor, 2, "the cursor of the same stream on another link")
    equal([(number, code) for number, code, _ in answer.refusals], [(2, ErrorCode.MALFORMED)], "what was refused")
    await again.say(wire.Batch(stream=stream, first=1, envelopes=[envelopes[0], b"garbage", *envelopes[1:]]))
    equal((await acknowledgement(again, stream, 2)).cursor, 4, "the cursor after the repeated batch")
    equal(await bob.receive(3), envelopes, "what was delivered")


@scenario("edges/keepalive", servers=1, covers=("session-29",))
async def keepalive(stage: Stage) -> None:
    """A PING is answered with a PONG of the same number; of several, at least the last is."""
    edge = await stage.raw_edge(stage.servers[0])
    for token in (1, 7, 1 << 40):
        await edge.say(wire.Ping(token=token))
        answer = await edge.hear()
        while not isinstance(answer, wire.Pong):
            answer = await edge.hear()
        equal(answer.token, token, "the number of the PONG")


_STREAM = b"stream-1"
_PATIENCE = 5.0
"""Seconds for a CLOSE."""
_OPEN = wire.Open(stream=_STREAM)


def _batch(first: int, *envelopes: bytes, stream: bytes = _STREAM) -> wire.Batch:
    return wire.Batch(stream=stream, first=first, envelopes=list(envelopes))


@scenario(
    "edges/broken-rules",
    servers=1,
    covers=("session-1", "session-7", "session-10", "session-11", "session-13", "session-31", "wire-11", "wire-13"),
    seconds=40,
)
async def broken_rules(stage: Stage) -> None:
    """An edge breaks one rule after the other, each on a link of its own: the homeserver says CLOSE with the right code
    and ends the link. Then the edge plays by the rules, and is let in as ever.
    """
    server = stage.servers[0]
    frame = FakeDevice.new(server.site.domain, "*").envelope()
    # what is said at once; what is said when the stream is open, if it is opened; the code
    rules: dict[str, tuple[list[Message | bytes], list[Message | bytes] | None, ErrorCode]] = {
        "BATCH before OPEN": ([_batch(1, frame)], None, ErrorCode.UNEXPECTED),
        "OPEN twice": ([_OPEN, _OPEN], None, ErrorCode.UNEXPECTED),
        "OPEN of the open stream": ([], [_OPEN], ErrorCode.UNEXPECTED),
        "BATCH with a gap": ([], [_batch(2, frame)], ErrorCode.UNEXPECTED),
        "BATCH from 0": ([], [_batch(0, frame)], ErrorCode.MALFORMED),
        "BATCH without envelopes": ([], [_batch(1)], ErrorCode.MALFORMED),
        "BATCH of 257": ([], [_batch(1, *[frame] * (limits.BATCH_ENVELOPES + 1))], ErrorCode.MALFORMED),
        "BATCH of another stream": ([], [_batch(1, frame, stream=b"stream-2")], ErrorCode.UNEXPECTED),
        "ACK beyond what was sent": ([wire.Ack(stream=_STREAM, cursor=9)], None, ErrorCode.UNEXPECTED),
        "PONG to no PING": ([wire.Pong(token=5)], None, ErrorCode.UNEXPECTED),
        "a message of devices": ([wire.Submit(envelopes=[frame])], None, ErrorCode.UNEXPECTED),
        "a message of homeservers": ([wire.PresenceRequest()], None, ErrorCode.UNEXPECTED),
        "HELLO again": ([b"\xa1\x00\x01"], None, ErrorCode.MALFORMED),
        "an unknown type": ([b"\xa1\x00\x18\xf0"], None, ErrorCode.UNEXPECTED),
        "no CBOR": ([b"\xff\xff\xff"], None, ErrorCode.MALFORMED),
        "a field of another kind": ([b"\xa2\x00\x10\x01\x01"], None, ErrorCode.MALFORMED),
    }
    wrong = []
    for number, (what, (said, then, code)) in enumerate(rules.items()):
        edge = await stage.raw_edge(server, f"edge-{number % 5}")
        await edge.say(*said)
        if then is not None:
            await opened(edge, _STREAM)
            await edge.say(*then)
        close = None
        with trio.move_on_after(_PATIENCE):
            close = await edge.closed()
        if close is None or close.code is not code:
            wrong.append(f"{what}: {code.name} expected, and it is {close.code.name if close else 'no CLOSE'}")
    check(not wrong, "; ".join(wrong))
    await (await stage.edge(server)).device()
