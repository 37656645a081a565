"""The policy changes while the servers run: SIGHUP, on links that exist."""

from interop.scenario import check, equal, scenario
from interop.scenarios.refusals import code_of
from interop.stage import Stage
from volly_fed.codepoints import ErrorCode


@scenario("policy/lowered-to-none-and-raised", servers=2, covers=("router-7", "router-8", "trust-2", "trust-13"))
async def lowered_to_none_and_raised(stage: Stage) -> None:
    """The first homeserver stops trusting the second: the link ends, and what is submitted is refused. It trusts it
    again: envelopes flow, both ways.
    """
    sender, receiver = stage.servers
    first, second = await stage.edges()
    alice, bob = await first.device(), await second.device()
    equal(await first.submit(envelope := bob.envelope()), [None], "what the sender's homeserver says")
    equal(await bob.receive(1), [envelope], "what was delivered")
    await stage.trust(sender, receiver.domain, "none")
    await stage.no_link()
    equal([code_of(answer) for answer in await first.submit(bob.envelope())], [ErrorCode.POLICY], "the answer")
    await stage.trust(sender, receiver.domain, "full")
    for edge, device in ((first, bob), (second, alice)):
        equal(await edge.submit(envelope := device.envelope()), [None], "what the sender's homeserver says")
        equal(await device.receive(1), [envelope], "what was delivered")


@scenario("policy/lowered-to-metadata", servers=2, covers=("router-5", "router-6", "router-7", "trust-12", "trust-14"))
async def lowered_to_metadata(stage: Stage) -> None:
    """Envelopes wait for a peer that is out of reach. Before it is back, the sender's homeserver trusts it with
    metadata only: they wait on, also when there is a link, on which the peer's own envelopes come and are refused. At
    full trust again they leave, in order, with what is submitted then.
    """
    sender, receiver = stage.servers
    first, second = await stage.edges()
    alice, bob = await first.device(), await second.device()
    stage.link(sender, receiver).refuse()
    stage.link(receiver, sender).refuse()
    await stage.unlink()
    envelopes = bob.envelopes(20)
    equal(await first.submit(*envelopes), [None] * 20, "what the sender's homeserver says")
    await stage.trust(sender, receiver.domain, "metadata")
    stage.link(receiver, sender).admit()
    stage.link(sender, receiver).admit()
    equal(await second.submit(back := alice.envelope()), [None], "what the other homeserver says")
    equal((await second.receipt(back))[0], ErrorCode.POLICY, "what the receipt says")
    check(not bob.waiting, "nothing has left")
    await stage.trust(sender, receiver.domain, "full")
    envelopes += (more := bob.envelopes(1))
    equal(await first.submit(*more), [None], "what the sender's homeserver says")
    equal(await bob.receive(21) == envelopes, True, "all arrive in order")


@scenario("policy/edge-revoked", servers=1, covers=("edge-2", "edge-5"))
async def edge_revoked(stage: Stage) -> None:
    """An edge is taken off the list while it is linked: its link ends with POLICY, that of another edge stays. Enrolled
    again, it is let in.
    """
    server = stage.servers[0]
    revoked, other = await stage.edge(server), await stage.edge(server, "edge-2")
    bob = await other.device()
    fingerprint = server.site.enrolled.pop(revoked.call.name)
    await server.reload()
    equal((await revoked.ended()).code, ErrorCode.POLICY, "what the edge is told")
    equal(await other.submit(envelope := bob.envelope()), [None], "what the other edge is told")
    equal(await bob.receive(1), [envelope], "what was delivered")
    server.site.enrolled[revoked.call.name] = fingerprint
    await server.reload()
    await (await stage.edge(server)).device()
