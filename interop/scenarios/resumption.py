"""Links and processes that end at the wrong moment: nothing that was answered for is lost, and nothing is refused.

A device's homeserver answers for an envelope before it is delivered, and a device may be delivered one twice; what it
has acknowledged it passes over. So "arrives" means: every one, in order, and none that was not sent.
"""

import trio

from interop.scenario import check, equal, scenario
from interop.stage import Stage
from volly_fed.codepoints import ErrorCode
from volly_fed.testing.link_shim import Cut, Way


async def cut_under_way(stage: Stage, way: Way, *points: int) -> None:
    """There is a link. For each of `points`, cut it after so many more bytes, while 200 envelopes leave; all arrive."""
    first, second = await stage.edges()
    bob = await second.device()
    link = stage.link(*stage.servers)
    stage.link(*stage.servers[::-1]).refuse()
    await stage.unlink()
    for after in points:
        first.offer(envelope := bob.envelope())
        equal(await bob.receive(1), [envelope], "what was delivered")
        cuts, envelopes = link.cuts, bob.envelopes(200)
        link.connections[-1].cut(way, after=after)
        first.offer(*envelopes)
        equal(await bob.receive(200) == envelopes, True, f"all arrive, though cut after {after} bytes")
        await link.until(lambda cuts=cuts: link.cuts > cuts)  # type: ignore[misc]
    equal(first.receipts, {}, "refusals")


@scenario("resumption/cut-in-the-handshake", servers=2, covers=("handshake-27",))
async def cut_in_the_handshake(stage: Stage) -> None:
    """The dialler's connection breaks at several bytes of what it says before there is a session: at once, within TLS,
    and within the messages of the handshake. It dials again each time, and what was submitted arrives.
    """
    first, second = await stage.edges()
    bob = await second.device()
    link = stage.link(*stage.servers)
    stage.link(*stage.servers[::-1]).refuse()
    for at in (0, 5000, 9500):
        link.cut(Way.TO_LISTENER, at)
        await stage.unlink()
        cuts = link.cuts
        for envelope in bob.envelopes(2):  # when the second is there, the first is settled
            first.offer(envelope)
            equal(await bob.receive(1), [envelope], "what was delivered")
        check(link.cuts > cuts, f"a connection was cut after {at} bytes")


@scenario("resumption/cut-in-batches", servers=2, covers=("session-5", "session-12", "session-18"))
async def cut_in_batches(stage: Stage) -> None:
    """The link breaks within what the sender says, in batches that are taken or are not."""
    await cut_under_way(stage, Way.TO_LISTENER, 700, 30_000)


@scenario("resumption/cut-in-acknowledgements", servers=2, covers=("session-5", "session-12"))
async def cut_in_acknowledgements(stage: Stage) -> None:
    """The link breaks within an acknowledgement: the sender does not know what was taken, until it is told again."""
    await cut_under_way(stage, Way.TO_DIALLER, 1, 30)


@scenario("resumption/reset-again-and-again", servers=2, covers=("session-17", "session-18"))
async def reset_again_and_again(stage: Stage) -> None:
    """1000 envelopes, and each time some hundreds have arrived the link is reset. All arrive, in order."""
    first, second = await stage.edges()
    bob = await second.device()
    envelopes = bob.envelopes(1000)
    first.offer(*envelopes)
    for start in (0, 300, 600):
        equal(await bob.receive(300) == envelopes[start : start + 300], True, "they arrive in order")
        for shim in stage.links():
            shim.reset()
    equal(await bob.receive(100) == envelopes[900:], True, "they arrive in order")


@scenario("resumption/nobody-hears-for-30-seconds", servers=2, covers=("session-28", "session-30"), seconds=75)
async def nobody_hears_for_30_seconds(stage: Stage) -> None:
    """The network swallows all that the two say on their link, and neither is told. After 20 seconds of silence and 10
    more without a PONG they give it up; on the next one, what was submitted meanwhile arrives.
    """
    first, second = await stage.edges()
    bob = await second.device()
    equal(await first.submit(envelope := bob.envelope()), [None], "what the sender's homeserver says")
    equal(await bob.receive(1), [envelope], "what was delivered")
    for connection in [each for shim in stage.links() for each in shim.connections]:
        connection.sever(Cut.SILENT)
    began = trio.current_time()
    equal(await first.submit(*(lost := bob.envelopes(10))), [None] * 10, "what the sender's homeserver says")
    equal(await bob.receive(10) == lost, True, "all arrive")
    took = trio.current_time() - began
    check(10 < took < 50, f"it is given up after 30 seconds; it took {took:.0f}")


@scenario("resumption/receiver-killed", servers=2, covers=("relay-25", "session-3", "session-5"), seconds=40)
async def receiver_killed(stage: Stage) -> None:
    """The recipient's homeserver is killed while 500 envelopes are on their way and some are delivered. When it is back
    the device claims its mailbox again: with what it has acknowledged before, all are there.
    """
    first, second = await stage.edges()
    bob = await second.device()
    envelopes = bob.envelopes(500)
    first.offer(*envelopes)
    had = await bob.receive(100)
    await stage.servers[1].kill()
    await stage.servers[1].start()
    await bob.claim(await stage.edge(stage.servers[1]))
    rest = await bob.receive(400)
    equal(had + rest == envelopes, True, "all arrive in order")


@scenario("resumption/sender-killed", servers=2, covers=("relay-15", "relay-25", "session-3"), seconds=40)
async def sender_killed(stage: Stage) -> None:
    """The sender's homeserver has accepted envelopes for a peer that is out of reach, and is killed. When it is back,
    and the peer in reach, all arrive, in order.
    """
    first, second = await stage.edges()
    bob = await second.device()
    stage.link(*stage.servers).refuse()
    await stage.unlink()
    envelopes = bob.envelopes(300)
    equal(await first.submit(*envelopes), [None] * 300, "what the sender's homeserver says")
    await stage.servers[0].kill()
    stage.link(*stage.servers).admit()
    await stage.servers[0].start()
    equal(await bob.receive(300) == envelopes, True, "all arrive in order")


@scenario("resumption/sender-killed-under-way", servers=2, covers=("relay-25", "session-3"), seconds=40)
async def sender_killed_under_way(stage: Stage) -> None:
    """The sender's homeserver is killed while it takes envelopes. The edge submits again what it had no answer for, on
    a new link. All arrive, those that were answered for before included.
    """
    first, second = await stage.edges()
    bob = await second.device()
    envelopes = bob.envelopes(500)
    first.offer(*envelopes)
    had = await bob.receive(50)
    await stage.servers[0].kill()
    await first.ended()
    await stage.servers[0].start()
    again = await stage.edge(stage.servers[0])
    again.offer(*first.unsettled())
    wanted = set(envelopes).difference(had)
    while wanted:
        wanted.difference_update(await bob.receive(1))
    equal(first.receipts | again.receipts, {}, "refusals")


@scenario("resumption/sender-stopped", servers=2, covers=("session-33", "session-34"), seconds=40)
async def sender_stopped(stage: Stage) -> None:
    """The sender's homeserver is told to stop while envelopes are under way. It ends within 20 seconds, exit code 0,
    and tells its edge. When it is back, what it has answered for arrives, and it takes more.
    """
    first, second = await stage.edges()
    bob = await second.device()
    envelopes = bob.envelopes(300)
    equal(await first.submit(*envelopes), [None] * 300, "what the sender's homeserver says")
    equal(await stage.servers[0].stop(), 0, "its exit code")
    equal((await first.ended()).code, ErrorCode.SHUTTING_DOWN, "what the edge is told")
    await stage.servers[0].start()
    again = await stage.edge(stage.servers[0])
    envelopes += (more := bob.envelopes(1))
    equal(await again.submit(*more), [None], "what the sender's homeserver says")
    equal(await bob.receive(301) == envelopes, True, "all arrive in order")
