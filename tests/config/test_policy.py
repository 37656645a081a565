import pytest
from hypothesis import given
from hypothesis import strategies as st

from volly_fed.codepoints import TrustLevel
from volly_fed.config.policy import parse_policy_text, set_level
from volly_fed.errors import ConfigError, LocalError
from volly_fed.names import BadName
from volly_fed.trust.policy import EXAMPLE

OURS = (
    '# my peers\ndefault = "none"\n[levels] # here\n"a.test" = "full"  # known for years\n'
    '# the next one is new\nB = "none"\n"*.c.test" = \'metadata\'\n\n'
)


def test_problems_name_the_file() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_policy_text('default = "x"\ndeny = 3', "trust.toml")
    assert len(caught.value.problems) == 2
    assert all(problem.startswith("trust.toml: ") for problem in caught.value.problems)


def test_a_level_is_replaced_and_its_comment_stays() -> None:
    assert set_level(OURS, "A.test.", TrustLevel.SELECTIVE, "t") == OURS.replace(
        '"a.test" = "full"', '"a.test" = "selective"'
    )


def test_a_new_level_stands_at_the_end_of_the_section() -> None:
    assert '\'metadata\'\n"d.test" = "full"\n' in set_level(OURS, "d.test", TrustLevel.FULL, "t")
    assert set_level(EXAMPLE, "*.d.test", TrustLevel.FULL, "t") == EXAMPLE + '"*.d.test" = "full"\n'


def test_unset_removes_the_line_only() -> None:
    assert set_level(OURS, "*.c.test", None, "t") == OURS.replace("\"*.c.test\" = 'metadata'\n", "")
    assert set_level(OURS, "b", None, "t") == OURS.replace('B = "none"\n', "")
    assert set_level(OURS, "other.test", None, "t") == OURS


def test_a_missing_section_is_added() -> None:
    assert set_level('default = "none"\n', "a.test", TrustLevel.FULL, "t").endswith('[levels]\n"a.test" = "full"\n')


@pytest.mark.parametrize(
    "text", ['levels = { "a.test" = "full" }\n', 'levels."a.test" = "full"\n', '[levels]\n"a.\\u0074est" = "full"\n']
)
def test_what_cannot_be_edited_safely_is_left_to_the_operator(text: str) -> None:
    with pytest.raises(LocalError, match=r'put "a.test" = "none" under \[levels\]'):
        set_level(text, "a.test", TrustLevel.NONE, "t")


def test_bad_names_and_files_with_problems() -> None:
    with pytest.raises(BadName):
        set_level(OURS, "a b", TrustLevel.FULL, "t")
    with pytest.raises(ConfigError):
        set_level('default = "x"', "a", TrustLevel.FULL, "t")


NAMES = st.sampled_from(["a.test", "b.test", "*.b.test", "x.b.test", "c"])


@given(st.lists(st.tuples(NAMES, st.none() | st.sampled_from(TrustLevel)), max_size=12))
def test_any_sequence_of_changes_says_what_was_asked(changes: list[tuple[str, TrustLevel | None]]) -> None:
    text = EXAMPLE
    expected: dict[str, TrustLevel] = {}
    for name, level in changes:
        text = set_level(text, name, level, "t")
        expected.pop(name, None)
        if level is not None:
            expected[name] = level
    assert dict(parse_policy_text(text, "t").levels) == expected
