"""Debian's unbound as the resolver that validates for us, and as one that does not."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon.dns_net import A, build, fails
from tests.daemon.recursors import PROBE
from tests.discovery.debian import Daemon, running, world_servers
from tests.discovery.debian_unbound import unbound
from volly_fed.config.model import Validation
from volly_fed.daemon.dns.probe import Verdict
from volly_fed.daemon.dns.resolver import Resolver, trust_anchors
from volly_fed.discovery.endpoint import Status
from volly_fed.errors import Bogus, Insecure, LocalError, NoRecords
from volly_fed.testing.world import World

pytestmark = [pytest.mark.debian, pytest.mark.real]


@pytest.fixture(scope="module")
def world() -> World:
    world = build()
    world.sign(time.time())
    return world


@contextmanager
def resolver_of(world: World, folder: Path, options: Mapping[str, str] | None = None) -> Iterator[Daemon]:
    """Unbound, which forwards everything to the world's own server."""
    with (
        world_servers(world, 1) as (port,),
        running(unbound(world.anchor_text, forwards={".": port}, options=options), folder) as daemon,
    ):
        yield daemon


@pytest.fixture(scope="module")
def validating(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with resolver_of(world, tmp_path_factory.mktemp("validating")) as daemon:
        yield daemon


def resolver(world: World, daemon: Daemon, validate: Validation) -> Resolver:
    return Resolver(
        [("127.0.0.1", daemon.port)],
        trust_anchors(world.anchor_text),
        validate=validate,
        probe_names=PROBE,
        allow_private=True,
    )


@pytest.mark.parametrize("validate", [Validation.RESOLVER_AD, Validation.BOTH])
async def test_unbound_may_be_trusted_and_gives_the_same_verdicts(
    world: World, validating: Daemon, validate: Validation
) -> None:
    trusting = resolver(world, validating, validate)
    await trusting.require()
    own = resolver(world, validating, Validation.SELF)
    theirs, ours = await trusting.discover(A), await own.discover(A)
    assert (theirs.targets, theirs.identity) == (ours.targets, ours.identity)
    for domain, error in (
        ("unsigned.test", Insecure),
        ("bad.test", Bogus),
        ("expired.test", Bogus),
        ("missing.test", NoRecords),
        ("nokey.test", NoRecords),
    ):
        assert type(await fails(trusting, domain)) is error
        assert type(await fails(own, domain)) is error


async def test_its_extended_error_is_in_the_reason(world: World, validating: Daemon) -> None:
    answer = await resolver(world, validating, Validation.RESOLVER_AD).lookup("fed.expired.test", "A")
    assert answer.status is Status.BOGUS
    assert "signature expired" in answer.reason


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({"val-permissive-mode": "yes"}, Verdict.PERMISSIVE),
        ({"module-config": '"iterator"'}, Verdict.NOT_VALIDATING),
    ],
)
async def test_unbound_that_does_not_validate_is_found_out(
    world: World, tmp_path: Path, options: dict[str, str], verdict: Verdict
) -> None:
    with resolver_of(world, tmp_path, options) as daemon:
        trusting = resolver(world, daemon, Validation.RESOLVER_AD)
        (examination,) = await trusting.examine()
        assert examination.verdict is verdict
        with pytest.raises(LocalError, match="cannot be trusted with validation"):
            await trusting.require()
        assert (await resolver(world, daemon, Validation.SELF).discover(A)).targets
