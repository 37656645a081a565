"""What is refused, by whom, with which code; and that a refusal says nothing about a mailbox."""

import os

from interop.fake_edge import Refused
from interop.scenario import check, equal, scenario
from interop.stage import Stage
from volly_fed.codepoints import ErrorCode
from volly_fed.names import DomainName
from volly_fed.relay.envelope import CAPABILITY_BYTES

DAY = 86400


def code_of(answer: Refused | None) -> ErrorCode | None:
    """The code of a refusal; None where it was accepted."""
    return answer and answer[0]


@scenario("refusals/of-a-peer", servers=2, covers=("relay-12", "relay-13", "relay-22", "relay-23", "relay-24"))
async def of_a_peer(stage: Stage) -> None:
    """Envelopes for a mailbox that nobody has claimed, with a wrong capability, with a revoked one, and for users of
    another domain. Each is accepted by the sender's homeserver and refused by the recipient's; the receipts have all
    the same code and the same reason, and an envelope that follows is delivered.
    """
    sender, receiver = stage.servers
    await stage.trust(receiver, sender.domain, "selective")
    first, second = await stage.edges()
    nobody = await second.device()
    nobody.release()
    unclaimed = type(nobody).new(second.call.domain, "*").envelope()
    bob, revoking = await second.device(), await second.device()
    wrong = bob.envelope(capability=os.urandom(CAPABILITY_BYTES))
    revoked = revoking.envelope()
    revoking.grants = {}
    await revoking.claim(second)
    elsewhere = (await second.device("elsewhere.test")).envelope()
    good = bob.envelope()
    equal(
        await first.submit(unclaimed, wrong, revoked, elsewhere, good), [None] * 5, "what the sender's homeserver says"
    )
    equal(await bob.receive(1), [good], "what was delivered")
    receipts = [await first.receipt(envelope) for envelope in (unclaimed, wrong, revoked, elsewhere)]
    equal([code for code, _ in receipts], [ErrorCode.UNDELIVERABLE] * 4, "codes of the receipts")
    equal(len({reason for _, reason in receipts}), 1, "number of different reasons")


@scenario("refusals/within-one-domain", servers=1, covers=("relay-12", "relay-13"))
async def within_one_domain(stage: Stage) -> None:
    """A homeserver refuses at once what its own device submits for a mailbox that nobody has claimed, or with a wrong
    capability, with one and the same reason.
    """
    edge = await stage.edge(stage.servers[0])
    bob = await edge.device()
    unclaimed = type(bob).new(edge.call.domain, "*").envelope()
    answers = await edge.submit(
        unclaimed, bob.envelope(capability=os.urandom(CAPABILITY_BYTES)), good := bob.envelope()
    )
    equal([code_of(answer) for answer in answers], [ErrorCode.UNDELIVERABLE] * 2 + [None], "answers")
    equal(answers[0], answers[1], "the reasons")
    equal(await bob.receive(1), [good], "what was delivered")


@scenario("refusals/form-and-time", servers=2, covers=("relay-3", "relay-4", "relay-5", "relay-9", "relay-10"))
async def form_and_time(stage: Stage) -> None:
    """In one submission: garbage, a field too many, another version, an envelope that has expired, one that lives too
    long, and one that is right. Each gets its own code, at once; the last is delivered.
    """
    first, second = await stage.edges()
    bob = await second.device()
    good = bob.envelope()
    field_more = b"\x89" + good[1:] + b"\x00"
    version_2 = good[:1] + b"\x02" + good[2:]
    expired, too_far = bob.envelope(lifetime=-DAY), bob.envelope(lifetime=8 * DAY)
    answers = await first.submit(os.urandom(100), field_more, version_2, expired, too_far, good)
    expected = [
        *(ErrorCode.MALFORMED, ErrorCode.MALFORMED, ErrorCode.UNSUPPORTED_VERSION),
        *(ErrorCode.EXPIRED, ErrorCode.MALFORMED, None),
    ]
    equal([code_of(answer) for answer in answers], expected, "answers")
    equal(await bob.receive(1), [good], "what was delivered")


@scenario("refusals/clocks-may-differ", servers=2, covers=("relay-9", "relay-10"))
async def clocks_may_differ(stage: Stage) -> None:
    """What expired four minutes ago, or lives four minutes longer than it may, is carried and delivered: clocks may
    differ by five.
    """
    first, second = await stage.edges()
    bob = await second.device()
    envelopes = [bob.envelope(lifetime=-240), bob.envelope(lifetime=7 * DAY + 240)]
    equal(await first.submit(*envelopes), [None, None], "what the sender's homeserver says")
    equal(await bob.receive(2), envelopes, "what was delivered")


@scenario("refusals/level-none", servers=1, covers=("router-1", "trust-6"))
async def level_none(stage: Stage) -> None:
    """What is submitted for a domain at the level none, or for one that is not known where the default is none, is
    refused with POLICY at once.
    """
    server = stage.servers[0]
    distrusted = await stage.stranger(level="none")
    edge = await stage.edge(server)
    bob = await edge.device()
    answers = await edge.submit(bob.envelope(domain=distrusted.domain), bob.envelope(domain=DomainName("nobody.test")))
    equal([code_of(answer) for answer in answers], [ErrorCode.POLICY] * 2, "answers")


@scenario("refusals/level-metadata", servers=2, covers=("router-1", "router-4", "router-9", "trust-6"))
async def level_metadata(stage: Stage) -> None:
    """At the level metadata of the recipient's homeserver, envelopes are accepted, refused there with POLICY, and the
    receipt says so. At that of the sender's, they are refused at once.
    """
    sender, receiver = stage.servers
    first, second = await stage.edges()
    bob = await second.device()
    await stage.trust(receiver, sender.domain, "metadata")
    equal(await first.submit(envelope := bob.envelope()), [None], "what the sender's homeserver says")
    equal(code_of(await first.receipt(envelope)), ErrorCode.POLICY, "what the receipt says")
    await stage.trust(sender, receiver.domain, "metadata")
    equal([code_of(answer) for answer in await first.submit(bob.envelope())], [ErrorCode.POLICY], "the answer")
    check(not bob.waiting, "nothing was delivered")


@scenario("refusals/level-selective", servers=2, covers=("trust-7",))
async def level_selective(stage: Stage) -> None:
    """At the level selective, a mailbox is reached that has named the sender's domain, or everybody; one that has named
    another domain or nobody is not.
    """
    sender, receiver = stage.servers
    await stage.trust(receiver, sender.domain, "selective")
    first, second = await stage.edges()
    named, everybody = await second.device(sender.domain), await second.device("*")
    other, nobody = await second.device("c.test"), await second.device()
    nobody.grants = {nobody.capability: ()}
    await nobody.claim(second)
    envelopes = [device.envelope() for device in (named, everybody, other, nobody)]
    equal(await first.submit(*envelopes), [None] * 4, "what the sender's homeserver says")
    equal(await named.receive(1) + await everybody.receive(1), envelopes[:2], "what was delivered")
    codes = [code_of(await first.receipt(envelope)) for envelope in envelopes[2:]]
    equal(codes, [ErrorCode.UNDELIVERABLE] * 2, "codes of the receipts")
