import dns.dnssec
import dns.name
import dns.rdata
import pytest
from dns.dnssectypes import Algorithm, DSDigest
from dns.rdataclass import IN
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.dnskeybase import Flag

from volly_fed import limits
from volly_fed.discovery.anchors import IANA_ROOT, Anchors, compare, read_anchors
from volly_fed.errors import ConfigError
from volly_fed.testing.world_sign import ZoneKeys

ROOT = dns.name.root
ROOT_KEY_2017 = (
    "257 3 8 AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTOiW1vkIbzxeF3+/4RgWOq7HrxRixHlFlExOLAJr5emLvN7SWXgnLh4+B5xQ"
    "lNVz8Og8kvArMtNROxVQuCaSnIDdD5LKyWbRd2n9WGe2R8PzgCmr3EgVLrjyBxWezF0jLHwVN8efS3rCj/EWgvIWgb9tarpVUDK/b58Da+sqqls"
    "3eNbuv7pr+eoZG+SrDK6nWeL3c6H5Apxz7LjVc1uTIdsIXxuOLYA4/ilBmSVIzuDWfdRUfhHdY6+cn8HFRm+2hM8AnXGXws9555KrUB5qihylGa"
    "8subX2Nn6UwNR1AkUTV74bU="
)
ROOT_KEY_2024 = (
    "257 3 8 AwEAAa96jeuknZlaeSrvyAJj6ZHv28hhOKkx3rLGXVaC6rXTsDc449/cidltpkyGwCJNnOAlFNKF2jBosZBU5eeHspaQWOmOElZsjI"
    "CMQMC3aeHbGiShvZsx4wMYSjH8e7Vrhbu6irwCzVBApESjbUdpWWmEnhathWu1jo+siFUiRAAxm9qyJNg/wOZqqzL/dL/q8PkcRU5oUKEpUge71"
    "M3ej2/7CPqpdVwuMoTvoB+ZOT4YeGyxMvHmbrxlFzGOHOijtzN+u1TQNatX2XBuzZNQ1K+s2CXkPIZo7s6JgZyvaBevYtxPvYLw4z9mR7K2vaF1"
    "8UYH9Z9GNUUeayffKC73PYc="
)
"""The public keys themselves, as Debian's dns-root-data has them."""

XML = """\
<?xml version="1.0" encoding="UTF-8"?>
<TrustAnchor id="380DC50D-484E-40D0-A3AE-68F2B18F61C7" source="http://data.iana.org/root-anchors/root-anchors.xml">
<!-- as IANA publishes it -->
<Zone>.</Zone>
<KeyDigest id="Kjqmt7v" validFrom="2010-07-15T00:00:00+00:00" validUntil="2019-01-11T00:00:00+00:00">
<KeyTag>19036</KeyTag><Algorithm>8</Algorithm><DigestType>2</DigestType>
<Digest>49AAC11D7B6F6446702E54A1607371607A1A41855200FD2CE1CDDE32F24E8FB5</Digest>
</KeyDigest>
<KeyDigest id="Klajeyz" validFrom="2017-02-02T00:00:00+00:00">
<KeyTag>20326</KeyTag><Algorithm>8</Algorithm><DigestType>2</DigestType>
<Digest>E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D</Digest>
<PublicKey>AwEAAaz/tAm8</PublicKey><Flags>257</Flags>
</KeyDigest>
<KeyDigest id="Kmyv6jo" validFrom="2024-07-18T00:00:00Z">
<KeyTag>38696</KeyTag><Algorithm>8</Algorithm><DigestType>2</DigestType>
<Digest>683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16</Digest>
</KeyDigest>
</TrustAnchor>
"""


def tags(anchors: Anchors) -> set[int]:
    return {ds.key_tag for ds in anchors[ROOT]}


def dnskey(text: str) -> DNSKEY:
    rdata = dns.rdata.from_text(IN, "DNSKEY", text)
    assert isinstance(rdata, DNSKEY)
    return rdata


def made_key(seed: bytes, *, flags: int = Flag.ZONE | Flag.SEP) -> DNSKEY:
    made = ZoneKeys.derive(seed, ROOT, Algorithm.ECDSAP256SHA256).signing[1].replace(flags=flags)
    assert isinstance(made, DNSKEY)
    return made


def test_both_root_keys_are_built_in() -> None:
    assert tags(read_anchors(IANA_ROOT)) == {20326, 38696}


def test_comments_ttls_and_other_zones_are_read() -> None:
    text = "; a comment\ntest. 3600 IN DS 1 13 2 " + "00" * 32 + " ; tail\n"
    assert list(read_anchors(text)) == [dns.name.from_text("test")]


def test_keys_of_a_root_key_file_are_digested() -> None:
    text = f". IN DNSKEY {ROOT_KEY_2017} ; keytag 20326\n. 172800 IN DNSKEY {ROOT_KEY_2024} ; keytag 38696\n"
    assert read_anchors(text)[ROOT] == read_anchors(IANA_ROOT)[ROOT]


def test_keys_that_are_no_secure_entry_points_are_no_anchors() -> None:
    for flags in (Flag.ZONE, Flag.SEP, Flag.ZONE | Flag.SEP | Flag.REVOKE):
        with pytest.raises(ConfigError, match="no usable anchor"):
            read_anchors(f". IN DNSKEY {made_key(b'x', flags=flags).to_text()}")


@pytest.mark.parametrize(("state", "usable"), [(0, False), (1, False), (2, True), (3, True), (4, False), (5, False)])
def test_only_keys_past_their_probation_count_in_unbounds_file(state: int, usable: bool) -> None:
    lines = f"""; autotrust trust anchor file
;;id: . 1
;;last_queried: 1767225600 ;;Thu Jan  1 00:00:00 2026
.	86400	IN	DNSKEY	{ROOT_KEY_2017} ;{{id = 20326 (ksk), size = 2048b}} ;;state=2 [  VALID  ] ;;count=0
.	86400	IN	DNSKEY	{ROOT_KEY_2024} ;{{id = 38696 (ksk), size = 2048b}} ;;state={state} [ ? ] ;;count=0
"""
    assert tags(read_anchors(lines)) == ({20326, 38696} if usable else {20326})


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (None, {20326, 38696}),
        (1_500_000_000.0, {19036, 20326}),
        (1_547_164_799.0, {19036, 20326}),
        (1_547_164_800.0, {20326}),  # validUntil itself
        (1_800_000_000.0, {20326, 38696}),
    ],
)
def test_xml_anchors_count_between_their_dates(now: float | None, expected: set[int]) -> None:
    assert tags(read_anchors(XML, now=now)) == expected


def test_xml_and_lines_say_the_same() -> None:
    assert read_anchors(XML) == read_anchors(IANA_ROOT)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<TrustAnchor", '<!DOCTYPE x [<!ENTITY a "b">]><TrustAnchor'),
        ("<Zone>", '<!ENTITY a "b"><Zone>'),
        ("</TrustAnchor>", ""),
        ("TrustAnchor", "Other"),
        ("<Zone>.</Zone>", ""),
        ("<KeyTag>20326</KeyTag>", ""),
        ("20326", "many"),
        ("E06D44", "E06"),
        ("2017-02-02T00:00:00+00:00", "2017-02-02T00:00:00"),
        ('validFrom="2017-02-02T00:00:00+00:00"', ""),
        ("2019-01-11T00:00:00+00:00", "soon"),
        ("<Zone>.<", "<Zone>" + "x" * 64 + "<"),
    ],
)
def test_spoiled_xml_is_a_config_error(old: str, new: str) -> None:
    assert old in XML
    with pytest.raises(ConfigError) as caught:
        read_anchors(XML.replace(old, new), "root-anchors.xml", now=1_800_000_000.0)
    assert caught.value.problems[0].startswith("root-anchors.xml: ")


@pytest.mark.parametrize(
    "text",
    [
        "", "; nothing", ". IN DS", ". IN DS 1 13 2 0011", ". IN A 192.0.2.1", ". IN DS 1 253 2 " + "00" * 32, "\0",
        IANA_ROOT + "test. IN DS 1 253 2 " + "00" * 32,  # the zone would count as unsigned: nobody means that
        "<", "<x/>", ". IN DNSKEY 257 3 8", IANA_ROOT + " " * limits.DNS_ANCHORS,
    ],
)  # fmt: skip
def test_unusable_text_is_a_config_error_naming_its_source(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_anchors(text, "anchors.txt")
    assert caught.value.problems[0].startswith("anchors.txt: ")
    assert "note:" in caught.value.problems[0]


def test_compare_tells_a_roll_over() -> None:
    old, new, other = made_key(b"old"), made_key(b"new"), made_key(b"zone", flags=Flag.ZONE)
    anchors = {ROOT: (dns.dnssec.make_ds(ROOT, old, DSDigest.SHA256),)}
    for keys, matched, unknown in (
        ([old, other], True, ()),
        ([old, new, other], True, (dns.dnssec.key_id(new),)),
        ([new, other], False, (dns.dnssec.key_id(new),)),
        ([other], False, ()),
        ([], False, ()),
        ([old.replace(flags=old.flags | Flag.REVOKE), new], False, (dns.dnssec.key_id(new),)),
    ):
        drift = compare(anchors, ROOT, keys)
        assert (drift.matched, drift.unknown) == (matched, unknown)
    assert not compare(anchors, dns.name.from_text("test"), [old]).matched


def test_compare_knows_the_roots_keys() -> None:
    drift = compare(read_anchors(IANA_ROOT), ROOT, [dnskey(ROOT_KEY_2017), dnskey(ROOT_KEY_2024)])
    assert (drift.matched, drift.unknown) == (True, ())


def test_compare_is_not_deceived_by_a_tag() -> None:
    """Another key with the tag of an anchored one."""
    key = dnskey(ROOT_KEY_2017)
    swapped = key.replace(key=key.key[:4] + key.key[6:8] + key.key[4:6] + key.key[8:])
    assert isinstance(swapped, DNSKEY)
    assert dns.dnssec.key_id(swapped) == 20326
    drift = compare(read_anchors(IANA_ROOT), ROOT, [swapped])
    assert (drift.matched, drift.unknown) == (False, (20326,))
