"""`volly-fed trust identities|evidence|accept-key` on the store of a homeserver that does not run."""

import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from volly_fed.cli.app import run
from volly_fed.daemon.backup.contents import STORE_FILE
from volly_fed.daemon.store.store import Store
from volly_fed.names import Fingerprint, fingerprint_text, parse_domain
from volly_fed.trust.evidence import Evidence
from volly_fed.trust.pins import Change, How, Pin, Quarantine, Standing

PEER, CALM, MOVING = (parse_domain(name) for name in ("peer.example", "calm.example", "moving.example"))
ONE, TWO, THREE = (Fingerprint(bytes([n]) * 32) for n in (1, 2, 3))
TEXT = {each: fingerprint_text(each) for each in (ONE, TWO, THREE)}


@attrs.frozen
class Decided:
    standing: Standing


def _always(decided: Decided, _: Standing) -> Decided:
    return decided


async def fill(path: Path) -> None:
    async with Store.open(path) as store:
        for domain in (PEER, CALM, MOVING):
            pin = Pin(domain=domain, fingerprint=ONE, first_seen=1e9, last_seen=1.1e9)
            change = Change(fingerprint=TWO, since=1e9, ready_at=1.2e9, sequence=5, not_after=2e9, how=How.ANNOUNCED)
            waits = Quarantine(fingerprint=TWO, since=1e9, reason="there was no continuity statement")
            standing = Standing(
                pin=pin, change=change if domain == MOVING else None, quarantine=waits if domain == PEER else None
            )
            await store.decide_standing(domain, partial(_always, Decided(standing)))
        lines = ("peer.example. 60 IN SRV 0 5 1 fed.", "peer.example. 60 IN RRSIG SRV 13 …")
        for number, identity in enumerate((ONE, TWO)):
            found = Evidence(domain=PEER, identity=identity, ttl=1, obtained_at=1e9 + number, proof=lambda: lines)
            await store.add_evidence(found)


async def read_pin(path: Path) -> Pin | None:
    async with Store.open(path) as store:
        return await store.pin(PEER)


@attrs.define
class Commands:
    """`volly-fed trust …` in a folder with a homeserver's files; its DNS resolver does not answer."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str, code: int = 0) -> str:
        self.capsys.readouterr()
        got = run(["trust", *arguments])
        printed = self.capsys.readouterr()
        assert got == code, printed.err
        return printed.out if code == 0 else printed.err

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))

    @property
    def store(self) -> Path:
        return self.folder / "data" / STORE_FILE


@pytest.fixture
def trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert run(["init", "example.com"]) == 0
    config = tmp_path / "volly-fed.toml"
    config.write_text(config.read_text().replace("# resolvers = []", 'resolvers = ["127.0.0.1:9"]'))
    assert "127.0.0.1:9" in config.read_text()
    commands = Commands(tmp_path, capsys)
    trio.run(fill, commands.store)
    return commands


def test_identities_names_those_first_that_want_attention(trust: Commands) -> None:
    listed = trust.json("identities")["identities"]
    assert [(each["domain"], each["state"]) for each in listed] == [
        (MOVING, "announced"),
        (PEER, "quarantined"),
        (CALM, "pinned"),
    ]
    assert listed[0]["change"]["identity"] == TEXT[TWO]
    assert listed[0]["change"]["ready_at"] == "2008-01-10T21:20:00+00:00"
    printed = trust("identities")
    assert "there was no continuity statement" in printed
    assert printed.index(MOVING) < printed.index(CALM)


def test_evidence_is_printed_as_it_was_proved(trust: Commands) -> None:
    rows = trust.json("evidence", PEER)["evidence"]
    assert [row["identity"] for row in rows] == [TEXT[TWO], TEXT[ONE]]
    assert rows[0]["proof"] == ["peer.example. 60 IN SRV 0 5 1 fed.", "peer.example. 60 IN RRSIG SRV 13 …"]
    printed = trust("evidence", PEER)
    assert "RRSIG SRV" in printed
    assert f"; 2001-09-09T01:46:41+00:00: identity {TEXT[TWO]}" in printed
    assert "Nothing is kept" in trust("evidence", CALM)


def test_accept_key_shows_both_fingerprints_and_asks(trust: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    printed = trust("accept-key", PEER)
    assert "Accept it?" in printed
    assert TEXT[ONE] in printed
    assert TEXT[TWO] in printed
    assert "DNS does not answer" in printed
    pin = trio.run(read_pin, trust.store)
    assert pin is not None
    assert (pin.fingerprint, pin.known) == (TWO, True)
    assert trust.json("identities")["identities"][-1]["state"] == "pinned"


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_accept_key_without_a_yes_changes_nothing(
    trust: Commands, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    printed = trust("accept-key", PEER, code=2 if answer else 130)
    assert not answer or "nothing was changed" in printed
    pin = trio.run(read_pin, trust.store)
    assert pin is not None
    assert pin.fingerprint == ONE


def test_accept_key_for_programs(trust: Commands) -> None:
    done = trust.json("accept-key", PEER, "--fingerprint", TEXT[TWO], "--yes")
    assert done == {
        "domain": PEER,
        "previous": TEXT[ONE],
        "accepted": TEXT[TWO],
        "published": None,
        "shown": True,
        "done": True,
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((PEER, "--fingerprint", TEXT[THREE], "--yes"), "does not publish this identity"),
        ((CALM, "--yes"), "waits for a decision"),
        ((PEER, "--json"), "--yes"),
        ((PEER, "--fingerprint", "short", "--yes"), "43 characters"),
    ],
)
def test_accept_key_refuses_with_the_next_step(trust: Commands, arguments: tuple[str, ...], words: str) -> None:
    assert words in trust("accept-key", *arguments, code=2)


def test_without_a_store_there_is_nothing_to_say_yet(trust: Commands) -> None:
    trust.store.unlink()
    assert "there is no store" in trust("identities", code=2)
