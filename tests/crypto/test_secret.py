import copy
import json
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from volly_fed.crypto.secret import Secret

CONTENT = b"a-very-secret-content-0123456789"
FORMS = (CONTENT.decode(), CONTENT.hex(), repr(list(CONTENT)), str(CONTENT))


@attrs.frozen(kw_only=True)
class Holder:
    key: Secret


def assert_silent(text: str) -> None:
    assert not any(form in text for form in FORMS)
    assert "secret-content" not in text


def test_every_textual_form_shows_only_the_size() -> None:
    secret = Secret(CONTENT)
    assert repr(secret) == str(secret) == f"{secret}" == "%s" % secret == "%r" % (secret,) == "Secret(32 bytes)"  # noqa: UP031
    assert_silent(repr(Holder(key=secret)))
    assert_silent(repr([secret, {"key": secret}]))


def test_reveal_gives_the_content_and_len_its_size() -> None:
    assert Secret(CONTENT).reveal() == CONTENT
    assert len(Secret(CONTENT)) == 32


def test_a_traceback_that_prints_locals_does_not_show_it() -> None:
    def fails(secret: Secret) -> None:
        holder = Holder(key=secret)
        raise ValueError(f"{secret} {holder}")

    try:
        fails(Secret(CONTENT))
    except ValueError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "Secret(32 bytes)" in shown
    assert_silent(shown)


@pytest.mark.parametrize("spec", ["x", "s", "r", ">40", "0"])
def test_format_specifications_are_refused(spec: str) -> None:
    with pytest.raises(TypeError) as caught:
        format(Secret(CONTENT), spec)
    assert_silent(str(caught.value))


def test_it_cannot_be_pickled_or_turned_into_bytes_or_json() -> None:
    secret = Secret(CONTENT)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="pickled"):
            pickle.dumps(secret, protocol)
    turns: tuple[Callable[[Any], object], ...] = (bytes, list, iter, json.dumps, memoryview, hash, vars)
    for turn in turns:
        with pytest.raises(TypeError) as caught:
            turn(secret)
        assert_silent(str(caught.value))


def test_copies_are_the_same_object() -> None:
    secret = Secret(CONTENT)
    assert copy.copy(secret) is secret
    assert copy.deepcopy({"key": secret})["key"] is secret


def test_equality_is_by_content_and_only_among_secrets() -> None:
    assert Secret(CONTENT) == Secret(bytes(CONTENT))
    assert Secret(CONTENT) != Secret(CONTENT[:-1])
    assert Secret(CONTENT) != CONTENT


@pytest.mark.parametrize("wrong", ["text", bytearray(b"x"), None, 5])
def test_only_bytes_can_be_wrapped(wrong: object) -> None:
    with pytest.raises(TypeError, match="wraps bytes"):
        Secret(wrong)  # type: ignore[arg-type]  # on purpose
