import pytest

from volly_fed.names import DomainName, Fingerprint
from volly_fed.trust import IdentityVerdict, Pin, judge_identity

A, B, C = (Fingerprint(bytes([n]) * 32) for n in (1, 2, 3))


def pin(fingerprint: Fingerprint) -> Pin:
    return Pin(domain=DomainName("a.example"), fingerprint=fingerprint, first_seen=5, last_seen=7)


@pytest.mark.parametrize(
    ("shown", "published", "held", "verdict"),
    [
        (A, (A, None), None, IdentityVerdict.FIRST_CONTACT),
        (B, (A, B), None, IdentityVerdict.FIRST_CONTACT),
        (A, (A, None), pin(A), IdentityVerdict.MATCH),
        (B, (A, B), pin(B), IdentityVerdict.MATCH),
        (B, (B, None), pin(A), IdentityVerdict.CHANGED),
        (C, (A, B), None, IdentityVerdict.NOT_PUBLISHED),
        (C, (A, B), pin(C), IdentityVerdict.NOT_PUBLISHED),
    ],
)
def test_the_verdict(
    shown: Fingerprint, published: tuple[Fingerprint, Fingerprint | None], held: Pin | None, verdict: IdentityVerdict
) -> None:
    assert judge_identity(shown, published, held) is verdict


def test_only_two_verdicts_are_trusted() -> None:
    assert {v for v in IdentityVerdict if v.trusted} == {IdentityVerdict.FIRST_CONTACT, IdentityVerdict.MATCH}


def test_a_pin_met_again_keeps_its_first_time_and_never_goes_back() -> None:
    assert pin(A).seen(9) == Pin(domain=DomainName("a.example"), fingerprint=A, first_seen=5, last_seen=9)
    assert pin(A).seen(6).last_seen == 7
