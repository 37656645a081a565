"""Which link is made, and which stays: two at once, and the targets of a domain in their order."""

from typing import Final

from interop.fake_peer import Peer, Persona, Target, listening
from interop.fake_tls import TlsHabits
from interop.rogue import Depth, Rogue, leave, other_source, rogue
from interop.scenario import check, equal, scenario
from interop.stage import Stage
from volly_fed.codepoints import ErrorCode
from volly_fed.wire.messages import Close, Ping, Pong, Refuse

_OTHER: Final = Persona.create("somebody-else.test")


async def _still_there(peer: Peer) -> None:
    await peer.send(Ping(token=7))
    equal((await peer.expect(Pong)).token, 7, "the number of PONG on the link that stays")


@scenario("links/two-at-once", servers=1, covers=("handshake-29", "session-36", "session-37"))
async def two_at_once(stage: Stage) -> None:
    """The server has dialled a link, and at once the other end dials one too. The one that stays was dialled by the
    domain that is first in byte order: where that is the other end, the server closes its own with REPLACED; where it
    is the server, it closes the other one with 1000, without a session.
    """
    edge = await stage.edge(stage.servers[0])
    first, last = await rogue(stage, "0-rogue", edge=edge), await rogue(stage, "rogue", edge=edge)
    check(first.domain < stage.servers[0].site.domain < last.domain, "the order of names that the scenario is about")
    async with first.called(Depth.BEGUN) as older:
        await first.take_all(older)
        async with first.calling(Depth.BEGUN) as newer:
            equal((await older.expect(Close)).code, ErrorCode.REPLACED, "the code for the older link")
            await older.send(Close(code=ErrorCode.NONE, text=""))
            await older.expect_websocket_close(1000)
            await _still_there(newer)
            await leave(newer)
    async with last.called(Depth.BEGUN) as older:
        await last.take_all(older)
        async with last.calling(Depth.PROVED) as newer:
            await newer.expect_websocket_close(1000)
        await _still_there(older)
        await leave(older)


async def _with_two_targets(stage: Stage) -> tuple[Rogue, tuple[str, int]]:
    """A stranger that publishes a second target, with the same TLS key; where it has to listen for that."""
    address, port = other_source(), 5223

    def two(lines: list[str]) -> list[str]:
        tlsa = next(line for line in lines if " TLSA " in line).partition(" IN ")[2]
        more = [f"_volly-fed._tcp IN SRV 10 5 {port} spare", f"spare IN A {address}", f"_{port}._tcp.spare IN {tlsa}"]
        return [*lines, *more]

    edge = await stage.edge(stage.servers[0])
    return await rogue(stage, edge=edge, records=two), (address, port)


@scenario(
    "links/next-target",
    servers=1,
    needs=("discovery",),
    covers=("discovery-25", "channel-9", "handshake-6", "handshake-7"),
)
async def next_target(stage: Stage) -> None:
    """A domain has two targets. At the first, another TLS key, another name or another identity answers, or nobody
    at all: the server goes on to the second, without a pause. After a REFUSE it does not: that speaks for the domain.
    """
    who, spare = await _with_two_targets(stage)
    target = Target(domain=who.domain, host=f"spare.{who.domain}", address=spare[0], port=spare[1])
    async with listening(who.persona, *spare) as second:

        async def goes_on() -> None:
            async with second.caller(stage.servers[0].site.domain) as peer:
                peer.cursors = who.cursors
                await peer.secure()
                head = await peer.expect_head("GET")
                check(f"host: {target.host}" in head.lower(), "the second target's name in the Host field")
                key = next(line for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key"))
                await peer.answer(key.partition(":")[2].strip())
                peer.hold_hands()
                await peer.shake()
                await peer.begin()
                await who.take_all(peer)
                await leave(peer)

        async with who.called(Depth.TCP) as peer:
            await peer.expect_no_tls(TlsHabits(identity=_OTHER.tls))
        await goes_on()


@scenario("links/refusal-of-the-first-target", servers=1, needs=("discovery",), covers=("handshake-25",))
async def refused(stage: Stage) -> None:
    """The first of two targets refuses with POLICY: no other target is tried until the next attempt, which begins with
    the first one.
    """
    who, spare = await _with_two_targets(stage)
    async with listening(who.persona, *spare) as second:
        async with who.called(Depth.OPEN) as peer:
            await peer.expect_hello()
            await peer.send(Refuse(code=ErrorCode.POLICY, text="no"))
            await peer.expect_websocket_close(1000)
        await who.be_called_honestly()
        try:
            async with second.caller(patience=0.2):
                tried = True
        except AssertionError:
            tried = False
        check(not tried, "no connection to the second target")
