"""Who may be linked with: cheapest question first, limits that let go, pins that hold."""

import os
from pathlib import Path
from types import MappingProxyType

import attrs
import pytest
import trio

from tests.daemon.sites import A, B, C, Site, endpoint, material, sites
from volly_fed import limits
from volly_fed.channel import Negotiated
from volly_fed.codepoints import ErrorCode, Role, TrustLevel
from volly_fed.daemon.judge import Claim
from volly_fed.errors import Bogus, RemoteError
from volly_fed.handshake import Claimed, Outcome
from volly_fed.names import DomainName
from volly_fed.trust.policy import Policy
from volly_fed.wire.messages import NONCE_BYTES, Hello

ADDRESS = "192.0.2.7"


def claimed(name: DomainName = B) -> Claimed:
    keys = material(name)
    hello = Hello(
        versions=(1, 1),
        own=name,
        wanted=A,
        identity=keys.identity.public,
        nonce=os.urandom(NONCE_BYTES),
        extensions={},
    )
    return Claimed(domain=name, fingerprint=keys.fingerprint, hello=hello)


def shows(name: DomainName = B) -> Negotiated:
    tls = material(name).tls
    return Negotiated(
        version="TLSv1.3",
        group="X25519MLKEM768",
        alpn=b"volly-fed/1",
        cipher="TLS_AES_256_GCM_SHA384",
        peer_certificate_der=tls.certificate,
        peer_spki=tls.key.spki,
        peer_spki_sha256=tls.key.spki_sha256,
        own_spki_sha256=bytes(32),
    )


def outcome(name: DomainName = B, keys: DomainName = B) -> Outcome:
    identity = material(keys)
    return Outcome(
        peer=name,
        identity=identity.identity.public,
        fingerprint=identity.fingerprint,
        version=1,
        extensions=MappingProxyType({}),
        role=Role.ACCEPTOR,
    )


def judging(tmp_path: Path) -> Site:
    (a,) = sites(tmp_path, A)
    a.resolver.known = {B: endpoint(B, 1), C: endpoint(C, 1)}
    return a


async def claim(a: Site) -> Claim:
    return await a.server.judge.admit(claimed(), shows(), ADDRESS)


async def refused(a: Site) -> ErrorCode:
    with pytest.raises(RemoteError) as caught:
        await claim(a)
    return caught.value.code


async def test_a_claim_that_holds(tmp_path: Path) -> None:
    a = judging(tmp_path)
    async with a.running(listening=False):
        assert (await claim(a)).evidence.expected == {material(B).fingerprint}


@pytest.mark.spec("trust-3", "trust-5")
async def test_the_gate_comes_before_any_look_up_and_keeps_its_rule_to_itself(tmp_path: Path) -> None:
    a = judging(tmp_path)
    a.policy = Policy(deny=frozenset({"*.test"}))
    async with a.running(listening=False):
        with pytest.raises(RemoteError) as caught:
            await claim(a)
        assert caught.value.code is ErrorCode.POLICY
        assert "*.test" not in str(caught.value)
        assert a.resolver.asked == []


@pytest.mark.spec("handshake-17")
async def test_a_tls_key_that_is_not_published(tmp_path: Path) -> None:
    a = judging(tmp_path)
    async with a.running(listening=False):
        with pytest.raises(RemoteError) as caught:
            await a.server.judge.admit(claimed(), shows(C), ADDRESS)
        assert caught.value.code is ErrorCode.KEY_MISMATCH


async def test_unproved_claims_are_counted_and_a_proof_wipes_them(tmp_path: Path) -> None:
    a = judging(tmp_path)
    async with a.running(listening=False):
        for _ in range(limits.CLAIMS_PER_DOMAIN_PER_MINUTE - 1):
            await claim(a)
        a.server.judge.proved(await claim(a))
        for _ in range(limits.CLAIMS_PER_DOMAIN_PER_MINUTE):
            await claim(a)
        assert await refused(a) is ErrorCode.BUSY


async def test_one_claim_at_a_time_and_a_cancelled_look_up_lets_go(tmp_path: Path) -> None:
    a = judging(tmp_path)
    async with a.running(listening=False):
        a.resolver.hold = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(claim, a)
            await trio.testing.wait_all_tasks_blocked()
            assert await refused(a) is ErrorCode.BUSY
            nursery.cancel_scope.cancel()
        a.resolver.hold = None
        await claim(a)


async def test_a_failed_look_up_lets_go(tmp_path: Path) -> None:
    a = judging(tmp_path)
    async with a.running(listening=False):
        known, a.resolver.known = a.resolver.known, {B: Bogus("broken")}
        with pytest.raises(Bogus):
            await claim(a)
        a.resolver.known = known
        await claim(a)


@pytest.mark.spec("trust-15")
async def test_first_contact_pins_and_another_identity_is_quarantined(tmp_path: Path) -> None:
    a = judging(tmp_path)
    async with a.running(listening=False):
        evidence = (await claim(a)).evidence
        assert await a.server.judge.establish(outcome(), evidence) is TrustLevel.FULL
        pin = await a.store.pin(B)
        assert pin is not None
        assert pin.fingerprint == material(B).fingerprint
        changed = attrs.evolve(evidence, identity=material(C).fingerprint)
        with pytest.raises(RemoteError) as caught:
            await a.server.judge.establish(outcome(keys=C), changed)
        assert caught.value.code is ErrorCode.IDENTITY_MISMATCH
        await a.log.wait("identity_changed", peer=B)
        kept = await a.store.pin(B)
        assert kept is not None
        assert kept.fingerprint == pin.fingerprint


@pytest.mark.spec("handshake-20")
async def test_a_policy_that_changed_meanwhile(tmp_path: Path) -> None:
    a = judging(tmp_path)
    async with a.running(listening=False):
        evidence = (await claim(a)).evidence
        a.server.judge.policy = Policy(default=TrustLevel.NONE)
        with pytest.raises(RemoteError) as caught:
            await a.server.judge.establish(outcome(), evidence)
        assert caught.value.code is ErrorCode.POLICY
        assert await a.store.pin(B) is None
