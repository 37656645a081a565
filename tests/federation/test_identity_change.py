"""A homeserver's identity changes, with real processes: what waits, what the operator is told, and what ends it."""

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.federation.harness import A, B, Federation, Heard, federation, listening
from volly_fed.config.keys import KeyKind, format_key
from volly_fed.crypto.signature import IdentityKey, fingerprint
from volly_fed.daemon import material
from volly_fed.names import fingerprint_text
from volly_fed.testnet.devices import Device
from volly_fed.testnet.processes import command
from volly_fed.trust import make_statement

pytestmark = pytest.mark.real


def text_of(key: IdentityKey) -> str:
    return fingerprint_text(fingerprint(key.public))


async def volly_fed(net: Federation, *arguments: str) -> Any:
    """What `volly-fed ARGUMENTS --json` prints on the machine of a.test."""
    config = str(net.site(A).config)
    done = await trio.run_process(command(*arguments, "--config", config, "--json"), capture_stdout=True)
    return json.loads(done.stdout)


async def change_identity(net: Federation, *, statement: bool = False) -> tuple[IdentityKey, IdentityKey]:
    """Stop everything, give b.test another identity in its files, its zone and its edge, and start again: (old, new).

    Everything, so that a.test does not go by the records it remembers.
    """
    for domain in (A, B):
        await net.homeserver(domain).stop()
    await net.edge(B).stop()
    data = net.site(B).folder / "data"
    old, new = material.load_material(data).identity, IdentityKey.generate(os.urandom)
    (data / material.IDENTITY_KEY).write_text(format_key(KeyKind.IDENTITY, new.seed))
    if statement:
        now = int(time.time())
        made = make_statement(domain=B, sequence=now, not_before=now, not_after=now + 86400, old=old, new=new)
        (data / material.CONTINUITY).write_bytes(made)
    before = next(line for line in net.site(B).records if text_of(old) in line)
    net.world.update(B, remove=[before], add=[before.replace(text_of(old), text_of(new))])
    edge = net.site(B).edges[0].config
    edge.write_text(edge.read_text().replace(text_of(old), text_of(new)))
    await net.start_homeservers(A, B)
    await net.network.start_edge(B, net.site(B).edges[0].name)
    return old, new


async def acquainted(net: Federation) -> tuple[Device, Device, Heard]:
    """Alice of a.test has written to Bob of b.test before."""
    alice, bob, heard = net.device(A, "alice"), net.device(B, "bob"), Heard()
    async with listening(bob, heard):
        assert (await alice.send(bob.card, "before")).accepted
        await heard.wait(1)
    return alice, bob, heard


async def test_without_a_statement_envelopes_wait_until_the_operator_accepts_the_key(tmp_path: Path) -> None:
    async with federation(tmp_path) as net:
        alice, bob, heard = await acquainted(net)
        old, new = await change_identity(net)
        async with listening(bob, heard):
            assert (await alice.send(bob.card, "after")).accepted
            line = await net.logged(A, "identity_changed", peer=B)
            assert (line["fingerprint"], line["previous"]) == (text_of(new), text_of(old))
            assert "accept-key b.test" in line["reason"]
            await net.logged(A, "dial_failed", peer=B, reason="pinned")
            await net.logged(B, "link_down", peer=A, reason="the peer refuses: a.test has pinned another identity")

            (known,) = (await volly_fed(net, "trust", "identities"))["identities"]
            assert (known["domain"], known["state"]) == (B, "quarantined")
            assert (known["identity"], known["quarantine"]["identity"]) == (text_of(old), text_of(new))
            evidence = (await volly_fed(net, "trust", "evidence", B))["evidence"]
            assert [row["identity"] for row in evidence] == [text_of(new), text_of(old)]
            for row in evidence:
                proof = "\n".join(row["proof"])
                assert f"id={row['identity']}" in proof
                assert re.search(rf"_volly-fed\.{B}\. \d+ IN RRSIG TXT ", proof)
            assert heard.texts == ["before"]

            done = await volly_fed(net, "trust", "accept-key", B, "--yes")
            assert done == {
                "domain": B,
                "previous": text_of(old),
                "accepted": text_of(new),
                "published": True,
                "shown": True,
                "done": True,
            }
            await heard.wait(2)
        assert heard.texts == ["before", "after"]
        assert heard.twice == 0
        await net.logged(A, "identity_replaced", peer=B, verdict="operator")


async def test_with_a_statement_envelopes_wait_for_the_cool_off_only(tmp_path: Path) -> None:
    async with federation(tmp_path) as net:
        for domain in (A, B):
            config = net.site(domain).config
            changed = re.sub(r"(?m)^# cool_off = .*$", "cool_off = 2.0", config.read_text())
            assert changed != config.read_text()
            config.write_text(changed)
        alice, bob, heard = await acquainted(net)
        old, new = await change_identity(net, statement=True)
        async with listening(bob, heard):
            assert (await alice.send(bob.card, "after")).accepted
            line = await net.logged(A, "identity_announced", peer=B, verdict="switched")
            assert (line["fingerprint"], line["previous"]) == (text_of(new), text_of(old))
            await heard.wait(2)
        assert heard.texts == ["before", "after"]
        await net.logged(A, "identity_replaced", peer=B, verdict="statement")
        (known,) = (await volly_fed(net, "trust", "identities"))["identities"]
        assert (known["state"], known["identity"]) == ("pinned", text_of(new))


async def test_after_a_lost_key_the_link_comes_back_by_recover_and_accept_key(tmp_path: Path) -> None:
    async with federation(tmp_path) as net:
        alice, bob, heard = await acquainted(net)
        for domain in (A, B):
            await net.homeserver(domain).stop()
        await net.edge(B).stop()
        site = net.site(B)
        (site.folder / "data" / material.IDENTITY_KEY).unlink()
        recovered = command("keys", "recover", "--yes", "--json", "--config", str(site.config))
        done = json.loads((await trio.run_process(recovered, capture_stdout=True)).stdout)
        assert (done["how"], done["peers"], done["edges"]) == ("new", [A], ["edge-1"])
        # the operator of b.test does what it says
        before = next(line for line in site.records if "v=vf1" in line)
        published = next(line for line in done["records"] if f"id={done['identity']}" in line)
        net.world.update(B, remove=[before], add=[published])
        edge = site.edges[0].config
        edge.write_text(
            re.sub(r"(?m)^homeserver_identity = .*$", f'homeserver_identity = "{done["identity"]}"', edge.read_text())
        )
        await net.start_homeservers(A, B)
        await net.network.start_edge(B, site.edges[0].name)
        async with listening(bob, heard):
            assert (await alice.send(bob.card, "after")).accepted
            await net.logged(A, "identity_changed", peer=B)
            assert heard.texts == ["before"]
            # the operator of a.test does what he was told
            _, *accept = done["accept"].split()
            assert (await volly_fed(net, *accept, "--yes"))["accepted"] == done["identity"]
            await heard.wait(2)
        assert (heard.texts, heard.twice) == (["before", "after"], 0)
