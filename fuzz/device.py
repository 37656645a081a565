"""Target: a device's machines, their edge hostile: the receiving, submitting, announcing and watching connections.

in: which of them, then steps: messages as bytes, the device's own commands, time. Keys and the challenge are fixed.
Never lets through: another error than RemoteError out of `receive` (LocalProtocolError too out of `send`), an envelope
for another mailbox, one delivered without a claim, one settled twice.
"""

from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

from fuzz import mutators
from fuzz.envelope import sample
from fuzz.target import Raw, Target, join, pick, split
from volly_fed import limits
from volly_fed.client.conversation import AskAlive, Conversation
from volly_fed.client.mailbox import DeviceKeys
from volly_fed.client.receiver import Confirm, Delivered, Prove, Receiver, StartClaim
from volly_fed.client.submitter import HandOver, Settled, Submitter
from volly_fed.client.talk import ANNOUNCING, WATCHING, Say, Talk
from volly_fed.codepoints import EnvelopeClass, ErrorCode
from volly_fed.edge.claim import make_challenge
from volly_fed.errors import LocalProtocolError, RemoteError
from volly_fed.names import DomainName, Fingerprint
from volly_fed.relay.envelope import Envelope, encode_envelope
from volly_fed.wire import encode_message
from volly_fed.wire.messages import (
    Announce,
    Claim,
    Claimed,
    Close,
    Deliver,
    NotClaimed,
    Pong,
    Receipt,
    Retract,
    Shown,
    Submitted,
    Unwatch,
    Watch,
    Welcome,
)

RECEIVER, SUBMITTER, ANNOUNCER, WATCHER = range(4)
RAW, COMMAND, TICK = range(3)
_DOMAIN = DomainName("a.example")
_EDGE = Fingerprint(b"e" * 32)
_WALL = 1_800_000_000


@cache
def _keys() -> DeviceKeys:
    return DeviceKeys.generate(_DOMAIN, Random(1).randbytes)


@cache
def _frames() -> list[tuple[bytes, bytes]]:
    """(id, envelope) of what is submitted."""
    return [(bytes([n]) * 16, sample() + bytes(limits.BODY_CLASSES[0])) for n in range(8)]


class _Device:
    """One machine; `commands` are what its owner can say."""

    def __init__(self, kind: int) -> None:
        self.now = 0.0
        self.machine: Conversation[Any] = _MACHINES[kind]()
        self.delivered: list[Delivered] = []
        self.settled: list[bytes] = []
        self.handed: list[bytes] = []

    def command(self, number: int) -> Any:
        frames = _frames()[: number % 8]
        if isinstance(self.machine, Receiver):
            last = self.delivered[-1] if self.delivered else Delivered(claim=0, items=[])
            confirm = Confirm(claim=last.claim, items=last.items[: limits.ACK_IDS])
            return (StartClaim(), Prove(wall=_WALL), confirm, AskAlive())[number % 4]
        if isinstance(self.machine, Submitter):
            return AskAlive() if number > 128 else HandOver(items=frames)  # half of them
        says = (Announce(epoch=1, tags=()), Retract(), Watch(domain=_DOMAIN), Unwatch(domain=_DOMAIN))
        return AskAlive() if number > 128 else Say(says[number % 4])  # as above

    def send(self, number: int) -> None:
        command = self.command(number)
        try:
            data = self.machine.send(command)  # type: ignore[attr-defined] # all of them have it
        except (LocalProtocolError, RemoteError):
            return
        if isinstance(command, HandOver) and data:
            self.handed += [identity for identity, _ in command.items]

    def look(self) -> None:
        for event in self.machine.events():
            if isinstance(event, Delivered):
                assert isinstance(self.machine, Receiver)
                assert event.claim > 0, "delivered without a claim"
                assert all(item.envelope.mailbox == _keys().address.mailbox for item in event.items)
                self.delivered.append(event)
            elif isinstance(event, Settled):
                self.settled += [*event.accepted, *(outcome[0] for outcome in event.refused)]
                assert all(self.settled.count(one) <= self.handed.count(one) for one in self.settled), "settled twice"


_MACHINES: tuple[Callable[[], Conversation[Any]], ...] = (
    lambda: Receiver(_keys(), 0.0),
    lambda: Submitter(_DOMAIN, 0.0),
    lambda: Talk(ANNOUNCING, _DOMAIN, 0.0),
    lambda: Talk(WATCHING, _DOMAIN, 0.0),
)


def run(data: bytes) -> None:
    """A connection ends with its first error."""
    device = _Device(pick(data, 0) % 4)
    for number, payload in split(data[1:]):
        if number % 3 == RAW:
            try:
                device.machine.receive(payload, device.now)  # type: ignore[attr-defined] # all of them have it
            except RemoteError:
                return
        elif number % 3 == COMMAND:
            device.send(pick(payload, 0))
        else:
            device.now += pick(payload, 0)
            device.machine.tick(device.now)
        device.look()


_STEPS = mutators.steps(3, inner=mutators.cbor)


def mutate(data: bytes, random: Random, raw: Raw) -> bytes:
    """Steps."""
    return mutators.prefixed(1, _STEPS)(data, random, raw)


def seeds() -> list[bytes]:
    """Each connection as it should be, and its end."""
    mailbox = _keys().address.mailbox
    welcome = (RAW, encode_message(Welcome(domain=_DOMAIN, edge=_EDGE)))
    claim = Claim(request=1, key=_keys().mailbox.public)
    challenge = make_challenge(claim, domain=_DOMAIN, edge=_EDGE, now=_WALL, random=Random(5).randbytes).challenge
    envelope = Envelope(
        mailbox, _DOMAIN, b"i" * 16, _WALL, EnvelopeClass.RING, b"c" * 16, bytes(limits.BODY_CLASSES[0])
    )
    deliver = (RAW, encode_message(Deliver(envelopes=[encode_envelope(envelope)] * 2)))
    lost = NotClaimed(request=1, code=ErrorCode.OVERLOADED, text="later")
    claimed = [
        welcome,
        (COMMAND, b"\0"),
        (RAW, encode_message(challenge)),
        (COMMAND, b"\1"),
        (RAW, encode_message(Claimed(request=1, mailbox=mailbox))),
    ]
    first, second = _frames()[:2]
    submitted = Submitted(accepted=[first[0]], refused=((second[0], ErrorCode.OVERLOADED, "no"),))
    receipt = Receipt(refused=((first[0], ErrorCode.OVERLOADED, "no"),))
    shown = [Shown(domain=_DOMAIN, message=b"x"), Unwatch(domain=_DOMAIN, code=ErrorCode.BUSY, text="no")]
    end = [(TICK, b"\xff"), (COMMAND, b"\xff"), (RAW, encode_message(Pong(token=1)))]
    close = (RAW, encode_message(Close(code=ErrorCode.BUSY, text="later", retry_after=5)))
    return [
        bytes([RECEIVER]) + join([*claimed, deliver, (COMMAND, b"\2"), (COMMAND, b"\3"), *end]),
        bytes([RECEIVER]) + join([*claimed, (RAW, encode_message(lost)), (COMMAND, b"\0"), close]),
        bytes([RECEIVER]) + join([*claimed[:4], (RAW, encode_message(lost)), (COMMAND, b"\0"), deliver]),
        bytes([SUBMITTER]) + join([welcome, (COMMAND, b"\2"), (RAW, encode_message(submitted)), *end]),
        bytes([SUBMITTER]) + join([welcome, (COMMAND, b"\2"), (RAW, encode_message(receipt)), close]),
        bytes([ANNOUNCER]) + join([welcome, (COMMAND, b"\0"), (COMMAND, b"\1"), *end, close]),
        bytes([WATCHER]) + join([welcome, (COMMAND, b"\2"), *((RAW, encode_message(one)) for one in shown), *end]),
        *(bytes([kind]) + join([(TICK, b"\xff")]) for kind in range(4)),
    ]


TARGET = Target(run=run, seeds=seeds, mutate=mutate, longest=8192)
