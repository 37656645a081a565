"""What of a run is a difference, and what is written."""

from interop.results import Key, Outcome, Verdict, differences, merged, read_results, results_text

PASS, FAIL, UNSUPPORTED = Outcome.PASS, Outcome.FAIL, Outcome.UNSUPPORTED
ONE: Key = ("c/one", ("python",))
TWO: Key = ("c/two", ("js", "python"))
KNOWN = {ONE, TWO}


def verdict(key: Key, outcome: Outcome) -> Verdict:
    return Verdict(scenario=key[0], servers=key[1], outcome=outcome, seconds=1.25)


def test_as_committed() -> None:
    assert differences([verdict(ONE, PASS), verdict(TWO, UNSUPPORTED)], {ONE: PASS, TWO: UNSUPPORTED}, KNOWN) == []


def test_an_expected_failure_that_passes_is_a_difference_too() -> None:
    assert differences([verdict(ONE, PASS)], {ONE: FAIL}, KNOWN) == ["c/one (python): pass, expected fail"]


def test_what_did_not_take_part_is_not_asked_for() -> None:
    assert differences([verdict(ONE, PASS)], {ONE: PASS, TWO: PASS}, KNOWN) == []


def test_new_and_forgotten_scenarios() -> None:
    assert differences([verdict(TWO, PASS)], {ONE: PASS, ("c/x", ("js", "python")): PASS}, KNOWN) == [
        "c/two (js → python): pass, expected no such line",
        "c/x (js → python): there is no such scenario any more",
    ]


def test_of_a_stranger_everything_is_expected_to_pass() -> None:
    theirs: Key = ("c/one", ("theirs",))
    committed = {ONE: FAIL}
    for outcome, count in ((PASS, 0), (UNSUPPORTED, 0), (FAIL, 1)):
        assert len(differences([verdict(theirs, outcome)], committed, KNOWN | {theirs})) == count


def test_accepting_keeps_what_did_not_take_part_and_drops_what_is_gone(tmp_path: object) -> None:
    committed = {ONE: PASS, TWO: PASS, ("c/x", ("python",)): PASS}
    assert merged([verdict(ONE, FAIL)], committed, KNOWN) == {ONE: FAIL, TWO: PASS}


def test_the_file_is_sorted_and_has_no_times() -> None:
    text = results_text({TWO: UNSUPPORTED, ONE: PASS})
    assert text == (
        '{"scenario": "c/one", "servers": ["python"], "outcome": "pass"}\n'
        '{"scenario": "c/two", "servers": ["js", "python"], "outcome": "unsupported"}\n'
    )


def test_what_is_committed_can_be_read_and_is_in_order() -> None:
    committed = read_results()
    assert committed
    assert list(committed) == sorted(committed)
