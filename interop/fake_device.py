"""A device without a device link: its keys, and what it says through a FakeEdge.

in: a domain, an edge; out: claims, acknowledgements, envelopes that are addressed to it.
Never: seals or opens: a homeserver looks at no body, so these are random.
"""

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass
from volly_fed.crypto.kem import MailboxKey, mailbox_id
from volly_fed.crypto.secret import Secret
from volly_fed.edge.claim import answer_challenge, frame_digest, make_acknowledge
from volly_fed.edge.registration import encode_registration, make_registration
from volly_fed.errors import RemoteError
from volly_fed.names import DomainName, Fingerprint, MailboxId
from volly_fed.relay.envelope import CAPABILITY_BYTES, Envelope, encode_envelope, parse_envelope
from volly_fed.wire import messages as wire

if TYPE_CHECKING:  # edges have devices
    from interop.fake_edge import FakeEdge

ID_BYTES = 16
LIFETIME = 3600


@attrs.define(eq=False, kw_only=True)
class FakeDevice:
    """One mailbox and whoever has its key. `edge` is the one through which it was claimed last."""

    domain: DomainName
    key: MailboxKey
    grants: dict[bytes, tuple[str, ...]]
    """Capability -> the domains whose users may use it."""
    capability: bytes
    """The one that `envelope` uses."""
    edge: "FakeEdge | None" = None
    request: int = 0
    acknowledge_key: Secret | None = None
    _taken: int = attrs.field(default=0, init=False)
    """Of what has come through `edge` for this mailbox."""
    _had: set[bytes] = attrs.field(factory=set, init=False, repr=False)
    """Ids of what was acknowledged."""

    @classmethod
    def new(cls, domain: DomainName, *scopes: str) -> "FakeDevice":
        """Fresh keys, and one capability for users of these domains, or `*`."""
        capability = os.urandom(CAPABILITY_BYTES)
        key = MailboxKey.generate(os.urandom)
        return cls(domain=domain, key=key, grants={capability: scopes}, capability=capability)

    @property
    def mailbox(self) -> MailboxId:
        """Its address."""
        return mailbox_id(self.key.public)

    @property
    def registration(self) -> bytes:
        """What it lets in, as it stands in a proof."""
        return encode_registration(make_registration(self.grants))

    @staticmethod
    def mailbox_of(frame: bytes) -> MailboxId:
        """Whom an envelope is for."""
        return parse_envelope(frame).mailbox

    # --- claiming --------------------------------------------------------------------------------------------------

    async def claim(self, edge: "FakeEdge") -> None:
        """Hold the mailbox through `edge` from now on. Raises RemoteError with the code when that is refused."""
        answer = await edge.ask(await self.proof(edge))
        if isinstance(answer, wire.NotClaimed):
            raise RemoteError(f"not claimed: {answer.text}", code=answer.code)
        assert isinstance(answer, wire.Claimed)

    async def proof(self, edge: "FakeEdge", *, registration: bytes | None = None) -> wire.Proof:
        """Ask for a challenge through `edge`, and what is to be answered; it may be altered before it is sent."""
        self.edge, self.request = edge, edge.number()
        self._taken = len(edge.deliveries[self.mailbox])
        challenge = await edge.ask(wire.Claim(request=self.request, key=self.key.public))
        if isinstance(challenge, wire.NotClaimed):
            raise RemoteError(f"no challenge: {challenge.text}", code=challenge.code)
        assert isinstance(challenge, wire.Challenge)
        proof, self.acknowledge_key = answer_challenge(
            self.key,
            challenge,
            self.registration if registration is None else registration,
            domain=self.domain,
            edge=Fingerprint(edge.call.keys.fingerprint),
            now=time.time(),
        )
        return proof

    def release(self) -> None:
        """The edge says that the device's connection is gone."""
        assert self.edge is not None
        self.edge.send(wire.Release(mailbox=self.mailbox))

    # --- receiving -------------------------------------------------------------------------------------------------

    async def receive(self, count: int, *, acknowledge: bool = True) -> list[bytes]:
        """The next `count` envelopes that come through the edge; acknowledged, unless told not to.

        What it has acknowledged before it passes over, and acknowledges once more: every wire may carry it twice.
        """
        edge, new = self._edge(), list[bytes]()
        frames = edge.deliveries[self.mailbox]
        while len(new) < count:
            await edge.until(lambda: len(frames) > self._taken)
            frame = frames[self._taken]
            self._taken += 1
            if parse_envelope(frame).id not in self._had:
                new.append(frame)
            else:
                self.acknowledge([frame])
        if acknowledge:
            self.acknowledge(new)
        return new

    @property
    def waiting(self) -> list[bytes]:
        """What has come and was not asked for by `receive`."""
        return self._edge().deliveries[self.mailbox][self._taken :]

    def acknowledge(self, frames: Sequence[bytes]) -> None:
        """Tell the homeserver that these may be deleted."""
        self._had.update(parse_envelope(frame).id for frame in frames)
        for start in range(0, len(frames), limits.ACK_IDS):
            self._edge().send(self.acknowledgement(frames[start : start + limits.ACK_IDS]))

    def acknowledgement(self, frames: Sequence[bytes]) -> wire.Acknowledge:
        """The message for that; it may be altered before it is sent."""
        assert self.acknowledge_key is not None, "it has claimed"
        received = [(parse_envelope(frame).id, frame_digest(frame)) for frame in frames]
        return make_acknowledge(self.acknowledge_key, self.mailbox, received)

    def _edge(self) -> "FakeEdge":
        assert self.edge is not None, "it has claimed"
        return self.edge

    # --- envelopes to it -------------------------------------------------------------------------------------------

    def envelope(
        self,
        size: int = limits.BODY_CLASSES[0],
        *,
        urgency: EnvelopeClass = EnvelopeClass.SIGNAL,
        lifetime: float = LIFETIME,
        capability: bytes | None = None,
        domain: DomainName | None = None,
    ) -> bytes:
        """An envelope for this mailbox, with a random body of `size` bytes, that expires in `lifetime` seconds."""
        return encode_envelope(
            Envelope(
                mailbox=self.mailbox,
                domain=domain or self.domain,
                id=os.urandom(ID_BYTES),
                expiry=int(time.time() + lifetime),
                urgency=urgency,
                capability=self.capability if capability is None else capability,
                body=os.urandom(size),
            )
        )

    def envelopes(self, count: int, size: int = limits.BODY_CLASSES[0]) -> list[bytes]:
        """`count` of them."""
        return [self.envelope(size) for _ in range(count)]
