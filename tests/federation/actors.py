"""Edges and peers that do what a test says, on real channels with real proofs: only their intentions are scripted.

in: keys, an address, whom to call; out: links whose messages the test sends and reads itself.
"""

import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import attrs
import trio

from tests.federation.harness import PATIENCE
from volly_fed.channel import ChannelProfile, Negotiated
from volly_fed.client.mailbox import DeviceKeys
from volly_fed.codepoints import ErrorCode
from volly_fed.crypto.certificate import TlsKey
from volly_fed.crypto.secret import Secret
from volly_fed.crypto.signature import IdentityKey
from volly_fed.daemon import material
from volly_fed.daemon.connection import Connection, Dialled, Use, dial
from volly_fed.daemon.credentials import tls_identity
from volly_fed.daemon.link import End, Link, Pending, Resumption
from volly_fed.daemon.tls import TlsIdentity, make_context
from volly_fed.edge.claim import answer_challenge, frame_digest, make_acknowledge
from volly_fed.handshake import Outcome, Party
from volly_fed.names import DomainName, Fingerprint
from volly_fed.relay.envelope import parse_envelope
from volly_fed.session import Outbound, Received, Session, Settled
from volly_fed.testnet.sites import LOOPBACK
from volly_fed.wire import Message
from volly_fed.wire import messages as wire
from volly_fed.wire.messages import Refusal

STRANGER = DomainName("stranger.test")


@attrs.frozen(kw_only=True)
class Keys:
    """What one end proves itself with."""

    identity: IdentityKey
    tls: TlsIdentity

    @classmethod
    def new(cls) -> "Keys":
        """Keys that nobody has enrolled or published."""
        return cls(
            identity=IdentityKey.generate(os.urandom),
            tls=TlsIdentity.from_key(TlsKey.generate(), STRANGER, datetime.now(UTC)),
        )

    @classmethod
    def of(cls, files: material.Material) -> "Keys":
        """Those of a site or an edge node."""
        return cls(identity=files.identity, tls=tls_identity(files))


@attrs.frozen(kw_only=True)
class Caller:
    """Who calls, and whom: `wanted` at `port`, expected to show `expected`."""

    profile: ChannelProfile
    name: DomainName
    keys: Keys
    wanted: DomainName
    expected: Fingerprint
    port: int
    source: str = LOOPBACK

    async def call(self, use: Use) -> None:
        """Connect and prove; raises what `daemon.connection.dial` raises."""

        async def confirm(_: Outcome) -> None:
            """Whoever is called was found by its address: its identity is checked, and no pin is kept."""

        plan = Dialled(
            context=make_context(self.profile, server=False, identity=self.keys.tls),
            party=Party(name=self.name, key=self.keys.identity),
            host=self.wanted,
            wanted=self.wanted,
            expected=frozenset({self.expected}),
            check_key=_any_key,
            confirm=confirm,
            use=use,
        )
        stream = await trio.open_tcp_stream(LOOPBACK, self.port, local_address=self.source)
        await dial(stream, plan)

    async def knock(self) -> None:
        """Prove who this is, and hang up; raises when that is refused."""

        async def use(_: Connection) -> None:
            """That was all."""

        await self.call(use)


def _any_key(_: Negotiated) -> None:
    """AUTH proves the identity on this very channel."""


@attrs.define
class Scripted:
    """A link whose other end is a homeserver. What comes beside the streams is kept until it is asked for."""

    link: Link[int] = attrs.field(init=False)
    outbound: Outbound[int] = attrs.field(init=False)
    frames: list[bytes] = attrs.field(factory=list, init=False)
    """All that was delivered, in order."""
    ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    end: End | None = attrs.field(default=None, init=False)
    _settled: dict[int, tuple[ErrorCode, str] | None] = attrs.field(factory=dict, init=False)
    _answers: dict[int, Message] = attrs.field(factory=dict, init=False)
    _numbers: "itertools.count[int]" = attrs.field(factory=lambda: itertools.count(1), init=False)
    _change: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def run(self, caller: Caller, extra: frozenset[type[Message]], *, task_status: trio.TaskStatus[None]) -> None:
        """Call, and serve the link until it ends; started when both have proved themselves."""

        async def use(connection: Connection) -> None:
            self.outbound = Outbound(os.urandom)
            session = Session(self.outbound, now=trio.current_time(), extra=extra)
            self.link = Link(connection.socket, session, self)
            task_status.started()
            self.end = await self.link.run()
            self.ended.set()

        await caller.call(use)

    # --- what comes in: see link.Handler

    async def opened(self, stream: bytes) -> Resumption:  # noqa: ARG002 - it begins anew each time
        return 0, ()

    async def received(self, batch: Received) -> Pending:
        async def nothing_refused() -> tuple[Refusal, ...]:
            return ()

        self.frames += batch.envelopes
        self._changed()
        return nothing_refused

    async def settled(self, event: Settled[int]) -> None:
        refused = {key: (code, text) for key, code, text in event.refused}
        self._settled.update({key: refused.get(key) for key in event.keys})
        self._changed()

    async def other(self, message: Message) -> None:
        if isinstance(message, wire.Deliver):
            self.frames += message.envelopes
        elif isinstance(message, wire.Challenge | wire.Claimed | wire.NotClaimed):
            self._answers[message.request] = message
        self._changed()

    def _changed(self) -> None:
        self._change.set()
        self._change = trio.Event()

    # --- what the test does

    async def submit(self, frame: bytes) -> tuple[ErrorCode, str] | None:
        """Hand one envelope over; None when it was taken, else the refusal."""
        key = next(self._numbers)
        self.outbound.offer([(key, frame)])
        self.link.wake()
        with trio.fail_after(PATIENCE):
            while key not in self._settled:
                await self._change.wait()
        return self._settled[key]

    async def ask(self, message: wire.Claim | wire.Proof) -> Message:
        """Send, and wait for the answer under the same request number."""
        self._answers.pop(message.request, None)
        assert self.link.send(message)
        with trio.fail_after(PATIENCE):
            while message.request not in self._answers:
                await self._change.wait()
        return self._answers[message.request]

    async def challenge(self, key: bytes) -> wire.Challenge:
        """Claim the mailbox of this public key: the challenge. Whatever was sent before has been dealt with by then."""
        answer = await self.ask(wire.Claim(request=next(self._numbers), key=key))
        assert isinstance(answer, wire.Challenge)
        return answer

    async def delivered(self, count: int) -> list[bytes]:
        """The first `count` envelopes that came."""
        with trio.fail_after(PATIENCE):
            while len(self.frames) < count:
                await self._change.wait()
        return self.frames[:count]


@attrs.frozen
class Held:
    """A mailbox claimed by its own device through a scripted edge, and the key its acknowledgements are made with."""

    device: DeviceKeys
    key: Secret

    def acknowledge(self, frames: list[bytes]) -> wire.Acknowledge:
        """The device's own word that it has these."""
        received = [(parse_envelope(frame).id, frame_digest(frame)) for frame in frames]
        return make_acknowledge(self.key, self.device.address.mailbox, received)


def prove(device: DeviceKeys, challenge: wire.Challenge, now: float) -> tuple[wire.Proof, Secret]:
    """What the honest device answers, and the key it keeps."""
    return answer_challenge(
        device.mailbox,
        challenge,
        device.registration,
        domain=device.domain,
        edge=Fingerprint(challenge.edge),
        now=now,
    )


@asynccontextmanager
async def calling(caller: Caller, extra: frozenset[type[Message]] = frozenset()) -> AsyncIterator[Scripted]:
    """A link of `caller` while the block runs."""
    scripted = Scripted()
    async with trio.open_nursery() as nursery:
        with trio.fail_after(PATIENCE):
            await nursery.start(scripted.run, caller, extra)
        yield scripted
        nursery.cancel_scope.cancel()
