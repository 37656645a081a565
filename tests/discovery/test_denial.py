"""Proofs of absence, one by one: what each record can and cannot say, without signatures or a resolver around it."""

from collections.abc import Iterable

import dns.name
import dns.rdata
import pytest
from dns.rdataclass import IN
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.NSEC import NSEC
from dns.rdtypes.ANY.NSEC3 import NSEC3

from volly_fed.discovery import denial_nsec, denial_nsec3
from volly_fed.discovery.budget import Budget
from volly_fed.discovery.denial import Absence, judge_match, types_in
from volly_fed.discovery.denial_nsec import Span
from volly_fed.discovery.denial_nsec3 import HashedZone
from volly_fed.discovery.message import Question
from volly_fed.errors import Bogus, Indeterminate
from volly_fed.testing.world import Nsec3

ZONE = "test."
NAMES = {
    "test.": "NS SOA",
    "a.test.": "NS DS",
    "plain.test.": "A",
    "d.test.": "DNAME",
    "*.wild.test.": "A",
    "wild.test.": "",
    "cut.wild.test.": "NS",
}
"""A zone with a delegation, a host, a DNAME, a wildcard and (for NSEC3) an empty non-terminal."""


def name(text: str) -> dns.name.Name:
    return dns.name.from_text(text)


def question(text: str, rdtype: str = "A") -> Question:
    return Question(name(text), RdataType.make(rdtype))


def spans(*owners: str) -> list[Span]:
    """The NSEC records of those owners."""
    chain = sorted(name(text) for text, types in NAMES.items() if types)
    made = []
    for owner, following in zip(chain, chain[1:] + chain[:1], strict=True):
        rdata = dns.rdata.from_text(IN, "NSEC", f"{following} {NAMES[str(owner)]} NSEC RRSIG")
        assert isinstance(rdata, NSEC)
        if str(owner) in owners:
            made.append(Span.of(owner, rdata))
    return made


def hashed(
    *owners: str, covering: Iterable[str] = (), opt_out: bool = False, budget: Budget | None = None
) -> HashedZone:
    """The NSEC3 records that match `owners` or cover `covering`."""
    parameters = Nsec3()
    chain = sorted((parameters.hash_of(name(text)), text) for text in NAMES)
    wanted = {parameters.hash_of(name(text)) for text in covering}
    records = []
    for (label, text), (following, _) in zip(chain, chain[1:] + chain[:1], strict=True):
        covers = any(
            label < item < following or (following < label and (item > label or item < following)) for item in wanted
        )
        if text in owners or covers:
            rdata = dns.rdata.from_text(IN, "NSEC3", f"1 {int(opt_out)} 0 - {following} {NAMES[text]}".rstrip())
            assert isinstance(rdata, NSEC3)
            records.append((dns.name.from_text(label, name(ZONE)), rdata))
    return HashedZone(records, zone=name(ZONE), budget=budget or Budget())


@pytest.mark.parametrize(
    ("owner", "rdtype", "types"),
    [
        ("x.test", "A", "A"),  # it says that the record exists
        ("x.test", "A", "CNAME"),  # there is an alias: the answer should have been that
        ("x.test", "DS", "NS DS"),
        ("x.test", "DS", "NS SOA"),  # RFC 6840 §4.4: the child's side
        ("x.test", "A", "NS"),  # RFC 6840 §4.1: the parent's side
        ("x.test", "TLSA", "NS DS"),
    ],
)
def test_matching_record_that_cannot_deny_is_bogus(owner: str, rdtype: str, types: str) -> None:
    with pytest.raises(Bogus):
        judge_match(name(owner), RdataType.make(rdtype), _types(types), "NSEC")


@pytest.mark.parametrize(
    ("owner", "rdtype", "types", "delegation"),
    [
        ("x.test", "A", "TXT", False),
        ("x.test", "A", "NS SOA", False),
        ("x.test", "DS", "NS", True),
        ("x.test", "DS", "A", False),
        (".", "DS", "NS SOA", True),  # the root has no parent that could answer
    ],
)
def test_matching_record_that_denies(owner: str, rdtype: str, types: str, delegation: bool) -> None:
    denial = judge_match(name(owner), RdataType.make(rdtype), _types(types), "NSEC")
    assert (denial.absence, denial.delegation, denial.secure) == (Absence.NODATA, delegation, True)


def _types(text: str) -> frozenset[int]:
    rdata = dns.rdata.from_text(IN, "NSEC", f"next.test. {text}")
    assert isinstance(rdata, NSEC)
    return types_in(rdata)


def test_bitmap_windows_are_read() -> None:
    assert _types("A TLSA TYPE256 TYPE65534") == {1, 52, 256, 65534}


def test_nsec_controls() -> None:
    nxdomain = denial_nsec.judge(spans("d.test.", "test."), question("missing.test"))
    assert nxdomain.absence is Absence.NXDOMAIN
    nodata = denial_nsec.judge(spans("*.wild.test.", "cut.wild.test."), question("x.wild.test", "TXT"))
    assert nodata.absence is Absence.NODATA


@pytest.mark.parametrize(
    ("owners", "asked"),
    [
        (("d.test.",), "missing.test"),  # nothing denies *.test
        (("test.",), "missing.test"),  # nothing denies the name
        (("a.test.", "test."), "x.a.test"),  # below a delegation
        (("d.test.", "test."), "x.d.test"),  # below a DNAME
        (("cut.wild.test.", "*.wild.test."), "x.cut.wild.test"),
        (("*.wild.test.", "cut.wild.test."), "x.wild.test"),  # the wildcard has an A record
        ((), "missing.test"),
    ],
)
def test_nsec_records_that_prove_too_little_are_bogus(owners: tuple[str, ...], asked: str) -> None:
    with pytest.raises(Bogus):
        denial_nsec.judge(spans(*owners), question(asked))


def test_nsec_wildcard_that_is_a_delegation_denies_nothing() -> None:
    wildcard = Span(name("*.test."), name("a.test."), _types("NS"))
    cover = Span(name("d.test."), name("plain.test."), _types("A"))
    with pytest.raises(Bogus):
        denial_nsec.judge([wildcard, cover], question("missing.test"))


def test_nsec_denies_a_closer_name_only_below_the_wildcards_parent() -> None:
    cover = [Span(name("a.w.test."), name("z.w.test."), _types("A"))]
    denial_nsec.check_expansion(cover, name("x.w.test"), 2)
    for labels in (1, 3):  # *.test, where w.test exists; *.x.w.test, where x.w.test is denied
        with pytest.raises(Bogus, match="from a wildcard"):
            denial_nsec.check_expansion(cover, name("x.w.test"), labels)


def test_nsec3_controls() -> None:
    nxdomain = hashed(ZONE, covering=["missing.test", "*.test"])
    assert denial_nsec3.judge(nxdomain, question("missing.test")).absence is Absence.NXDOMAIN
    nodata = hashed("wild.test.", "*.wild.test.", covering=["x.wild.test"])
    denial = denial_nsec3.judge(nodata, question("x.wild.test", "TXT"))
    assert (denial.absence, denial.secure) == (Absence.NODATA, True)
    empty = denial_nsec3.judge(hashed("wild.test."), question("wild.test"))
    assert empty.absence is Absence.NODATA


@pytest.mark.parametrize(
    ("owners", "covering", "asked"),
    [
        ((), ["missing.test", "*.test"], "missing.test"),  # no closest encloser
        ((ZONE,), [], "missing.test"),  # no next closer
        (("a.test.",), ["fed.a.test", "*.a.test"], "fed.a.test"),  # below a delegation
        (("d.test.",), ["x.d.test", "*.d.test"], "x.d.test"),  # below a DNAME
        (("wild.test.", "*.wild.test."), ["x.wild.test"], "x.wild.test"),  # the wildcard has an A record
    ],
)
def test_nsec3_records_that_prove_too_little_are_bogus(
    owners: tuple[str, ...], covering: list[str], asked: str
) -> None:
    with pytest.raises(Bogus):
        denial_nsec3.judge(hashed(*owners, covering=covering), question(asked))


def test_nsec3_without_the_wildcards_denial_is_bogus() -> None:
    parameters = Nsec3()
    chain = sorted(parameters.hash_of(name(text)) for text in NAMES)

    def arc(text: str) -> int:
        return sum(label <= parameters.hash_of(name(text)) for label in chain) % len(chain)

    apart = next(f"m{index}.test" for index in range(99) if arc(f"m{index}.test") != arc("*.test"))
    if arc("*.test") in (arc(ZONE), arc(apart)):
        pytest.fail("the zone's hashes leave no name to test with")
    with pytest.raises(Bogus, match=r"wildcard \*\.test"):
        denial_nsec3.judge(hashed(ZONE, covering=[apart]), question(apart))
    with pytest.raises(Bogus, match="from a wildcard"):
        denial_nsec3.check_expansion(hashed(ZONE), name(f"x.{apart}"), 2)


def test_nsec3_opt_out_weakens_but_matches_do_not() -> None:
    nxdomain = hashed(ZONE, covering=["missing.test", "*.test"], opt_out=True)
    assert not denial_nsec3.judge(nxdomain, question("missing.test")).secure
    nodata = hashed("wild.test.", "*.wild.test.", covering=["x.wild.test"], opt_out=True)
    assert not denial_nsec3.judge(nodata, question("x.wild.test", "TXT")).secure
    assert not denial_nsec3.check_expansion(nodata, name("x.wild.test"), 2)
    assert denial_nsec3.judge(nxdomain, question("test", "MX")).secure
    hidden = denial_nsec3.judge(nxdomain, question("missing.test", "DS"))
    assert (hidden.delegation, hidden.secure) == (True, False)


@pytest.mark.parametrize("text", ["2 0 0 -", "1 2 0 -", "1 255 0 -"])
def test_nsec3_of_unknown_kind_is_ignored(text: str) -> None:
    label = Nsec3().hash_of(name("x.test"))
    rdata = dns.rdata.from_text(IN, "NSEC3", f"{text} {label} A")
    assert isinstance(rdata, NSEC3)
    with pytest.raises(Bogus, match="can be used"):
        HashedZone([(dns.name.from_text(label, name(ZONE)), rdata)], zone=name(ZONE), budget=Budget())


def test_nsec3_hashes_are_paid_for() -> None:
    with pytest.raises(Indeterminate, match="hash rounds"):
        denial_nsec3.judge(hashed(ZONE, budget=Budget(hashes=1)), question("x.y.test"))
