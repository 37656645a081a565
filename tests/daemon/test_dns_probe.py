"""Resolvers of every kind are told apart, and none is believed more than it deserves."""

import pytest
import trio

from tests.daemon.dns_net import build
from tests.daemon.recursors import PROBE, Kind, Recursor
from volly_fed.config.model import Validation
from volly_fed.daemon.dns.probe import Examination, ProbeNames, Verdict, examine, is_authentic
from volly_fed.daemon.dns.transport import Server
from volly_fed.names import DomainName
from volly_fed.testing.world import WorldServer

ALL = (Validation.SELF, Validation.LIBUNBOUND, Validation.RESOLVER_AD, Validation.BOTH)
OWN = (Validation.SELF, Validation.LIBUNBOUND)


async def examined(nursery: trio.Nursery, recursor: Recursor, names: ProbeNames = PROBE) -> Examination:
    address = await nursery.start(WorldServer(recursor).serve)
    return await examine(Server(*address), names)


@pytest.mark.parametrize(
    ("kind", "verdict", "usable_as", "why"),
    [
        (Kind.VALIDATING, Verdict.VALIDATING, ALL, "vouches for a.test and refuses expired.test"),
        (Kind.NOT_VALIDATING, Verdict.NOT_VALIDATING, OWN, "never sets AD"),
        (Kind.HIDING, Verdict.NOT_VALIDATING, OWN, "does not say so by AD"),
        (Kind.PERMISSIVE, Verdict.PERMISSIVE, OWN, "gives out expired.test"),
        (Kind.LYING, Verdict.LYING, OWN, "sets AD for unsigned.test"),
        (Kind.STRIPPING, Verdict.STRIPPING, (), "no signatures"),
        (Kind.FAILING, Verdict.UNREACHABLE, (), "SERVFAIL"),
    ],
)
async def test_every_kind_has_its_verdict(
    nursery: trio.Nursery, kind: Kind, verdict: Verdict, usable_as: tuple[Validation, ...], why: str
) -> None:
    examination = await examined(nursery, Recursor(build(), kind))
    assert (examination.verdict, examination.usable_as) == (verdict, usable_as)
    assert why in examination.reason
    assert examination.vouches is (kind is Kind.VALIDATING)


async def test_names_that_are_not_there_prove_nothing(nursery: trio.Nursery) -> None:
    names = ProbeNames(secure=PROBE.secure, bogus=PROBE.bogus, unsigned=DomainName("missing.test"))
    examination = await examined(nursery, Recursor(build()), names)
    assert examination.verdict is Verdict.UNREACHABLE
    assert "NXDOMAIN for missing.test" in examination.reason
    assert "probe_unsigned" in examination.reason


async def test_a_name_that_is_refused_without_validation_too_is_no_proof_of_it(nursery: trio.Nursery) -> None:
    """The zone's servers may simply be down."""
    recursor = Recursor(build())
    recursor.world.hook("expired.test", lambda query, _response, _udp: recursor._refusal(query))
    examination = await examined(nursery, recursor)
    assert examination.verdict is Verdict.UNREACHABLE
    assert not examination.vouches


async def test_silence(autojump_clock: object) -> None:
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as silent:
        await silent.bind(("127.0.0.1", 0))
        examination = await examine(Server(*silent.getsockname()), PROBE)
    assert examination.verdict is Verdict.UNREACHABLE
    assert "does not answer" in examination.reason


@pytest.mark.parametrize(
    ("server", "authentic"),
    [
        (Server("127.0.0.53", 53), True),
        (Server("::1", 53), True),
        (Server("192.0.2.1", 53), False),
        (Server("10.0.0.1", 53), False),
        (Server("192.0.2.1", 853, "dns.test"), True),
    ],
)
def test_the_way_to_a_resolver_counts(server: Server, authentic: bool) -> None:
    assert is_authentic(server) is authentic
