"""The vectors of the handshake: the recorded run, messages, both ends step by step, statements of continuity."""

import hashlib
from functools import cache
from typing import Any

import attrs
import pytest

from tests.handshake.make_messages import FOLDER, channel
from tests.spec.run import A, B, document, recording
from tests.vectors import read
from volly_fed import errors, limits
from volly_fed.codepoints import ErrorCode, Label, Role
from volly_fed.crypto.signature import BadSignature, verify_identity
from volly_fed.handshake import Accept, ChannelBinding, Established, Initiator, Prove, Responder, Start
from volly_fed.handshake.transcript import hello_hash, signed_input
from volly_fed.names import DomainName, Fingerprint
from volly_fed.trust.continuity import parse_statement
from volly_fed.wire import codec, encode_message, parse_message
from volly_fed.wire.messages import Auth

Case = dict[str, Any]
CLASSES = {"BadSignature": BadSignature}
CHANNEL = channel()


def check_run(given: Case, expect: Case) -> None:
    """Kind `run`: tests/spec has more about it."""
    case = document({"exporters": given["exporters"], "sent": expect["accept"]["sent"]})["cases"][0]
    assert (case["given"], case["expect"]) == (given, expect)
    assert recording()["sent"] == expect["accept"]["sent"]


def check_message(given: Case, expect: Case) -> None:
    """Kind `handshake-message`."""
    data = bytes.fromhex(given["message"])
    if "reject" in expect:
        with pytest.raises(errors.BadMessage) as caught:
            parse_message(data, limit=limits.MAX_HANDSHAKE_MESSAGE)
        assert caught.value.code is ErrorCode[expect["reject"]["code"]]
        return
    parsed = parse_message(data, limit=limits.MAX_HANDSHAKE_MESSAGE)
    fields: Any = codec.decode(data)
    assert _plain(fields) == expect["accept"]["fields"]
    known = {a.metadata["number"] for a in attrs.fields(type(parsed))} | {0}
    if set(fields) <= known and fields.get(1) != 999:  # an unknown code reads as another
        assert encode_message(parsed) == data


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"h'{value.hex()}'" if len(value) <= 64 else f"SHA-256 {hashlib.sha256(value).hexdigest()}"
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


@cache
def messages() -> dict[str, bytes]:
    cases = read(FOLDER / "messages.json")["cases"]
    return {case["id"]: bytes.fromhex(case["given"]["message"]) for case in cases}


@cache
def statements() -> dict[str, bytes]:
    cases = read(FOLDER / "continuity.json")["cases"]
    return {c["id"]: bytes.fromhex(c["given"]["statement"]) for c in cases if "statement" in c["given"]}


def arriving(what: Any) -> bytes:
    """A message by its name, or with some bytes replaced."""
    if isinstance(what, str):
        return messages()[what]
    data, at, new = messages()[what["message"]], what["at"], bytes.fromhex(what["put"])
    changed = data[:at] + new + data[at + len(new) :]
    assert changed != data
    assert len(changed) == len(data)
    return changed


@attrs.define
class Play:
    """One end, driven by the steps of a case; what went in and out is noted by direction."""

    given: Case
    machine: Initiator | Responder = attrs.field(init=False)
    hellos: list[bytes] = attrs.field(factory=list)
    made: bytes = b""

    def __attrs_post_init__(self) -> None:
        dials = self.given["role"] == "dialler"
        own, peer = (A, B) if dials else (B, A)
        extensions = {int(number): bytes.fromhex(data) for number, data in self.given["extensions"].items()}
        lowest, highest = self.given["versions"]
        party = attrs.evolve(own.party, versions=(lowest, highest), extensions=extensions)

        def random(size: int) -> bytes:
            return own.draw("nonce", size)

        if dials:
            self.machine = Initiator(
                own=party,
                wanted=DomainName(peer.name),
                expected=self.expected,
                binding=self.binding(),
                random=random,
                deadline=limits.HANDSHAKE,
            )
        else:
            self.machine = Responder(own=party, binding=self.binding(), random=random, deadline=limits.HANDSHAKE)

    @property
    def expected(self) -> frozenset[Fingerprint]:
        return frozenset(Fingerprint(bytes.fromhex(text)) for text in self.given["expected"])

    def binding(self) -> ChannelBinding:
        facts = self.given["channel"]
        ends = ("dialler", "listener") if self.given["role"] == "dialler" else ("listener", "dialler")
        return ChannelBinding(
            exporter_dialler=bytes.fromhex(facts["exporter_dialler"]),
            exporter_acceptor=bytes.fromhex(facts["exporter_listener"]),
            alpn=facts["alpn"].encode(),
            group=facts["group"].encode(),
            own_spki_sha256=bytes.fromhex(facts[f"{ends[0]}_spki_sha256"]),
            peer_spki_sha256=bytes.fromhex(facts[f"{ends[1]}_spki_sha256"]),
        )

    def signed(self, role: Role) -> bytes:
        ours = (role is Role.DIALLER) is (self.given["role"] == "dialler")
        return signed_input(role, self.binding(), hello_hash(*self.hellos), ours=ours)

    def take(self, step: Case) -> None:
        match step:
            case {"do": "start"}:
                self.made = self.machine.send(Start())
            case {"do": "accept"}:
                self.made = self.machine.send(Accept(expected=self.expected))
            case {"do": "prove"}:
                self.made = self.machine.send(Prove())
            case {"out": name}:
                self.compare(messages()[name])
            case {"in": what}:
                data = arriving(what)
                if data[1:3] == b"\0\x01":
                    self.hellos.append(data)
                self.machine.receive(data, step["t"])
            case _:
                raise AssertionError(f"no such step: {step}")

    def compare(self, wanted: bytes) -> None:
        """What was sent is the recorded message; signatures hold, the recorded one on its channel."""
        wanted_message, made = parse_message(wanted), parse_message(self.made)
        if not isinstance(wanted_message, Auth):
            assert self.made == wanted
            self.hellos.append(wanted)
            return
        assert isinstance(made, Auth)
        own, role = (A, Role.DIALLER) if self.given["role"] == "dialler" else (B, Role.ACCEPTOR)
        verify_identity(own.identity.public, made.signature, self.signed(role), Label.AUTH_CONTEXT)
        if self.given["channel"] == CHANNEL:
            verify_identity(own.identity.public, wanted_message.signature, self.signed(role), Label.AUTH_CONTEXT)


def check_machine(given: Case, expect: Case) -> None:
    """Kind `machine`."""
    play, steps = Play(given), given["steps"]
    if "reject" in expect:
        wrong = expect["reject"]
        for step in steps[:-1]:
            play.take(step)
        with pytest.raises(errors.RemoteError) as caught:
            play.take(steps[-1])
        assert type(caught.value) is CLASSES.get(wrong["class"], getattr(errors, wrong["class"], None))
        assert caught.value.code is ErrorCode[wrong["code"]]
        assert play.machine.state.name == wrong["state"]
        return
    for step in steps:
        play.take(step)
    wanted = expect["accept"]
    outcome = next(e.outcome for e in play.machine.events() if isinstance(e, Established))
    assert (play.machine.state.name, outcome.peer, outcome.version) == (
        wanted["state"],
        wanted["peer"],
        wanted["version"],
    )
    assert outcome.fingerprint.hex() == wanted["fingerprint"]
    assert {str(n): data.hex() for n, data in outcome.extensions.items()} == wanted["extensions"]
    assert outcome.statement.hex() == wanted["statement"]
    assert play.signed(Role.DIALLER).hex() == wanted["dialler_signs"]
    assert play.signed(Role.ACCEPTOR).hex() == wanted["listener_signs"]


def check_continuity(given: Case, expect: Case) -> None:
    """Kind `continuity`."""
    data = statements()[given["of"]] if "of" in given else bytes.fromhex(given["statement"])
    if "reject" in expect:
        with pytest.raises(errors.BadMessage) as caught:
            parse_statement(data)
        assert caught.value.code is ErrorCode[expect["reject"]["code"]]
        return
    statement, wanted = parse_statement(data), expect["accept"]
    assert (statement.old.hex(), statement.new.hex()) == (wanted["old"], wanted["new"])
    assert statement.sequence == wanted["sequence"]
    problem = statement.check(
        domain=DomainName(given["domain"]),
        pinned=Fingerprint(bytes.fromhex(given["pinned"])),
        new=Fingerprint(bytes.fromhex(given["published"])),
        last_sequence=given["last_sequence"],
        now=given["now"],
    )
    assert (not problem) is wanted["proves"], problem


CONSUMERS = {
    "run": check_run,
    "handshake-message": check_message,
    "machine": check_machine,
    "continuity": check_continuity,
}
