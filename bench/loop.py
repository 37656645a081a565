"""What a batch costs the two homeservers it passes through, step by step: processor time of the event loop's work.

    python bench/loop.py [--batch N] [--mailboxes N] [--rounds N] [--json]

The real machines, intake and store in one process; disk, sockets, TLS and trio's own work are left out. Each figure is
the least of several rounds, in microseconds per envelope of 1 KiB.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import attrs
import trio

from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass, TrustLevel
from volly_fed.config.model import Limits
from volly_fed.crypto.secret import Secret
from volly_fed.daemon.edges import EXTRA
from volly_fed.daemon.intake import Intake
from volly_fed.daemon.peer import Peer
from volly_fed.daemon.process import look_for_garbage_seldom
from volly_fed.daemon.ration import Ration
from volly_fed.daemon.receipts import Submitters
from volly_fed.daemon.store.rows import MailboxRecord, OutboundRow
from volly_fed.daemon.store.store import Store
from volly_fed.edge.claim import ClaimedMailbox, frame_digest, make_acknowledge
from volly_fed.edge.claims import Claims, Delete, Register
from volly_fed.edge.registration import encode_registration, make_registration, parse_registration
from volly_fed.names import DomainName, Fingerprint, MailboxId
from volly_fed.observe.log import Log
from volly_fed.relay.envelope import Envelope, encode_envelope, parse_envelope
from volly_fed.relay.rate import RateLimit
from volly_fed.session import Acknowledge, Event, Extra, Next, Outbound, Received, Session, Settled, StreamOpened
from volly_fed.trust.policy import parse_policy
from volly_fed.wire import encode_message, parse_message
from volly_fed.wire.messages import Deliver

A, B = DomainName("a.example"), DomainName("b.example")
EDGE = 1
KEY = Secret(bytes(32))
CAPABILITY = bytes(16)
REGISTRATION = encode_registration(make_registration({CAPABILITY: ("*",)}))
PLENTY: Any = 1 << 40
BATCHES = 40


@attrs.define
class Clock:
    """Sums up the processor time of each step; a step inside another does not count for that one."""

    steps: dict[str, int] = attrs.field(factory=dict)
    _inner: list[int] = attrs.field(factory=list)

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Time the block."""
        self._inner.append(0)
        before = time.thread_time_ns()
        yield
        took = time.thread_time_ns() - before
        self.steps[step] = self.steps.get(step, 0) + took - self._inner.pop()
        if self._inner:
            self._inner[-1] += took


class NoDisk:
    """In the place of the store's writer: jobs are forgotten."""

    def put(self, job: object) -> None:
        """Forget `job`."""


class Timed(Store):
    """The store, with the loop's share of its work timed apart."""

    def __init__(self, step: Any) -> None:
        """`step` is entered around the work."""
        super().__init__(NoDisk(), time.time)  # type: ignore[arg-type] # all that is asked of it here
        self._step = step

    def begin_outbound(self, peer: DomainName, rows: Sequence[OutboundRow]) -> Any:  # noqa: D102
        with self._step():
            return super().begin_outbound(peer, rows)

    async def begin_inbound(self, *arguments: Any) -> Any:  # noqa: D102
        with self._step():
            return await super().begin_inbound(*arguments)


class Homeserver:
    """One homeserver with an edge and a peer; what they send is played to it."""

    def __init__(self, name: str, clock: Clock, domain: DomainName, peer: DomainName) -> None:
        self._name, self._clock = name, clock
        self.claims = Claims(domain)
        self.claims.add_link(EDGE, Fingerprint(bytes(32)))
        self.store = Timed(partial(self.step, "store"))
        self.peer = Peer(peer, Ration(peer, Log("error", "json"), RateLimit(PLENTY, PLENTY, 0.0)))
        for backlog in self.peer.backlogs:  # nothing was left by a former process
            backlog.next_read(1)
            backlog.read(None)
        self.to_peer = Session(self.peer.outbound, now=0.0)
        self.to_edge = Session(Outbound[int](os.urandom), now=0.0, extra=EXTRA)
        self.intake = Intake(
            domain=domain,
            store=self.store,
            policy=parse_policy({"default": "full"}),
            limits=Limits(queue_envelopes_per_peer=PLENTY, queue_envelopes=PLENTY, mailbox_envelopes=PLENTY),
            may_queue=lambda _: True,
            on_outbound=self._queue,
            on_inbound=self._deliver,
            note_submission=Submitters().note,
        )

    def step(self, step: str) -> Any:
        """Time a step of this one."""
        return self._clock(f"{self._name} {step}")

    def claim(self, mailboxes: Sequence[MailboxId]) -> None:
        """Devices hold these."""
        records = [MailboxRecord(box, at, REGISTRATION, 0, 0, 0) for at, box in enumerate(mailboxes)]
        self.store._remember(records)  # noqa: SLF001 - in the place of the disk
        for number, mailbox in enumerate(mailboxes, 1):
            claimed = ClaimedMailbox(
                mailbox=mailbox,
                registration=parse_registration(REGISTRATION),
                registration_bytes=REGISTRATION,
                key=KEY,
            )
            self.claims.registered(Register(EDGE, number, claimed))
        while (read := self.claims.next_read(EDGE)) is not None:
            self.claims.give_read(read, [])

    def _queue(self, domain: DomainName, keys: range, rows: list[OutboundRow]) -> None:
        assert domain == self.peer.domain
        with self.step("queue"):
            self.peer.stored(keys, rows)

    def _deliver(self, rows: Mapping[MailboxId, Sequence[Any]]) -> None:
        with self.step("deliver"):
            self.claims.stored(rows)
            while (message := self.claims.next_delivery(EDGE)) is not None:
                self.to_edge.send(Extra(message))


def exchange(sender: Session[int], receiver: Session[int], now: float) -> list[Event[int]]:
    """All that `sender` wants to send comes to `receiver`, which answers OPEN."""
    events: list[Event[int]] = []
    while data := sender.send(Next()):
        receiver.receive(data, now)
        for event in receiver.events():
            if isinstance(event, StreamOpened):
                receiver.send(Acknowledge(stream=event.stream, cursor=0))
            events.append(event)
    return events


def received(events: Sequence[Event[int]]) -> Received:
    """The one batch that came."""
    (batch,) = [event for event in events if isinstance(event, Received)]
    return batch


def frames(count: int, mailboxes: Sequence[MailboxId]) -> list[bytes]:
    """Envelopes for each mailbox in turn, as the first edge makes them."""
    expiry, body = int(time.time()) + 60, limits.BODY_CLASSES[0]
    return [
        encode_envelope(
            Envelope(
                mailbox=mailboxes[number % len(mailboxes)],
                domain=B,
                id=os.urandom(16),
                expiry=expiry,
                urgency=EnvelopeClass.SIGNAL,
                capability=CAPABILITY,
                body=os.urandom(body),
            )
        )
        for number in range(count)
    ]


def acknowledgements(data: bytes) -> list[bytes]:
    """What devices answer to a DELIVER, one message for each mailbox."""
    message = parse_message(data)
    assert isinstance(message, Deliver)
    took: dict[MailboxId, list[tuple[bytes, bytes]]] = {}
    for frame in message.envelopes:
        envelope = parse_envelope(frame)
        took.setdefault(envelope.mailbox, []).append((envelope.id, frame_digest(frame)))
    return [encode_message(make_acknowledge(KEY, mailbox, pairs)) for mailbox, pairs in took.items()]


class Path:
    """Edge, homeserver A, homeserver B, edge."""

    def __init__(self, clock: Clock, mailboxes: Sequence[MailboxId]) -> None:
        self.a, self.b = Homeserver("A", clock, A, B), Homeserver("B", clock, B, A)
        self.b.claim(mailboxes)
        self.submitted: Outbound[int] = Outbound(os.urandom)
        self.edge = Session(self.submitted, now=0.0)
        self.now = 0.0
        far_edge = Session(Outbound[int](os.urandom), now=0.0)
        links = (self.edge, self.a.to_edge), (self.a.to_peer, self.b.to_peer), (self.b.to_edge, far_edge)
        for one, other in [*links, *links]:
            exchange(one, other, self.now)
            exchange(other, one, self.now)

    async def carry(self, number: int, batch: list[bytes]) -> None:
        """One batch, from edge to edge and deleted everywhere."""
        a, b = self.a, self.b
        self.now += limits.ACK_PACE
        self.submitted.offer(list(enumerate(batch, number * len(batch))))
        data = self.edge.send(Next())
        with a.step("receive"):
            a.to_edge.receive(data, self.now)
            fresh = received(a.to_edge.events())
        with a.step("judge"):
            await a.intake.from_edge(EDGE, fresh)
        with a.step("send"):
            data = a.to_peer.send(Next())
        with a.step("acknowledge"):
            a.to_edge.send(Acknowledge(stream=fresh.stream, cursor=fresh.last))
            acknowledged = a.to_edge.send(Next())
        self.edge.receive(acknowledged, self.now)
        with b.step("receive"):
            b.to_peer.receive(data, self.now)
            fresh = received(b.to_peer.events())
        with b.step("judge"):
            b.peer.ration.note(fresh)
            await b.intake.from_peer(A, lambda: TrustLevel.FULL, fresh)
        with b.step("send"):
            delivered = b.to_edge.send(Next())
        with b.step("acknowledge"):
            b.to_peer.send(Acknowledge(stream=fresh.stream, cursor=fresh.last))
            acknowledged = b.to_peer.send(Next())
        self._finish(acknowledged, acknowledgements(delivered), len(batch))

    def _finish(self, acknowledged: bytes, answers: list[bytes], count: int) -> None:
        a, b = self.a, self.b
        with a.step("settle"):
            a.to_peer.receive(acknowledged, self.now)
            (settled,) = [event for event in a.to_peer.events() if isinstance(event, Settled)]
        with b.step("settle"):
            deleted = 0
            for answer in answers:
                message = parse_message(answer)
                for done in b.claims.receive(EDGE, message, now=time.time(), random=os.urandom):
                    assert isinstance(done, Delete), done
                    deleted += len(done.rows)
        assert deleted == len(settled.keys) == count, "all that was sent is settled"


async def measure(batch: int, mailboxes: int, rounds: int) -> dict[str, float]:
    """The least of each step over the rounds, in microseconds per envelope."""
    boxes = [MailboxId(os.urandom(32)) for _ in range(mailboxes)]
    best: dict[str, float] = {}
    look_for_garbage_seldom()
    for _ in range(rounds):
        clock = Clock()
        path = Path(clock, boxes)
        for number in range(BATCHES):
            await path.carry(number, frames(batch, boxes))
        for step, spent in clock.steps.items():
            best[step] = min(best.get(step, spent), spent)
    return {step: spent / (BATCHES * batch) / 1000 for step, spent in sorted(best.items())}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--mailboxes", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true", dest="as_json")
    arguments = parser.parse_args()
    steps = trio.run(measure, arguments.batch, arguments.mailboxes, arguments.rounds)
    if arguments.as_json:
        print(json.dumps(steps, indent=2))
        return
    for step, spent in steps.items():
        print(f"{step:16}{spent:7.2f}")
    for name in "AB":
        print(f"{name} in all{'':8}{sum(spent for step, spent in steps.items() if step.startswith(name)):7.2f}")


if __name__ == "__main__":
    main()
