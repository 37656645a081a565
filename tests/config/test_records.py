import attrs
import pytest

from volly_fed.config.load import parse_homeserver
from volly_fed.config.records import Published, opt_out, quoted, records_of, tlsa_owner
from volly_fed.names import DomainName, Fingerprint

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


def test_during_a_roll_the_retiring_key_stays() -> None:
    published = attrs.evolve(PUBLISHED, tls=tuple(bytes([number]) * 32 for number in range(1, 5)))
    purposes = [r.purpose.partition(":")[0] for r in records_of(parse_homeserver(TEXT, "x"), published)[2:]]
    assert purposes == ["the current TLS key", "the next TLS key, the spare", *["a retiring TLS key"] * 2]


def test_ttl_priority_and_weight_are_the_operators() -> None:
    config = parse_homeserver(TEXT + DEVICES, "x")
    records = records_of(config, PUBLISHED, ttl=300, priority=10, weight=0)
    assert {record.ttl for record in records} == {300}
    assert [record.data for record in records if record.type == "SRV"] == [
        "10 0 7001 fed.a.test.",
        "0 5 7002 s.a.test.",  # another service, another choice
    ]
    assert records[0].line().split() == [
        "_volly-fed._tcp.a.test.",
        "300",
        "IN",
        "SRV",
        "10",
        "0",
        "7001",
        "fed.a.test.",
    ]


def test_the_opt_out_is_a_target_of_nothing() -> None:
    record = opt_out(DomainName("a.test"), ttl=60)
    assert record.line().split() == ["_volly-fed._tcp.a.test.", "60", "IN", "SRV", "0", "0", "0", "."]


def test_the_owner_of_tlsa_is_the_target_and_its_port() -> None:
    assert tlsa_owner(DomainName("fed.a.test"), 7001) == "_7001._tcp.fed.a.test."


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", '""'),
        ("v=vf1", '"v=vf1"'),
        ('a"b\\', '"a\\"b\\\\"'),
        ("x" * 255, f'"{"x" * 255}"'),
        ("x" * 600, f'"{"x" * 255}" "{"x" * 255}" "{"x" * 90}"'),
    ],
)
def test_a_long_text_is_several_strings(text: str, data: str) -> None:
    assert quoted(text) == data
