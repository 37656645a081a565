"""What homeservers refuse each other, with what reason, and what becomes of the envelopes meanwhile."""

import json
import os
import shutil
import time
from collections import Counter
from pathlib import Path

import attrs
import pytest
import trio

from tests.federation.actors import Caller, Keys, calling
from tests.federation.harness import (
    A,
    B,
    C,
    Federation,
    Heard,
    count_rows,
    federation,
    full_trust,
    introduce,
    listening,
)
from volly_fed.channel import FEDERATION
from volly_fed.client.seal import Content, seal
from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.config.keys import KeyKind, format_key
from volly_fed.crypto.signature import IdentityKey, fingerprint
from volly_fed.daemon import material
from volly_fed.errors import ChannelError, Refused
from volly_fed.names import DomainName, fingerprint_text
from volly_fed.relay.envelope import encode_envelope
from volly_fed.testing.world import World
from volly_fed.testnet.devices import Device
from volly_fed.testnet.network import VISITOR
from volly_fed.testnet.processes import command
from volly_fed.testnet.sites import FORGED, UNSIGNED

pytestmark = pytest.mark.real
ELSEWHERE = "127.0.0.9"
"""Where attackers call from. All of 127/8 is this machine, and each address counts for itself."""
NOBODY = DomainName("nobody.test")


def keys_of(net: Federation, domain: DomainName) -> Keys:
    return Keys.of(material.load_material(folder_of(net, domain) / "data"))


def folder_of(net: Federation, domain: DomainName) -> Path:
    return net.network.folder / domain


def caller(net: Federation, name: DomainName, keys: Keys, *, to: DomainName = A, source: str = ELSEWHERE) -> Caller:
    expected = material.load_material(folder_of(net, to) / "data").fingerprint
    port = net.homeserver(to).ready["federation_port"]
    return Caller(profile=FEDERATION, name=name, keys=keys, wanted=to, expected=expected, port=port, source=source)


async def refused(who: Caller) -> Refused:
    with pytest.raises(Refused) as caught:
        await who.knock()
    return caught.value


def trusting(net: Federation, domain: DomainName, line: str) -> None:
    """Put one more line into the policy of a homeserver that has not started."""
    path = net.site(domain).folder / "trust.toml"
    path.write_text(path.read_text() + line + "\n")


async def wait_rows(net: Federation, domain: DomainName, table: str) -> int:
    """Stop the homeserver and count."""
    await net.homeserver(domain).stop()
    return count_rows(net.store(domain), table)


# --- who calls -----------------------------------------------------------------------------------------------------


async def test_a_caller_must_show_the_keys_that_its_domain_publishes(tmp_path: Path) -> None:
    async with federation(tmp_path, servers=1, start=False) as net:
        for name in (UNSIGNED, FORGED, NOBODY):
            trusting(net, A, f'"{name}" = "full"')
        await net.start(A, edges=[])
        real, false = keys_of(net, VISITOR), Keys.new()

        # the domain is real, and its TLSA records do not list the caller's TLS key
        error = await refused(caller(net, VISITOR, attrs.evolve(real, tls=false.tls)))
        assert error.code is ErrorCode.KEY_MISMATCH
        assert "TLSA" in str(error)
        # the TLS key is listed, and the identity is not the published one
        error = await refused(caller(net, VISITOR, attrs.evolve(real, identity=false.identity)))
        assert error.code is ErrorCode.IDENTITY_MISMATCH
        # domains whose records prove nothing
        for name in (UNSIGNED, FORGED, NOBODY):
            error = await refused(caller(net, name, real))
            assert error.code is ErrorCode.DISCOVERY
            assert name in str(error)
        # names of others, our own among them
        assert (await refused(caller(net, A, real))).code in (ErrorCode.POLICY, ErrorCode.KEY_MISMATCH)
        assert (await refused(caller(net, C, real))).code is ErrorCode.POLICY
        # and who calls the wrong name
        wrong = attrs.evolve(caller(net, VISITOR, real), wanted=B)
        assert (await refused(wrong)).code is ErrorCode.WRONG_NAME
        # all of that has cost the true one nothing
        await caller(net, VISITOR, real).knock()
        lines = (net.site(A).folder / "homeserver.log").read_text()
        assert "KEY_MISMATCH" in lines
        assert "IDENTITY_MISMATCH" in lines


async def test_a_flood_of_false_claims_is_bounded_and_true_peers_get_in(tmp_path: Path) -> None:
    async with federation(tmp_path, start=False) as net:
        trusting(net, A, f'"{NOBODY}" = "full"')
        await net.start(A)
        await net.start(B)
        alice, bob = net.device(A, "alice"), net.device(B, "bob")
        false = Keys.new()
        answers: Counter[str] = Counter()

        async def flood(claimed: DomainName, count: int) -> None:
            for _ in range(count):
                try:
                    await caller(net, claimed, false).knock()
                except Refused as error:
                    answers[error.code.name] += 1
                except (ChannelError, OSError):
                    answers["turned away"] += 1  # the door was full

        asked = net.names.queries
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(flood, B, 8)
                nursery.start_soon(flood, NOBODY, 8)
            await introduce(alice)
            heard = Heard()
            async with listening(alice, heard):  # b.test has never been here before, and comes in the middle of it
                assert (await bob.send(alice.card, "true")).accepted
                await heard.wait(1)
        assert heard.texts == ["true"]
        assert answers["KEY_MISMATCH"] <= 6
        assert answers["DISCOVERY"] <= 6
        assert answers["BUSY"] + answers["turned away"] >= 64 - 12
        assert answers.total() == 64
        assert net.names.queries - asked <= 120, "each look-up of a name costs its queries once"
        # the next claim of any kind costs nothing at all
        asked = net.names.queries
        assert (await refused(caller(net, NOBODY, false))).code is ErrorCode.BUSY
        assert net.names.queries == asked


# --- trust ---------------------------------------------------------------------------------------------------------


async def test_trust_levels_are_obeyed_at_both_ends_with_the_reason(tmp_path: Path) -> None:
    levels = full_trust(A, B, C)
    levels[A][C] = TrustLevel.METADATA
    levels[B][C] = TrustLevel.NONE
    async with federation(tmp_path, servers=3, levels=levels, start=False) as net:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(net.start, A)
            nursery.start_soon(net.start, B)
        alice, bob, carol = net.device(A, "alice"), net.device(B, "bob"), net.device(C, "carol")
        await introduce(alice)
        for sender, level in ((alice, "metadata"), (bob, "none")):
            sent = await sender.send(carol.card, "not to c.test")
            assert (sent.accepted, sent.late, sent.code) == (False, False, ErrorCode.POLICY)
            assert "c.test" in sent.text
            assert level in sent.text

        # c.test, which trusts both fully, is turned away by b.test and may tell a.test nothing
        from_c = keys_of(net, C)
        error = await refused(caller(net, C, from_c, to=B))
        assert error.code is ErrorCode.POLICY
        await net.logged(B, "decided", peer=C, gate="accept", reason="none")  # the rule is our business, not theirs
        async with calling(caller(net, C, from_c)) as peer:
            refusal = await peer.submit(sealed(carol, alice, "not from c.test"))
            assert refusal is not None
            assert refusal[0] is ErrorCode.POLICY
        assert await wait_rows(net, A, "inbound") == 0
        assert await wait_rows(net, A, "outbound") == 0
        assert await wait_rows(net, B, "outbound") == 0


def sealed(sender: Device, to: Device, text: str) -> bytes:
    now = int(time.time())
    content = Content(sent_at=now, text=text)
    envelope = seal(content, identity=sender.keys.identity, to=to.card, envelope_id=os.urandom(16), expiry=now + 600)
    return encode_envelope(envelope)


# --- when the other end cannot be reached, or believed ----------------------------------------------------------------


async def test_with_the_wrong_anchor_nothing_leaves_and_everything_says_why(tmp_path: Path) -> None:
    other = World()
    other.sign()
    async with federation(tmp_path, start=False) as net:
        (net.site(A).folder / "anchors.ds").write_text(other.anchor_text)
        await net.start(A)
        await net.start(B, edges=[])
        alice, bob = net.device(A, "alice"), net.device(B, "bob")
        assert (await alice.send(bob.card, "kept")).accepted
        line = await net.logged(A, "dial_failed", peer=B)
        assert "anchor" in line["reason"]
        probe = await trio.run_process(
            command("probe", B, "--config", str(net.site(A).config), "--json"),
            check=False,
            capture_stdout=True,
            capture_stderr=True,
        )
        assert probe.returncode == 2
        steps = json.loads(probe.stdout)["steps"]
        assert steps[-1]["verdict"] == "bogus"
        assert "anchor" in steps[-1]["reason"]
        assert "Traceback" not in probe.stderr.decode()
        assert await wait_rows(net, A, "outbound") == 1


async def test_envelopes_for_a_server_that_is_down_wait_and_leave_when_it_starts(tmp_path: Path) -> None:
    async with federation(tmp_path) as net:
        alice, bob = net.device(A, "alice"), net.device(B, "bob")
        await introduce(bob)
        await net.homeserver(B).stop()
        for number in range(3):
            assert (await alice.send(bob.card, str(number))).accepted
        await net.logged(A, "dial_failed", peer=B)
        await net.start_homeservers(B)
        heard = Heard()
        async with listening(bob, heard):
            await heard.wait(3)
        assert heard.texts == ["0", "1", "2"]


async def test_a_changed_identity_is_quarantined_and_the_envelope_waits(tmp_path: Path) -> None:
    async with federation(tmp_path) as net:
        alice, bob = net.device(A, "alice"), net.device(B, "bob")
        heard = Heard()
        async with listening(bob, heard):
            assert (await alice.send(bob.card, "before")).accepted
            await heard.wait(1)
        await net.homeserver(B).stop()
        await net.homeserver(A).stop()  # and so forgets the records of b.test that it had

        identity = net.site(B).folder / "data" / "identity.key"
        shutil.copy(identity, tmp_path / "old.key")
        old, new = IdentityKey.from_seed(keys_of(net, B).identity.seed), IdentityKey.generate(os.urandom)
        identity.write_text(format_key(KeyKind.IDENTITY, new.seed))
        publish(net, old, new)
        await net.start_homeservers(A, B)
        assert (await alice.send(bob.card, "after")).accepted
        line = await net.logged(A, "identity_changed", peer=B)
        assert line["fingerprint"] == fingerprint_text(fingerprint(new.public))
        assert line["previous"] == fingerprint_text(fingerprint(old.public))
        await net.logged(A, "decided", peer=B, gate="establish", reason="quarantined")
        # nor may the new identity call
        error = await refused(caller(net, B, keys_of(net, B)))
        assert error.code is ErrorCode.IDENTITY_MISMATCH
        assert await wait_rows(net, A, "outbound") == 1
        assert await wait_rows(net, B, "inbound") == 0

        shutil.copy(tmp_path / "old.key", identity)  # the operator of b.test has found the old key again
        publish(net, new, old)
        await net.start_homeservers(A, B)
        async with listening(bob, heard):
            await heard.wait(2)
        assert heard.texts == ["before", "after"]


def publish(net: Federation, old: IdentityKey, new: IdentityKey) -> None:
    """Let the zone of b.test name another identity."""
    texts = [fingerprint_text(fingerprint(key.public)) for key in (old, new)]
    line = next(line for line in net.site(B).records if texts[0] in line or texts[1] in line)
    lines = [line.replace(a, text) for a in texts for text in texts if a in line]
    former, later = sorted(lines, key=lambda each: texts[1] in each)
    net.world.update(B, remove=[former], add=[later])
