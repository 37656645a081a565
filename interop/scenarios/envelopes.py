"""Envelopes between two homeservers: every size and class, each way, in order, once."""

import trio

from interop.scenario import check, equal, scenario
from interop.stage import Stage
from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass
from volly_fed.testing.link_shim import Way


@scenario("envelopes/one-each-way", servers=2, covers=("relay-2",))
async def one_each_way(stage: Stage) -> None:
    """A device of each homeserver submits an envelope for a device of the other, which gets exactly those bytes."""
    first, second = await stage.edges()
    alice, bob = await first.device(), await second.device()
    for edge, device in ((first, bob), (second, alice)):
        envelope = device.envelope()
        equal(await edge.submit(envelope), [None], "what the sender's homeserver says")
        equal(await device.receive(1), [envelope], "what was delivered")


@scenario("envelopes/within-one-domain", servers=1, covers=("relay-2",))
async def within_one_domain(stage: Stage) -> None:
    """A device submits for another one of the same domain: no peer and no trust is needed for that."""
    edge = await stage.edge(stage.servers[0])
    bob = await edge.device()
    envelope = bob.envelope()
    equal(await edge.submit(envelope), [None], "what the homeserver says")
    equal(await bob.receive(1), [envelope], "what was delivered")


@scenario("envelopes/every-size", servers=2, covers=("relay-2", "session-14"))
async def every_size(stage: Stage) -> None:
    """Bodies of all seven sizes, from 1 KiB to 64 KiB, come through unchanged and in order."""
    first, second = await stage.edges()
    bob = await second.device()
    envelopes = [bob.envelope(size) for size in limits.BODY_CLASSES]
    equal(await first.submit(*envelopes), [None] * len(envelopes), "what the sender's homeserver says")
    equal(await bob.receive(len(envelopes)), envelopes, "what was delivered")


@scenario("envelopes/each-class-in-order", servers=2, covers=("edge-25",))
async def each_class_in_order(stage: Stage) -> None:
    """A hundred of each class, submitted class by class, arrive in the order of their class, each once."""
    first, second = await stage.edges()
    for urgency in EnvelopeClass:
        bob = await second.device()
        envelopes = [bob.envelope(urgency=urgency) for _ in range(100)]
        equal(await first.submit(*envelopes), [None] * 100, "what the sender's homeserver says")
        equal(await bob.receive(100), envelopes, f"what was delivered of class {urgency.name}")


@scenario("envelopes/urgent-ones-first", servers=2, covers=("session-16",))
async def urgent_ones_first(stage: Stage) -> None:
    """While the recipient's homeserver is out of reach, more bulk is submitted than one batch holds, then a signal,
    then a ring. When it is back the ring arrives first, then the signal, then the bulk in order.
    """
    first, second = await stage.edges()
    bob = await second.device()
    link = stage.link(*stage.servers)
    link.refuse()
    await stage.unlink()
    bulk = [bob.envelope(8192, urgency=EnvelopeClass.BULK) for _ in range(150)]
    urgent = [bob.envelope(urgency=EnvelopeClass.RING), bob.envelope(urgency=EnvelopeClass.SIGNAL)]
    equal(await first.submit(*bulk, *reversed(urgent)), [None] * 152, "what the sender's homeserver says")
    link.admit()
    equal(await bob.receive(2), urgent, "what was delivered first")
    equal(await bob.receive(150) == bulk, True, "the bulk arrives in order")


@scenario("envelopes/more-than-a-window", servers=2, covers=("session-24", "session-26"))
async def more_than_a_window(stage: Stage) -> None:
    """1500 envelopes are under way at once to two mailboxes, and a window is 1024: all arrive, in order, each once."""
    first, second = await stage.edges()
    devices = [await second.device() for _ in range(2)]
    envelopes = [device.envelopes(750) for device in devices]
    for batch in envelopes:
        first.offer(*batch)
    for device, sent in zip(devices, envelopes, strict=True):
        equal(await device.receive(len(sent)) == sent, True, "all arrive in order")


@scenario("envelopes/more-bytes-than-a-window", servers=2, covers=("session-25",))
async def more_bytes_than_a_window(stage: Stage) -> None:
    """Forty envelopes of 64 KiB are more than twice the bytes of a window; they arrive in order, each once."""
    first, second = await stage.edges()
    bob = await second.device()
    envelopes = bob.envelopes(40, limits.BODY_CLASSES[-1])
    first.offer(*envelopes)
    equal(await bob.receive(40) == envelopes, True, "all arrive in order")


@scenario("envelopes/slow-in-one-direction", servers=2, covers=("session-15",))
async def slow_in_one_direction(stage: Stage) -> None:
    """What the recipient's homeserver says takes 0.3 seconds longer than what it hears. 200 envelopes, submitted one by
    one, do not wait for each other's acknowledgements.
    """
    first, second = await stage.edges()
    bob = await second.device()
    await stage.unlink()
    for shim in stage.links():
        way = Way.TO_DIALLER if shim is stage.link(*stage.servers) else Way.TO_LISTENER
        shim.shape(way, latency=0.3)
    envelopes = bob.envelopes(200)
    began = trio.current_time()
    for envelope in envelopes:
        first.offer(envelope)
    equal(await bob.receive(200) == envelopes, True, "all arrive in order")
    took = trio.current_time() - began
    check(took < 10, f"200 envelopes in less than 200 times 0.3 s; they took {took:.1f} s")


@scenario("envelopes/submitted-twice", servers=2, covers=("relay-19", "relay-20"))
async def submitted_twice(stage: Stage) -> None:
    """The same envelope is submitted three times, the last time after the device has acknowledged it. Each time it is
    accepted, nothing is refused, and what follows it is delivered. It may be delivered more than once, as everything.
    """
    first, second = await stage.edges()
    bob = await second.device()
    envelope, last = bob.envelope(), bob.envelope()
    equal(await first.submit(envelope, envelope), [None, None], "what the sender's homeserver says")
    equal(await bob.receive(1), [envelope], "what was delivered")
    equal(await first.submit(envelope, last), [None, None], "what the sender's homeserver says")
    equal(await bob.receive(1), [last], "what was delivered afterwards")
    equal(first.receipts, {}, "refusals")


@scenario("envelopes/wait-for-the-device", servers=2, covers=("relay-25", "edge-25"))
async def wait_for_the_device(stage: Stage) -> None:
    """Envelopes come while nobody holds the mailbox, for the edge has said that its device is gone. They are delivered
    in order when it claims the mailbox through another edge; unacknowledged ones come again, acknowledged ones do not.
    """
    first, second = await stage.edges()
    bob = await second.device()
    bob.release()
    envelopes = bob.envelopes(5)
    equal(await first.submit(*envelopes), [None] * 5, "what the sender's homeserver says")
    other = await stage.edge(stage.servers[1], "edge-2")
    await bob.claim(other)
    equal(await bob.receive(5, acknowledge=False), envelopes, "what was delivered to the first claim")
    bob.acknowledge(envelopes[:2])
    bob.release()
    await bob.claim(second)
    equal(await bob.receive(3), envelopes[2:], "what was delivered to the second claim")
    bob.release()
    await bob.claim(other)
    equal(await first.submit(last := bob.envelope()), [None], "what the sender's homeserver says")
    equal(await bob.receive(1), [last], "what was delivered to the third claim")
