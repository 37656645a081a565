"""The demo: a federation starts, envelopes cross it or are refused, and every figure is measured on the way.

in: how many servers; out: lines of narration as things happen, and a Report.
Never: claims what it did not see: the report is filled from what devices, resolvers and connections returned.
"""

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import trio

from volly_fed.client.inbox import InboxMessage
from volly_fed.codepoints import IDENTITY_ALGORITHM, TLS_SIGNATURE_NAME
from volly_fed.discovery.endpoint import Step
from volly_fed.errors import DiscoveryError, LocalError
from volly_fed.names import fingerprint_text
from volly_fed.presence import bounds
from volly_fed.testing.world import World
from volly_fed.testnet import figures, presence_figures
from volly_fed.testnet.devices import Device
from volly_fed.testnet.figures import Tally, Throughput, percentile
from volly_fed.testnet.network import Network, serve_world
from volly_fed.testnet.processes import running
from volly_fed.testnet.sites import FORGED, UNSIGNED

Narrate = Callable[[str], None]
MIN_SERVERS = 3
DISCOVERIES = 20
CHANNELS = 20
LATENCIES = 300
BULK = 10_000
SEALED_BULK = 5000
TICKS = 5
ARRIVES_WITHIN = 15.0


@attrs.define(kw_only=True)
class Report:
    """What the demo saw; times in milliseconds. Scripts read its JSON: fields are only ever added."""

    servers: int
    edges: int = 0
    start_ms_max: float = 0.0
    discovery_ms_p50: float = 0.0
    verdicts: dict[str, str] = attrs.field(factory=dict)
    channel_ms_p50: float = 0.0
    tls_version: str = ""
    tls_group: str = ""
    tls_signature: str = ""
    identity_algorithm: str = ""
    identities: dict[str, str] = attrs.field(factory=dict)
    envelope_ms_p50: float = 0.0
    envelope_ms_p99: float = 0.0
    envelopes_per_s: float = 0.0
    """Bodies of 1 KiB, made beforehand, edge to edge, durable at both homeservers."""
    envelope_bytes: int = 0
    sealed_envelopes_per_s: float = 0.0
    """The same with contents of 1 KiB, sealed and signed beforehand: bodies of 8 KiB."""
    sealed_envelope_bytes: int = 0
    presence_ms_p50: float = 0.0
    """From before a device says that it is online, or no longer, until a device of another domain sees it."""
    presence_ms_p99: float = 0.0
    presence_bytes_per_tick: float = 0.0
    """Of the message to a peer that is told every two seconds; the median."""
    queued_then_delivered: int = 0
    delivered: int = 0
    lost: int = 0
    duplicated: int = 0
    refused: list[dict[str, str]] = attrs.field(factory=list)
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Plain values, times to a hundredth."""
        return {
            name: round(value, 2) if isinstance(value, float) else value for name, value in attrs.asdict(self).items()
        }


async def run_demo(servers: int, narrate: Narrate) -> Report:
    """Run the whole story; raises LocalError when a part of it does not come out as it must."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="volly-fed-demo-"))
    try:
        report = await _run(folder, max(servers, MIN_SERVERS), narrate)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report.seconds = time.monotonic() - began
    return report


async def _run(folder: Path, servers: int, narrate: Narrate) -> Report:
    world = World()
    world.sign()
    report = Report(servers=servers)
    async with trio.open_nursery() as nursery:
        resolver = await nursery.start(serve_world, world)
        network = Network(folder=folder, world=world, resolver=resolver)
        async with running(network.children):
            story = Story(network=network, report=report, narrate=narrate)
            for chapter in (
                story.start,
                story.discover,
                story.connect,
                story.deliver,
                story.queue,
                story.presence,
                story.refuse,
                story.measure,
            ):
                await chapter()
        nursery.cancel_scope.cancel()
    report.delivered = story.tally.delivered
    report.lost, report.duplicated = story.tally.lost, story.tally.duplicated
    return report


@attrs.define(kw_only=True)
class Story:
    """The chapters, in order."""

    network: Network
    report: Report
    narrate: Narrate
    tally: Tally = attrs.field(factory=Tally, init=False)
    alice: Device = attrs.field(init=False)
    bob: Device = attrs.field(init=False)
    carol: Device = attrs.field(init=False)

    async def start(self) -> None:
        """Sign the zones, start the processes, make the devices."""
        self.narrate(f"Signing a root, the zone test. and {self.report.servers} domains; making keys for all of them")
        self.network.prepare(self.report.servers)
        host, port = self.network.resolver
        self.narrate(f"  DNS on {host} port {port}; trust anchor {self.network.world.anchor_text.strip()}")
        await self.network.start_all()
        for domain, child in self.network.homeservers.items():
            milliseconds = child.started_in * 1000
            self.report.start_ms_max = max(self.report.start_ms_max, milliseconds)
            self.report.identities[domain] = child.ready["identity"]
            self.narrate(
                f"  homeserver {domain} is ready after {milliseconds:.0f} ms, identity {child.ready['identity']}"
            )
        self.report.edges = len(self.network.edges)
        self.narrate(f"  {self.report.edges} edge nodes are linked to their homeservers")
        self.alice, self.bob, self.carol = (
            self._device(number, name) for number, name in enumerate(("alice", "bob", "carol"))
        )

    async def discover(self) -> None:
        """The verdict on every domain, step by step for the first; then the figure."""
        self.narrate("Discovery: SRV, identity, addresses and TLSA, each validated up to the trust anchor")
        resolver = figures.make_resolver(self.network)
        for number, domain in enumerate([*self.network.sites, UNSIGNED, FORGED]):
            trace = (lambda step: self.narrate(f"    {_step_text(step)}")) if number == 0 else None
            try:
                endpoint = await resolver.discover(domain, trace=trace)
                verdict = f"secure: identity {fingerprint_text(endpoint.identity)}"
            except DiscoveryError as error:
                verdict = f"{type(error).__name__.lower()}: {str(error).splitlines()[0]}"
            self.report.verdicts[domain] = verdict.partition(":")[0]
            self.narrate(f"  {domain}: {verdict}")
        names = self.network.publish_names(DISCOVERIES, next(iter(self.network.sites)))
        self.report.discovery_ms_p50 = percentile(await figures.discovery_ms(self.network, names), 0.5)
        self.narrate(f"  {DISCOVERIES} more domains, each cold: p50 {self.report.discovery_ms_p50:.1f} ms")

    async def connect(self) -> None:
        """What a channel is made of, and how long it takes."""
        first = next(iter(self.network.sites))
        assert self.network.visitor is not None
        measured = await figures.channel_ms(self.network, self.network.visitor, first, CHANNELS)
        negotiated, report = measured.negotiated, self.report
        report.channel_ms_p50 = percentile(measured.samples_ms, 0.5)
        report.tls_version, report.tls_group = negotiated.version, negotiated.group
        report.tls_signature = TLS_SIGNATURE_NAME  # check_negotiated lets no other through
        report.identity_algorithm = IDENTITY_ALGORITHM
        self.narrate(
            f"Channel: {negotiated.version}, {negotiated.group}, certificates {report.tls_signature}, "
            f"{negotiated.cipher}\n"
            f"  both identities proved with {IDENTITY_ALGORITHM}: {self.network.visitor.domain} and {first}, "
            f"{fingerprint_text(measured.outcome.fingerprint)}\n"
            f"  TCP, TLS, WebSocket and both proofs, {CHANNELS} times: p50 {report.channel_ms_p50:.1f} ms"
        )

    async def deliver(self) -> None:
        """One envelope from a device of the first domain to one of the second."""
        self.narrate("Alice (a.test) sends to bob (b.test), who is listening")
        arrived = await self._exchange(self.alice, self.bob, "hello from a.test", listening_first=True)
        self.narrate(f"  delivered after {arrived:.1f} ms, signed by alice's key, opened by bob's")

    async def queue(self) -> None:
        """One envelope while the recipient is away."""
        self.narrate("Bob goes away; alice sends once more")
        await self._exchange(self.alice, self.bob, "are you there?", listening_first=False)
        self.report.queued_then_delivered += 1
        self.narrate("  accepted while bob was away, and delivered when he came back")

    async def presence(self) -> None:
        """Users of two domains come and go, and are seen; a third domain is told tick by tick."""
        report, first = self.report, self.alice.keys.domain
        self.narrate("Presence: users of a.test and b.test come and go, and watch each other")
        samples: list[float] = []
        sizes: list[int] = []

        async def change(coming: Device, watching: Device) -> None:
            samples.extend(await presence_figures.changes_ms(coming, watching))

        async def weigh() -> None:
            sizes.extend(await presence_figures.tick_bytes(self.carol, first, TICKS))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(change, self.alice, self.bob)
            nursery.start_soon(change, self.bob, self.alice)
            nursery.start_soon(weigh)
        report.presence_ms_p50, report.presence_ms_p99 = percentile(samples, 0.5), percentile(samples, 0.99)
        report.presence_bytes_per_tick = percentile(sizes, 0.5)
        self.narrate(
            f"  {len(samples)} changes, device to device: p50 {report.presence_ms_p50:.1f} ms, "
            f"p99 {report.presence_ms_p99:.1f} ms\n"
            f"  a.test tells c.test every {bounds.TICK:.0f} s, in {report.presence_bytes_per_tick:.0f} bytes, "
            "whether anybody has come or gone"
        )

    async def refuse(self) -> None:
        """What the trust levels forbid."""
        for sender, recipient in ((self.bob, self.carol), (self.alice, self.carol)):
            sent = await sender.send(recipient.card, "this must not arrive")
            origin, target = sender.keys.domain, recipient.keys.domain
            if sent.accepted:
                raise LocalError(f"{origin} accepted an envelope for {target} that its policy forbids")
            self.report.refused.append({"from": origin, "to": target, "code": sent.code.name, "reason": sent.text})
            self.narrate(f"Refused {origin} -> {target}: {sent.code.name}: {sent.text}")

    async def measure(self) -> None:
        """Latency at rest, then throughput."""
        report = self.report
        self.narrate(f"Measuring {LATENCIES} envelopes of 1 KiB one by one, sealing and opening included")
        samples = await figures.envelope_ms(self.alice, self.bob, LATENCIES, self.tally)
        report.envelope_ms_p50, report.envelope_ms_p99 = percentile(samples, 0.5), percentile(samples, 0.99)
        self.narrate(f"  device to device: p50 {report.envelope_ms_p50:.1f} ms, p99 {report.envelope_ms_p99:.1f} ms")
        self.narrate(f"Handing over {BULK} envelopes with bodies of 1 KiB, made beforehand")
        result = await figures.throughput(self.alice, self.bob, figures.opaque_many(self.bob, BULK), self.tally)
        report.envelopes_per_s, report.envelope_bytes = result.per_second, result.frame_bytes
        self.narrate(f"  edge to edge, durable at both homeservers: {_rate(result)}")
        self.narrate(
            f"Sealing {SEALED_BULK} contents of 1 KiB, and handing them over: signed and padded, they take 8 KiB"
        )
        sealed = await figures.seal_many(self.alice, self.bob, SEALED_BULK)
        result = await figures.throughput(self.alice, self.bob, sealed, self.tally)
        report.sealed_envelopes_per_s, report.sealed_envelope_bytes = result.per_second, result.frame_bytes
        self.narrate(f"  edge to edge, durable at both homeservers: {_rate(result)}")

    def _device(self, number: int, name: str) -> Device:
        domain = list(self.network.sites)[number]
        edge = self.network.sites[domain].edges[-1 if name == "bob" else 0]
        return Device.create(self.network.folder / f"device-{name}", domain, edge, name)

    async def _exchange(self, sender: Device, recipient: Device, text: str, *, listening_first: bool) -> float:
        """Send `text` and wait until the recipient's application has it, once; milliseconds from sending."""
        heard: list[tuple[InboxMessage, float]] = []
        arrived = trio.Event()

        def hear(message: InboxMessage, at: float) -> None:
            heard.append((message, at))
            arrived.set()

        if not listening_first:
            await self._introduce(recipient)
        async with trio.open_nursery() as nursery:
            if listening_first:
                await nursery.start(recipient.listen, hear)
            began = trio.current_time()
            sent = await sender.send(recipient.card, text)
            if not sent.accepted:
                raise LocalError(f"refused: {sent.code.name} {sent.text}")
            self.tally.sent += 1
            if not listening_first:
                await nursery.start(recipient.listen, hear)
            with trio.fail_after(ARRIVES_WITHIN):
                await arrived.wait()
            nursery.cancel_scope.cancel()
        (message, at), *again = heard
        if message.content.text != text or message.sender != sender.keys.fingerprint:
            raise LocalError("what arrived is not what was sent")
        self.tally.delivered += 1
        self.tally.duplicated += len(again)
        return (at - began) * 1000

    async def _introduce(self, device: Device) -> None:
        """Let `device` claim its mailbox once: nothing is stored for a mailbox that nobody ever claimed."""
        async with trio.open_nursery() as nursery:
            await nursery.start(device.listen, lambda message, at: None)  # noqa: ARG005 - nothing comes
            nursery.cancel_scope.cancel()


def _rate(result: Throughput) -> str:
    return f"{result.per_second:.0f} envelopes/s of {result.frame_bytes} bytes each"


def _step_text(step: Step) -> str:
    reason = f" ({step.reason})" if step.reason else ""
    return f"{step.name} {step.rrtype}: {step.status.value}, {step.milliseconds:.1f} ms{reason}"
