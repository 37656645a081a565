"""An edge in the wrong hands, with its real keys, on a real link: it can withhold, and nothing else.

The honest way is walked beside each attack, so that a refusal is known to be the attack's.
"""

import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from tests.federation.actors import Caller, Held, Keys, Scripted, calling, prove
from tests.federation.harness import A, Federation, Heard, federation, introduce, listening, log_lines
from volly_fed.channel import EDGE
from volly_fed.client.mailbox import DeviceKeys
from volly_fed.client.seal import Content, seal
from volly_fed.codepoints import ErrorCode
from volly_fed.daemon import material
from volly_fed.daemon.edges import EXTRA
from volly_fed.edge.admission import REFUSAL
from volly_fed.edge.claim import make_acknowledge
from volly_fed.edge.registration import encode_registration, make_registration
from volly_fed.errors import ChannelError, Refused, RemoteError
from volly_fed.names import DomainName
from volly_fed.relay.envelope import encode_envelope, parse_envelope
from volly_fed.testnet.processes import command
from volly_fed.wire import messages as wire

pytestmark = pytest.mark.real
TAKEN = DomainName("edge-2")
"""The enrolled edge that the test plays; edge-1 is an honest process."""


@asynccontextmanager
async def one_domain(folder: Path) -> AsyncIterator[Federation]:
    async with federation(folder, servers=1, edges=2, start=False) as net:
        await net.start(A, edges=[1])
        yield net


def enrolled_keys(net: Federation) -> Keys:
    return Keys.of(material.load_material(net.site(A).edges[1].config.parent / "edge-data"))


def caller(net: Federation, *, name: DomainName = TAKEN, keys: Keys | None = None) -> Caller:
    files = material.load_material(net.site(A).folder / "data")
    return Caller(
        profile=EDGE,
        name=name,
        keys=keys or enrolled_keys(net),
        wanted=A,
        expected=files.fingerprint,
        port=net.homeserver(A).ready["edges_port"],
    )


async def claim(edge: Scripted, device: DeviceKeys) -> Held:
    """The device claims its mailbox through this edge, in all honesty."""
    proof, key = prove(device, await edge.challenge(device.mailbox.public), time.time())
    assert isinstance(await edge.ask(proof), wire.Claimed)
    return Held(device, key)


def refusals(net: Federation) -> int:
    log = net.site(A).folder / "homeserver.log"
    return sum(line["event"] == "edge_refused" and line["code"] == "BAD_PROOF" for line in log_lines(log))


async def rejects(edge: Scripted, proof: wire.Proof) -> None:
    answer = await edge.ask(proof)
    assert isinstance(answer, wire.NotClaimed)
    assert answer.code is ErrorCode.BAD_PROOF


async def test_it_claims_and_releases_no_mailbox_and_registers_no_capability(tmp_path: Path) -> None:
    async with one_domain(tmp_path) as net, calling(caller(net), EXTRA) as edge:
        alice, bob = net.device(A, "alice"), net.device(A, "bob")
        keys = bob.keys
        mine = os.urandom(16)
        wider = encode_registration(make_registration({mine: ("*",), bob.card.capability: ("*",)}))

        # nobody has claimed the mailbox yet: a made-up proof neither claims nor makes it exist
        guessed = await edge.challenge(keys.mailbox.public)
        await rejects(edge, wire.Proof(request=guessed.request, mac=os.urandom(32), registration=keys.registration))
        assert not (await alice.send(bob.card, "nobody is there")).accepted

        # the device's own proof, with the edge's capability put in
        challenge = await edge.challenge(keys.mailbox.public)
        proof, _ = prove(keys, challenge, time.time())
        await rejects(edge, attrs.evolve(proof, registration=wider))
        await rejects(edge, proof)  # one attempt a challenge
        assert not (await alice.send(bob.card, "nobody is there")).accepted

        # the device's own proof, once more after it went away
        challenge = await edge.challenge(keys.mailbox.public)
        proof, _ = prove(keys, challenge, time.time())
        assert isinstance(await edge.ask(proof), wire.Claimed)
        edge.link.send(wire.Release(mailbox=keys.address.mailbox))
        again = await edge.challenge(keys.mailbox.public)
        await rejects(edge, attrs.evolve(proof, request=again.request))
        await rejects(edge, proof)

        # the mailbox exists by now: the edge's capability opens it no more than a random one, and it gets nothing
        with_mine = attrs.evolve(bob.card, capability=mine)
        content = Content(sent_at=int(time.time()), text="let me in")
        forged = seal(
            content,
            identity=alice.keys.identity,
            to=with_mine,
            envelope_id=os.urandom(16),
            expiry=int(time.time()) + 600,
        )
        assert await edge.submit(encode_envelope(forged)) == REFUSAL
        assert (await alice.send(bob.card, "for bob only")).accepted
        await edge.challenge(keys.mailbox.public)
        assert edge.frames == []
        heard = Heard()
        async with listening(bob, heard):
            await heard.wait(1)
            # now the honest edge holds the mailbox: this one can neither end that nor speak for it
            edge.link.send(wire.Release(mailbox=keys.address.mailbox))
            edge.link.send(wire.Acknowledge(mailbox=keys.address.mailbox, ids=[os.urandom(16)], mac=bytes(32)))
            await edge.challenge(keys.mailbox.public)
            assert (await alice.send(bob.card, "still yours")).accepted
            await heard.wait(2)
        assert heard.texts == ["for bob only", "still yours"]
        assert edge.frames == []


async def test_it_deletes_nothing_that_the_device_did_not_acknowledge(tmp_path: Path) -> None:
    async with one_domain(tmp_path) as net, calling(caller(net), EXTRA) as edge:
        alice, bob, carol = net.device(A, "alice"), net.device(A, "bob"), net.device(A, "carol")
        for device in (bob, carol):
            await introduce(device)
        for text in ("one", "two", "three"):
            assert (await alice.send(bob.card, text)).accepted
        of_bob = await claim(edge, bob.keys)
        bobs = await edge.delivered(3)
        of_carol = await claim(edge, carol.keys)
        assert (await alice.send(carol.card, "for carol")).accepted
        carols = (await edge.delivered(4))[3:]

        box, ids = bob.keys.address.mailbox, [parse_envelope(frame).id for frame in bobs]
        before = refusals(net)
        attacks = [
            wire.Acknowledge(mailbox=box, ids=ids, mac=os.urandom(32)),
            attrs.evolve(of_carol.acknowledge(bobs), mailbox=box),  # under another mailbox's key
            attrs.evolve(of_carol.acknowledge(carols), mailbox=box),  # another mailbox's own word
            attrs.evolve(of_carol.acknowledge(carols), mailbox=box, ids=ids[:1]),
            attrs.evolve(of_bob.acknowledge(bobs[:1]), ids=ids),  # a word about one, stretched to three
            attrs.evolve(of_bob.acknowledge(bobs[:1]), ids=ids[1:2]),
            of_bob.acknowledge(carols),  # what was never delivered on this claim
            make_acknowledge(of_bob.key, box, [(os.urandom(16), os.urandom(32))]),
            make_acknowledge(of_bob.key, box, [(ids[0], os.urandom(32))]),  # about other bytes than were delivered
        ]
        for attack in attacks:
            assert edge.link.send(attack)
        old = of_bob.acknowledge(bobs)
        edge.link.send(wire.Release(mailbox=box))
        await claim(edge, bob.keys)  # and its word from before, kept back until now
        assert sorted((await edge.delivered(7))[4:]) == sorted(bobs), "a new claim is given all of it again"
        edge.link.send(old)
        await edge.challenge(bob.keys.mailbox.public)
        assert refusals(net) == before + len(attacks) + 1

        edge.link.send(of_carol.acknowledge(carols))  # the real word does delete
        heard, from_carol = Heard(), Heard()
        async with listening(bob, heard):
            await heard.wait(3)
        assert sorted(map(str, heard.texts)) == ["one", "three", "two"]
        async with listening(carol, from_carol):
            assert (await alice.send(carol.card, "afterwards")).accepted
            await from_carol.wait(1)
        assert from_carol.texts == ["afterwards"]


async def test_who_is_not_enrolled_or_not_any_more_is_refused(tmp_path: Path) -> None:
    async with one_domain(tmp_path) as net:
        for name, keys, code in (
            (DomainName("edge-9"), Keys.new(), ErrorCode.POLICY),
            (DomainName("edge-9"), enrolled_keys(net), ErrorCode.POLICY),
            (TAKEN, Keys.new(), ErrorCode.IDENTITY_MISMATCH),
            (DomainName("edge-1"), enrolled_keys(net), ErrorCode.IDENTITY_MISMATCH),
        ):
            with pytest.raises(Refused) as refused:
                await caller(net, name=name, keys=keys).knock()
            assert refused.value.code is code
        with pytest.raises((ChannelError, RemoteError)):  # the door for peers is not one for edges
            await attrs.evolve(caller(net), port=net.homeserver(A).ready["federation_port"]).knock()

        async with calling(caller(net), EXTRA) as edge:
            await trio.run_process(
                command("edges", "revoke", TAKEN, "--config", str(net.site(A).config)), stdout=subprocess.DEVNULL
            )
            net.homeserver(A).process.send_signal(signal.SIGHUP)
            with trio.fail_after(60):
                await edge.ended.wait()
            assert edge.end is not None
            assert edge.end.code is ErrorCode.POLICY
        with pytest.raises(Refused) as refused:
            await caller(net).knock()
        assert refused.value.code is ErrorCode.POLICY
