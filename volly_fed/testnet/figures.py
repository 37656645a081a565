"""The figures of the demo, each measured in the run that prints it.

in: a running network; out: numbers, in milliseconds and envelopes per second.
Percentiles are of all samples; none is dropped.
"""

import math
import os
import time
from collections.abc import Sequence

import attrs
import trio

from volly_fed.channel import FEDERATION, Negotiated, check_tlsa
from volly_fed.client.card import Card
from volly_fed.client.inbox import InboxMessage
from volly_fed.client.seal import Content, seal
from volly_fed.client.submitter import RefusedLate, Settled
from volly_fed.codepoints import EnvelopeClass, Extension
from volly_fed.daemon import material
from volly_fed.daemon.connection import Connection, Dialled, Use, dial
from volly_fed.daemon.credentials import tls_identity
from volly_fed.daemon.device.device import DEFAULT_LIFETIME
from volly_fed.daemon.dns.resolver import Resolver, trust_anchors
from volly_fed.daemon.eyeballs import connect_any
from volly_fed.daemon.tls import make_context
from volly_fed.discovery.endpoint import Endpoint
from volly_fed.errors import LocalError
from volly_fed.handshake import Outcome, Party
from volly_fed.names import DomainName
from volly_fed.relay.envelope import Envelope, encode_envelope
from volly_fed.testnet.devices import BulkReceiver, Device
from volly_fed.testnet.network import Network
from volly_fed.testnet.sites import Site

CONTENT_BYTES = 1024
BODY_BYTES = 1024
LATENCY_WITHIN = 10.0
BULK_WITHIN = 60.0
_SEALERS = 2


def percentile(samples: Sequence[float], share: float) -> float:
    """The least sample that `share` of all are not above (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


async def discovery_ms(network: Network, names: Sequence[DomainName]) -> list[float]:
    """Discover each of `names` once, each with a resolver that knows nothing yet."""
    samples = []
    for name in names:
        resolver = make_resolver(network)
        began = time.perf_counter()
        await resolver.discover(name)
        samples.append((time.perf_counter() - began) * 1000)
    return samples


def make_resolver(network: Network) -> Resolver:
    """A resolver of the test network with empty caches."""
    return Resolver([network.resolver], trust_anchors(network.world.anchor_text), allow_private=True)


@attrs.frozen(kw_only=True)
class ChannelFigures:
    """How long it took from TCP to both proofs, and what was agreed on."""

    samples_ms: list[float]
    negotiated: Negotiated
    outcome: Outcome


async def channel_ms(network: Network, visitor: Site, peer: DomainName, count: int) -> ChannelFigures:
    """Connect `count` times from `visitor`, which has published keys and no process, to the homeserver of `peer`."""
    endpoint = await make_resolver(network).discover(peer)
    keys = material.load_material(material.read_homeserver_config(visitor.config).server.data_dir)
    samples: list[float] = []
    connections: list[Connection] = []

    async def use(connection: Connection) -> None:
        samples.append((time.perf_counter() - began) * 1000)
        connections.append(connection)

    plan = _visit(visitor, keys, endpoint, use)
    for _ in range(count):
        began = time.perf_counter()
        stream = await connect_any(endpoint.targets[0].addresses, endpoint.targets[0].port)
        await dial(stream, plan)
    last = connections[-1]
    return ChannelFigures(samples_ms=samples, negotiated=last.negotiated, outcome=last.outcome)


def _visit(visitor: Site, keys: material.Material, endpoint: Endpoint, use: Use) -> Dialled:
    target = endpoint.targets[0]

    async def confirm(_: Outcome) -> None:
        """A visitor keeps no pins."""

    return Dialled(
        context=make_context(FEDERATION, server=False, identity=tls_identity(keys)),
        party=Party(name=visitor.domain, key=keys.identity, extensions={Extension.PROBE: b""}),
        host=target.host,
        wanted=endpoint.domain,
        expected=frozenset({endpoint.identity}),
        check_key=lambda negotiated: check_tlsa(target.tlsa, negotiated),
        confirm=confirm,
        use=use,
    )


@attrs.define
class Tally:
    """What was sent and what came of it, over the whole demo."""

    sent: int = 0
    delivered: int = 0
    duplicated: int = 0

    @property
    def lost(self) -> int:
        """Accepted and neither delivered nor refused."""
        return self.sent - self.delivered


async def envelope_ms(sender: Device, recipient: Device, count: int, tally: Tally) -> list[float]:
    """Send `count` contents of 1 KiB one after another; from before sealing to the application at the other end."""
    samples: list[float] = []
    arrived: dict[bytes, float] = {}
    change = trio.Event()

    def heard(message: InboxMessage, at: float) -> None:
        nonlocal change
        tally.duplicated += message.id in arrived
        arrived[message.id] = at
        change.set()
        change = trio.Event()

    async with trio.open_nursery() as nursery:
        await nursery.start(recipient.listen, heard)
        submitting = await nursery.start(sender.submitting, _raise_refusal)
        for _ in range(count):
            began = trio.current_time()
            envelope_id, frame = _sealed(sender, recipient.card, os.urandom(CONTENT_BYTES))
            tally.sent += 1
            await submitting.submit([(envelope_id, frame)])
            with trio.fail_after(LATENCY_WITHIN):
                while envelope_id not in arrived:
                    await change.wait()
            tally.delivered += 1
            samples.append((arrived[envelope_id] - began) * 1000)
        nursery.cancel_scope.cancel()
    return samples


@attrs.frozen(kw_only=True)
class Throughput:
    """Envelopes of one size from edge to edge, durable at both homeservers."""

    envelopes: int
    seconds: float
    frame_bytes: int

    @property
    def per_second(self) -> float:
        """Envelopes each second."""
        return self.envelopes / self.seconds


async def seal_many(sender: Device, recipient: Device, count: int) -> list[tuple[bytes, bytes]]:
    """(id, encoded envelope) of `count` sealed contents of 1 KiB, made on both cores."""
    sealed: list[tuple[bytes, bytes]] = []

    def make(number: int) -> list[tuple[bytes, bytes]]:
        return [_sealed(sender, recipient.card, os.urandom(CONTENT_BYTES)) for _ in range(number)]

    async def some(number: int) -> None:
        sealed.extend(await trio.to_thread.run_sync(make, number))

    async with trio.open_nursery() as nursery:
        for part in range(_SEALERS):
            nursery.start_soon(some, count // _SEALERS + (part < count % _SEALERS))
    return sealed


def opaque_many(recipient: Device, count: int) -> list[tuple[bytes, bytes]]:
    """(id, encoded envelope) of `count` bodies of 1 KiB: random, as sealed ones look to whoever relays them."""
    mailbox, domain = recipient.card.address
    made = []
    for _ in range(count):
        envelope = Envelope(
            mailbox=mailbox,
            domain=domain,
            id=os.urandom(16),
            expiry=int(time.time()) + DEFAULT_LIFETIME,
            urgency=EnvelopeClass.SIGNAL,
            capability=recipient.card.capability,
            body=os.urandom(BODY_BYTES),
        )
        made.append((envelope.id, encode_envelope(envelope)))
    return made


async def throughput(sender: Device, recipient: Device, sealed: list[tuple[bytes, bytes]], tally: Tally) -> Throughput:
    """Hand over `sealed` as fast as the edge takes it, until the last has arrived at the other edge's device."""
    bulk = BulkReceiver(recipient, frozenset(identity for identity, _ in sealed))
    async with trio.open_nursery() as nursery:
        await nursery.start(bulk.run)
        submitting = await nursery.start(sender.submitting, _raise_refusal)
        began = trio.current_time()
        await submitting.submit(sealed)
        with trio.fail_after(BULK_WITHIN):
            await bulk.complete.wait()
        nursery.cancel_scope.cancel()
    tally.sent += len(sealed)
    tally.delivered += len(bulk.received)
    tally.duplicated += sum(bulk.received.values()) - len(bulk.received)
    return Throughput(envelopes=len(sealed), seconds=bulk.last_at - began, frame_bytes=len(sealed[0][1]))


def _sealed(sender: Device, to: Card, data: bytes) -> tuple[bytes, bytes]:
    envelope_id = os.urandom(16)
    now = int(time.time())
    content = Content(sent_at=now, data=data)
    expiry = now + DEFAULT_LIFETIME
    envelope = seal(content, identity=sender.keys.identity, to=to, envelope_id=envelope_id, expiry=expiry)
    return envelope_id, encode_envelope(envelope)


def _raise_refusal(event: Settled | RefusedLate) -> None:
    for _, code, text in event.refused:
        raise LocalError(f"an envelope of the measurement was refused: {code.name} {text}")
