"""What becomes of envelopes that a peer hands over: each check of the relay, with its code."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from interop.fake_device import FakeDevice
from interop.fake_peer import Peer
from interop.rogue import Depth, Rogue, leave, letter, rogue
from interop.scenario import check, equal, scenario
from interop.stage import Stage
from volly_fed.codepoints import ErrorCode
from volly_fed.wire import codec
from volly_fed.wire.messages import Ack, Batch, Open, Refusal

_WEEK: Final = 7 * 86400
_SKEW: Final = 300
_ROOM: Final = 30
"""Seconds that a scenario may take until its envelopes are looked at."""
_NO: Final = None


@attrs.frozen
class Case:
    """One envelope, and the code that it is refused with; `_NO` where it is delivered."""

    name: str
    frame: bytes
    code: ErrorCode | None


def _fields(device: FakeDevice, changes: dict[int, Any]) -> bytes:
    """A good envelope with these fields, by position; beyond the last one is one too many."""
    fields: list[Any] = list(codec.decode(device.envelope()))  # type: ignore[arg-type] # an array
    for at, value in changes.items():
        fields[at : at + 1] = [value]
    return codec.encode(fields)


def _malformed(device: FakeDevice) -> list[Case]:
    good = device.envelope()
    wrong: dict[str, bytes] = {
        "nothing": b"",
        "no CBOR": b"\xff" * 100,
        "a map": codec.encode({0: 1}),
        "a field too many": _fields(device, {8: b""}),
        "a field too few": codec.encode(codec.decode(good)[:-1]),  # type: ignore[index] # an array
        "a byte too many": good + b"\0",
        "cut short": good[:-1],
        "an array of indefinite length": b"\x9f" + good[1:] + b"\xff",
        "a mailbox of 31 bytes": _fields(device, {1: bytes(31)}),
        "a mailbox that is a text": _fields(device, {1: "a" * 32}),
        "a domain in capitals": _fields(device, {2: "A.TEST"}),
        "a domain with a final dot": _fields(device, {2: "a.test."}),
        "a domain of no length": _fields(device, {2: ""}),
        "an id of 15 bytes": _fields(device, {3: bytes(15)}),
        "an id of 17 bytes": _fields(device, {3: bytes(17)}),
        "an expiry that is a text": _fields(device, {4: "never"}),
        "an expiry beyond all time": _fields(device, {4: 2**64 - 1}),
        "an expiry in eight days": _fields(device, {4: int(time.time()) + _WEEK + _SKEW + _ROOM}),
        "an unknown class": _fields(device, {5: 3}),
        "a class that is true": _fields(device, {5: True}),
        "a capability of 15 bytes": _fields(device, {6: bytes(15)}),
        **{f"a body of {size} bytes": _fields(device, {7: bytes(size)}) for size in (0, 1, 1023, 1025, 3072, 65535)},
    }
    return [Case(name, frame, ErrorCode.MALFORMED) for name, frame in wrong.items()]


def _refused(device: FakeDevice, sender: Rogue, nobody: FakeDevice) -> list[Case]:
    now = int(time.time())
    code = ErrorCode
    return [
        Case("version 2", _fields(device, {0: 2}), code.UNSUPPORTED_VERSION),
        Case("version 0", _fields(device, {0: 0}), code.UNSUPPORTED_VERSION),
        Case("expired for longer than clocks differ", _fields(device, {4: now - _SKEW - 1}), code.EXPIRED),
        Case("expired in 1970", _fields(device, {4: 0}), code.EXPIRED),
        Case("for another domain", letter("somebody-else.test"), code.UNKNOWN_DOMAIN),
        Case("for the sender's own domain", letter(sender.domain), code.UNKNOWN_DOMAIN),
        Case("for a name below", letter(f"x.{sender.server.domain}"), code.UNKNOWN_DOMAIN),
        Case("for nobody", nobody.envelope(), code.UNDELIVERABLE),
        Case("with another capability", device.envelope(capability=os.urandom(16)), code.UNDELIVERABLE),
    ]


def _taken(device: FakeDevice) -> list[Case]:
    now = int(time.time())
    frames = {
        "a good one": device.envelope(),
        "expired, and clocks may differ": _fields(device, {4: now - _SKEW + _ROOM}),
        "in a week, and clocks may differ": _fields(device, {4: now + _WEEK + _SKEW - _ROOM}),
        **{f"a body of {1024 << n} bytes": device.envelope(1024 << n) for n in range(7)},
    }
    return [Case(name, frame, _NO) for name, frame in frames.items()]


async def _hand_over(peer: Peer, frames: Sequence[bytes], first: int = 1) -> list[Refusal]:
    """Send them as one batch; the refusals, once all are settled."""
    refusals: list[Refusal] = []
    await peer.send(Batch(stream=peer.stream, first=first, envelopes=[*frames]))
    while True:
        ack = await peer.expect(Ack)
        refusals += ack.refusals
        if ack.cursor == first + len(frames) - 1:
            return refusals


def _compare(cases: Sequence[Case], refusals: Sequence[Refusal]) -> None:
    codes: dict[int, ErrorCode | None] = {number: code for number, code, _ in refusals}
    equal(len(codes), len(refusals), "numbers that are refused, each once")
    wrong = [
        f"{case.name}: {case.code and case.code.name} expected, and it is {codes.get(number) and codes[number]!r}"
        for number, case in enumerate(cases, 1)
        if codes.get(number) is not case.code
    ]
    check(not wrong, "\n  ".join(["the right code for each envelope", *wrong]))


@scenario(
    "relay/envelopes-of-a-peer",
    servers=1,
    covers=(
        *("relay-2", "relay-3", "relay-4", "relay-5", "relay-9", "relay-10", "relay-12", "relay-13", "relay-24"),
        *("relay-19", "relay-20", "session-18", "wire-17"),
    ),
)
async def envelopes(stage: Stage) -> None:
    """A peer hands over one batch with envelopes of every kind. Each wrong one is refused for itself, the others are
    delivered as they were, in order. Then the same batch comes on another stream: what was delivered is settled without
    a word, and not delivered again.
    """
    edge = await stage.edge(stage.servers[0])
    device, nobody = await edge.device(), FakeDevice.new(edge.call.domain, "*")
    sender = await rogue(stage)
    good = _taken(device)
    bad = [*_malformed(device), *_refused(device, sender, nobody)]
    step = len(bad) // len(good)
    cases = [case for at, each in enumerate(good) for case in (*bad[at * step : (at + 1) * step], each)]
    cases += bad[len(good) * step :]
    frames = [case.frame for case in cases]
    wanted = [case.frame for case in cases if case.code is _NO]
    async with sender.calling(Depth.BEGUN) as peer:
        refusals = await _hand_over(peer, frames)
        _compare(cases, refusals)
        reasons = {reason for _, code, reason in refusals if code is ErrorCode.UNDELIVERABLE}
        equal(len(reasons), 1, "reasons for what is UNDELIVERABLE")
        equal(await device.receive(len(wanted)), wanted, "what was delivered")
        peer.stream = os.urandom(8)
        await peer.send(Open(stream=peer.stream))
        await peer.expect(Ack)
        _compare(cases, await _hand_over(peer, frames))
        last = device.envelope()
        equal(await _hand_over(peer, [last], len(frames) + 1), [], "refusals of one more")
        equal(await device.receive(1), [last], "what is delivered after that")
        await leave(peer)


Scoped = Callable[[FakeDevice], bytes]


@scenario("relay/levels-of-a-peer", servers=1, covers=("trust-6", "trust-7", "relay-13", "trust-1"))
async def levels(stage: Stage) -> None:
    """Peers at each level hand over envelopes for mailboxes that let in everybody, them by name, or somebody else:
    POLICY where the level allows no envelopes, UNDELIVERABLE where the mailbox does not let them in.
    """
    edge = await stage.edge(stage.servers[0])
    for level in ("full", "selective", "metadata"):
        sender = await rogue(stage, level=level)
        devices = [await edge.device(scope) for scope in ("*", sender.domain, "somebody-else.test")]
        frames = [device.envelope() for device in devices]
        no = None if level == "full" else ErrorCode.UNDELIVERABLE
        codes = [ErrorCode.POLICY] * 3 if level == "metadata" else [None, None, no]
        async with sender.calling(Depth.BEGUN) as peer:
            refusals = {number: code for number, code, _ in await _hand_over(peer, frames)}
            equal([refusals.get(number) for number in (1, 2, 3)], codes, f"answers at level {level}")
            for device, frame, code in zip(devices, frames, codes, strict=True):
                if code is None:
                    equal(await device.receive(1), [frame], "what was delivered")
            await leave(peer)
