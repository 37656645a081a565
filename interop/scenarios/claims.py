"""How a device proves that a mailbox is its own: right and wrong proofs, through one edge and another."""

import os

import attrs

from interop.fake_device import FakeDevice
from interop.fake_edge import FakeEdge
from interop.scenario import check, equal, scenario
from interop.stage import Stage
from volly_fed.codepoints import ErrorCode
from volly_fed.crypto import sizes
from volly_fed.edge.registration import encode_registration, make_registration
from volly_fed.relay.envelope import CAPABILITY_BYTES
from volly_fed.wire import Message, codec
from volly_fed.wire import messages as wire


def refusal(answer: Message) -> ErrorCode:
    """The code of NOT_CLAIMED."""
    check(isinstance(answer, wire.NotClaimed), f"NOT_CLAIMED, and not {type(answer).__name__}")
    assert isinstance(answer, wire.NotClaimed)
    return answer.code


async def still_holds(device: FakeDevice, edge: FakeEdge) -> None:
    """What was claimed before is as it was: an envelope with its capability comes through its edge."""
    equal(await edge.submit(envelope := device.envelope()), [None], "what the homeserver says")
    equal(await device.receive(1), [envelope], "what was delivered")


@scenario("claims/wrong-mac", servers=1, covers=("edge-15", "edge-19"))
async def wrong_mac(stage: Stage) -> None:
    """A proof whose MAC is wrong is refused with BAD_PROOF, and so is the right one after it: a challenge is good for
    one proof. The claim that there was, through another edge, is as it was.
    """
    server = stage.servers[0]
    edge, other = await stage.edge(server), await stage.edge(server, "edge-2")
    bob = await edge.device()
    thief = attrs.evolve(bob)
    proof = await thief.proof(other)
    wrong = attrs.evolve(proof, mac=os.urandom(len(proof.mac)))
    equal(refusal(await other.ask(wrong)), ErrorCode.BAD_PROOF, "the code")
    equal(refusal(await other.ask(proof)), ErrorCode.BAD_PROOF, "the code for the right proof after it")
    await still_holds(bob, edge)


@scenario("claims/another-registration-than-was-proved", servers=1, covers=("edge-19",))
async def another_registration(stage: Stage) -> None:
    """An edge puts another registration in the place of the device's: the MAC is not right any more."""
    edge = await stage.edge(stage.servers[0])
    bob = await edge.device()
    proof = await bob.proof(edge)
    mine = encode_registration(make_registration({os.urandom(CAPABILITY_BYTES): ("*",)}))
    equal(refusal(await edge.ask(attrs.evolve(proof, registration=mine))), ErrorCode.BAD_PROOF, "the code")


@scenario("claims/without-a-challenge", servers=1, covers=("edge-19",))
async def without_a_challenge(stage: Stage) -> None:
    """A proof under a number for which there is no challenge is refused, and one for another challenge than its own."""
    edge = await stage.edge(stage.servers[0])
    bob = await edge.device()
    first = await bob.proof(edge)
    second = await bob.proof(edge)
    astray = attrs.evolve(first, request=edge.number())
    equal(refusal(await edge.ask(astray)), ErrorCode.BAD_PROOF, "the code where there is no challenge")
    crossed = attrs.evolve(first, request=second.request)
    equal(refusal(await edge.ask(crossed)), ErrorCode.BAD_PROOF, "the code for the proof of another challenge")


@scenario("claims/challenge-of-another-edge", servers=1, covers=("edge-19",))
async def challenge_of_another_edge(stage: Stage) -> None:
    """A proof that was made for one edge is of no use through another, which has a challenge for the same mailbox."""
    server = stage.servers[0]
    edge, other = await stage.edge(server), await stage.edge(server, "edge-2")
    bob = FakeDevice.new(edge.call.domain, "*")
    stolen = await bob.proof(edge)
    asked = await bob.proof(other)
    answer = await other.ask(attrs.evolve(stolen, request=asked.request))
    equal(refusal(answer), ErrorCode.BAD_PROOF, "the code")


@scenario("claims/replaced", servers=1, covers=("edge-15",))
async def replaced(stage: Stage) -> None:
    """A mailbox is claimed through a second edge: the first is told NOT_CLAIMED with REPLACED under the number of its
    claim, and what comes then is delivered to the second only.
    """
    server = stage.servers[0]
    edge, other = await stage.edge(server), await stage.edge(server, "edge-2")
    bob = await edge.device()
    request = bob.request
    await bob.claim(other)
    equal(refusal(await edge.answer(request, 2)), ErrorCode.REPLACED, "what the first edge is told")
    await still_holds(bob, other)
    equal(edge.deliveries[bob.mailbox], [], "what was delivered through the first edge")


@scenario("claims/again-on-the-same-edge", servers=1, covers=("edge-25",))
async def again_on_the_same_edge(stage: Stage) -> None:
    """A mailbox is claimed a second time through the same edge. The first claim is told REPLACED, what was not
    acknowledged comes again, and an acknowledgement under the key of the first claim counts no more.
    """
    edge = await stage.edge(stage.servers[0])
    bob = await edge.device()
    equal(await edge.submit(envelope := bob.envelope()), [None], "what the homeserver says")
    equal(await bob.receive(1, acknowledge=False), [envelope], "what was delivered to the first claim")
    request, late = bob.request, bob.acknowledgement([envelope])
    await bob.claim(edge)
    equal(refusal(await edge.answer(request, 2)), ErrorCode.REPLACED, "what the first claim is told")
    equal(await bob.receive(1, acknowledge=False), [envelope], "what was delivered to the second claim")
    edge.send(late)
    await bob.claim(edge)
    equal(await bob.receive(1), [envelope], "what was delivered to the third claim")


@scenario("claims/registration-malformed", servers=1, covers=("edge-24",))
async def registration_malformed(stage: Stage) -> None:
    """A right MAC over a registration that is none: garbage, another version, grants out of order, a scope twice. Each
    is MALFORMED, and the registration that there was counts.
    """
    edge = await stage.edge(stage.servers[0])
    bob = await edge.device()
    hashes = sorted(os.urandom(32) for _ in range(2))
    wrong = {
        "garbage": b"\xff" * 20,
        "another version": codec.encode([2, []]),
        "grants out of order": codec.encode([1, [[hashes[1], ["*"]], [hashes[0], ["*"]]]]),
        "a grant twice": codec.encode([1, [[hashes[0], ["*"]], [hashes[0], ["*"]]]]),
        "a scope twice": codec.encode([1, [[hashes[0], ["*", "*"]]]]),
        "scopes out of order": codec.encode([1, [[hashes[0], ["b.test", "a.test"]]]]),
    }
    thief = attrs.evolve(bob)
    for what, registration in wrong.items():
        proof = await thief.proof(edge, registration=registration)
        equal(refusal(await edge.ask(proof)), ErrorCode.MALFORMED, f"the code for {what}")
    await still_holds(bob, edge)


@scenario("claims/not-a-key", servers=1, covers=("crypto-10",))
async def not_a_key(stage: Stage) -> None:
    """A claim with bytes that are no X-Wing key, for their numbers are too great, is MALFORMED."""
    edge = await stage.edge(stage.servers[0])
    answer = await edge.ask(wire.Claim(request=edge.number(), key=b"\xff" * sizes.MAILBOX_PUBLIC))
    equal(refusal(answer), ErrorCode.MALFORMED, "the code")
    await edge.device()


@scenario("claims/lost-with-the-edge", servers=1, covers=("edge-25",))
async def lost_with_the_edge(stage: Stage) -> None:
    """An edge link ends, and with it the claims through it: what comes is stored, and delivered when the device claims
    its mailbox through another edge. An edge that comes back holds nothing.
    """
    server = stage.servers[0]
    edge, other = await stage.edge(server), await stage.edge(server, "edge-2")
    bob = await edge.device()
    await edge.close()
    again = await stage.edge(server)
    equal(await other.submit(envelope := bob.envelope()), [None], "what the homeserver says")
    await bob.claim(other)
    equal(await bob.receive(1), [envelope], "what was delivered")
    equal(again.deliveries[bob.mailbox], [], "what was delivered through the edge that came back")


@scenario("claims/refused-by-the-device", servers=1)
async def refused_by_the_device(stage: Stage) -> None:
    """A device gets challenges and answers none. Another one claims meanwhile, and the first in the end."""
    edge = await stage.edge(stage.servers[0])
    bob = FakeDevice.new(edge.call.domain, "*")
    for _ in range(3):
        await bob.proof(edge)
    await still_holds(await edge.device(), edge)
    await bob.claim(edge)
    await still_holds(bob, edge)
