"""The stage, on the real homeserver: what an edge of the runner sees, verdicts, and that nothing is left."""

from pathlib import Path

import attrs
import pytest

from interop.cast import playing
from interop.contract import read_contract
from interop.run import PEERS
from interop.scenario import Play, Scenario, equal
from interop.stage import Stage, play
from volly_fed.codepoints import ErrorCode
from volly_fed.errors import RemoteError

pytestmark = pytest.mark.real


def as_scenario(what: Play, seconds: float = 20.0) -> Scenario:
    return Scenario(name="t/t", play=what, servers=1, covers=(), needs=frozenset(), seconds=seconds, fresh=False)


async def honest(stage: Stage) -> None:
    edge, other = await stage.edge(stage.servers[0]), await stage.edge(stage.servers[0], "edge-2")
    bob = await edge.device()
    envelopes = bob.envelopes(3)
    answers = await other.submit(*envelopes, b"garbage")
    equal([answer and answer[0] for answer in answers], [None, None, None, ErrorCode.MALFORMED], "answers")
    equal(await bob.receive(2), envelopes[:2], "what was delivered")
    equal(bob.waiting, envelopes[2:], "what waits")
    equal((await edge.close()).code, ErrorCode.NONE, "the end")
    with pytest.raises(RemoteError, match="the edge link has ended"):
        await bob.receive(2)


async def dishonest(stage: Stage) -> None:
    edge = await stage.edge(stage.servers[0])
    bob = await edge.device()
    proof = await bob.proof(edge)
    answer = await edge.ask(attrs.evolve(proof, mac=bytes(32)))
    equal(getattr(answer, "code", None), ErrorCode.BAD_PROOF, "the code")
    await edge.say(b"\xa0")
    equal((await edge.ended()).code, ErrorCode.UNEXPECTED, "what the edge is told")


async def disappointed(stage: Stage) -> None:
    equal(len(stage.servers), 2, "servers")


async def endless(stage: Stage) -> None:
    edge = await stage.edge(stage.servers[0])
    await edge.ended()


async def broken(stage: Stage) -> None:
    raise ZeroDivisionError


async def killed_behind_our_back(stage: Stage) -> None:
    process = stage.servers[0]._process
    assert process is not None
    process.kill()
    await process.wait()


async def meddling(stage: Stage) -> None:
    server = stage.servers[0]
    stranger = await stage.stranger("visitor", level="none")
    assert stranger.domain in server.site.peers
    server.site.enrolled.clear()
    server.site.default_level = "full"
    await server.reload()
    await server.kill()


async def test_scenarios_on_one_server(tmp_path: Path) -> None:
    async with playing(tmp_path, [read_contract(PEERS / "python")]) as cast:
        server = cast.servers[0]
        before = server.site.as_json()
        assert await play(cast, as_scenario(honest)) == ""
        assert await play(cast, as_scenario(dishonest)) == ""
        assert await play(cast, as_scenario(disappointed)) == "servers: expected 2, and it is 1"
        assert await play(cast, as_scenario(endless, seconds=1.0)) == "not over within 1 s"
        assert "ZeroDivisionError" in await play(cast, as_scenario(broken))
        assert await play(cast, as_scenario(meddling)) == ""
        assert "visitor-1.test." not in cast.zones.world.origins
        await cast.tidy()
        assert server.running
        assert server.site.as_json() == before
        assert "goes on running" in await play(cast, as_scenario(killed_behind_our_back))
