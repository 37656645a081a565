import inspect
import io
import json
import secrets
import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volly_fed.codepoints import ErrorCode
from volly_fed.names import Fingerprint, MailboxId, fingerprint_text, mailbox_text
from volly_fed.observe.events import FIELDS, Digest, allow, scrub
from volly_fed.observe.log import LEVELS, Log

EVENTS = [name for name, _ in inspect.getmembers(Log, inspect.isfunction) if not name.startswith("_")]
MAILBOX = MailboxId(bytes(range(100, 132)))
SECRETS = {
    "mailbox": mailbox_text(MAILBOX),
    "mailbox bytes": repr(bytes(MAILBOX)),
    "short bytes": repr(b"secret plaintext"),
    "double quoted bytes": repr(b"it's secret"),
    "mailbox hex": MAILBOX.hex(),
    "address": f"{mailbox_text(MAILBOX)}@a.test",
    "key base64": secrets.token_urlsafe(32),
    "capability hex": secrets.token_hex(16),
    "card": "volly:" + secrets.token_urlsafe(900),
}


def written(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def call(log: Log, event: str, text: str) -> None:
    """The event with `text` for every argument that is not a number."""
    method = getattr(log, event)
    hints = typing.get_type_hints(method)
    numbers = {float, int, float | None}
    names = inspect.signature(method).parameters
    method(**{name: 1 if hints[name] in numbers else text for name in names})


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("kind", list(SECRETS))
@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.spec("security-5")
def test_no_planted_secret_gets_through(event: str, kind: str, form: str) -> None:
    stream = io.StringIO()
    call(Log("debug", form, stream), event, f"it failed with {SECRETS[kind]} and so on")
    assert stream.getvalue().count("\n") == 1
    assert SECRETS[kind] not in stream.getvalue()
    bare = SECRETS[kind].removeprefix("volly:").strip("b'\"")
    assert bare[:28] not in stream.getvalue()


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_is_one_line_of_allowed_fields(event: str) -> None:
    stream = io.StringIO()
    call(Log("debug", "json", stream), event, "a.test")
    (line,) = written(stream)
    assert line["event"] == event
    assert set(line) <= {*FIELDS, "event", "level", "time"}


def test_users_addresses_and_edge_names_are_digests_of_this_process() -> None:
    streams = [io.StringIO(), io.StringIO(), io.StringIO()]
    logs = [Log("debug", "json", stream) for stream in streams[:2]]
    for log in logs:
        log.device_up(address="192.0.2.77")
        log.device_refused(address="192.0.2.77", code=ErrorCode.MALFORMED)
        log.edge_up(edge="edge-berlin")
    first, second = written(streams[0]), written(streams[1])
    assert first[0]["device"] == first[1]["device"]
    assert first[0]["device"] != second[0]["device"]
    assert first[1]["code"] == "MALFORMED"
    assert "192.0.2.77" not in streams[0].getvalue()
    assert "edge-berlin" not in streams[0].getvalue()
    assert Digest(b"k")("edge", "x") != Digest(b"k")("address", "x")


def test_peers_and_published_fingerprints_are_plain() -> None:
    stream = io.StringIO()
    text = fingerprint_text(Fingerprint(bytes(range(32))))
    name = "a-label-of-more-than-thirty-two-characters.example.com"
    Log("info", "json", stream).pinned(peer=name, fingerprint=text)
    (line,) = written(stream)
    assert (line["peer"], line["fingerprint"], line["level"]) == (name, text, "info")


def test_what_is_no_name_is_not_written_as_one() -> None:
    stream = io.StringIO()
    log = Log("info", "json", stream)
    log.claim_refused(peer="alice@evil.example\nfake", code=ErrorCode.POLICY, reason="no")
    log.identity_changed(peer="a.test", fingerprint="short", previous="x", reason="no statement")
    lines = written(stream)
    assert lines[0]["peer"] == "[removed]"
    assert lines[1]["fingerprint"] == "[removed]"


def test_fields_nobody_allowed_are_dropped_and_counted() -> None:
    line = allow(None, "info", {"event": "x", "payload": "secret", "peer": "a.test", "reason": None})
    assert line == {"event": "x", "peer": "a.test", "dropped_fields": 1}


def test_a_number_field_holds_numbers_only() -> None:
    line = allow(None, "info", {"event": "x", "size": "secret", "count": True, "age_s": 0.12345678})
    assert line == {"event": "x", "size": -1, "count": -1, "age_s": 0.123457}


def test_levels() -> None:
    counts = {}
    for level in LEVELS:
        stream = io.StringIO()
        for event in EVENTS:
            call(Log(level, "json", stream), event, "secure")
        counts[level] = len(written(stream))
    assert counts["debug"] == len(EVENTS)
    assert counts["debug"] > counts["info"] > counts["warning"] > counts["error"] > 0


def test_people_read_a_console_and_programs_json() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        Log("info", "auto", stream).stopping(reason="SIGTERM")
    assert "stopping" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")
    assert written(pipe)[0]["reason"] == "SIGTERM"


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    with open("/dev/full", "w", buffering=1) as full:
        log = Log("info", "json", full)
        log.stopping(reason="x")
        log.stopping(reason="y")
        full.buffer.raw.close()  # type: ignore[attr-defined]  # so that closing does not try again
    closed = io.StringIO()
    log = Log("info", "json", closed)
    closed.close()
    log.stopping(reason="x")


@given(st.text())
def test_text_stays_on_one_short_line(text: str) -> None:
    line = scrub(text)
    assert len(line) <= 300
    assert len(line.splitlines()) <= 1
