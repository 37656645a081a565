"""Every printed form is read again, by dnspython or by the programs it is made for."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.zone
import pytest

from tests.config.test_records import DEVICES, PUBLISHED, TEXT
from tests.discovery.debian import tool
from volly_fed.config.load import parse_homeserver
from volly_fed.config.record_text import check_text, json_records, nsupdate_text, zone_text
from volly_fed.config.records import Record, opt_out, records_of
from volly_fed.config.values import HostPort
from volly_fed.names import DomainName

CONFIG = parse_homeserver(TEXT + DEVICES, "x")
ELSEWHERE = parse_homeserver(TEXT.replace("fed.a.test", "fed.b.example.test"), "x")
A = DomainName("a.test")
HEAD = "@ 1 IN SOA a. b. 1 1 1 1 1\n@ 1 IN NS a.\n"


def records() -> list[Record]:
    return records_of(CONFIG, PUBLISHED)


def test_a_zone_file_reader_takes_both_forms() -> None:
    zones = [
        dns.zone.from_text(HEAD + zone_text(CONFIG, records(), generic=generic), origin="a.test.", relativize=False)
        for generic in (False, True)
    ]
    assert zones[0] == zones[1]
    tlsa = zones[0].find_rdataset("_7001._tcp.fed.a.test.", "TLSA")
    assert {rdata.to_text() for rdata in tlsa} == {f"3 1 1 {'01' * 32}", f"3 1 1 {'02' * 32}"}
    assert "TYPE52 \\# 35 030101" in zone_text(CONFIG, records(), generic=True)


def test_what_goes_wrong_most_often_is_said() -> None:
    text = zone_text(CONFIG, records())
    assert "; TLSA belongs to _7001._tcp.fed.a.test, not to fed.a.test itself and not to a.test" in text
    assert "; to leave the federation instead: _volly-fed._tcp.a.test. IN SRV 0 0 0 ." in text
    assert "; delv +nosplit _7001._tcp.fed.a.test. TLSA" in text
    assert "TLSA belongs" not in zone_text(CONFIG, [opt_out(A)])


def test_as_json() -> None:
    plain = json_records(records())
    assert plain[0] == {
        "owner": "_volly-fed._tcp.a.test.",
        "ttl": 3600,
        "type": "SRV",
        "data": "0 5 7001 fed.a.test.",
        "purpose": "where other homeservers connect",
    }
    assert plain[3]["generic"] == f"TYPE52 \\# 35 030101{'01' * 32}"


def test_an_update_replaces_each_rrset_once() -> None:
    script = nsupdate_text(records_of(ELSEWHERE, PUBLISHED), [A], HostPort("192.0.2.53", 5300))
    assert [line for line in script.splitlines() if not line.startswith(";")] == [
        "server 192.0.2.53 5300",
        "zone a.test.",
        "update delete _volly-fed._tcp.a.test. SRV",
        "update delete _volly-fed.a.test. TXT",
        "update add _volly-fed._tcp.a.test. 3600 IN SRV 0 5 7001 fed.b.example.test.",
        'update add _volly-fed.a.test. 3600 IN TXT "v=vf1 id=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"',
        "send",
        "zone b.example.test.",
        "update delete _7001._tcp.fed.b.example.test. TLSA",
        f"update add _7001._tcp.fed.b.example.test. 3600 IN TLSA 3 1 1 {'01' * 32}",
        f"update add _7001._tcp.fed.b.example.test. 3600 IN TLSA 3 1 1 {'02' * 32}",
        "send",
    ]


@pytest.mark.parametrize(
    ("zones", "wanted"),
    [
        (["a.test"], ["a.test.", "b.example.test."]),
        (["a.test", "example.test"], ["a.test.", "example.test."]),
        (["test", "fed.b.example.test"], ["test.", "fed.b.example.test."]),
        (["test"], ["test."]),
    ],
)
def test_a_record_goes_into_the_closest_zone(zones: list[str], wanted: list[str]) -> None:
    script = nsupdate_text(records_of(ELSEWHERE, PUBLISHED), [DomainName(zone) for zone in zones])
    assert [line.split()[1] for line in script.splitlines() if line.startswith("zone ")] == wanted
    assert "server" not in script


def test_the_commands_that_check_are_a_shell_script() -> None:
    text = check_text(records())
    assert subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0
    commands = [line for line in text.splitlines() if not line.startswith("#")]
    assert "delv +nosplit _7001._tcp.fed.a.test. TLSA" in commands
    assert "kdig +dnssec _7001._tcp.fed.a.test. TLSA" in commands
    assert len(commands) == 2 * 5
    for record in records():
        assert f"#   {record.owner} IN {record.type} {record.data}" in text.splitlines()


def updates(printed: str) -> set[tuple[str, str, str]]:
    """The records that nsupdate would add, as it prints them."""
    found = set()
    for line in printed.splitlines():
        owner, _ttl, rdclass, kind, *data = line.split() if line[:1] == "_" else ["", "", "", "", ""]
        if rdclass == "IN":
            text = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(kind), " ".join(data)).to_text()
            found.add((owner, kind, text))
    return found


def expected(what: Sequence[Record]) -> set[tuple[str, str, str]]:
    return {(record.owner, record.type, record.data) for record in what}


@pytest.mark.debian
def test_nsupdate_reads_the_script(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(nsupdate_text(records(), [A], HostPort("127.0.0.1", 1)).replace("send\n", "show\n"))
    done = subprocess.run([tool("nsupdate"), script], capture_output=True, text=True, check=True)
    assert updates(done.stdout) == expected(records())
    assert "_7001._tcp.fed.a.test.\t0\tANY\tTLSA" in done.stdout


@pytest.mark.debian
def test_knsupdate_reads_the_script(tmp_path: Path) -> None:
    script = tmp_path / "script"
    text = nsupdate_text(records(), [A], HostPort("127.0.0.1", 1)).replace("send\n", "show\n")
    script.write_text(text)
    done = subprocess.run([tool("knsupdate"), script], capture_output=True, text=True, check=True)
    assert updates(done.stdout) == expected(records())
