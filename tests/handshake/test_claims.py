import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volly_fed import limits
from volly_fed.handshake import Admission, ClaimGuard, source_of
from volly_fed.names import DomainName

VICTIM, OTHER = DomainName("victim.example"), DomainName("other.example")
TRUE_KEY, FALSE_KEY = b"t" * 32, b"f" * 32
PER_CALLER = limits.CLAIMS_PER_DOMAIN_PER_MINUTE


def claim(
    guard: ClaimGuard, now: float, address: str = "192.0.2.1", domain: DomainName = VICTIM, key: bytes = FALSE_KEY
) -> Admission:
    """A claim that is looked up and found false."""
    admission = guard.admit(domain, address=address, spki_sha256=key, now=now)
    guard.release(admission)
    return admission


@pytest.mark.spec("handshake-36")
def test_a_caller_has_a_handful_of_unproved_claims_a_minute() -> None:
    guard = ClaimGuard()
    assert [claim(guard, n).allowed for n in range(PER_CALLER + 2)] == [True] * PER_CALLER + [False] * 2
    assert claim(guard, limits.CLAIM_WINDOW - 0.1).allowed is False
    assert claim(guard, limits.CLAIM_WINDOW).allowed  # the first one is forgotten
    assert claim(guard, limits.CLAIM_WINDOW + 0.5).allowed is False


def test_the_reason_is_in_words() -> None:
    guard = ClaimGuard()
    for n in range(PER_CALLER):
        claim(guard, n)
    assert claim(guard, 7).reason == "too many unproved claims of this name from there"


def test_refused_claims_do_not_prolong_the_wait() -> None:
    guard = ClaimGuard()
    for n in range(1000):
        claim(guard, n / 100)
    assert claim(guard, limits.CLAIM_WINDOW + 0.01).allowed


@pytest.mark.spec("handshake-37")
def test_false_claims_do_not_count_against_the_name_elsewhere() -> None:
    guard = ClaimGuard()
    for n in range(20):
        claim(guard, n / 10)
    assert claim(guard, 3, address="198.51.100.7", key=TRUE_KEY).allowed
    assert claim(guard, 3, domain=OTHER).allowed


def test_one_look_up_at_a_time_for_a_caller() -> None:
    guard = ClaimGuard()
    first = guard.admit(VICTIM, address="192.0.2.1", spki_sha256=FALSE_KEY, now=0)
    second = guard.admit(VICTIM, address="192.0.2.1", spki_sha256=FALSE_KEY, now=0)
    assert (first.allowed, second.allowed) == (True, False)
    assert "being looked up" in second.reason
    guard.release(second)  # a refused claim frees nothing
    assert not guard.admit(VICTIM, address="192.0.2.1", spki_sha256=FALSE_KEY, now=0).allowed
    assert guard.admit(VICTIM, address="192.0.2.2", spki_sha256=FALSE_KEY, now=0).allowed
    guard.release(first)
    third = guard.admit(VICTIM, address="192.0.2.1", spki_sha256=FALSE_KEY, now=0)
    assert third.allowed
    guard.release(first)  # twice is once: the third stays in flight
    assert not guard.admit(VICTIM, address="192.0.2.1", spki_sha256=FALSE_KEY, now=0).allowed


def test_a_forgotten_look_up_does_not_stay() -> None:
    guard = ClaimGuard()
    guard.admit(VICTIM, address="192.0.2.1", spki_sha256=FALSE_KEY, now=0)
    assert guard.admit(VICTIM, address="192.0.2.1", spki_sha256=FALSE_KEY, now=limits.HANDSHAKE).allowed


def test_a_proof_wipes_the_count() -> None:
    guard = ClaimGuard()
    for n in range(limits.LINKS_PER_DOMAIN_PER_MINUTE):  # a server that restarts over and over is not a flood
        admission = guard.admit(VICTIM, address="192.0.2.1", spki_sha256=TRUE_KEY, now=n / 100)
        assert admission.allowed
        assert guard.proved(admission, n / 100) == 0


def prove(guard: ClaimGuard, now: float, domain: DomainName = VICTIM, key: bytes = TRUE_KEY) -> None:
    admission = guard.admit(domain, address="192.0.2.1", spki_sha256=key, now=now)
    assert admission.allowed
    assert guard.proved(admission, now) == 0


def flood(guard: ClaimGuard, now: float) -> None:
    """A botnet claims the victim's name from everywhere until it is refused."""
    admissions = [claim(guard, now, address=f"10.{n // 256}.{n % 256}.9") for n in range(limits.CLAIMS_PER_MINUTE + 1)]
    assert not admissions[-1].allowed
    assert admissions[-1].reason == "too many unproved claims at the moment"


def test_work_for_strangers_is_bounded_whatever_they_bring() -> None:
    guard = ClaimGuard()
    flood(guard, 0)
    assert not claim(guard, 1, address="198.51.100.7", domain=OTHER).allowed
    assert claim(guard, limits.CLAIM_WINDOW, address="198.51.100.7", domain=OTHER).allowed


def test_a_flood_does_not_lock_out_who_proved_itself_before() -> None:
    guard = ClaimGuard()
    prove(guard, 0)
    for minute in range(1, 60):  # an hour of it, from everywhere and from the very address
        now = minute * limits.CLAIM_WINDOW
        for _ in range(PER_CALLER + 1):
            claim(guard, now)
        flood(guard, now)
        again = guard.admit(VICTIM, address="192.0.2.1", spki_sha256=TRUE_KEY, now=now + 1)
        assert again.allowed
        assert guard.proved(again, now + 1) == 0


def test_a_known_key_is_known_for_its_name_only() -> None:
    guard = ClaimGuard()
    prove(guard, 0)
    flood(guard, 1)
    assert not claim(guard, 2, domain=OTHER, key=TRUE_KEY).allowed


def test_a_known_caller_is_limited_too() -> None:
    guard = ClaimGuard()
    prove(guard, 0)
    claims = [claim(guard, 1, address=f"192.0.2.{n}", key=TRUE_KEY) for n in range(PER_CALLER + 1)]
    assert [c.allowed for c in claims] == [True] * PER_CALLER + [False]


def test_old_keys_of_a_name_are_forgotten_first() -> None:
    guard = ClaimGuard()
    keys = [bytes([n]) * 32 for n in range(limits.KEYS_PER_KNOWN_CALLER + 1)]
    for n, key in enumerate(keys):
        prove(guard, n, key=key)
    flood(guard, 20)
    assert [claim(guard, 21, address="203.0.113.5", key=k).allowed for k in keys] == [False] + [True] * (len(keys) - 1)


def held(guard: ClaimGuard) -> int:
    return len(guard._recent) + len(guard._counts) + len(guard._addresses) + len(guard._flights) + len(guard._known)


def test_memory_is_bounded() -> None:
    guard = ClaimGuard()
    for n in range(5 * limits.CLAIMS_PER_MINUTE):
        guard.admit(DomainName(f"d{n}.example"), address=f"10.0.{n % 250}.1", spki_sha256=FALSE_KEY, now=n / 1000)
    assert held(guard) <= 4 * limits.CLAIMS_PER_MINUTE
    claim(guard, 1000)
    assert held(guard) <= 4


def test_one_address_does_not_spend_what_all_have_whatever_names_it_brings() -> None:
    guard = ClaimGuard()
    claims = [claim(guard, n / 1000, domain=DomainName(f"d{n}.example")) for n in range(2 * limits.CLAIMS_PER_MINUTE)]
    assert sum(c.allowed for c in claims) == limits.CLAIMS_PER_ADDRESS_PER_MINUTE
    assert claims[-1].reason == "too many unproved claims from there"
    assert claim(guard, 2, address="198.51.100.7", domain=OTHER).allowed


def test_a_refused_caller_is_told_when_to_come_again() -> None:
    guard = ClaimGuard()
    claims = [claim(guard, n) for n in range(PER_CALLER + 1)]
    wait = claims[-1].retry_after
    assert wait == limits.CLAIM_WINDOW - PER_CALLER
    assert not claim(guard, PER_CALLER + wait - 0.1).allowed
    assert claim(guard, PER_CALLER + wait).allowed
    guard = ClaimGuard()
    flood(guard, 0)
    late = claim(guard, 20.5, address="198.51.100.7", domain=OTHER)
    assert late.retry_after == math.ceil(limits.CLAIM_WINDOW - 20.5)
    guard.admit(VICTIM, address="192.0.2.1", spki_sha256=FALSE_KEY, now=70)
    assert claim(guard, 70).retry_after == limits.CLAIM_RETRY_AFTER


def link(guard: ClaimGuard, now: float, key: bytes = TRUE_KEY) -> int:
    """A claim that is true; how long the caller is told to wait."""
    admission = guard.admit(VICTIM, address="192.0.2.1", spki_sha256=key, now=now)
    return guard.proved(admission, now) if admission.allowed else admission.retry_after


def test_who_links_in_a_loop_is_told_to_wait_and_then_has_his_link() -> None:
    guard = ClaimGuard()
    often = limits.LINKS_PER_DOMAIN_PER_MINUTE
    assert [link(guard, 0, key=bytes([n % 4]) * 32) for n in range(often)] == [0] * often
    refused = guard.admit(VICTIM, address="192.0.2.1", spki_sha256=TRUE_KEY, now=0)
    assert not refused.allowed  # before anything is looked up
    wait = refused.retry_after
    assert wait == 60 / often
    assert link(guard, wait) == 0
    assert [link(guard, 2 * wait + n / 1000) > 0 for n in range(1000)] == [False] + [True] * 999
    assert claim(guard, wait, domain=OTHER).allowed


def test_links_that_come_about_at_once_are_counted_before_they_begin() -> None:
    guard = ClaimGuard()
    often = limits.LINKS_PER_DOMAIN_PER_MINUTE
    admissions = [guard.admit(VICTIM, address=f"192.0.2.{n}", spki_sha256=TRUE_KEY, now=0) for n in range(often + 1)]
    assert [guard.proved(a, 0) for a in admissions] == [0] * often + [60 / often]


def test_false_claims_spend_no_links() -> None:
    guard = ClaimGuard()
    flood(guard, 0)
    prove(guard, limits.CLAIM_WINDOW)
    assert [link(guard, limits.CLAIM_WINDOW) for _ in range(limits.LINKS_PER_DOMAIN_PER_MINUTE)][-2:] == [0, 3]


def test_known_callers_are_bounded() -> None:
    guard = ClaimGuard()
    for n in range(limits.KNOWN_CALLERS + 1):
        prove(guard, n, domain=DomainName(f"d{n}.example"))
    assert held(guard) == limits.KNOWN_CALLERS
    assert "d0.example" not in guard._known


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
    ],
)
def test_what_an_address_counts_as(address: str, source: str) -> None:
    assert source_of(address) == source


def test_what_is_no_address() -> None:
    with pytest.raises(ValueError, match="not appear"):
        source_of("victim.example")


_steps = st.tuples(
    st.sampled_from(["admit", "release", "prove"]), st.integers(0, 3), st.integers(0, 2), st.floats(0, 30)
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_steps, max_size=60))
def test_the_books_stay_balanced(steps: list[tuple[str, int, int, float]]) -> None:
    guard, now, admitted = ClaimGuard(), 0.0, list[Admission]()
    for what, address, key, pause in steps:
        now += pause
        if what == "admit":
            admission = guard.admit(VICTIM, address=f"192.0.2.{address}", spki_sha256=bytes([key]) * 32, now=now)
            admitted += [admission] * admission.allowed
        elif admitted:
            admission = admitted.pop(address % len(admitted))
            if what == "release":
                guard.release(admission)
            else:
                guard.proved(admission, now)
        assert sum(guard._counts.values()) == len(guard._recent)
        assert guard._strangers == sum(not a.caller.known for a in guard._recent) == sum(guard._addresses.values())
        assert all(0 < n <= PER_CALLER for n in guard._counts.values())
