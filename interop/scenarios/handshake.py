"""Links between two homeservers that play by the rules: who dials, and which of two links stays."""

from interop.fake_edge import FakeEdge
from interop.scenario import check, equal, scenario
from interop.stage import Stage
from volly_fed.testing.link_shim import End


async def exchange(first: FakeEdge, second: FakeEdge) -> None:
    """An envelope each way."""
    for sender, receiver in ((first, second), (second, first)):
        device = await receiver.device()
        equal(await sender.submit(envelope := device.envelope()), [None], "what the sender's homeserver says")
        equal(await device.receive(1), [envelope], "what was delivered")


@scenario("handshake/each-dials-in-turn", servers=2, covers=("handshake-8", "handshake-19", "relay-17"))
async def each_dials_in_turn(stage: Stage) -> None:
    """There is no link, and only the first homeserver can reach the second: a device submits, and the first dials. Then
    it is the other way round. On the link that either has dialled, envelopes go both ways.
    """
    first, second = await stage.edges()
    for dialler, listener in (stage.servers, stage.servers[::-1]):
        link, back = stage.link(dialler, listener), stage.link(listener, dialler)
        back.refuse()
        await stage.unlink()
        edges = (first, second) if dialler is stage.servers[0] else (second, first)
        await exchange(*edges)
        check(link.connections, f"{dialler.domain} has dialled")
        check(not back.connections, f"{listener.domain} has not dialled")
        back.admit()


@scenario("handshake/both-dial-at-once", servers=2, covers=("handshake-29", "session-36", "session-37"))
async def both_dial_at_once(stage: Stage) -> None:
    """There is no link, the way is long, and devices of both submit at the same moment, so that each homeserver dials
    before it hears of the other's call. All envelopes arrive, each once, and one link is left.
    """
    first, second = await stage.edges()
    alice, bob = await first.device(), await second.device()
    await stage.unlink()
    for shim in stage.links():
        shim.shape(latency=0.15)
    to_alice, to_bob = alice.envelopes(20), bob.envelopes(20)
    first.offer(*to_bob)
    second.offer(*to_alice)
    equal(await bob.receive(20) == to_bob, True, "all arrive in order")
    equal(await alice.receive(20) == to_alice, True, "all arrive in order")
    await stage.one_link()


@scenario("handshake/dials-again-over-a-dead-link", servers=2, covers=("session-36",))
async def dials_again_over_a_dead_link(stage: Stage) -> None:
    """The dialler of a link sees it break and dials again; the listener has not heard that it broke. It takes the newer
    one, and envelopes go both ways at once.
    """
    first, second = await stage.edges()
    await stage.unlink()
    await exchange(first, second)
    link = stage.link(*stage.servers)
    accepted = link.accepted
    link.half_open(End.DIALLER)
    await exchange(first, second)
    check(link.accepted > accepted, "there is another link")
