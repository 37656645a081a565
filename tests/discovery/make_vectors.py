"""Writes spec/vectors/discovery: python -m tests.discovery.make_vectors. A test compares what is there.

What is expected is written down here, or made by the plain formulas of the RFCs, not by the package that is tested.
"""

import base64
import hashlib
import json
from typing import Any

import dns.name
import dns.rdata
from dns.rdataclass import IN
from dns.rdatatype import RdataType

from tests.spec.run import B, expand
from tests.vectors import SPEC

FOLDER = SPEC / "vectors" / "discovery"
Vectors = dict[str, Any]
MALFORMED = {"reject": {"class": "BadMessage", "code": "MALFORMED"}}
ONE, TWO = "A" * 42 + "A", "GOUkQ_njS35mCXlDQjXRNOlTEhT1OeC4gckTJ85PI90"
NOTES = {
    "aliases": "The owner of TLSA records is made from the wrong name.",
    "fallback": "What is not proved is used all the same.",
    "one-bad-record": "One unusable record spoils the others.",
    "spelling": "The same name has two spellings.",
    "ssrf": "Whoever controls a zone points it into the homeserver's own network.",
    "usage": "A record that names a CA is taken for the key.",
}


def case(identity: str, given: Vectors, expect: Vectors, flag: str = "") -> Vectors:
    return {"id": identity, "flags": [flag] if flag else [], "given": given, "expect": expect}


def document(kind: str, cases: list[Vectors], covers: list[int]) -> Vectors:
    """A file; `covers` are the numbers of the requirements that it shows."""
    flags = {flag for made in cases for flag in made["flags"]}
    notes = {flag: NOTES[flag] for flag in sorted(flags)}
    shown = [f"discovery-{number}" for number in covers]
    return {"spec": "discovery v1", "kind": kind, "covers": shown, "notes": notes, "cases": cases}


def rdata(kind: str, text: str) -> str:
    """The RDATA of a line of a zone file, as hex."""
    made = dns.rdata.from_text(IN, RdataType.from_text(kind), text, origin=dns.name.root, relativize=False)
    return bytes(made.to_digestable()).hex()


# --- codecs --------------------------------------------------------------------------------------------------------


def identity_file() -> Vectors:
    """The identity record: the strings of all TXT records at the owner."""

    def txt(*strings: str) -> str:
        return b"".join(bytes([len(s.encode())]) + s.encode() for s in strings).hex()

    one = {"accept": {"id": "00" * 32, "next": None}}
    both = {"accept": {"id": "00" * 32, "next": _bytes_of(TWO)}}
    rows: list[tuple[str, list[str], Vectors, str]] = [
        ("current", [txt(f"v=vf1 id={ONE}")], one, ""),
        ("next", [txt(f"v=vf1 id={ONE} next={TWO}")], both, ""),
        ("next-first", [txt(f"v=vf1 next={TWO} id={ONE}")], both, ""),
        ("several-strings", [txt("v=vf1 id=", ONE[:20], ONE[20:])], one, ""),
        ("unknown-field", [txt(f"v=vf1 id={ONE} new=x=y")], one, ""),
        ("two-spaces", [txt(f"v=vf1  id={ONE} ")], one, ""),
        ("another-record", [txt("v=spf1 -all"), txt(f"v=vf1 id={ONE}")], one, ""),
        ("version-2-beside", [txt(f"v=vf2 id={TWO}"), txt(f"v=vf1 id={ONE}")], one, ""),
        ("none", [txt("v=spf1 -all")], MALFORMED, ""),
        ("two", [txt(f"v=vf1 id={ONE}"), txt(f"v=vf1 id={TWO}")], MALFORMED, ""),
        ("no-id", [txt(f"v=vf1 next={ONE}")], MALFORMED, ""),
        ("version-alone", [txt("v=vf1")], MALFORMED, ""),
        ("id-twice", [txt(f"v=vf1 id={ONE} id={ONE}")], MALFORMED, ""),
        ("unknown-field-twice", [txt(f"v=vf1 id={ONE} a=1 a=2")], MALFORMED, ""),
        ("no-equals-sign", [txt(f"v=vf1 id={ONE} next")], MALFORMED, ""),
        ("short-fingerprint", [txt(f"v=vf1 id={ONE[1:]}")], MALFORMED, ""),
        ("padded-fingerprint", [txt(f"v=vf1 id={ONE}=")], MALFORMED, "spelling"),
        ("surplus-bits", [txt(f"v=vf1 id={ONE[:-1]}B")], MALFORMED, "spelling"),
        ("base64-alphabet", [txt(f"v=vf1 id={'+' + ONE[1:]}")], MALFORMED, "spelling"),
        ("version-in-capitals", [txt(f"V=VF1 id={ONE}")], MALFORMED, "spelling"),
        ("not-ascii", [txt(f"v=vf1 id={ONE[:-1]}ä")], MALFORMED, ""),
        ("bad-next", [txt(f"v=vf1 id={ONE} next=x")], MALFORMED, ""),
    ]
    cases = [case(name, {"rdata": records}, expect, flag) for name, records, expect, flag in rows]
    return document("discovery-identity", cases, [2, 3, 4])


def _bytes_of(text: str) -> str:
    return base64.urlsafe_b64decode(text + "=").hex()


def srv_file() -> Vectors:
    def record(priority: int, weight: int, port: int, target: str | None) -> Vectors:
        return {"accept": {"priority": priority, "weight": weight, "port": port, "target": target}}

    rows: list[tuple[str, str, Vectors, str]] = [
        ("usual", rdata("SRV", "0 5 5223 fed.b.example."), record(0, 5, 5223, "fed.b.example"), ""),
        ("numbers", rdata("SRV", "65535 1 65534 x.example."), record(65535, 1, 65534, "x.example"), ""),
        ("declined", rdata("SRV", "0 0 0 ."), record(0, 0, 0, None), ""),
        ("declined-with-port", rdata("SRV", "0 0 5223 ."), record(0, 0, 5223, None), ""),
        ("no-port", rdata("SRV", "0 0 0 fed.b.example."), MALFORMED, ""),
        ("underscore", rdata("SRV", "0 0 5223 fed_1.b.example."), MALFORMED, ""),
        ("space", rdata("SRV", r"0 0 5223 fed\0321.b.example."), MALFORMED, ""),
        ("hyphen-first", rdata("SRV", "0 0 5223 -fed.b.example."), MALFORMED, ""),
        ("not-ascii", rdata("SRV", r"0 0 5223 f\228d.b.example."), MALFORMED, ""),
        (
            "capitals",
            "000000051467" + bytes(dns.name.from_text("FED.B.Example.").to_wire() or b"").hex(),
            record(0, 5, 5223, "fed.b.example"),
            "spelling",
        ),
    ]
    cases = [case(name, {"rdata": data}, expect, flag) for name, data, expect, flag in rows]
    return document("discovery-srv", cases, [6])


def tlsa_file() -> Vectors:
    digest = B.tls.spki_sha256.hex()
    usable = {
        "usual": (3, 1, 1, digest),
        "certificate": (3, 0, 1, digest),
        "sha-512": (3, 1, 2, digest * 2),
    }
    unusable = {
        "usage-0": (0, 1, 1, digest),
        "usage-1": (1, 1, 1, digest),
        "usage-2": (2, 1, 1, digest),
        "usage-255": (255, 1, 1, digest),
        "selector-2": (3, 2, 1, digest),
        "matching-0": (3, 1, 0, B.tls.spki.hex()),
        "matching-3": (3, 1, 3, digest),
        "short-digest": (3, 1, 1, digest[:-2]),
        "long-digest": (3, 1, 1, digest + "00"),
        "sha-512-short": (3, 1, 2, digest),
        "no-digest": (3, 1, 1, ""),
    }
    cases = []
    for name, (usage, selector, matching, data) in (usable | unusable).items():
        fields = {"usage": usage, "selector": selector, "matching": matching, "data": data, "usable": name in usable}
        given = {"rdata": bytes([usage, selector, matching]).hex() + data}
        cases.append(case(name, given, {"accept": fields}))
    cases += [case(name, {"rdata": data}, MALFORMED) for name, data in (("two-bytes", "0301"), ("empty", ""))]
    return document("discovery-tlsa", cases, [11])


# --- DANE ----------------------------------------------------------------------------------------------------------


def dane_file() -> Vectors:
    """Records, and bytes that stand for a key and a certificate and are compared with them."""
    spki, certificate = expand("key", 100), expand("certificate", 100)
    other = expand("another key", 32).hex()
    spki256, spki512 = hashlib.sha256(spki).hexdigest(), hashlib.sha512(spki).hexdigest()
    cert256 = hashlib.sha256(certificate).hexdigest()
    rows: list[tuple[str, list[str], bool, str]] = [
        ("key", ["030101" + spki256], True, ""),
        ("key-by-sha-512", ["030102" + spki512], True, ""),
        ("certificate", ["030001" + cert256], True, ""),
        ("current-and-next", ["030101" + other, "030101" + spki256], True, ""),
        ("one-of-64", ["030101" + expand(f"key {n}", 32).hex() for n in range(63)] + ["030101" + spki256], True, ""),
        ("beyond-64", ["030101" + expand(f"key {n}", 32).hex() for n in range(64)] + ["030101" + spki256], False, ""),
        ("another-key", ["030101" + other], False, ""),
        ("nothing", [], False, "fallback"),
        ("selectors-exchanged", ["030001" + spki256, "030101" + cert256], False, ""),
        ("weak-digest-beside-a-strong-one", ["030102" + other * 2, "030101" + spki256], True, ""),
        ("unusable-beside", ["030101" + spki256[:-2], "ff0101" + other, "030101" + spki256], True, "one-bad-record"),
        ("whole-key", ["030100" + spki.hex()], False, ""),
        ("usage-0", ["000101" + spki256], False, "usage"),
        ("usage-1", ["010101" + spki256], False, "usage"),
        ("usage-2", ["020101" + spki256], False, "usage"),
        ("all-unusable", ["030101" + spki256[:-2], "020101" + spki256], False, "fallback"),
    ]
    keys = {"spki": spki.hex(), "certificate": certificate.hex()}
    cases = [
        case(name, keys | {"records": found}, {"accept": {"published": hit}}, flag) for name, found, hit, flag in rows
    ]
    return document("discovery-dane", cases, [11, 12, 13])


# --- decisions -----------------------------------------------------------------------------------------------------


def secure(*lines: str, canonical: str = "") -> Vectors:
    """A secure answer; `canonical` is where aliases led."""
    records = [rdata(*line.split(" ", 1)) for line in lines]
    return {"status": "secure", "found": bool(lines), "rdata": records} | (
        {"canonical": canonical} if canonical else {}
    )


def bad(status: str, *lines: str) -> Vectors:
    return secure(*lines) | {"status": status, "found": bool(lines)}


def decisions_file() -> Vectors:
    tlsa = f"TLSA 3 1 1 {B.tls.spki_sha256.hex()}"
    good: Vectors = {
        "srv": secure("SRV 0 5 5223 fed.b.example."),
        "txt": secure(f'TXT "v=vf1 id={TWO}"'),
        "targets": {
            "fed.b.example": {
                "aaaa": secure("AAAA 2600::1"),
                "a": secure(),
                "tlsa": {"_5223._tcp.fed.b.example": secure(tlsa)},
            }
        },
    }
    found = {"host": "fed.b.example", "port": 5223, "addresses": ["2600::1"], "tlsa": [tlsa[5:]]}
    cases = [case("good", good, {"accept": {"identity": _bytes_of(TWO), "next": None, "targets": [found]}})]

    def at_target(**changes: Any) -> Vectors:
        return good | {"targets": {"fed.b.example": good["targets"]["fed.b.example"] | changes}}

    def accepted(name: str, given: Vectors, flag: str = "", **changes: Any) -> None:
        target = {"identity": _bytes_of(TWO), "next": None, "targets": [found | changes]}
        cases.append(case(name, given, {"accept": target}, flag))

    def refused(name: str, given: Vectors, kind: str, flag: str = "") -> None:
        cases.append(case(name, given, {"reject": {"class": kind, "code": "DISCOVERY"}}, flag))

    kinds = {"insecure": "Insecure", "bogus": "Bogus", "indeterminate": "Indeterminate"}
    for status, kind in kinds.items():
        refused(f"srv-{status}", good | {"srv": bad(status, "SRV 0 5 5223 fed.b.example.")}, kind, "fallback")
        refused(f"txt-{status}", good | {"txt": bad(status, f'TXT "v=vf1 id={TWO}"')}, kind, "fallback")
        refused(f"addresses-{status}", at_target(aaaa=bad(status, "AAAA 2600::1")), kind, "fallback")
        owner = "_5223._tcp.fed.b.example"
        refused(f"tlsa-{status}", at_target(tlsa={owner: bad(status, tlsa)}), kind, "fallback")
        accepted(f"one-family-{status}", at_target(a=bad(status, "A 198.41.0.4")))
    owner = "_5223._tcp.fed.b.example"
    refused("no-srv", good | {"srv": secure()}, "NoRecords", "fallback")
    refused("declined", good | {"srv": secure("SRV 0 0 0 .")}, "NoRecords", "fallback")
    refused("no-usable-srv", good | {"srv": secure("SRV 0 0 0 fed.b.example.")}, "NoRecords")
    refused("no-txt", good | {"txt": secure()}, "NoRecords")
    refused("two-identities", good | {"txt": secure(f'TXT "v=vf1 id={ONE}"', f'TXT "v=vf1 id={TWO}"')}, "NoRecords")
    refused("no-addresses", at_target(aaaa=secure()), "NoRecords")
    refused("private-address", at_target(aaaa=secure("AAAA fd00::1")), "NoRecords", "ssrf")
    refused("no-tlsa", at_target(tlsa={owner: secure()}), "NoRecords", "fallback")
    refused("no-usable-tlsa", at_target(tlsa={owner: secure(f"TLSA 2 1 1 {'ab' * 32}")}), "NoRecords", "fallback")
    both = secure(f"TLSA 2 1 1 {'ab' * 32}", tlsa)
    accepted("an-unusable-record-beside", at_target(tlsa={owner: both}), "one-bad-record")
    private = secure("AAAA fd00::1", "AAAA 2600::1")
    accepted("a-private-address-beside", at_target(aaaa=private), "ssrf")
    aliased = secure("AAAA 2600::1", canonical="host.example.net")
    other = "_5223._tcp.host.example.net"
    accepted("alias", at_target(aaaa=aliased, tlsa={other: secure(tlsa)}), "aliases", host="host.example.net")
    accepted("alias-without-records", at_target(aaaa=aliased, tlsa={other: secure(), owner: secure(tlsa)}), "aliases")
    bogus = {other: bad("bogus"), owner: secure(tlsa)}
    refused("alias-with-bogus-records", at_target(aaaa=aliased, tlsa=bogus), "Bogus", "aliases")
    return document("discovery-decision", cases, [3, 6, 7, 11, 23, 24])


def addresses_file() -> Vectors:
    public = ("198.41.0.4", "1.1.1.1", "2600::1", "64:ff9b::c629:4", "2002:c629:4::1")
    private = (
        *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.1.1", "100.64.0.1", "0.0.0.0", "192.0.2.1"),
        *("224.0.0.1", "255.255.255.255", "240.0.0.1", "::1", "::", "fe80::1", "fec0::1", "fd00::1", "ff02::1"),
        *("2001:db8::1", "3fff::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1"),
    )
    cases = [case(text, {"address": text}, {"accept": {"dial": True}}) for text in public]
    cases += [case(text, {"address": text}, {"accept": {"dial": False}}, "ssrf") for text in private]
    return document("discovery-address", cases, [24])


FILES = {
    "identity": identity_file,
    "srv": srv_file,
    "tlsa": tlsa_file,
    "dane": dane_file,
    "decisions": decisions_file,
    "addresses": addresses_file,
}


def text(name: str) -> str:
    return json.dumps(FILES[name](), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name in FILES:
        (FOLDER / f"{name}.json").write_text(text(name))
