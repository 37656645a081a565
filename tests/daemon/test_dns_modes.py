"""The ways to validate give the same answers and errors, and each refuses what it cannot stand for."""

import attrs
import pytest
import trio
import trio.testing

from tests.daemon.dns_net import A, build, fails
from tests.daemon.recursors import PROBE, Kind, Recursor
from tests.discovery.harness import NOW
from volly_fed import limits
from volly_fed.config.model import Validation
from volly_fed.daemon.dns.resolver import Resolver, trust_anchors
from volly_fed.daemon.dns.transport import Server
from volly_fed.discovery.endpoint import Service, Status
from volly_fed.errors import Bogus, ConfigError, DiscoveryError, Indeterminate, Insecure, LocalError, NoRecords
from volly_fed.names import DomainName
from volly_fed.testing.world import WorldServer

VOUCHED = [Validation.RESOLVER_AD, Validation.BOTH]


@attrs.define
class Net:
    """A recursor in front of a world, and its server."""

    recursor: Recursor
    address: tuple[str, int]
    now: float = NOW

    def resolver(self, validate: Validation) -> Resolver:
        return Resolver(
            [self.address],
            trust_anchors(self.recursor.world.anchor_text),
            validate=validate,
            probe_names=PROBE,
            allow_private=True,
            clock=lambda: self.now,
        )

    def probes(self) -> int:
        """How often a resolver was examined: the only time that these SOA records are asked for."""
        return self.recursor.asked.count(("unsigned.test.", "SOA"))


@pytest.fixture
async def net(nursery: trio.Nursery) -> Net:
    recursor = Recursor(build())
    return Net(recursor, await nursery.start(WorldServer(recursor).serve))


@pytest.mark.parametrize("validate", VOUCHED)
async def test_a_complete_domain(net: Net, validate: Validation) -> None:
    ours = await net.resolver(Validation.SELF).discover(A)
    endpoint = await net.resolver(validate).discover(A)
    assert attrs.evolve(endpoint, steps=()) == attrs.evolve(ours, steps=())
    assert [step.status for step in endpoint.steps] == [Status.SECURE] * 5
    assert bool(endpoint.proof) is (validate is Validation.BOTH)
    device = await net.resolver(validate).discover(A, service=Service.DEVICE)
    assert [target.host for target in device.targets] == ["signal.a.test"]


@pytest.mark.parametrize("validate", VOUCHED)
@pytest.mark.parametrize(
    ("domain", "error"),
    [
        ("unsigned.test", Insecure),
        ("elsewhere.test", Insecure),
        ("bad.test", Bogus),
        ("expired.test", Bogus),
        ("out.test", NoRecords),
        ("bare.test", NoRecords),
        ("missing.test", NoRecords),
        ("nokey.test", NoRecords),
        ("nobody.test", NoRecords),
    ],
)
async def test_the_same_refusals(net: Net, validate: Validation, domain: str, error: type[DiscoveryError]) -> None:
    assert type(await fails(net.resolver(validate), domain)) is error
    assert type(await fails(net.resolver(Validation.SELF), domain)) is error


async def test_targets_behind_aliases(net: Net) -> None:
    resolver = net.resolver(Validation.RESOLVER_AD)
    alias = await resolver.discover(DomainName("alias.test"))
    assert [(target.host, len(target.tlsa)) for target in alias.targets] == [("fed.a.test", 1)]
    two = await resolver.discover(DomainName("two.test"))
    assert [target.status for target in two.rejected] == [Status.BOGUS, Status.INSECURE]


async def test_a_refusal_is_bogus_only_if_the_data_is_there_without_validation(net: Net) -> None:
    net.recursor.explain = "signature ran out"
    resolver = net.resolver(Validation.RESOLVER_AD)
    bogus = await resolver.lookup("fed.expired.test", "A")
    assert bogus.status is Status.BOGUS
    assert "signature expired: signature ran out" in bogus.reason
    net.recursor.kind = Kind.FAILING
    broken = await resolver.lookup("fed.far.test", "A")
    assert broken.status is Status.INDETERMINATE
    assert "SERVFAIL" in broken.reason
    assert "signature ran out" in broken.reason


@pytest.mark.parametrize("validate", VOUCHED)
@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.VALIDATING])
async def test_a_resolver_that_fails_its_examination_is_not_believed(
    net: Net, validate: Validation, kind: Kind
) -> None:
    net.recursor.kind = kind
    with pytest.raises(LocalError, match="cannot be trusted with validation") as caught:
        await net.resolver(validate).require()
    assert "note: " in str(caught.value)
    error = await fails(net.resolver(validate), "a.test")
    assert type(error) in ((Bogus, Indeterminate) if validate is Validation.BOTH else (Indeterminate,))
    await net.resolver(Validation.SELF).require()  # nothing is asked of it there


async def test_a_good_resolver_passes_at_the_start(net: Net) -> None:
    resolver = net.resolver(Validation.RESOLVER_AD)
    await resolver.require()
    (examination,) = await resolver.examine()
    assert examination.vouches


async def test_it_is_examined_every_hour(net: Net) -> None:
    resolver = net.resolver(Validation.RESOLVER_AD)
    await resolver.discover(A)
    await resolver.lookup("signal.a.test", "A")
    assert net.probes() == 1
    net.now += limits.DNS_PROBE_AGE - 1
    await resolver.lookup("signal.a.test", "TXT")
    assert net.probes() == 1
    net.now += 1
    await resolver.lookup("signal.a.test", "MX")
    assert net.probes() == 2


async def test_it_is_examined_again_when_it_does_not_vouch(net: Net) -> None:
    resolver = net.resolver(Validation.RESOLVER_AD)
    await resolver.discover(A)
    net.now += limits.DNS_PROBE_DOUBT
    net.recursor.unsure.add("far.test.")
    answer = await resolver.lookup("_volly-fed.far.test", "TXT")
    assert answer.status is Status.INSECURE
    assert "does not vouch" in answer.reason
    assert net.probes() == 2
    assert (await resolver.lookup("_volly-fed._tcp.far.test", "SRV")).status is Status.INSECURE
    assert net.probes() == 2  # once a minute is enough: unsigned names are common
    net.now += limits.DNS_PROBE_DOUBT
    net.recursor.kind = Kind.NOT_VALIDATING
    answer = await resolver.lookup("fed.two.test", "A")
    assert answer.status is Status.INDETERMINATE
    assert "can no longer be trusted" in answer.reason
    net.recursor.kind = Kind.VALIDATING
    net.now += limits.DNS_PROBE_AGAIN
    assert (await resolver.lookup("fed.two.test", "AAAA")).found


@pytest.fixture
def patient_clock() -> trio.testing.MockClock:
    """Jumps only after 50 ms in which nothing arrived: real sockets need real time."""
    return trio.testing.MockClock(autojump_threshold=0.05)


async def test_a_dead_resolver_beside_a_good_one(patient_clock: trio.testing.MockClock, net: Net) -> None:
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as silent:
        await silent.bind(("127.0.0.1", 0))
        resolver = net.resolver(Validation.RESOLVER_AD)
        resolver.use([silent.getsockname(), net.address])
        assert (await resolver.discover(A)).targets
        with pytest.raises(LocalError, match="does not answer"):
            await resolver.require()
        resolver.use([silent.getsockname()])
        error = await fails(resolver, "a.test")
        assert type(error) is Indeterminate
        assert "no resolver can be trusted" in str(error)


async def test_both_must_agree(net: Net) -> None:
    resolver = net.resolver(Validation.BOTH)
    await resolver.require()
    net.recursor.refuse.add("far.test.")
    error = await fails(resolver, "far.test")
    assert type(error) is Bogus
    assert "the resolver: bogus" in str(error)
    net.recursor.unsure.add("apex.test.")
    error = await fails(resolver, "apex.test")
    assert type(error) is Insecure
    assert "the resolver: insecure" in str(error)
    net.recursor.kind = Kind.LYING  # its examination is good for another minute, but it is not alone
    assert type(await fails(resolver, "bad.test")) is Bogus
    assert type(await fails(net.resolver(Validation.SELF), "bad.test")) is Bogus


async def test_a_resolver_on_the_network_is_refused_unless_it_proves_its_name() -> None:
    for validate in VOUCHED:
        with pytest.raises(ConfigError, match=r"192\.0\.2\.1:53, which anybody on the way can forge\nnote: "):
            Resolver([("127.0.0.1", 53), ("192.0.2.1", 53)], validate=validate)
        resolver = Resolver([("127.0.0.1", 53), Server("192.0.2.1", 853, "dns.test")], validate=validate)
        with pytest.raises(ConfigError, match="forge"):
            resolver.use([("192.0.2.1", 53)])
    Resolver([("192.0.2.1", 53)], validate=Validation.SELF)


@pytest.mark.parametrize("validate", [Validation.RESOLVER_AD, Validation.LIBUNBOUND])
def test_an_algorithm_can_only_be_required_by_our_own_validator(validate: Validation) -> None:
    with pytest.raises(ConfigError, match="require_mldsa44"):
        Resolver([("127.0.0.1", 53)], validate=validate, require_mldsa44=True)
