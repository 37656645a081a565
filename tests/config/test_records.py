import dns.zone

from volly_fed.config.load import parse_homeserver
from volly_fed.config.records import Published, json_records, records_of, zone_text
from volly_fed.names import Fingerprint

TEXT = '[server]\ndomain = "a.test"\n[federation]\nhost = "fed.a.test"\nport = 7001\n'
DEVICES = '[devices]\nhost = "s.a.test"\nport = 7002\n'
IDENTITY = Fingerprint(bytes(range(32)))
PUBLISHED = Published(identity=IDENTITY, tls=(b"\x01" * 32, b"\x02" * 32), device_tls=b"\x03" * 32)


def lines(text: str) -> list[str]:
    config = parse_homeserver(text, "x")
    return [f"{r.owner} {r.type} {r.data}" for r in records_of(config, PUBLISHED)]


def test_the_records_of_a_server_without_devices() -> None:
    assert lines(TEXT) == [
        "_volly-fed._tcp.a.test. SRV 0 5 7001 fed.a.test.",
        '_volly-fed.a.test. TXT "v=vf1 id=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"',
        f"_7001._tcp.fed.a.test. TLSA 3 1 1 {'01' * 32}",
        f"_7001._tcp.fed.a.test. TLSA 3 1 1 {'02' * 32}",
    ]


def test_the_records_of_devices() -> None:
    assert lines(TEXT + DEVICES)[2] == "_volly._tcp.a.test. SRV 0 5 7002 s.a.test."
    assert lines(TEXT + DEVICES)[-1] == f"_7002._tcp.s.a.test. TLSA 3 1 1 {'03' * 32}"
    bare = records_of(parse_homeserver(TEXT + DEVICES, "x"), Published(identity=IDENTITY, tls=(b"\x01" * 32,)))
    assert [record.owner for record in bare if record.type == "TLSA"] == ["_7001._tcp.fed.a.test."]


def test_the_next_identity_is_announced() -> None:
    published = Published(identity=IDENTITY, identity_next=Fingerprint(bytes(32)), tls=())
    text = records_of(parse_homeserver(TEXT, "x"), published)[1].data
    assert text.endswith(f' next={"A" * 43}"')
    assert len(text) < 255


def test_a_zone_file_reader_takes_both_forms() -> None:
    config = parse_homeserver(TEXT + DEVICES, "x")
    records = records_of(config, PUBLISHED)
    head = "@ 1 IN SOA a. b. 1 1 1 1 1\n@ 1 IN NS a.\n"
    zones = [
        dns.zone.from_text(head + zone_text(config, records, generic=generic), origin="a.test.", relativize=False)
        for generic in (False, True)
    ]
    assert zones[0] == zones[1]
    tlsa = zones[0].find_rdataset("_7001._tcp.fed.a.test.", "TLSA")
    assert {rdata.to_text() for rdata in tlsa} == {f"3 1 1 {'01' * 32}", f"3 1 1 {'02' * 32}"}
    assert "TYPE52 \\# 35 030101" in zone_text(config, records, generic=True)


def test_as_json() -> None:
    config = parse_homeserver(TEXT, "x")
    plain = json_records(records_of(config, PUBLISHED))
    assert plain[0] == {
        "owner": "_volly-fed._tcp.a.test.",
        "ttl": 3600,
        "type": "SRV",
        "data": "0 5 7001 fed.a.test.",
        "purpose": "where other homeservers connect",
    }
    assert plain[2]["generic"] == f"TYPE52 \\# 35 030101{'01' * 32}"
