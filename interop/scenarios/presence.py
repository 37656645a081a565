"""Who is online, from one domain to another."""

from interop.fake_presence import FakeUser, Watcher
from interop.scenario import equal, scenario
from interop.stage import Stage
from volly_fed.client.sightings import Presence

ONLINE, OFFLINE, UNKNOWN = Presence.ONLINE, Presence.OFFLINE, Presence.UNKNOWN


@scenario("presence/comes-and-goes", servers=2, needs=("presence",), covers=("presence-14", "presence-24"))
async def comes_and_goes(stage: Stage) -> None:
    """Each homeserver's device watches a user of the other. The users come: one is seen before the watching begins, the
    other while it goes on. They go, and are seen going.
    """
    first, second = await stage.edges()
    alice, bob = FakeUser.new(first.call.domain, "*"), FakeUser.new(second.call.domain, first.call.domain)
    at_first, at_second = Watcher(first, [bob]), Watcher(second, [alice])
    alice.come(first)
    at_first.watch()
    at_second.watch()
    await at_second.sees(alice, ONLINE)
    await at_first.sees(bob, OFFLINE)
    bob.come(second)
    await at_first.sees(bob, ONLINE)
    alice.go()
    bob.go()
    await at_second.sees(alice, OFFLINE)
    await at_first.sees(bob, OFFLINE)


@scenario("presence/within-one-domain", servers=1, needs=("presence",), covers=("presence-14",))
async def within_one_domain(stage: Stage) -> None:
    """A device watches its own domain. Its user comes through another edge, and is seen; that edge is lost, and some
    seconds later the user is offline.
    """
    server = stage.servers[0]
    edge, other = await stage.edge(server), await stage.edge(server, "edge-2")
    alice = FakeUser.new(server.site.domain, "*")
    watcher = Watcher(edge, [alice])
    watcher.watch()
    await watcher.sees(alice, OFFLINE)
    alice.come(other)
    await watcher.sees(alice, ONLINE)
    await other.close()
    await watcher.sees(alice, OFFLINE)


@scenario("presence/scopes", servers=2, needs=("presence",), covers=("presence-14", "presence-22"))
async def scopes(stage: Stage) -> None:
    """Users let be seen: the other domain, everybody, a third domain, nobody. At the level full, and at metadata, the
    first two are shown; at selective the first; at none nobody. Levels change while the other watches.
    """
    showing, viewing = stage.servers
    first, second = await stage.edges()
    named, everybody, third, nobody = (
        FakeUser.new(showing.site.domain, *scopes) for scopes in ((viewing.domain,), ("*",), ("c.test",), ())
    )
    users = (named, everybody, third, nobody)
    for user in users:
        user.come(first)
    watcher = Watcher(second, users)
    watcher.watch()
    for level, expected in (
        ("full", (ONLINE, ONLINE, OFFLINE, OFFLINE)),
        ("selective", (ONLINE, OFFLINE, OFFLINE, OFFLINE)),
        ("metadata", (ONLINE, ONLINE, OFFLINE, OFFLINE)),
        ("none", (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)),
    ):
        if level != "full":
            await stage.trust(showing, viewing.domain, level)
        await watcher.sees(everybody, expected[1])
        equal(tuple(map(watcher.says, users)), expected, f"what is said at the level {level}")


@scenario("presence/link-lost", servers=2, needs=("presence",), covers=("presence-20", "presence-32"))
async def link_lost(stage: Stage) -> None:
    """The link is cut while somebody watches. Users come and go meanwhile; on the next link the watching homeserver
    goes on with the filter that it has, and its device sees who is online now.
    """
    first, second = await stage.edges()
    alice, carol = (FakeUser.new(first.call.domain, "*") for _ in range(2))
    alice.come(first)
    watcher = Watcher(second, [alice, carol])
    watcher.watch()
    await watcher.sees(alice, ONLINE)
    for shim in stage.links():
        shim.refuse()
    await stage.unlink()
    alice.go()
    carol.come(first)
    for shim in stage.links():
        shim.admit()
    await watcher.sees(carol, ONLINE)
    await watcher.sees(alice, OFFLINE)


@scenario("presence/pace-tick", servers=2, needs=("presence",), covers=("presence-23",))
async def pace_tick(stage: Stage) -> None:
    """At the pace tick a user who comes is shown within some seconds."""
    showing, viewing = stage.servers
    await stage.trust(showing, viewing.domain, "full", "tick")
    first, second = await stage.edges()
    alice = FakeUser.new(showing.site.domain, "*")
    watcher = Watcher(second, [alice])
    watcher.watch()
    await watcher.sees(alice, OFFLINE)
    alice.come(first)
    await watcher.sees(alice, ONLINE)


@scenario("presence/envelopes-beside", servers=2, needs=("presence",), covers=("session-1",))
async def envelopes_beside(stage: Stage) -> None:
    """Envelopes and presence share one link, and neither waits for the other."""
    first, second = await stage.edges()
    alice, bob = FakeUser.new(first.call.domain, "*"), await second.device()
    watcher = Watcher(second, [alice])
    watcher.watch()
    alice.come(first)
    await watcher.sees(alice, ONLINE)
    envelopes = bob.envelopes(200)
    first.offer(*envelopes)
    alice.go()
    equal(await bob.receive(200) == envelopes, True, "all arrive in order")
    await watcher.sees(alice, OFFLINE)
    await stage.one_link()


@scenario("presence/viewer-stops-trusting", servers=2, needs=("presence",), covers=("presence-31", "presence-43"))
async def viewer_stops_trusting(stage: Stage) -> None:
    """The watching homeserver stops trusting the other: what that has shown is forgotten, and the device knows nothing
    of its user.
    """
    showing, viewing = stage.servers
    first, second = await stage.edges()
    alice = FakeUser.new(showing.site.domain, "*")
    alice.come(first)
    watcher = Watcher(second, [alice])
    watcher.watch()
    await watcher.sees(alice, ONLINE)
    await stage.trust(viewing, showing.domain, "none")
    await watcher.sees(alice, UNKNOWN)
