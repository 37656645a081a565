"""What an envelope costs beside sockets and disk: at the homeserver and at the edge node, both ways, in microseconds.

Pure machines in one process: every message is encoded and parsed as on the wire, nothing is sent. Each line is the
least of several rounds, per envelope of 1 KiB. Run: python bench/edge.py [--quick] [--json]
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import attrs

from volly_fed import limits
from volly_fed.client import DeviceKeys
from volly_fed.codepoints import EnvelopeClass
from volly_fed.crypto.secret import Secret
from volly_fed.edge.claim import ClaimedMailbox, frame_digest, make_acknowledge
from volly_fed.edge.claims import Claims, Delete, Register
from volly_fed.edge.delivery import Row
from volly_fed.edge.registration import NOTHING
from volly_fed.edge.registry import Offer, Registry, ToDevice, ToHomeserver
from volly_fed.names import DomainName, Fingerprint, MailboxId
from volly_fed.relay.envelope import Envelope, encode_envelope
from volly_fed.session import Outbound
from volly_fed.wire import encode_message, parse_message
from volly_fed.wire.messages import Acknowledge, Claim, Claimed, Deliver, Proof, Submit, Submitted

HOME, FAR = DomainName("home.test"), DomainName("far.test")
EDGE = Fingerprint(bytes(32))
KEY = Secret(bytes(32))
WALL = 1_800_000_000.0
SIZES = (256, 64, 1)


@attrs.define
class Clock:
    """Sums up what each step takes."""

    steps: dict[str, float] = attrs.field(factory=dict)

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Time the block."""
        before = time.perf_counter()
        yield
        self.steps[step] = self.steps.get(step, 0.0) + time.perf_counter() - before


def frames_for(mailboxes: list[MailboxId], count: int, domain: DomainName = HOME) -> list[tuple[MailboxId, Row]]:
    """`count` envelopes, for each mailbox in turn, as rows of the store."""
    rows = []
    for number in range(1, count + 1):
        mailbox = mailboxes[number % len(mailboxes)]
        identity, expiry = os.urandom(16), int(WALL) + 60
        envelope = Envelope(mailbox, domain, identity, expiry, EnvelopeClass.SIGNAL, bytes(16), os.urandom(1024))
        rows.append((mailbox, Row(number, identity, encode_envelope(envelope))))
    return rows


def acknowledgements(rows: list[tuple[MailboxId, Row]]) -> list[bytes]:
    """What the devices answer, one message for each mailbox."""
    received: dict[MailboxId, list[tuple[bytes, bytes]]] = {}
    for mailbox, row in rows:
        received.setdefault(mailbox, []).append((row.id, frame_digest(row.frame)))
    return [encode_message(make_acknowledge(KEY, mailbox, pairs)) for mailbox, pairs in received.items()]


def batches(rows: list[tuple[MailboxId, Row]], size: int) -> Iterator[list[tuple[MailboxId, Row]]]:
    """`rows` in batches."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def homeserver(clock: Clock, size: int, total: int, mailboxes: list[MailboxId]) -> None:
    """Rows from a commit, DELIVER, ACKNOWLEDGE, rows to delete."""
    claims = Claims(HOME)
    claims.add_link(1, EDGE)
    for number, mailbox in enumerate(mailboxes, 1):
        claims.registered(Register(1, number, _claimed(mailbox)))
    while (read := claims.next_read(1)) is not None:
        claims.give_read(read, [])
    rows = frames_for(mailboxes, total)
    deleted = 0
    for batch in batches(rows, size):
        answers = acknowledgements(batch)
        fresh: dict[MailboxId, list[Row]] = {}
        for mailbox, row in batch:
            fresh.setdefault(mailbox, []).append(row)
        with clock("give"):
            claims.stored(fresh)
            messages = list(iter(partial(claims.next_delivery, 1), None))
        with clock("encode DELIVER"):
            for message in messages:
                encode_message(message)
        with clock("parse ACKNOWLEDGE"):
            parsed = [parse_message(answer) for answer in answers]
        with clock("settle"):
            for answer in parsed:
                for done in claims.receive(1, answer, now=WALL, random=os.urandom):
                    assert isinstance(done, Delete)
                    deleted += len(done.rows)
    assert deleted == total


def _claimed(mailbox: MailboxId) -> ClaimedMailbox:
    return ClaimedMailbox(mailbox=mailbox, registration=NOTHING, registration_bytes=b"", key=KEY)


def edge_down(clock: Clock, size: int, total: int, devices: list[DeviceKeys]) -> None:
    """DELIVER from the homeserver to devices, ACKNOWLEDGE back."""
    registry = Registry(domain=HOME, edge=EDGE)
    registry.link_up()
    for number, keys in enumerate(devices, 1):
        registry.connect(number)
        (up,) = registry.receive_device(number, Claim(request=1, key=keys.mailbox.public), WALL)
        registry.receive_device(number, Proof(request=1, mac=bytes(32), registration=b""), WALL)
        assert isinstance(up, ToHomeserver)
        assert isinstance(up.message, Claim)
        registry.receive_homeserver(Claimed(request=up.message.request, mailbox=keys.address.mailbox))
    connections = {keys.address.mailbox: number for number, keys in enumerate(devices, 1)}
    rows = frames_for([keys.address.mailbox for keys in devices], total)
    passed = 0
    for batch in batches(rows, size):
        data = encode_message(Deliver(envelopes=[row.frame for _, row in batch]))
        answers = acknowledgements(batch)
        with clock("parse DELIVER"):
            message = parse_message(data)
        with clock("route"):
            actions = registry.receive_homeserver(message)
        with clock("encode DELIVER"):
            for action in actions:
                assert isinstance(action, ToDevice)
                encode_message(action.message)
        with clock("parse ACKNOWLEDGE"):
            parsed = [parse_message(answer) for answer in answers]
        senders = [connections[MailboxId(m.mailbox)] for m in parsed if isinstance(m, Acknowledge)]
        with clock("pass on"):
            ups = [registry.receive_device(sender, m, WALL) for sender, m in zip(senders, parsed, strict=True)]
        with clock("encode ACKNOWLEDGE"):
            for (action,) in ups:
                assert isinstance(action, ToHomeserver)
                assert isinstance(action.message, Acknowledge)
                encode_message(action.message)
                passed += len(action.message.ids)
    assert passed == total


def edge_up(clock: Clock, size: int, total: int) -> None:
    """SUBMIT from a device, BATCH to the homeserver, its acknowledgement, SUBMITTED."""
    registry = Registry(domain=HOME, edge=EDGE)
    registry.link_up()
    registry.connect(1)
    outbound: Outbound[int] = Outbound(os.urandom)
    outbound.attach(registry)
    outbound.grant(limits.WINDOW_ENVELOPES, limits.WINDOW_BYTES)
    rows = frames_for([MailboxId(os.urandom(32))], total, FAR)
    accepted = sent = 0
    for batch in batches(rows, size):
        data = encode_message(Submit(envelopes=[row.frame for _, row in batch]))
        with clock("parse SUBMIT"):
            message = parse_message(data)
        with clock("take"):
            (offer,) = registry.receive_device(1, message, WALL)
        assert isinstance(offer, Offer)
        with clock("offer"):
            outbound.offer(offer.items)
            while (fresh := outbound.next_batch()) is not None:
                sent += len(fresh[1])
        with clock("acknowledged"):
            settled = outbound.acknowledge(sent, ())
        with clock("settle"):
            answers = registry.settled(settled.keys, settled.refused)
        with clock("encode SUBMITTED"):
            for answer in answers:
                assert isinstance(answer, ToDevice)
                assert isinstance(answer.message, Submitted)
                encode_message(answer.message)
                accepted += len(answer.message.accepted)
    assert accepted == total


def measure(run: Callable[[Clock], None], total: int, rounds: int) -> dict[str, float]:
    """The least of each step over the rounds, in microseconds per envelope."""
    best: dict[str, float] = {}
    for _ in range(rounds):
        clock = Clock()
        run(clock)
        for step, seconds in clock.steps.items():
            best[step] = min(best.get(step, seconds), seconds)
    return {step: seconds / total * 1e6 for step, seconds in best.items()}


def main(*, quick: bool, as_json: bool) -> None:
    """Print every table."""
    total, rounds = (1024, 3) if quick else (2048, 40)
    devices = [DeviceKeys.generate(HOME, os.urandom) for _ in range(64)]
    mailboxes = [keys.address.mailbox for keys in devices]
    results: dict[str, dict[str, float]] = {}
    for size in SIZES:
        one_box = partial(homeserver, size=size, total=total, mailboxes=mailboxes[:1])
        one_device = partial(edge_down, size=size, total=total, devices=devices[:1])
        submission = partial(edge_up, size=size, total=total)
        results[f"homeserver, delivery, {size} at once, one mailbox"] = measure(one_box, total, rounds)
        results[f"edge, delivery, {size} at once, one device"] = measure(one_device, total, rounds)
        results[f"edge, submission, {size} at once"] = measure(submission, total, rounds)
    many_boxes = partial(homeserver, size=SIZES[0], total=total, mailboxes=mailboxes)
    many_devices = partial(edge_down, size=SIZES[0], total=total, devices=devices)
    results[f"homeserver, delivery, {SIZES[0]} at once, 64 mailboxes"] = measure(many_boxes, total, rounds)
    results[f"edge, delivery, {SIZES[0]} at once, 64 devices"] = measure(many_devices, total, rounds)
    if as_json:
        print(json.dumps(results, indent=2))
        return
    for name, steps in results.items():
        parts = ", ".join(f"{step} {us:.2f}" for step, us in steps.items())
        print(f"{name}: {sum(steps.values()):.2f} us ({parts})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true", dest="as_json")
    arguments = parser.parse_args()
    main(quick=arguments.quick, as_json=arguments.as_json)
