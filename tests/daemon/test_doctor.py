"""`doctor` names what is wrong: one broken machine after the other, against a signed world on loopback."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
import trio

from tests.daemon.recursors import PROBE, Kind, Recursor
from volly_fed.cli.app import run
from volly_fed.config.load import parse_homeserver
from volly_fed.config.model import HomeserverConfig, Validation
from volly_fed.config.records import records_of
from volly_fed.config.values import IpLiteral, Port
from volly_fed.daemon.dns.resolver import Resolver, trust_anchors
from volly_fed.daemon.material import load_published
from volly_fed.daemon.setup import create_homeserver
from volly_fed.daemon.upkeep.doctor import examine
from volly_fed.daemon.upkeep.findings import Finding, Verdict, exit_code
from volly_fed.testing.world import Flaw, World, WorldServer

DAY = 86400
OWNER = "_5223._tcp.fed.a.test"
TRUSTING = 'default = "selective"\n'
EDGES = """\
[edge-1]
fingerprint = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
enrolled_at = 2026-01-31T12:00:00Z
"""


@attrs.define
class Machine:
    """A homeserver's files, what is published of it, and the resolver in front of that."""

    config: HomeserverConfig
    records: list[str]
    recursor: Recursor
    address: tuple[str, int]
    now: float

    async def findings(self, *, validate: Validation = Validation.SELF, ahead: float = 0.0) -> list[Finding]:
        """What the doctor says, with a clock that is `ahead` seconds fast."""
        config = attrs.evolve(
            self.config,
            dns=attrs.evolve(self.config.dns, validate=validate, authoritative_port=Port(self.address[1])),
        )
        resolver = Resolver(
            [self.address],
            trust_anchors(self.recursor.world.anchor_text),
            validate=validate,
            probe_names=PROBE,
            allow_private=True,
            clock=lambda: self.now + ahead,
        )
        return await examine(config, resolver)

    def publish(self, *records: str) -> None:
        """Have these records, and no others."""
        self.recursor.world.zone("a.test", [*records, "fed.a.test. IN A 127.0.0.1"])
        self.recursor.world.sign(self.now)


@pytest.fixture
async def machine(tmp_path: Path, nursery: trio.Nursery) -> Machine:
    values = {
        "server.domain": "a.test",
        "federation.host": "fed.a.test",
        "federation.listen": "127.0.0.1:0",
        "edges.listen": "127.0.0.1:0",
    }
    config = create_homeserver(tmp_path / "volly-fed.toml", values, trust=TRUSTING)
    (config.server.data_dir / "edges.toml").write_text(EDGES)
    records = [record.line() for record in records_of(config, load_published(config))]
    now = time.time()
    world = World(seed=b"doctor")
    world.zone("expired.test", flaws=Flaw.EXPIRED)
    world.zone("unsigned.test", signed=False)
    recursor = Recursor(world, now=now)
    address = await nursery.start(WorldServer(recursor).serve)
    made = Machine(config, records, recursor, address, now)
    made.publish(*records)
    return made


def of(findings: Sequence[Finding], subject: str) -> Finding:
    """The one finding about `subject`."""
    (found,) = [found for found in findings if found.subject.startswith(subject)]
    return found


def failed(findings: Sequence[Finding]) -> list[Finding]:
    return [found for found in findings if found.verdict in (Verdict.FAILED, Verdict.UNKNOWN)]


async def test_a_healthy_machine(machine: Machine) -> None:
    findings = await machine.findings()
    assert failed(findings) == []
    # one name server is all this world has, and the doctor says so: nothing else may be wrong
    warnings = [found for found in findings if found.verdict is Verdict.WARNING]
    assert all("server" in found.reason for found in warnings), warnings
    looked_at = {found.subject for found in findings if found.verdict is Verdict.OK}
    assert {"the clock", "the edge nodes", "federation.listen 127.0.0.1:0", f"{OWNER} TLSA"} <= looked_at


async def test_not_green_before_anything_is_set_up(machine: Machine) -> None:
    (machine.config.server.data_dir / "edges.toml").unlink()
    machine.config.server.trust_file.write_text('default = "none"\n')
    findings = await machine.findings()
    assert "trusts nobody" in of(findings, "the trust policy").reason
    assert "none is enrolled" in of(findings, "the edge nodes").reason
    assert exit_code(findings) == 1


async def test_a_key_for_updates_that_is_missing(machine: Machine) -> None:
    update = attrs.evolve(
        machine.config.dns_update, server=IpLiteral("127.0.0.1"), tsig_key_file=Path("/nowhere/update.key")
    )
    machine.config = attrs.evolve(machine.config, dns_update=update)
    found = of(await machine.findings(), "dynamic updates")
    assert (found.verdict, "does not exist" in found.reason) == (Verdict.FAILED, True)


@pytest.mark.parametrize(
    ("kind", "validate", "verdict", "word"),
    [
        (Kind.VALIDATING, Validation.SELF, Verdict.OK, "validating"),
        (Kind.NOT_VALIDATING, Validation.SELF, Verdict.INFO, "not validating"),
        (Kind.NOT_VALIDATING, Validation.RESOLVER_AD, Verdict.FAILED, "not validating"),
        (Kind.LYING, Validation.SELF, Verdict.WARNING, "lying"),
        (Kind.LYING, Validation.RESOLVER_AD, Verdict.FAILED, "lying"),
        (Kind.PERMISSIVE, Validation.BOTH, Verdict.FAILED, "permissive"),
        (Kind.STRIPPING, Validation.SELF, Verdict.FAILED, "stripping"),
        (Kind.FAILING, Validation.SELF, Verdict.UNKNOWN, "unreachable"),
    ],
)
async def test_resolvers_are_named_for_what_they_are(
    machine: Machine, kind: Kind, validate: Validation, verdict: Verdict, word: str
) -> None:
    machine.recursor.kind = kind
    (found,) = [
        found
        for found in await machine.findings(validate=validate)
        if found.subject.startswith("resolver 127") and not found.subject.endswith("TCP")
    ]
    assert found.verdict is verdict
    assert found.reason.startswith(f"{word}: ")
    assert found.note or verdict is Verdict.OK


@pytest.mark.parametrize(("ahead", "words"), [(60 * DAY, "ahead by"), (-10 * DAY, "behind by")])
async def test_a_skewed_clock_is_named_first(machine: Machine, ahead: float, words: str) -> None:
    bad = failed(await machine.findings(ahead=ahead))
    assert bad[0].subject == "the clock"
    assert words in bad[0].reason
    assert "chrony" in bad[0].note


async def test_a_clock_that_is_right_enough(machine: Machine) -> None:
    assert of(await machine.findings(ahead=-60), "the clock").verdict is Verdict.OK


async def test_a_missing_tlsa(machine: Machine) -> None:
    machine.publish(*(line for line in machine.records if " TLSA " not in line))
    bad = failed(await machine.findings())
    assert f"{OWNER} TLSA" in {found.subject for found in bad}


async def test_a_tlsa_at_the_wrong_owner(machine: Machine) -> None:
    machine.publish(*(line.replace("_5223._tcp.fed.a.test.", "_5223._tcp.a.test.") for line in machine.records))
    (found,) = [found for found in failed(await machine.findings()) if "_5223._tcp.a.test" in found.subject]
    assert OWNER in found.reason + found.note


async def test_damaged_keys(machine: Machine) -> None:
    (machine.config.server.data_dir / "tls.key").write_text("nonsense")
    findings = await machine.findings()
    assert of(findings, "the keys in").verdict is Verdict.FAILED
    assert exit_code(findings) == 2


async def test_a_port_that_is_taken(machine: Machine) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    text = f'[server]\ndomain = "a.test"\n[federation]\nhost = "fed.a.test"\nlisten = "127.0.0.1:{port}"\n'
    taken = parse_homeserver(text, Path("x"))
    machine.config = attrs.evolve(machine.config, federation=taken.federation)
    async with listener:
        found = of(await machine.findings(), "federation.listen")
    assert found.verdict is Verdict.FAILED
    assert "another process" in found.note


async def test_resolver_that_is_not_there(machine: Machine, nursery: trio.Nursery) -> None:
    machine.address = ("127.0.0.1", 1)
    findings = await machine.findings()
    assert of(findings, "the clock").verdict is Verdict.UNKNOWN
    assert exit_code(findings) in (2, 3)


def test_the_command_prints_findings_and_ends_with_their_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "volly-fed.toml"
    values = {"server.domain": "a.test", "federation.host": "fed.a.test", "dns.resolvers": ["127.0.0.1:1"]}
    create_homeserver(path, values)
    code = run(["doctor", "--config", str(path), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert code == document["exit_code"] != 0
    assert "resolver 127.0.0.1" in " ".join(found["subject"] for found in document["findings"])
