"""A steady stream of envelopes between two homeservers for a long time, and what it does to their processes.

in: a rate, for how long; out: a Report: memory and open files over time, latencies per minute, losses.
Bodies are random, as sealed ones look to whoever relays them, and receivers acknowledge unopened: what is worn is the
way from edge to edge. Both directions carry half of the rate.
Never: leaves a process or a folder behind.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from volly_fed.client.receiver import Item
from volly_fed.client.submitter import RefusedLate, Settled
from volly_fed.codepoints import EnvelopeClass
from volly_fed.daemon.device.device import Submitting
from volly_fed.daemon.device.receiving import RawReceiving
from volly_fed.errors import LocalError
from volly_fed.names import DomainName
from volly_fed.relay.envelope import ID_BYTES, Envelope, encode_envelope
from volly_fed.testing.log_watch import unexpected
from volly_fed.testing.process_sample import Sample, sample, slope
from volly_fed.testing.world import World
from volly_fed.testnet.devices import Device
from volly_fed.testnet.figures import BODY_BYTES, percentile
from volly_fed.testnet.network import Network, serve_world
from volly_fed.testnet.processes import Child, running

LIFETIME: Final = 60
"""Seconds that an envelope may live: so ids are also forgotten again, and a store comes to its size within minutes."""
TICK: Final = 0.05
SAMPLE: Final = 5.0
WARM_UP: Final = 900.0
"""Seconds that count for no slope: an id is forgotten limits.CLOCK_SKEW after its envelope's time, at the next sweep;
until then the store grows, and its cache for as long again, until it is full. Of a short run it is half."""
FLAT_KIB: Final = 50.0
"""KiB a minute; above it memory counts as growing. A run of minutes says little: see `Trend.certain`."""
CERTAIN: Final = 1200.0
"""Seconds after the warm-up from which a slope of memory is more than noise."""
LATE: Final = 60.0
"""After the end, for what is still under way."""

Tell = Callable[[str], None]


@attrs.frozen(kw_only=True)
class Trend:
    """How one process changed over the run, by least squares after the warm-up."""

    rss_kib_per_min: float
    dirty_kib_per_min: float
    files_per_min: float
    first: Sample
    last: Sample

    @property
    def flat(self) -> bool:
        """Whether it does not grow; shrinking is fine."""
        return self.dirty_kib_per_min < FLAT_KIB and self.files_per_min < 0.5


@attrs.frozen(kw_only=True)
class Minute:
    """The envelopes that arrived in one minute: from handing over to the receiving device, milliseconds."""

    count: int
    p50: float
    p99: float
    p999: float
    most: float


@attrs.define(kw_only=True)
class Report:
    """What became of a run."""

    seconds: float
    rate: float
    submitted: int = 0
    arrived: int = 0
    again: int = 0
    """Brought to a device more than once, which the wire may do."""
    refused: int = 0
    minutes: list[Minute] = attrs.field(factory=list)
    trends: dict[str, Trend] = attrs.field(factory=dict)
    samples: dict[str, list[tuple[float, Sample]]] = attrs.field(factory=dict)
    log: list[str] = attrs.field(factory=list)
    """Lines that should not be there."""

    @property
    def lost(self) -> int:
        """Submitted, and neither arrived nor refused."""
        return self.submitted - self.arrived - self.refused

    @property
    def certain(self) -> bool:
        """Whether it ran for long enough to say that memory grows."""
        return self.seconds - WARM_UP >= CERTAIN

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**attrs.asdict(self), "lost": self.lost, "certain": self.certain}


@attrs.define(kw_only=True)
class Lane:
    """One direction: a submitting device here, a receiving one there."""

    sender: Device
    recipient: Device
    rate: float
    report: Report
    latencies: list[float]
    """Of the present minute, milliseconds, of all lanes."""
    under_way: dict[bytes, float] = attrs.field(factory=dict, init=False, repr=False)
    """When each was handed over."""

    async def receive(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Until cancelled."""
        await RawReceiving(self.recipient.keys, self.recipient.way, self._take).run(task_status=task_status)

    async def _take(self, items: list[Item]) -> None:
        now = time.perf_counter()
        for item in items:
            began = self.under_way.pop(item.envelope.id, None)
            if began is None:
                self.report.again += 1
            else:
                self.report.arrived += 1
                self.latencies.append((now - began) * 1000)

    async def submit(self, submitting: Submitting, until: float) -> None:
        """At the rate, whatever comes back; a submitter that must wait makes up for it afterwards."""
        began, made = trio.current_time(), 0
        while trio.current_time() < until:
            due = int((trio.current_time() - began) * self.rate) - made
            batch = [self._make() for _ in range(due)]
            now = time.perf_counter()
            self.under_way.update((envelope_id, now) for envelope_id, _ in batch)
            self.report.submitted += due
            await submitting.submit(batch)
            made += due
            await trio.sleep(TICK)

    def _make(self) -> tuple[bytes, bytes]:
        mailbox, domain = self.recipient.card.address
        envelope = Envelope(
            mailbox=mailbox,
            domain=domain,
            id=os.urandom(ID_BYTES),
            expiry=int(time.time()) + LIFETIME,
            urgency=EnvelopeClass.SIGNAL,
            capability=self.recipient.card.capability,
            body=os.urandom(BODY_BYTES),
        )
        return envelope.id, encode_envelope(envelope)

    def hear(self, event: Settled | RefusedLate) -> None:
        """A refusal is counted, and ends the waiting."""
        for envelope_id, _, _ in event.refused:
            self.report.refused += self.under_way.pop(envelope_id, None) is not None


@attrs.define(kw_only=True)
class Soak:
    """One run; `run` makes a folder for it and removes it."""

    seconds: float
    rate: float
    tell: Tell
    report: Report = attrs.field(init=False)
    _latencies: list[float] = attrs.field(factory=list, init=False)
    _began: float = attrs.field(factory=time.monotonic, init=False)

    def __attrs_post_init__(self) -> None:
        self.report = Report(seconds=self.seconds, rate=self.rate)

    async def run(self) -> Report:
        """All of it."""
        folder = Path(tempfile.mkdtemp(prefix="volly-fed-soak-"))
        try:
            await self._run(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        for name, samples in self.report.samples.items():
            self.report.trends[name] = trend(samples, min(WARM_UP, self.seconds / 2))
        return self.report

    async def _run(self, folder: Path) -> None:
        world = World()
        world.sign()
        async with trio.open_nursery() as nursery:
            resolver = await nursery.start(serve_world, world)
            network = Network(folder=folder / "net", world=world, resolver=resolver)
            network.prepare(2, edges=1)
            async with running(network.children):
                await network.start_all()
                await self._stream(network, folder)
                for child in network.children:
                    if code := await child.stop():
                        self.report.log.append(f"{child.name} ended with code {code}")
                    self.report.log += unexpected(child.log.read_text(errors="replace"))
            nursery.cancel_scope.cancel()

    async def _stream(self, network: Network, folder: Path) -> None:
        lanes = self._lanes(network, folder)
        self._began = time.monotonic()
        async with trio.open_nursery() as nursery:
            for lane in lanes:
                await nursery.start(lane.receive)
            nursery.start_soon(self._sample, network.children)
            nursery.start_soon(self._minutes)
            until = trio.current_time() + self.seconds
            async with trio.open_nursery() as submitters:
                for lane in lanes:
                    submitting = await nursery.start(lane.sender.submitting, lane.hear)
                    submitters.start_soon(lane.submit, submitting, until)
            with trio.move_on_after(LATE):
                while any(lane.under_way for lane in lanes):  # noqa: ASYNC110 - the last is told by nobody
                    await trio.sleep(TICK)
            nursery.cancel_scope.cancel()
        self._close_minute()

    def _lanes(self, network: Network, folder: Path) -> list[Lane]:
        """From each of the two domains to the other; receiving and submitting devices are not the same."""
        lanes = []
        domains = list(network.sites)
        for own, other in (domains, domains[::-1]):
            sender, recipient = (
                _device(network, folder, domain, f"{role}-{own}") for domain, role in ((own, "from"), (other, "to"))
            )
            lanes.append(
                Lane(
                    sender=sender,
                    recipient=recipient,
                    rate=self.rate / 2,
                    report=self.report,
                    latencies=self._latencies,
                )
            )
        return lanes

    async def _sample(self, children: list[Child]) -> None:
        while True:
            for child in children:
                taken = sample(child.process.pid)
                if taken is None or child.process.poll() is not None:
                    raise LocalError(f"{child.name} ended by itself")
                self.report.samples.setdefault(child.name, []).append((time.monotonic() - self._began, taken))
            await trio.sleep(SAMPLE)

    async def _minutes(self) -> None:
        while True:
            await trio.sleep(60)
            self._close_minute()

    def _close_minute(self) -> None:
        if not self._latencies:
            return
        minute = Minute(
            count=len(self._latencies),
            p50=round(percentile(self._latencies, 0.5), 1),
            p99=round(percentile(self._latencies, 0.99), 1),
            p999=round(percentile(self._latencies, 0.999), 1),
            most=round(max(self._latencies), 1),
        )
        self._latencies.clear()
        self.report.minutes.append(minute)
        held = " ".join(f"{name}: {series[-1][1].rss >> 10} MiB" for name, series in self.report.samples.items())
        self.tell(
            f"{time.monotonic() - self._began:7.1f} s  {minute.count} arrived, p50 {minute.p50} ms, "
            f"p99 {minute.p99} ms, most {minute.most} ms  {held}"
        )


def trend(samples: list[tuple[float, Sample]], warm_up: float) -> Trend:
    """What `samples`, (seconds, sample), come to after `warm_up` seconds."""
    late = [(at / 60, each) for at, each in samples if at >= warm_up]
    return Trend(
        rss_kib_per_min=round(slope([(at, each.rss) for at, each in late]), 2),
        dirty_kib_per_min=round(slope([(at, each.private_dirty) for at, each in late]), 2),
        files_per_min=round(slope([(at, each.files) for at, each in late]), 4),
        first=late[0][1],
        last=late[-1][1],
    )


def _device(network: Network, folder: Path, domain: DomainName, name: str) -> Device:
    return Device.create(folder / name, domain, network.sites[domain].edges[0], name)
