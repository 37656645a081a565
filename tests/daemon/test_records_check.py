"""`dns check` against signed zones on loopback, with servers that disagree and operators who mistake."""

from collections.abc import Sequence

import pytest
import trio

from tests.daemon.zone_servers import Servers, make_world, serve
from tests.discovery.harness import NOW
from volly_fed.config.load import parse_homeserver
from volly_fed.config.model import HomeserverConfig
from volly_fed.config.records import Published, identity_text
from volly_fed.daemon.upkeep.findings import Finding, Verdict, exit_code
from volly_fed.daemon.upkeep.records_check import check, check_domain
from volly_fed.names import DomainName, Fingerprint
from volly_fed.testing.world import Flaw, Nsec3, World

KEYS = (b"\x01" * 32, b"\x02" * 32)
MINE = Published(identity=Fingerprint(b"\x07" * 32), tls=KEYS)
OWNER = "_5223._tcp.fed.a.test"
SRV = "_volly-fed._tcp IN SRV 0 5 5223 fed"
TXT = f'_volly-fed IN TXT "{identity_text(MINE)}"'
ADDRESS = "fed IN A 198.51.100.1"
TLSA = tuple(f"_5223._tcp.fed IN TLSA 3 1 1 {key.hex()}" for key in KEYS)
TWO = ("@ IN NS ns2", "ns2 IN A 127.0.0.2")
GOOD = (SRV, TXT, ADDRESS, *TLSA, *TWO)


def zone(world: World, records: Sequence[str], flaws: Flaw = Flaw.NONE) -> None:
    world.zone("a.test", records, flaws=flaws)


def without(*lines: str) -> tuple[str, ...]:
    return tuple(line for line in GOOD if line not in lines)


async def serve_records(
    nursery: trio.Nursery, first: Sequence[str], second: Sequence[str] | None = None, flaws: Flaw = Flaw.NONE
) -> Servers:
    """a.test with `first`, and with `second` at its second server; other zones for what leads elsewhere."""

    def build(records: Sequence[str]) -> World:
        def both(world: World) -> None:
            zone(world, records, flaws)
            world.zone("b.test", ["fed IN A 198.51.100.2", f"_5223._tcp.fed IN TLSA 3 1 1 {KEYS[0].hex()}"])
            world.zone("unsigned.test", ["fed IN A 198.51.100.2"], signed=False)

        return make_world(both)

    world = build(first)
    return await serve(nursery, world, [world if second is None else build(second)])


def config(net: Servers, host: str = "fed.a.test", more: str = "") -> HomeserverConfig:
    text = f'[server]\ndomain = "a.test"\n[federation]\nhost = "{host}"\n[dns]\nauthoritative_port = {net.port}\n{more}'
    return parse_homeserver(text, "x")


async def checked(net: Servers, published: Published = MINE, host: str = "fed.a.test", more: str = "") -> list[Finding]:
    return await check(config(net, host, more), published, net.resolver())


def bad(findings: Sequence[Finding]) -> list[Finding]:
    return [found for found in findings if found.verdict not in (Verdict.OK, Verdict.INFO)]


async def only(net: Servers, published: Published = MINE, host: str = "fed.a.test") -> Finding:
    """The one thing that is wrong."""
    (found,) = bad(await checked(net, published, host))
    return found


async def test_all_is_fine(nursery: trio.Nursery) -> None:
    net = await serve_records(nursery, GOOD)
    findings = await checked(net)
    assert bad(findings) == []
    assert exit_code(findings) == 0
    said = [(found.subject, found.reason) for found in findings if found.verdict is Verdict.OK]
    assert ("_volly-fed._tcp.a.test SRV", "leads to fed.a.test port 5223") in said
    assert (f"{OWNER} TLSA", "names the current key") in said
    assert (f"{OWNER} TLSA", "names the spare key") in said
    assert (f"{OWNER} TLSA", "the same at all 2 addresses of its servers") in said
    assert said[0][0] == "zone a.test"
    assert "signed; the zone above has a DS of key " in said[0][1]


@pytest.mark.parametrize(
    ("missing", "subject", "verdict", "why"),
    [
        ([SRV], "_volly-fed._tcp.a.test SRV", Verdict.FAILED, "does not exist"),
        ([TXT], "_volly-fed.a.test TXT", Verdict.FAILED, "does not exist"),
        ([ADDRESS], "fed.a.test AAAA", Verdict.FAILED, "empty non-terminal"),
        ([TLSA[0]], f"{OWNER} TLSA", Verdict.FAILED, f"does not name the current key: 3 1 1 {KEYS[0].hex()}"),
        ([TLSA[1]], f"{OWNER} TLSA", Verdict.WARNING, f"does not name the spare key: 3 1 1 {KEYS[1].hex()}"),
        (TLSA, f"{OWNER} TLSA", Verdict.FAILED, "does not exist"),
        ([TWO[0]], "zone a.test", Verdict.WARNING, "a single name server"),
    ],
)
async def test_what_is_missing_is_named(
    nursery: trio.Nursery, missing: Sequence[str], subject: str, verdict: Verdict, why: str
) -> None:
    found = bad(await checked(await serve_records(nursery, without(*missing))))
    assert {each.subject for each in found} <= {subject, "fed.a.test A"}
    assert found[0].verdict is verdict
    assert why in found[0].reason
    assert found[0].note


@pytest.mark.parametrize(
    ("old", "new", "subject", "why", "note"),
    [
        (SRV, SRV.replace("5223", "5222"), "_volly-fed._tcp.a.test SRV", "fed.a.test port 5222, not to fed", "print"),
        (SRV, SRV + ".a.test", "_volly-fed._tcp.a.test SRV", "leads to fed.a.test.a.test port", "final dot"),
        (SRV, SRV[:-3] + ".", "_volly-fed._tcp.a.test SRV", "declares that it does not offer", "print"),
        (TXT, TXT.replace("id=B", "id=C"), "_volly-fed.a.test TXT", "this server's is BwcH", "refuse"),
        (TXT, TXT + "\n" + TXT.replace("id=B", "id=C"), "_volly-fed.a.test TXT", "exactly one", "publish"),
        (ADDRESS, "fed IN CNAME fed.b.test.", "fed.a.test", "an alias (CNAME) of fed.b.test", "RFC 2782"),
        (ADDRESS, "fed IN CNAME fed.unsigned.test.", "fed.a.test A", "unsigned delegation", "sign"),
        (TLSA[1], "_5223._tcp.fed IN TLSA 3 1 1 " + "99" * 32, f"{OWNER} TLSA", "none of this server's", "remove"),
        (TLSA[1], "_5223._tcp.fed IN TLSA 2 1 1 " + "99" * 32, f"{OWNER} TLSA", "usage 2 is not 3", "remove"),
        ("@ IN NS ns2", "$TTL 172800", "_volly-fed._tcp.a.test SRV", "more than a day", "hour"),
    ],
)
async def test_what_is_wrong_is_named(
    nursery: trio.Nursery, old: str, new: str, subject: str, why: str, note: str
) -> None:
    records = [new if line == old else line for line in GOOD]
    if new.startswith("$TTL"):
        records = [new, *GOOD]
    found = [each for each in bad(await checked(await serve_records(nursery, records))) if each.subject == subject]
    assert any(why in each.reason and note in each.note for each in found), found


@pytest.mark.parametrize(
    ("wrong", "owner"),
    [
        ("fed", "fed.a.test"),
        ("_tcp.fed", "_tcp.fed.a.test"),
        ("_5223._tcp", "_5223._tcp.a.test"),
        ("@", "a.test"),
        ("_volly-fed._tcp", "_volly-fed._tcp.a.test"),
        ("_5223._tcp.fed.a.test", "_5223._tcp.fed.a.test.a.test"),
    ],
)
async def test_a_wrong_owner_is_named_precisely(nursery: trio.Nursery, wrong: str, owner: str) -> None:
    moved = [line.replace("_5223._tcp.fed ", f"{wrong} ") for line in GOOD]
    found = bad(await checked(await serve_records(nursery, moved)))
    (misplaced,) = [each for each in found if "wrong owner" in each.reason]
    assert misplaced.subject == f"{owner} TLSA"
    assert "TLSA records with this server's key are here" in misplaced.reason
    assert misplaced.note == f"move them to {OWNER}"
    assert exit_code(found) == 2


async def test_servers_that_do_not_agree(nursery: trio.Nursery) -> None:
    found = await only(await serve_records(nursery, GOOD, without(TLSA[1])))
    assert found.subject == f"{OWNER} TLSA"
    assert "ns.a.test [127.0.0.1] (serial 1): 3 1 1 0101" in found.reason
    assert "ns2.a.test [127.0.0.2] (serial 1): 3 1 1 0101" in found.reason
    assert found.verdict is Verdict.FAILED


async def test_a_server_that_has_no_good_signature(nursery: trio.Nursery) -> None:
    net = await serve_records(nursery, GOOD)
    late = make_world(lambda world: zone(world, GOOD, Flaw.EXPIRED))
    net = await serve(nursery, net.world, [late])
    found = bad(await checked(net))
    assert {each.verdict for each in found} == {Verdict.FAILED}
    assert all(each.reason.startswith("ns2.a.test [127.0.0.2]: ") and "expired" in each.reason for each in found)
    assert {each.subject for each in found} >= {f"{OWNER} TLSA", "_volly-fed.a.test TXT"}


async def test_a_silent_server_is_one_warning(nursery: trio.Nursery) -> None:
    net = await serve(nursery, (await serve_records(nursery, GOOD)).world)
    found = await only(net)
    assert (found.subject, found.verdict) == ("server ns2.a.test [127.0.0.2]", Verdict.WARNING)
    assert found.reason == "nothing listens there"


async def test_an_old_record_in_the_resolvers_cache(nursery: trio.Nursery) -> None:
    net = await serve_records(nursery, without(TLSA[1]))
    resolver = net.resolver()
    await resolver.lookup(OWNER, "TLSA")
    newer = await serve_records(nursery, GOOD)
    found = bad(await check(config(newer), MINE, resolver))
    stale = next(each for each in found if "the resolver still has" in each.reason)
    assert stale.verdict is Verdict.WARNING
    assert "up to 3600 seconds" in stale.note


@pytest.mark.parametrize(("days", "verdicts"), [(26, set()), (28, {Verdict.WARNING}), (31, {Verdict.FAILED})])
async def test_the_end_of_signatures_is_foreseen(nursery: trio.Nursery, days: int, verdicts: set[Verdict]) -> None:
    net = await serve_records(nursery, GOOD)  # signed for 30 days
    net.now = NOW + days * 86400
    found = bad(await checked(net))
    assert {each.verdict for each in found} == verdicts
    if days == 28:
        assert all("ends soon: 2027-" in each.reason for each in found)


@pytest.mark.parametrize(
    ("flaw", "why"),
    [
        (Flaw.NO_DS, "a.test. is an unsigned delegation"),
        (Flaw.WRONG_DS, "no key matches the DS"),
        (Flaw.BAD_SIGNATURE, "its signature is wrong"),
        (Flaw.EXPIRED, "its signature expired"),
    ],
)
async def test_a_zone_that_is_not_secure_fails_everywhere(nursery: trio.Nursery, flaw: Flaw, why: str) -> None:
    findings = await checked(await serve_records(nursery, GOOD, flaws=flaw))
    assert exit_code(findings) == 2
    assert {each.verdict for each in findings} == {Verdict.FAILED}
    assert all(why in each.reason and each.note for each in findings)


async def test_nobody_to_ask_is_could_not_tell(nursery: trio.Nursery) -> None:
    net = await serve_records(nursery, GOOD)
    net.port = 1
    findings = await checked(net)
    assert exit_code(findings) == 3
    assert {each.verdict for each in findings} == {Verdict.UNKNOWN}


async def test_private_addresses_are_refused_by_others(nursery: trio.Nursery) -> None:
    net = await serve_records(nursery, [line.replace("198.51.100.1", "10.0.0.1") for line in GOOD])
    (shown,) = [each for each in await checked(net) if each.subject == "fed.a.test A" and "private" in each.reason]
    assert shown.verdict is Verdict.INFO  # a test network
    findings = await check(config(net), MINE, net.resolver(allow_private=False))
    (shown,) = [each for each in findings if each.subject == "fed.a.test A"]
    assert shown.verdict is Verdict.FAILED


async def test_the_host_may_lie_in_another_zone(nursery: trio.Nursery) -> None:
    records = [SRV + ".b.test.", TXT, *TWO]
    found = bad(await checked(await serve_records(nursery, records), host="fed.b.test"))
    assert [(each.subject, each.reason.partition(":")[0]) for each in found] == [
        ("zone b.test", "it has a single name server"),
        ("_5223._tcp.fed.b.test TLSA", "does not name the spare key"),
    ]


async def test_devices_are_checked_too(nursery: trio.Nursery) -> None:
    more = '[devices]\nhost = "signal.a.test"\n'
    net = await serve_records(nursery, [*GOOD, "_volly._tcp IN SRV 0 5 5222 signal", "signal IN AAAA 2001:db8::9"])
    findings = await checked(net, more=more)
    (shown,) = [each for each in findings if each.subject == "_5222._tcp.signal.a.test TLSA"]
    assert shown.verdict is Verdict.INFO
    mine = Published(identity=MINE.identity, tls=KEYS, device_tls=b"\x05" * 32)
    (shown,) = [each for each in bad(await checked(net, mine, more=more)) if "signal" in each.subject][:1]
    assert (shown.subject, shown.verdict) == ("_5222._tcp.signal.a.test TLSA", Verdict.WARNING)


async def test_old_ways_of_signing_are_worth_knowing(nursery: trio.Nursery) -> None:
    def build(world: World) -> None:
        world.zone("a.test", GOOD, algorithm=8, nsec3=Nsec3(iterations=5))

    world = make_world(build)
    net = await serve(nursery, world, [world])
    findings = await checked(net)
    assert bad(findings) == []
    infos = {each.reason for each in findings if each.verdict is Verdict.INFO and each.subject == "zone a.test"}
    assert infos == {"signed with 8 (RSASHA256)", "NSEC3 with 5 iterations"}


async def test_somebody_elses_domain(nursery: trio.Nursery) -> None:
    net = await serve_records(nursery, GOOD)
    findings = await check_domain(DomainName("a.test"), net.resolver(), port=net.port)
    assert bad(findings) == []
    assert f"{OWNER} TLSA" in {each.subject for each in findings}
    (missing, *_) = bad(await check_domain(DomainName("b.test"), net.resolver(), port=net.port))
    assert missing.subject in ("zone b.test", "_volly-fed.b.test TXT")
