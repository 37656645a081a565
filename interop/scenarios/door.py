"""The door: what those who prove nothing may cost a homeserver, and that others get through meanwhile."""

from contextlib import suppress

from interop.fake_socket import Ended, Frame, Opcode
from interop.rogue import Depth, Rogue, other_source, rogue
from interop.scenario import check, scenario
from interop.stage import Stage
from volly_fed.codepoints import ErrorCode
from volly_fed.wire.messages import Hello, Refuse


async def _claim(who: Rogue, source: str) -> Refuse | None:
    """Claim to be it, and prove nothing; the refusal, if there is one."""
    async with who.calling(Depth.OPEN, source=source) as peer:
        await peer.send(peer.hands.hello())
        answer = await peer.expect(Hello, Refuse)
        return answer if isinstance(answer, Refuse) else None


@scenario("door/claims-without-a-proof", servers=1, covers=("handshake-36", "handshake-37"))
async def claims(stage: Stage) -> None:
    """Somebody claims a domain from one address, again and again, and proves nothing: BUSY, with a time to stay away.
    The domain itself, which calls from another address, is let in, as it is afterwards from that one's.
    """
    who = await rogue(stage)
    source = other_source()
    refusals = [await _claim(who, source) for _ in range(8)]
    check(refusals[:6] == [None] * 6, "six claims looked up")
    for refusal in refusals[6:]:
        check(refusal and refusal.code is ErrorCode.BUSY, f"BUSY from the seventh on, and it is {refusal}")
        check(refusal and 0 < refusal.retry_after <= 60, f"at most a minute to stay away: {refusal}")
    await who.call_honestly()
    async with who.calling(Depth.BEGUN, source=source):
        pass


@scenario("door/more-bytes-than-a-stranger-has", servers=1)
async def many_bytes(stage: Stage) -> None:
    """A stranger sends pings, or a message without an end, and no HELLO: beyond 65536 bytes the connection ends."""
    who = await rogue(stage)
    floods = (Frame(opcode=Opcode.PING, payload=bytes(125)), Frame(payload=bytes(1000), fin=False))
    for frame in floods:
        async with who.calling(Depth.OPEN) as peer:
            peer.dialogue.sent(f"{frame} and a flood of pings")
            with suppress(Ended):
                await peer.socket.send(frame)
                for _ in range(800):
                    await peer.socket.send(Frame(opcode=Opcode.PING, payload=bytes(125)))
            with peer.limited("the end after 65536 bytes"):
                await peer.socket.receive_end()
    await who.call_honestly()
