"""An edge node's devices: what each connection may do, which mailboxes it holds, where answers go.

in: messages of devices and of the homeserver, settled submissions, connections that end; out: actions for the daemon.
A connection receives (claims mailboxes), submits (claims nothing), announces or watches, never two of these.
Never: keeps anything durable, opens anything, or tells the homeserver which connection submitted.
"""

import enum

import attrs

from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.crypto.kem import mailbox_id
from volly_fed.edge.actions import Action, Feed, HangUp, Offer, Speak, ToDevice, ToHomeserver
from volly_fed.edge.presence import Presence
from volly_fed.edge.submissions import Submissions
from volly_fed.errors import RemoteError
from volly_fed.names import DomainName, Fingerprint, MailboxId
from volly_fed.wire.messages import (
    Acknowledge,
    Challenge,
    Claim,
    Claimed,
    Deliver,
    Message,
    NotClaimed,
    Outcome,
    Ping,
    Pong,
    Proof,
    Receipt,
    Release,
    Submit,
    Submitted,
    Welcome,
)
from volly_fed.wire.presence import Announce, Retract, Shown, Unwatch, Watch

__all__ = ["Action", "Feed", "HangUp", "Offer", "Registry", "Role", "Speak", "ToDevice", "ToHomeserver"]

_MAILBOX = slice(4, 36)
"""Where relay.envelope puts the mailbox: after the array's head, the version and the byte string's head."""
_LINK_DOWN = "the homeserver is not reachable; claim again later"
_IDLE = "nothing was asked for on this connection; connect again when there is a reason"
_UNPROVED = "the challenge was not answered in time; claim again"


class Role(enum.Enum):
    """What a connection has shown itself to be; its first message decides."""

    NEW = "welcomed, has asked for nothing"
    RECEIVES = "has claimed mailboxes"
    SUBMITS = "has handed over envelopes"
    ANNOUNCES = "has announced that somebody is online"
    WATCHES = "has asked who of a domain is online"


@attrs.define(eq=False)
class _Claim:
    """One claim from CLAIM to its end; `number` is its name on the link, `request` on the device's connection."""

    number: int
    connection: int
    request: int
    mailbox: MailboxId = attrs.field(repr=False)
    proved: bool = False
    """Its proof has gone to the homeserver, so that CLAIMED may be under way."""
    held: bool = False
    """CLAIMED has come."""
    since: float | None = None
    """When `tick` saw it first."""


@attrs.define
class _Connection:
    role: Role = Role.NEW
    claims: dict[int, _Claim] = attrs.field(factory=dict, repr=False)
    """By the device's request number."""
    idle_since: float | None = None
    """When `tick` saw first that it neither claims nor does anything else."""


class Registry:
    """One per edge node. Connections are numbers that the daemon gives out and never uses twice."""

    def __init__(self, *, domain: DomainName, edge: Fingerprint) -> None:
        self._welcome = Welcome(domain=domain, edge=edge)  # [edge-8]
        self._connections: dict[int, _Connection] = {}
        self._claims: dict[int, _Claim] = {}
        self._holders: dict[bytes, _Claim] = {}  # by mailbox
        self._proving: dict[MailboxId, int] = {}  # how many claims of it have shown a proof and wait
        self._open = 0  # claims that are neither CLAIMED nor refused yet
        self._last = 0
        self._link_up = False
        self.submissions = Submissions()
        self.presence = Presence()

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def mailboxes(self) -> int:
        """How many are claimed here."""
        return len(self._holders)

    def connect(self, connection: int) -> Welcome:
        """A device has connected: what to greet it with. Raises RemoteError BUSY when there are too many."""
        if len(self._connections) >= limits.DEVICE_CONNECTIONS_PER_EDGE:
            text = "too many devices are connected; note: try another edge"
            raise RemoteError(text, code=ErrorCode.BUSY, retry_after=limits.DEVICE_BUSY)
        self._connections[connection] = _Connection()
        return self._welcome

    def rename(self, edge: Fingerprint) -> None:
        """This edge has another identity; who is connected finds out when it claims, and connects again."""
        self._welcome = attrs.evolve(self._welcome, edge=edge)

    def disconnect(self, connection: int) -> list[Action]:
        """It is gone. The homeserver is told for each mailbox, unless another connection is about to hold it."""
        gone = self._connections.pop(connection, None)
        actions: list[Action] = self.presence.disconnect(connection)
        for claim in gone.claims.values() if gone else ():
            if claim.proved and not claim.held:
                continue  # its answer is under way and decides what the homeserver is told
            self._end(claim)
            if claim.held:
                actions += self._release(claim.mailbox)
        return actions

    def tick(self, now: float) -> list[Action]:
        """Let time pass (a clock that does not run backwards): what nobody will go on with ends.

        Connections that have asked for nothing, claims without a proof. What is late is late by up to two calls.
        """
        actions: list[Action] = self.presence.tick(now)
        for number, state in self._connections.items():
            if state.claims or state.role is Role.SUBMITS or number in self.presence:
                state.idle_since = None
            elif state.idle_since is None:
                state.idle_since = now
            elif now >= state.idle_since + limits.DEVICE_IDLE:
                actions.append(HangUp(number, ErrorCode.TIMEOUT, _IDLE))
        for claim in list(self._claims.values()):
            if claim.proved:
                continue
            if claim.since is None:
                claim.since = now
            elif now >= claim.since + limits.CLAIM_PROOF:
                self._end(claim)
                actions.append(_refusal(claim, ErrorCode.TIMEOUT, _UNPROVED))
        return actions

    def link_up(self) -> None:
        """The session with the homeserver is established: claims can be passed on, and there is `next_owed`."""
        self._link_up = True
        self.presence.link_up()

    def link_down(self) -> list[Action]:
        """It is lost, and every claim with it: devices are told to claim again. Submissions wait for the next one."""
        self._link_up = False
        self.presence.link_down()
        ended = list(self._claims.values())
        for claim in ended:
            self._end(claim)
        return [_refusal(claim, ErrorCode.BUSY, _LINK_DOWN) for claim in ended]

    def receive_device(self, connection: int, message: Message, now: float) -> list[Action]:
        """What follows from a device's message; `now` is the wall clock.

        Raises RemoteError when the device broke the protocol: then its connection is to be closed with that code.
        """
        state = self._connections[connection]
        match message:
            case Claim():
                _play(state, Role.RECEIVES)  # [edge-10]
                return self._claim(connection, state, message)
            case Proof():
                return self._proof(state, message)
            case Acknowledge():
                return self._acknowledge(connection, message)
            case Submit():
                _play(state, Role.SUBMITS)
                items, refused = self.submissions.take(connection, message.envelopes, now)
                offer: list[Action] = [Offer(items)] if items else []  # [edge-31]
                return offer + _submitted(connection, [], refused)
            case Announce() | Retract():
                _play(state, Role.ANNOUNCES)
                return self.presence.receive_device(connection, message, now)
            case Watch() | Unwatch():
                _play(state, Role.WATCHES)
                return self.presence.receive_device(connection, message, now)
            case Ping():
                return [ToDevice(connection, Pong(token=message.token))]  # [edge-12]
            case _:
                raise RemoteError(f"a device does not send {type(message).__name__}")

    def receive_homeserver(self, message: Message, now: float = 0.0) -> list[Action]:
        """What follows from a message on the link that is not the session's own; `now` is the wall clock.

        Raises RemoteError when the homeserver broke the protocol.
        """
        match message:
            case Challenge() | NotClaimed():
                return self._answer(message)
            case Claimed():
                return self._claimed(message)
            case Deliver():
                return self._deliver(message)
            case Receipt():
                return self._receipt(message)
            case Shown() | Unwatch():
                return self.presence.receive_homeserver(message, now)
            case _:
                raise RemoteError(f"a homeserver does not send {type(message).__name__} to an edge")

    def settled(self, keys: list[int], refused: list[tuple[int, ErrorCode, str]]) -> list[Action]:
        """The session settled these keys: `refused` as it says, the rest of `keys` accepted."""
        actions: list[Action] = []
        for connection, outcomes in self.submissions.settle(keys, refused).items():
            if connection in self._connections:
                actions += _submitted(connection, outcomes.accepted, outcomes.refused)  # [edge-32]
        return actions

    # --- from devices ----------------------------------------------------------------------------------------------

    def _claim(self, connection: int, state: _Connection, message: Claim) -> list[Action]:
        if message.request in state.claims:
            raise RemoteError("a request number is used once")  # [edge-13]
        self._last += 1  # [edge-14]
        claim = _Claim(self._last, connection, message.request, mailbox_id(message.key))
        if not self._link_up:
            return [_refusal(claim, ErrorCode.BUSY, _LINK_DOWN)]
        waiting = sum(not held.held for held in state.claims.values())
        if (
            len(state.claims) >= limits.MAILBOXES_PER_DEVICE
            or waiting >= limits.PENDING_CLAIMS_PER_DEVICE
            or self._open >= limits.PENDING_CLAIMS_PER_LINK
        ):
            return [_refusal(claim, ErrorCode.BUSY, "too many claims; try again later")]
        state.claims[message.request] = self._claims[claim.number] = claim  # [privacy-3]
        self._open += 1
        return [ToHomeserver(attrs.evolve(message, request=claim.number))]

    def _proof(self, state: _Connection, message: Proof) -> list[Action]:
        claim = state.claims.get(message.request)
        if claim is None:
            return []  # refused or lost meanwhile, and the device has been told
        if claim.proved:
            raise RemoteError("a claim is proved once")  # [edge-18]
        claim.proved = True
        self._proving[claim.mailbox] = self._proving.get(claim.mailbox, 0) + 1
        return [ToHomeserver(attrs.evolve(message, request=claim.number))]

    def _acknowledge(self, connection: int, message: Acknowledge) -> list[Action]:
        holder = self._holders.get(MailboxId(message.mailbox))
        if holder is None or holder.connection != connection:
            return []  # the claim was replaced while this was under way; the envelopes come again
        return [ToHomeserver(message)]

    # --- from the homeserver ---------------------------------------------------------------------------------------

    def _answer(self, message: Challenge | NotClaimed) -> list[Action]:
        claim = self._claims.get(message.request)
        if claim is None:
            return []  # the connection went before it proved anything
        actions = self._to_holder(claim, message)
        if isinstance(message, NotClaimed):
            self._end(claim)
            if claim.proved and not claim.held:
                actions += self._release(claim.mailbox)  # one that was held back because this claim was under way
        return actions

    def _claimed(self, message: Claimed) -> list[Action]:
        claim = self._claims.get(message.request)
        if claim is None or not claim.proved or claim.held or claim.mailbox != message.mailbox:
            raise RemoteError("a mailbox was confirmed that nobody proved")  # [edge-22]
        if claim.connection not in self._connections:
            self._end(claim)
            return self._release(claim.mailbox)
        self._settle_proof(claim)
        claim.held = True
        self._holders[claim.mailbox] = claim
        return self._to_holder(claim, message)

    def _deliver(self, message: Deliver) -> list[Action]:
        found: dict[int, list[bytes]] = {}
        holders = self._holders
        for frame in message.envelopes:
            claim = holders.get(frame[_MAILBOX])  # [edge-26]
            if claim is not None:  # otherwise RELEASE is under way, and the envelope stays where it is stored
                of = found.get(claim.connection)
                if of is None:
                    found[claim.connection] = [frame]
                else:
                    of.append(frame)
        return [ToDevice(connection, Deliver(envelopes=frames)) for connection, frames in found.items()]

    def _receipt(self, message: Receipt) -> list[Action]:
        found = self.submissions.submitters(message.refused)
        return [ToDevice(c, Receipt(refused=tuple(refused))) for c, refused in found.items() if c in self._connections]

    # --- claims ----------------------------------------------------------------------------------------------------

    def _to_holder(self, claim: _Claim, message: Challenge | Claimed | NotClaimed) -> list[Action]:
        """`message` under the device's own request number, if the device is still there."""
        if claim.connection not in self._connections:
            return []
        return [ToDevice(claim.connection, attrs.evolve(message, request=claim.request))]

    def _release(self, mailbox: MailboxId) -> list[Action]:
        """RELEASE, unless another claim holds the mailbox or has shown its proof.

        The homeserver may have granted that one already, and RELEASE would end it.
        """
        if mailbox in self._holders or mailbox in self._proving:
            return []
        return [ToHomeserver(Release(mailbox=mailbox))]  # [edge-23]

    def _end(self, claim: _Claim) -> None:
        del self._claims[claim.number]
        connection = self._connections.get(claim.connection)
        if connection is not None:
            del connection.claims[claim.request]
        if self._holders.get(claim.mailbox) is claim:
            del self._holders[claim.mailbox]
        if not claim.held:
            self._settle_proof(claim)

    def _settle_proof(self, claim: _Claim) -> None:
        self._open -= 1
        if claim.proved:
            left = self._proving.pop(claim.mailbox) - 1
            if left:
                self._proving[claim.mailbox] = left


def _play(state: _Connection, role: Role) -> None:
    if state.role not in (Role.NEW, role):  # [presence-44]
        raise RemoteError("a connection does one thing; note: open another one for each other thing")
    state.role = role  # [security-3]


def _refusal(claim: _Claim, code: ErrorCode, text: str) -> ToDevice:
    return ToDevice(claim.connection, NotClaimed(request=claim.request, code=code, text=text))


def _submitted(connection: int, accepted: list[bytes], refused: list[Outcome]) -> list[Action]:
    """As many SUBMITTED as the lists need."""
    actions: list[Action] = []
    while accepted or refused:
        message = Submitted(accepted=accepted[: limits.ACK_IDS], refused=tuple(refused[: limits.REFUSALS_PER_ACK]))
        actions.append(ToDevice(connection, message))
        accepted, refused = accepted[limits.ACK_IDS :], refused[limits.REFUSALS_PER_ACK :]
    return actions
