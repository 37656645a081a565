"""Keys that change while the homeserver runs: new links take the place of the old ones, and nothing is interrupted."""

import json
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.federation.actors import Caller, Keys
from tests.federation.harness import A, B, Federation, Heard, eventually, federation, listening, log_lines
from volly_fed.channel import FEDERATION
from volly_fed.daemon import material
from volly_fed.daemon.connection import Connection
from volly_fed.names import DomainName, Fingerprint, fingerprint_text
from volly_fed.testnet.network import VISITOR
from volly_fed.testnet.processes import command

pytestmark = pytest.mark.real


def data_of(net: Federation, domain: DomainName) -> Path:
    return net.site(domain).folder / "data"


async def run(net: Federation, domain: DomainName, *arguments: str, code: int = 0) -> dict[str, Any]:
    """What `volly-fed ARGUMENTS --json` says, which must end with `code`."""
    done = await trio.run_process(
        command(*arguments, "--config", str(net.site(domain).config), "--json"),
        check=False,
        capture_stdout=True,
        capture_stderr=True,
    )
    assert done.returncode == code, done.stderr.decode()
    document: dict[str, Any] = json.loads(done.stdout)
    return document


async def shown(net: Federation, expected: Fingerprint) -> str:
    """The digest of the TLS key that a.test shows to the next caller, who must find the identity `expected`."""
    visitor = net.network.folder / VISITOR / "data"
    digests: list[str] = []

    async def note(connection: Connection) -> None:
        digests.append(connection.negotiated.peer_spki_sha256.hex())

    caller = Caller(
        profile=FEDERATION,
        name=VISITOR,
        keys=Keys.of(material.load_material(visitor)),
        wanted=A,
        expected=expected,
        port=net.homeserver(A).ready["federation_port"],
    )
    await caller.call(note)
    return digests[0]


def use_spare(data: Path) -> str:
    """Put the published spare in the place of the TLS key, as a roll does; its digest."""
    spare = material.load_spare(data)
    assert spare is not None
    (data / material.NEXT_TLS_KEY).replace(data / material.TLS_KEY)
    (data / material.NEXT_TLS_CERTIFICATE).replace(data / material.TLS_CERTIFICATE)
    return spare.key.spki_sha256.hex()


async def test_tls_keys_are_reloaded_and_links_renewed(tmp_path: Path) -> None:
    async with federation(tmp_path) as net:
        data = data_of(net, A)
        identity = material.load_material(data).fingerprint
        alice, bob, heard = net.device(A, "alice"), net.device(B, "bob"), Heard()
        async with listening(bob, heard):
            assert (await alice.send(bob.card, "first")).accepted
            await heard.wait(1)
            before = await shown(net, identity)
            new = use_spare(data)
            assert await shown(net, identity) == before != new, "nothing changes before it is told to"

            answer = await run(net, A, "reload")
            assert (answer["tls_spki_sha256"], answer["ended"]) == (new, 0)
            assert await shown(net, identity) == new
            await net.logged(A, "keys_changed", fingerprint=fingerprint_text(identity))
            # another link takes the place of the one from before, with the new key
            await renewed(net, 1)
            assert (await alice.send(bob.card, "second")).accepted
            await heard.wait(2)

            # b.test has taken it, since the spare was in DNS all the time, and does so again
            await net.homeserver(B).stop()
            await net.start_homeservers(B)
            assert (await alice.send(bob.card, "third")).accepted
            await heard.wait(3)
        assert sorted(links(net)[:3]) == ["link_down", "link_up", "link_up"]
        assert links(net)[3:] == ["link_down", "link_up"]
        assert heard.texts == ["first", "second", "third"]


def links(net: Federation) -> list[str]:
    """What became of the links between a.test and b.test."""
    log = log_lines(net.site(A).folder / "homeserver.log")
    return [line["event"] for line in log if line["event"].startswith("link_") and line["peer"] == B]


async def renewed(net: Federation, times: int) -> None:
    """Until new links between a.test and b.test have taken the place of old ones so often."""

    def found() -> bool | None:
        seen = links(net)
        return (seen.count("link_up"), seen.count("link_down")) == (times + 1, times) or None

    await eventually(found, f"{times} renewed links between {A} and {B}")


async def test_peers_hear_of_an_announced_identity_without_a_restart(tmp_path: Path) -> None:
    async with federation(tmp_path) as net:
        old = material.load_material(data_of(net, A)).fingerprint
        alice, bob, heard = net.device(A, "alice"), net.device(B, "bob"), Heard()
        async with listening(bob, heard):
            assert (await alice.send(bob.card, "before")).accepted
            await heard.wait(1)
            started = await run(net, A, "keys", "rotate", "start")
            assert started["reloaded"] is True
            await renewed(net, 1)  # with the statement, which means nothing before the record is there
            publish(net, started["record"])
            await run(net, B, "cache", "flush", A)
            assert (await run(net, A, "reload"))["ended"] == 0
            line = await net.logged(B, "identity_announced", peer=A)
            assert (line["fingerprint"], line["previous"]) == (started["next"], fingerprint_text(old))
            await renewed(net, 2)
            assert (await alice.send(bob.card, "after")).accepted
            await heard.wait(2)
        assert heard.texts == ["before", "after"]
        assert heard.twice == 0
        log = log_lines(net.site(A).folder / "homeserver.log")
        assert {line["code"] for line in log if line["event"] == "link_down"} == {"REPLACED"}
        assert not [line for line in log if line["event"] in {"dial_failed", "renewal_failed"}]


async def test_a_file_that_cannot_be_used_changes_nothing(tmp_path: Path) -> None:
    async with federation(tmp_path, servers=1) as net:
        data, trust = data_of(net, A), net.site(A).folder / "trust.toml"
        identity = material.load_material(data).fingerprint
        before, policy = await shown(net, identity), trust.read_text()
        certificate = (data / material.TLS_CERTIFICATE).read_text()
        broken = {data / material.TLS_CERTIFICATE: certificate, trust: policy}
        for path, good in broken.items():
            path.write_text("x")
            answer = await run(net, A, "reload", code=2)
            assert path.name in answer["error"]
            assert answer["note"]
            net.homeserver(A).process.send_signal(signal.SIGHUP)
            await eventually(partial(failed, net, path.name, 2), f"two failed reloads because of {path.name}")
            assert await shown(net, identity) == before
            path.write_text(good)
        new = use_spare(data)
        net.homeserver(A).process.send_signal(signal.SIGHUP)
        await net.logged(A, "keys_changed")
        assert await shown(net, identity) == new


def failed(net: Federation, name: str, count: int) -> bool | None:
    lines = log_lines(net.site(A).folder / "homeserver.log")
    found = [line for line in lines if line["event"] == "reload_failed" and name in line["reason"]]
    return len(found) == count or None


async def test_an_identity_changes_and_nobody_has_to_be_asked(tmp_path: Path) -> None:
    async with federation(tmp_path, start=False) as net:
        config = net.site(B).config
        config.write_text(config.read_text().replace("[trust]\n", "[trust]\ncool_off = 0.1\n"))
        await net.network.start_all()
        old = material.load_material(data_of(net, A)).fingerprint
        alice, bob, heard = net.device(A, "alice"), net.device(B, "bob"), Heard()
        async with listening(bob, heard):
            assert (await alice.send(bob.card, "before")).accepted
            await heard.wait(1)

            # 1. announced: the record and the statement name both, the old identity is in use
            started = await run(net, A, "keys", "rotate", "start")
            assert (started["phase"], started["reloaded"], started["edges"]) == ("announced", True, ["edge-1"])
            early = await run(net, A, "keys", "rotate", "finish", code=2)
            assert "too recently" in early["error"]
            unpublished = await run(net, A, "keys", "rotate", "finish", "--after", "0", code=2)
            assert "does not announce" in unpublished["error"]
            publish(net, started["record"])
            flushed = await run(net, B, "cache", "flush", A)
            assert flushed["forgotten"] > 0
            add_next(net, started["next"])
            await restart(net)
            assert (await alice.send(bob.card, "between")).accepted
            await heard.wait(2)
            line = await net.logged(B, "identity_announced", peer=A)
            assert (line["fingerprint"], line["previous"]) == (started["next"], fingerprint_text(old))

            # 2. switched: b.test, whose cool-off is over, goes on as if nothing had happened, and so does the edge node
            done = await run(net, A, "keys", "rotate", "finish", "--after", "0")
            assert (done["phase"], done["identity"], done["reloaded"]) == ("switched", started["next"], True)
            await restart(net)
            assert (await alice.send(bob.card, "after")).accepted
            await heard.wait(3)
            await net.logged(B, "identity_replaced", peer=A, fingerprint=done["identity"])
        assert heard.texts == ["before", "between", "after"]
        status = await run(net, A, "keys", "rotate", "status")
        assert (status["phase"], status["previous"]) == ("switched", fingerprint_text(old))


def publish(net: Federation, record: str) -> None:
    """Let the zone of a.test have this identity record instead of the one it has."""
    former = next(line for line in net.site(A).records if " TXT " in line)
    net.world.update(A, remove=[former], add=[record])


async def restart(net: Federation) -> None:
    """End every link of a.test, its edge node's too, and have new ones."""
    await net.edge(A).stop()
    await net.homeserver(A).stop()
    await net.start(A)
    assert net.edge(A).ready["homeserver"] is True


def add_next(net: Federation, identity: str) -> None:
    edge = net.site(A).edges[0].config
    edge.write_text(edge.read_text().replace("[edge]\n", f'[edge]\nhomeserver_identity_next = "{identity}"\n', 1))
