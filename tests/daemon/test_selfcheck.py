"""What a homeserver finds out about itself, and how it tells."""

from collections.abc import Sequence
from pathlib import Path

import attrs
import dns.dnssec
import dns.name
import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from tests.daemon.dns_net import start_net
from tests.daemon.sites import LogTap
from volly_fed import limits
from volly_fed.config.model import Validation
from volly_fed.config.values import Server
from volly_fed.crypto.signature import fingerprint
from volly_fed.daemon import material
from volly_fed.daemon.dns.probe import Examination
from volly_fed.daemon.dns.probe import Verdict as Fitness
from volly_fed.daemon.setup import create_homeserver
from volly_fed.daemon.upkeep import rotation
from volly_fed.daemon.upkeep.findings import Finding, Verdict
from volly_fed.daemon.upkeep.selfcheck import SelfCheck
from volly_fed.discovery.anchors import Anchors, read_anchors
from volly_fed.discovery.dane import TlsaRecord
from volly_fed.discovery.dnssec import Answer, Outcome
from volly_fed.discovery.endpoint import Endpoint, Service, Status, Target
from volly_fed.discovery.message import Question
from volly_fed.errors import Bogus, DiscoveryError, Indeterminate, NoRecords
from volly_fed.names import DomainName, Fingerprint
from volly_fed.observe.log import Log
from volly_fed.testing.fake_resolver import FakeResolver

A = DomainName("a.test")
NOW = 1_800_000_000.0


@attrs.define(kw_only=True)
class Home:
    """A homeserver's files, and what DNS says of them."""

    data: Path
    log: LogTap = attrs.field(factory=LogTap)
    known: dict[DomainName, Endpoint | DiscoveryError] = attrs.field(factory=dict)
    examinations: Sequence[Examination] = ()
    watched: int = 0
    used: material.Material | None = None
    """Where they are not those in the files."""

    @property
    def keys(self) -> material.Material:
        return material.load_material(self.data)

    def published(self) -> Endpoint:
        """As it should be."""
        spare = material.load_spare(self.data)
        assert spare is not None
        following = material.load_next_identity(self.data)
        tlsa = tuple(tlsa_of(key.spki_sha256) for key in (self.keys.tls.key, spare.key))
        target = Target(host=f"fed.{A}", port=5223, addresses=("192.0.2.1",), tlsa=tlsa)
        return Endpoint(
            domain=A,
            service=Service.FEDERATION,
            targets=(target,),
            identity=self.keys.fingerprint,
            identity_next=None if following is None else fingerprint(following.public),
            expires=NOW,
        )

    def check(self, resolver: FakeResolver | None = None, anchors: Anchors | None = None) -> SelfCheck:
        async def examine() -> Sequence[Examination]:
            return self.examinations

        async def watch_spare() -> None:
            self.watched += 1

        return SelfCheck(
            domain=A,
            data_dir=self.data,
            in_use=lambda: self.used or self.keys,
            resolver=resolver or FakeResolver(self.known),
            anchors=anchors or {},
            examine=examine,
            watch_spare=watch_spare,
            log=Log("debug", "json", self.log),
        )

    async def found(self, endpoint: Endpoint | DiscoveryError) -> list[Finding]:
        """What is wrong when DNS says this."""
        self.known[A] = endpoint
        return [found for found in await self.check().look() if found.verdict is not Verdict.OK]


def tlsa_of(digest: bytes) -> TlsaRecord:
    return TlsaRecord(usage=3, selector=1, matching=1, data=digest)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    config = create_homeserver(tmp_path / "f.toml", {"server.domain": A, "federation.host": f"fed.{A}"})
    return Home(data=config.server.data_dir)


async def test_records_that_are_right_are_nothing_to_complain_of(home: Home) -> None:
    assert await home.found(home.published()) == []


async def test_every_look_also_watches_the_spare_keys_record(home: Home) -> None:
    for times in (1, 2):
        await home.found(home.published())
        assert home.watched == times


async def test_the_identity_record_is_compared_with_the_key(home: Home) -> None:
    right = home.published()
    [wrong] = await home.found(attrs.evolve(right, identity=Fingerprint(bytes(32))))
    assert wrong.verdict is Verdict.FAILED
    assert "does not name our identity" in wrong.reason
    assert "dns print" in wrong.note
    [left_over] = await home.found(attrs.evolve(right, identity_next=Fingerprint(bytes(32))))
    assert left_over.verdict is Verdict.WARNING

    # a change of identity has begun: the record is to announce it
    rotation.start(A, home.data, NOW)
    [missing] = await home.found(right)
    assert missing.verdict is Verdict.WARNING
    assert "not the record for the keys we have now" in missing.reason
    announcing = home.published()
    assert await home.found(announcing) == []
    # and when it is done, the record must follow
    rotation.finish(home.data, NOW, after=0)
    [old] = await home.found(announcing)
    assert old.verdict is Verdict.WARNING
    assert await home.found(home.published()) == []


async def test_every_targets_tlsa_records_must_name_the_key_and_a_spare(home: Home) -> None:
    right = home.published()
    [target] = right.targets
    other = attrs.evolve(target, host="b.test", tlsa=(tlsa_of(bytes(32)),))
    [foreign] = await home.found(attrs.evolve(right, targets=(target, other)))
    assert (foreign.subject, foreign.verdict) == ("the TLSA records of b.test:5223", Verdict.FAILED)
    assert "none of them names our TLS key" in foreign.reason
    [alone] = await home.found(attrs.evolve(right, targets=(attrs.evolve(target, tlsa=target.tlsa[:1]),)))
    assert alone.verdict is Verdict.WARNING
    assert "spare" in alone.reason
    (home.data / material.NEXT_TLS_KEY).unlink()
    [none] = await home.found(right)
    assert none.verdict is Verdict.WARNING

    rejected = Target(host="c.test", port=1, reason="10.0.0.1 is private")
    assert "10.0.0.1 is private" in [f.reason for f in await home.found(attrs.evolve(right, rejected=(rejected,)))]


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (Bogus("a.test: the signature has expired\nnote: sign it again"), Verdict.FAILED),
        (NoRecords("a.test has no SRV record"), Verdict.FAILED),
        (Indeterminate("a.test: no result"), Verdict.UNKNOWN),
    ],
)
async def test_what_discovery_says_is_told_with_a_next_step(
    home: Home, error: DiscoveryError, verdict: Verdict
) -> None:
    [found] = await home.found(error)
    assert (found.subject, found.verdict) == ("the records of a.test", verdict)
    assert found.reason in str(error)
    assert found.note


async def test_a_damaged_key_file_is_told_and_stops_nothing(home: Home) -> None:
    right = home.published()
    (home.data / material.NEXT_TLS_KEY).write_text("x")
    [found] = await home.found(right)
    assert (found.subject, found.verdict) == ("the key files", Verdict.FAILED)
    assert "damaged" in found.reason


async def test_keys_that_were_changed_and_not_taken_over_are_told(home: Home) -> None:
    """A command that was killed between the switch and the reload: the files and DNS agree, and peers see neither."""
    home.used = home.keys
    assert await home.found(home.published()) == []
    (home.data / material.TLS_KEY).write_text((home.data / material.NEXT_TLS_KEY).read_text())
    found, *_ = await home.found(home.published())
    assert (found.subject, found.verdict, found.note) == ("the key files", Verdict.FAILED, "run `volly-fed reload`")


async def test_resolvers_whose_verdict_is_believed_are_examined(home: Home) -> None:
    def examined(verdict: Fitness, reason: str, *uses: Validation) -> Examination:
        return Examination(server=Server("127.0.0.1", 53), verdict=verdict, usable_as=uses, reason=reason)

    home.examinations = (
        examined(Fitness.VALIDATING, "it vouches", Validation.RESOLVER_AD),
        examined(Fitness.LYING, "it sets AD for everything"),
        examined(Fitness.UNREACHABLE, "no answer"),
    )
    wrong = await home.found(home.published())
    assert [(found.verdict, found.reason) for found in wrong] == [
        (Verdict.FAILED, "it sets AD for everything"),
        (Verdict.UNKNOWN, "no answer"),
    ]
    assert all(found.note for found in wrong)


async def test_anchors_are_compared_with_the_live_keys(home: Home, nursery: trio.Nursery) -> None:
    net = await start_net(nursery)
    right = read_anchors(net.world.anchor_text)
    stale = ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n"

    async def verdict(anchors: Anchors) -> Finding:
        resolver = net.resolver()
        check = attrs.evolve(home.check(anchors=anchors), resolver=resolver)
        return (await check.look())[0]

    found = await verdict(right)
    assert (found.subject, found.verdict, found.reason) == ("the trust anchors of .", Verdict.OK, "")
    found = await verdict(read_anchors(stale))
    assert found.verdict is Verdict.FAILED
    assert "none of them names a key of the zone, whose tags are" in found.reason
    assert "root-anchors.xml" in found.note


class Keys(FakeResolver):
    """Answers every look-up with these keys."""

    def __init__(self, *keys: DNSKEY, status: Status = Status.SECURE, reason: str = "") -> None:
        super().__init__({})
        self.keys, self.status, self.reason = keys, status, reason

    async def lookup(self, name: str, rdtype: str) -> Answer:
        zone = dns.name.from_text(name)
        outcome = Outcome.FOUND if self.keys else Outcome.FAILED
        question = Question(zone, RdataType.make(rdtype))
        return Answer(
            question=question,
            status=self.status,
            outcome=outcome,
            rdatas=self.keys,
            canonical=zone,
            expires=NOW,
            reason=self.reason,
        )


async def test_a_key_to_come_and_a_silent_zone_are_told(home: Home) -> None:
    now, to_come = (dns.dnssec.make_dnskey(Ed25519PrivateKey.generate().public_key(), "ED25519", 257) for _ in range(2))
    anchors = {dns.name.root: (dns.dnssec.make_ds(dns.name.root, now, "SHA256"),)}
    [rolling, *_] = await home.check(Keys(now, to_come), anchors).look()
    assert rolling.verdict is Verdict.WARNING
    assert f"(tags {dns.dnssec.key_id(to_come)})" in rolling.reason
    [calm, *_] = await home.check(Keys(now), anchors).look()
    assert calm.verdict is Verdict.OK
    [silent, *_] = await home.check(Keys(status=Status.INDETERMINATE, reason="no answer"), anchors).look()
    assert (silent.verdict, silent.reason) == (Verdict.UNKNOWN, "no answer")
    [broken, *_] = await home.check(Keys(now, status=Status.BOGUS, reason="expired"), anchors).look()
    assert (broken.verdict, broken.reason) == (Verdict.FAILED, "expired")


async def test_events_come_at_once_daily_and_sooner_after_silence(
    home: Home, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    home.known[A] = Indeterminate("nobody answers\nnote: check the resolver")
    nursery.start_soon(home.check().run)
    began = trio.current_time()
    line = await home.log.wait("self_checked", verdict="unknown")
    assert trio.current_time() == began
    assert line["reason"] == "nobody answers; note: check the resolver"
    assert line["level"] == "warning"
    home.known[A] = home.published()
    await home.log.wait("self_checked", verdict="ok", count=2)
    assert trio.current_time() == pytest.approx(began + limits.SELF_CHECK_RETRY)
    await home.log.wait("self_checked", verdict="ok", count=4)
    assert trio.current_time() == pytest.approx(began + limits.SELF_CHECK_RETRY + limits.SELF_CHECK)
