"""Envelopes between two homeservers: each class, each way, in order, once."""

from interop.scenario import equal, scenario
from interop.stage import Stage


@scenario("envelopes/one-each-way", servers=2, covers=("relay-2",))
async def one_each_way(stage: Stage) -> None:
    """A device of each homeserver submits an envelope for a device of the other, which gets exactly those bytes."""
    first, second = [await stage.edge(server) for server in stage.servers]
    alice, bob = await first.device(), await second.device()
    for edge, device in ((first, bob), (second, alice)):
        envelope = device.envelope()
        equal(await edge.submit(envelope), [None], "what the sender's homeserver says")
        equal(await device.receive(1), [envelope], "what was delivered")
