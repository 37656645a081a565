"""Delivery to devices, and what an edge or a thief cannot have deleted."""

import os

import attrs

from interop.scenario import check, equal, scenario
from interop.stage import Stage
from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass
from volly_fed.relay.envelope import ID_BYTES


@scenario("delivery/acknowledgement-with-a-wrong-mac", servers=1, covers=("edge-28", "relay-27"))
async def wrong_mac(stage: Stage) -> None:
    """Acknowledgements that count for nothing: with a wrong MAC, with an id that is not under way, with one twice. None
    is answered. On the next claim the envelopes come again; after a right one they do not.
    """
    edge = await stage.edge(stage.servers[0])
    bob = await edge.device()
    envelopes = bob.envelopes(3)
    equal(await edge.submit(*envelopes), [None] * 3, "what the homeserver says")
    equal(await bob.receive(3, acknowledge=False), envelopes, "what was delivered")
    right = bob.acknowledgement(envelopes)
    unknown = bob.envelope()
    edge.send(attrs.evolve(right, mac=os.urandom(len(right.mac))))
    edge.send(attrs.evolve(right, ids=[os.urandom(ID_BYTES)]))
    edge.send(bob.acknowledgement([*envelopes, unknown]))
    edge.send(bob.acknowledgement([*envelopes, envelopes[0]]))
    await bob.claim(edge)
    equal(await bob.receive(3), envelopes, "what was delivered to the second claim")
    await bob.claim(edge)
    equal(await edge.submit(last := bob.envelope()), [None], "what the homeserver says")
    equal(await bob.receive(1), [last], "what was delivered to the third claim")


@scenario("delivery/altered-on-the-way", servers=1, covers=("edge-28",))
async def altered_on_the_way(stage: Stage) -> None:
    """An edge alters an envelope, and the device acknowledges what it got: nothing is deleted."""
    edge = await stage.edge(stage.servers[0])
    bob = await edge.device()
    envelope = bob.envelope()
    equal(await edge.submit(envelope), [None], "what the homeserver says")
    equal(await bob.receive(1, acknowledge=False), [envelope], "what was delivered")
    edge.send(bob.acknowledgement([envelope[:-1] + bytes([envelope[-1] ^ 1])]))
    await bob.claim(edge)
    equal(await bob.receive(1), [envelope], "what was delivered to the second claim")


@scenario("delivery/some-of-many-acknowledged", servers=1, covers=("edge-25", "relay-27"))
async def some_of_many(stage: Stage) -> None:
    """Of ten envelopes every second one is acknowledged; on the next claim the others come again, in order."""
    edge = await stage.edge(stage.servers[0])
    bob = await edge.device()
    envelopes = bob.envelopes(10)
    equal(await edge.submit(*envelopes), [None] * 10, "what the homeserver says")
    equal(await bob.receive(10, acknowledge=False), envelopes, "what was delivered")
    bob.acknowledge(envelopes[::2])
    await bob.claim(edge)
    equal(await bob.receive(5), envelopes[1::2], "what was delivered to the second claim")


@scenario("delivery/no-more-than-may-be-under-way", servers=1, covers=("edge-25",))
async def under_way(stage: Stage) -> None:
    """80 envelopes of 64 KiB wait for a device that acknowledges nothing: at most 4194304 bytes of them are delivered.
    It acknowledges, and the rest comes, in order.
    """
    edge = await stage.edge(stage.servers[0])
    bob = await edge.device()
    envelopes = bob.envelopes(80, limits.BODY_CLASSES[-1])
    equal(await edge.submit(*envelopes), [None] * 80, "what the homeserver says")
    first = await bob.receive(40, acknowledge=False)
    await edge.device()  # whatever is sent without an acknowledgement has come by then
    under_way = sum(map(len, edge.deliveries[bob.mailbox]))
    check(under_way <= limits.DELIVERY_WINDOW_BYTES, f"at most 4194304 bytes under way; there are {under_way}")
    bob.acknowledge(first)
    rest = [frame for _ in range(40) for frame in await bob.receive(1)]
    equal(first + rest == envelopes, True, "all arrive in order")


@scenario("delivery/urgent-ones-overtake", servers=1, covers=("edge-25",))
async def urgent_ones_overtake(stage: Stage) -> None:
    """Bulk, signals and a ring wait for a device that is away. When it claims its mailbox the ring comes first and the
    bulk last, each class in order.
    """
    edge = await stage.edge(stage.servers[0])
    bob = await edge.device()
    bob.release()
    urgencies = (EnvelopeClass.BULK, EnvelopeClass.SIGNAL, EnvelopeClass.RING)
    bulk, signals, rings = ([bob.envelope(urgency=urgency) for _ in range(3)] for urgency in urgencies)
    equal(await edge.submit(*bulk, *signals, *rings), [None] * 9, "what the homeserver says")
    await bob.claim(edge)
    equal(await bob.receive(9), rings + signals + bulk, "what was delivered")


@scenario("delivery/after-a-kill", servers=1, covers=("edge-20", "relay-25"), seconds=40)
async def after_a_kill(stage: Stage) -> None:
    """The homeserver is killed right after it has answered: for a claim, for envelopes. When it is back, the mailbox
    lets in what it let in, without a claim; then all is delivered, but for what was acknowledged.
    """
    server = stage.servers[0]
    edge = await stage.edge(server)
    bob = await edge.device()
    envelopes = bob.envelopes(20)
    equal(await edge.submit(*envelopes), [None] * 20, "what the homeserver says")
    equal(await bob.receive(5), envelopes[:5], "what was delivered")
    await server.restart()
    edge = await stage.edge(server)
    equal(await edge.submit(last := bob.envelope()), [None], "what the homeserver says")
    await bob.claim(edge)
    equal(await bob.receive(16), [*envelopes[5:], last], "what was delivered to the second claim")
