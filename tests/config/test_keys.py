import pytest
from hypothesis import given
from hypothesis import strategies as st

from volly_fed.config.keys import DamagedKey, KeyKind, format_key, parse_key
from volly_fed.crypto.secret import Secret

SEED = bytes(range(200, 200 + 56)) + b"12345678"
TEXT = format_key(KeyKind.IDENTITY, Secret(SEED))


@given(st.sampled_from(KeyKind), st.data())
def test_round_trip(kind: KeyKind, data: st.DataObject) -> None:
    seed = data.draw(st.binary(min_size=kind.size, max_size=kind.size))
    assert parse_key(format_key(kind, Secret(seed)), kind, "f").reveal() == seed


def test_another_size_is_a_bug() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        format_key(KeyKind.TLS, Secret(SEED))


def test_the_wrong_kind_is_named() -> None:
    with pytest.raises(DamagedKey, match="f holds a VOLLY-FED IDENTITY SEED, not a VOLLY-FED TLS SEED"):
        parse_key(TEXT, KeyKind.TLS, "f")


@given(st.integers(0, len(TEXT) - 2), st.sampled_from("A7\n=-"))
def test_every_damage_is_found_and_nothing_is_quoted(position: int, replacement: str) -> None:
    damaged = TEXT[:position] + replacement + TEXT[position + 1 :]
    caught: DamagedKey | None = None
    try:
        parsed = parse_key(damaged, KeyKind.IDENTITY, "f").reveal()
    except DamagedKey as error:
        caught, parsed = error, SEED
    assert parsed == SEED  # damage in white space is none
    if caught is not None:
        assert caught.__cause__ is None
        assert not any(line in str(caught) for line in TEXT.splitlines()[3:-1])


@given(st.text())
def test_any_text_is_a_key_or_damaged(text: str) -> None:
    for candidate in (text, TEXT.splitlines()[0] + "\n" + text, TEXT[:-40] + text):
        with pytest.raises(DamagedKey):
            parse_key(candidate, KeyKind.IDENTITY, "f")


@pytest.mark.parametrize("cut", [0, 10, 40, 60, 100, -2])
def test_a_cut_file_is_damaged(cut: int) -> None:
    with pytest.raises(DamagedKey, match="note: restore it"):
        parse_key(TEXT[:cut], KeyKind.IDENTITY, "f")
