"""What `probe` reports: every step with its verdict, per address, and nothing called fine that was not checked."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import attrs
import pytest

from tests.daemon.sites import A, B, C, Site, endpoint, material, sites
from volly_fed.channel import FEDERATION
from volly_fed.codepoints import Extension, TrustLevel
from volly_fed.crypto.certificate import TlsKey
from volly_fed.daemon.credentials import tls_identity
from volly_fed.daemon.prober import FAILED, OK, SKIPPED, Caller, ProbeStep, probe
from volly_fed.daemon.tls import TlsIdentity, make_context
from volly_fed.discovery.endpoint import Endpoint, Status, Step, Target
from volly_fed.errors import Bogus, DiscoveryError, Indeterminate, Insecure, NoRecords
from volly_fed.handshake import Party
from volly_fed.names import fingerprint_text
from volly_fed.trust.policy import Policy


@cache
def stranger() -> Caller:
    identity = TlsIdentity.from_key(TlsKey.generate(), "probe.invalid", datetime.now(UTC))
    return Caller(context=make_context(FEDERATION, server=False, identity=identity), party=None)


@cache
def homeserver() -> Caller:
    keys = material(A)
    context = make_context(FEDERATION, server=False, identity=tls_identity(keys))
    return Caller(context=context, party=Party(name=A, key=keys.identity, extensions={Extension.PROBE: b""}))


async def run(b: Site, caller: Caller) -> tuple[int, list[ProbeStep]]:
    steps: list[ProbeStep] = []
    return await probe(B, b.resolver, caller, steps.append), steps


def verdicts(steps: list[ProbeStep]) -> list[tuple[str, str]]:
    return [(step.what, step.verdict) for step in steps]


def known(b: Site) -> Endpoint:
    found = b.resolver.known[B]
    assert not isinstance(found, DiscoveryError)
    return found


def site(tmp_path: Path) -> Site:
    (b,) = sites(tmp_path, B)
    b.resolver.known = {A: endpoint(A, 1)}
    return b


@pytest.mark.spec("handshake-28")
async def test_everything_fine_is_0_and_no_link_comes_of_it(tmp_path: Path) -> None:
    b = site(tmp_path)
    async with b.running():
        step = Step(name="b.test", rrtype="SRV", status=Status.SECURE, reason="", milliseconds=1.5)
        b.resolver.known = {**b.resolver.known, B: attrs.evolve(known(b), steps=(step,))}
        code, steps = await run(b, homeserver())
        assert code == 0
        where = f"fed.b.test [127.0.0.1]:{b.port}"
        assert verdicts(steps) == [
            ("b.test SRV", "secure"),
            ("discovery of b.test", "secure"),
            (f"TCP to {where}", OK),
            ("TLS", OK),
            ("TLSA", OK),
            ("WebSocket and identity", OK),
        ]
        assert "X25519MLKEM768" in steps[3].reason
        assert fingerprint_text(material(B).fingerprint) in steps[5].reason
        assert b.log.all("link_up") == []
        assert b.server.peers._peers == {}


async def test_a_stranger_sees_the_channel_and_is_told_what_was_not_checked(tmp_path: Path) -> None:
    b = site(tmp_path)
    async with b.running():
        code, steps = await run(b, stranger())
    assert code == 1
    assert verdicts(steps)[-2:] == [("TLSA", OK), ("WebSocket and identity", SKIPPED)]


async def test_another_key_than_the_published_one(tmp_path: Path) -> None:
    b = site(tmp_path)
    async with b.running():
        (target,) = known(b).targets
        wrong = attrs.evolve(target, tlsa=endpoint(C, 1).tlsa)
        b.resolver.known = {**b.resolver.known, B: attrs.evolve(known(b), targets=(wrong,))}
        for caller in (stranger(), homeserver()):
            code, steps = await run(b, caller)
            assert code == 2
            assert verdicts(steps)[-2:] == [("TLS", OK), ("TLSA", FAILED)]


async def test_every_address_of_every_target_is_tried(tmp_path: Path) -> None:
    b = site(tmp_path)
    async with b.running():
        (good,) = known(b).targets
        two = attrs.evolve(good, addresses=("127.0.0.9", "127.0.0.1"))
        rejected = Target(host="old.b.test", port=1, status=Status.INSECURE, reason="unsigned")
        b.resolver.known = {**b.resolver.known, B: attrs.evolve(known(b), targets=(two, good), rejected=(rejected,))}
        code, steps = await run(b, homeserver())
        assert code == 2
        assert ("target old.b.test", "insecure") in verdicts(steps)
        assert [v for what, v in verdicts(steps) if what.startswith("TCP")] == [FAILED, OK, OK]
        b.resolver.known = {**b.resolver.known, B: attrs.evolve(known(b), targets=(good,))}
        assert (await run(b, homeserver()))[0] == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [(NoRecords("none"), 2), (Insecure("unsigned"), 2), (Bogus("wrong"), 2), (Indeterminate("no answer"), 3)],
)
async def test_discovery_that_fails(tmp_path: Path, error: DiscoveryError, code: int) -> None:
    b = site(tmp_path)
    b.resolver.known = {B: error}
    async with b.running(listening=False):
        assert await run(b, homeserver()) == (
            code,
            [ProbeStep(what="discovery of b.test", verdict=type(error).__name__.lower(), reason=str(error))],
        )


@pytest.mark.spec("handshake-15")
async def test_a_peer_that_refuses_us_says_why(tmp_path: Path) -> None:
    b = site(tmp_path)
    b.policy = Policy(default=TrustLevel.NONE)
    async with b.running():
        code, steps = await run(b, homeserver())
    assert code == 2
    assert verdicts(steps)[-1] == ("WebSocket and identity", FAILED)
    assert "policy" in steps[-1].reason
