"""The vectors of edge: registrations, claims from both ends, acknowledgements, and an edge node between both."""

from collections import deque
from typing import Any

import attrs
import pytest

from tests.making import expand
from volly_fed.codepoints import ErrorCode
from volly_fed.crypto.kem import MailboxKey, mailbox_id
from volly_fed.crypto.secret import Secret
from volly_fed.edge.actions import HangUp, Offer, ToDevice, ToHomeserver
from volly_fed.edge.claim import PendingClaim, _derive, answer_challenge, check_proof
from volly_fed.edge.delivery import Delivery, Row
from volly_fed.edge.registration import encode_registration, parse_registration
from volly_fed.edge.registry import Action, Registry
from volly_fed.errors import BadMessage, RemoteError
from volly_fed.names import DomainName, Fingerprint, MailboxId
from volly_fed.wire import Message, encode_message, parse_message
from volly_fed.wire.messages import Acknowledge, Challenge, NotClaimed, Proof, Submitted

Case = dict[str, Any]


def _check_rejected(error: RemoteError, expect: Case) -> None:
    assert error.code is ErrorCode[expect["reject"]["code"]]
    assert isinstance(error, BadMessage) is (expect["reject"]["class"] == "BadMessage")


def _challenge(given: Case) -> Challenge:
    challenge = parse_message(bytes.fromhex(given["challenge"]))
    assert isinstance(challenge, Challenge)
    return challenge


def check_registration(given: Case, expect: Case) -> None:
    """Kind `registration-codec`."""
    data = bytes.fromhex(given["data"])
    if "reject" in expect:
        with pytest.raises(RemoteError) as caught:
            parse_registration(data)
        _check_rejected(caught.value, expect)
        return
    registration = parse_registration(data)
    assert encode_registration(registration) == data
    grants = [{"hash": grant.hash.hex(), "scopes": list(grant.scopes)} for grant in registration.grants]
    assert expect == {"accept": {"grants": grants}}


def check_answer(given: Case, expect: Case) -> None:
    """Kind `claim-answer`."""
    key, challenge = MailboxKey.from_seed(Secret(bytes.fromhex(given["seed"]))), _challenge(given)
    registration, edge = bytes.fromhex(given["registration"]), Fingerprint(bytes.fromhex(given["edge"]))

    def answer() -> tuple[Proof, Secret]:
        home = DomainName(given["domain"])
        return answer_challenge(key, challenge, registration, domain=home, edge=edge, now=given["now"])

    if "reject" in expect:
        with pytest.raises(RemoteError) as caught:
            answer()
        _check_rejected(caught.value, expect)
        return
    proof, acknowledge_key = answer()
    shared = key.decapsulate(challenge.ciphertext)
    assert expect["accept"] == {
        "mailbox": mailbox_id(key.public).hex(),
        "shared": shared.reveal().hex(),
        "proof": encode_message(proof).hex(),
        "claim_key": _derive(shared, challenge).claim.reveal().hex(),
        "acknowledge_key": acknowledge_key.reveal().hex(),
    }


def check_proof_of(given: Case, expect: Case) -> None:
    """Kind `claim-proof`."""
    challenge = _challenge(given)
    proof = parse_message(bytes.fromhex(given["proof"]))
    assert isinstance(proof, Proof)
    pending = PendingClaim(
        challenge=challenge,
        mailbox=MailboxId(bytes.fromhex(given["mailbox"])),
        keys=_derive(Secret(bytes.fromhex(given["shared"])), challenge),
    )
    if "reject" in expect:
        with pytest.raises(RemoteError) as caught:
            check_proof(pending, proof, given["now"])
        _check_rejected(caught.value, expect)
        return
    claimed = check_proof(pending, proof, given["now"])
    grants = len(claimed.registration.grants)
    assert expect == {"accept": {"acknowledge_key": claimed.key.reveal().hex(), "grants": grants}}


def check_acknowledge(given: Case, expect: Case) -> None:
    """Kind `acknowledge`."""
    message = parse_message(bytes.fromhex(given["acknowledge"]))
    assert isinstance(message, Acknowledge)
    delivery = Delivery(key=Secret(bytes.fromhex(given["key"])))
    rows = {n: (bytes.fromhex(it["id"]), bytes.fromhex(it["envelope"])) for n, it in enumerate(given["delivered"], 1)}
    delivery.give(delivery.lanes[1], [Row(n, identity, frame) for n, (identity, frame) in rows.items()])
    if "reject" in expect:
        with pytest.raises(RemoteError) as caught:
            delivery.settle(message)
        _check_rejected(caught.value, expect)
        assert delivery.in_flight == len(rows)
        return
    assert expect == {"accept": {"deleted": [rows[n][0].hex() for n in delivery.settle(message)]}}


class Player:
    """An edge node; what it wants done must be the next steps."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.registry = Registry(domain=DomainName("home.example"), edge=Fingerprint(expand("edge", 32)))
        self.registry.link_up()
        self.wanted: deque[Case] = deque()

    def play(self, step: Case) -> None:
        match step:
            case {"device": device, "connects": True}:
                self.wanted.append(_spelled(ToDevice(device, self.registry.connect(device))))
            case {"device": device, "in": data}:
                self._want(self.registry.receive_device(device, parse_message(bytes.fromhex(data)), self.now))
            case {"device": device, "gone": True}:
                self._want(self.registry.disconnect(device))
            case {"homeserver": "in", "message": data}:
                self._want(self.registry.receive_homeserver(parse_message(bytes.fromhex(data)), self.now))
            case {"link": "down"}:
                self._want(self.registry.link_down())
            case {"settled": {"done": done, "refused": refused}}:
                self._want(self.registry.settled(done, [(key, ErrorCode(code), "") for key, code in refused]))
            case wanted:
                assert self.wanted.popleft() == wanted

    def _want(self, actions: list[Action]) -> None:
        self.wanted.extend(map(_spelled, actions))


def _spelled(action: Action) -> Case:
    match action:
        case ToDevice(device, message):
            return {"device": device, "out": encode_message(_without_reason(message)).hex()}
        case ToHomeserver(message):
            return {"homeserver": "out", "message": encode_message(message).hex()}
        case Offer(items):
            return {"offered": [frame.hex() for _, frame in items]}
        case HangUp(device, code, _):
            return {"device": device, "ends": code.name}
    raise AssertionError(action)


def _without_reason(message: Message) -> Message:
    """Reasons are for people, and not the same in two programs."""
    if isinstance(message, NotClaimed):
        return attrs.evolve(message, text="")
    if isinstance(message, Submitted):
        return attrs.evolve(message, refused=tuple((identity, code, "") for identity, code, _ in message.refused))
    return message


def check_edge(given: Case, expect: Case) -> None:
    """Kind `edge-machine`."""
    player = Player(given["now"])
    *steps, last = given["steps"]
    for step in steps:
        player.play(step)
    if "reject" in expect:
        assert not player.wanted
        with pytest.raises(RemoteError) as caught:
            player.play(last)
        _check_rejected(caught.value, expect)
        return
    player.play(last)
    assert expect == {"accept": {}}
    assert not player.wanted


CONSUMERS = {
    "registration-codec": check_registration,
    "claim-answer": check_answer,
    "claim-proof": check_proof_of,
    "acknowledge": check_acknowledge,
    "edge-machine": check_edge,
}
