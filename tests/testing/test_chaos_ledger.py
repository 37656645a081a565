"""The judge of a test of chaos: made-up histories, right ones and wrong ones. One that cannot go red is worthless."""

import pytest

from volly_fed.testing.chaos_ledger import Ledger, Letter, Violation

FAR = 1e6
END = 100.0


def letter(number: int, *, to: str = "bob", urgency: int = 1, expiry: float = FAR) -> Letter:
    return Letter(id=number.to_bytes(16), recipient=to, urgency=urgency, expiry=expiry, digest=b"body")


def taken(ledger: Ledger, *letters: Letter, connection: int = 1) -> None:
    """Handed over and accepted, in this order."""
    for each in letters:
        ledger.hand_over(1.0, each, connection)
        ledger.accept(2.0, each.id)


def given(ledger: Ledger, *letters: Letter) -> None:
    """Brought and given to the application, in this order."""
    for each in letters:
        ledger.arrive(3.0, each.recipient, each.id, each.urgency, each.digest)
        ledger.give(4.0, each.recipient, each.id)


def rules(ledger: Ledger) -> list[str]:
    return [violation.rule for violation in ledger.violations(END)]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(skew=10.0)


def test_what_arrives_once_and_in_order_is_right(ledger: Ledger) -> None:
    letters = [letter(number, urgency=number % 3) for number in range(20)]
    taken(ledger, *letters)
    given(ledger, *letters)
    assert ledger.violations(END) == []
    assert ledger.counts() == {
        "handed_over": 20,
        "accepted": 20,
        "handed_over_again": 0,
        "delivered": 20,
        "refused": 0,
        "expired": 0,
    }


def test_a_loss(ledger: Ledger) -> None:
    first, lost, last = letter(1), letter(2), letter(3)
    taken(ledger, first, lost, last)
    given(ledger, first, last)
    (violation,) = ledger.violations(END)
    assert violation.rule == "lost"
    assert lost.id.hex() in str(violation)
    assert "1.00 s  handed over on connection 1" in str(violation)
    assert "2.00 s  accepted" in str(violation)


def test_a_loss_of_what_was_brought_and_not_given(ledger: Ledger) -> None:
    lost = letter(1)
    taken(ledger, lost)
    ledger.arrive(3.0, "bob", lost.id, lost.urgency, lost.digest)
    assert rules(ledger) == ["lost"]


def test_what_was_not_accepted_may_be_lost(ledger: Ledger) -> None:
    ledger.hand_over(1.0, letter(1), 1)
    assert rules(ledger) == []


def test_what_was_not_accepted_may_arrive_and_be_accepted_later(ledger: Ledger) -> None:
    early = letter(1)
    ledger.hand_over(1.0, early, 1)
    given(ledger, early)
    ledger.accept(5.0, early.id)
    assert rules(ledger) == []


@pytest.mark.parametrize(("expiry", "expected"), [(END + 11, ["lost"]), (END + 9, []), (50.0, [])])
def test_what_has_expired_may_be_lost(ledger: Ledger, expiry: float, expected: list[str]) -> None:
    taken(ledger, letter(1, expiry=expiry))
    assert rules(ledger) == expected


def test_a_duplicate(ledger: Ledger) -> None:
    again = letter(1)
    taken(ledger, again)
    given(ledger, again, again)
    assert rules(ledger) == ["twice"]


def test_a_duplicate_in_spite_of_a_refusal(ledger: Ledger) -> None:
    again = letter(1)
    taken(ledger, again)
    given(ledger, again)
    ledger.refuse(5.0, again.id, "OVERLOADED", late=True)
    ledger.give(6.0, "bob", again.id)
    assert rules(ledger) == ["twice"]


def test_what_is_brought_twice_and_given_once_is_right(ledger: Ledger) -> None:
    again = letter(1)
    taken(ledger, again)
    ledger.arrive(3.0, "bob", again.id, again.urgency, again.digest)
    given(ledger, again)
    assert rules(ledger) == []


def test_a_reorder(ledger: Ledger) -> None:
    first, second, third = letter(1), letter(2), letter(3)
    taken(ledger, first, second, third)
    given(ledger, second, first, third)
    (violation,) = ledger.violations(END)
    assert violation.rule == "order"
    assert "number 1 of a connection came after number 2" in str(violation)
    assert str(violation).count("handed over on connection") == 2, "both histories are told"


@pytest.mark.parametrize("other", ["class", "recipient", "connection"])
def test_no_order_among_classes_recipients_and_connections(ledger: Ledger, other: str) -> None:
    first = letter(1)
    second = letter(2, urgency=0 if other == "class" else 1, to="carol" if other == "recipient" else "bob")
    taken(ledger, first)
    taken(ledger, second, connection=2 if other == "connection" else 1)
    given(ledger, second, first)
    assert rules(ledger) == []


def test_what_was_handed_over_twice_has_no_place(ledger: Ledger) -> None:
    first, second = letter(1), letter(2)
    ledger.hand_over(0.5, first, 1)
    ledger.hand_over(0.5, second, 1)
    taken(ledger, first, connection=2)
    ledger.accept(1.0, second.id)
    given(ledger, second, first)
    assert rules(ledger) == []


@pytest.mark.parametrize(
    ("recipient", "urgency", "body", "what"),
    [("carol", 1, b"body", "mailbox"), ("bob", 2, b"body", "class"), ("bob", 1, b"other", "body")],
)
def test_a_change(ledger: Ledger, recipient: str, urgency: int, body: bytes, what: str) -> None:
    changed = letter(1)
    taken(ledger, changed)
    ledger.arrive(3.0, recipient, changed.id, urgency, body)
    ledger.give(4.0, recipient, changed.id)
    (violation,) = ledger.violations(END)
    assert (violation.rule, what in violation.text) == ("changed", True)


def test_an_invention(ledger: Ledger) -> None:
    ledger.arrive(3.0, "bob", bytes(16), 1, b"body")
    ledger.give(4.0, "bob", bytes(16))
    assert rules(ledger) == ["invented", "invented"]


def test_a_refusal_for_no_reason(ledger: Ledger) -> None:
    refused = letter(1)
    taken(ledger, refused)
    ledger.refuse(3.0, refused.id, "UNDELIVERABLE", late=True)
    assert rules(ledger) == ["refused"]


@pytest.mark.parametrize("late", [False, True])
def test_what_was_refused_may_be_lost(ledger: Ledger, late: bool) -> None:
    refused = letter(1)
    ledger.hand_over(1.0, refused, 1)
    if late:
        ledger.accept(2.0, refused.id)
    ledger.refuse(3.0, refused.id, "OVERLOADED", late=late)
    assert rules(ledger) == []


def test_what_was_refused_on_one_connection_and_accepted_on_another_must_arrive(ledger: Ledger) -> None:
    both = letter(1)
    taken(ledger, both)
    ledger.hand_over(3.0, both, 2)
    ledger.refuse(4.0, both.id, "OVERLOADED", late=False)
    assert rules(ledger) == ["lost"]


@pytest.mark.parametrize(("expiry", "expected"), [(20.0, []), (40.0, ["refused"])])
def test_a_refusal_as_expired_before_its_time(ledger: Ledger, expiry: float, expected: list[str]) -> None:
    refused = letter(1, expiry=expiry)
    ledger.hand_over(1.0, refused, 1)
    ledger.refuse(25.0, refused.id, "EXPIRED", late=False)
    assert rules(ledger) == expected


def test_a_leak_is_told_with_the_rest(ledger: Ledger) -> None:
    ledger.note("leak", "a.test holds a socket more than before")
    assert ledger.violations(END) == [Violation("leak", "a.test holds a socket more than before")]
