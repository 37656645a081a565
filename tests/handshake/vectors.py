"""The vectors of the handshake: the recorded run, messages, both ends step by step, statements of continuity."""

import hashlib
from functools import cache
from typing import Any

import attrs
import pytest

from tests.handshake.make_messages import FOLDER, channel
from tests.spec.run import A, B, bindings, dialler, document, listener, recording, session_messages
from tests.vectors import read
from volly_fed import errors, limits
from volly_fed.codepoints import ErrorCode, Label, Role
from volly_fed.crypto.signature import BadSignature, verify_identity
from volly_fed.handshake import (
    Accept,
    Admission,
    ChannelBinding,
    Claimed,
    ClaimGuard,
    Established,
    Event,
    Expired,
    Greeted,
    Initiator,
    Prove,
    Proved,
    Reject,
    Responder,
    Start,
    refusal,
)
from volly_fed.handshake.state import State
from volly_fed.handshake.transcript import hello_hash, signed_input
from volly_fed.names import DomainName, Fingerprint
from volly_fed.trust.continuity import parse_statement
from volly_fed.wire import codec, encode_message, parse_message
from volly_fed.wire.messages import Auth, Refuse

Case = dict[str, Any]
CLASSES = {"BadSignature": BadSignature}
CHANNEL = channel()
TOLD = {"dialler": [Greeted, Established], "listener": [Claimed, Proved, Established]}
"""What an end learns on its way."""


def check_run(given: Case, expect: Case) -> None:
    """Kind `run`: tests/spec has more about it."""
    case = document({"exporters": given["exporters"], "sent": expect["accept"]["sent"]})["cases"][0]
    assert (case["given"], case["expect"]) == (given, expect)
    sent = expect["accept"]["sent"]
    assert recording()["sent"] == sent
    said = [bytes.fromhex(each["message"]) for each in sent[2:]]
    assert said[4:] == [message for _, _, message in session_messages()]
    near, far = (make(on) for make, on in zip((dialler, listener), bindings(given["exporters"]), strict=True))
    assert near.send(Start()) == said[0]
    far.receive(said[0], 0.0)
    assert far.send(Accept(expected=A.expected)) == said[1]
    near.receive(said[1], 0.0)
    near.send(Prove())
    far.receive(said[2], 0.0)  # signatures are never the same twice; the recorded ones hold
    far.send(Prove())
    near.receive(said[3], 0.0)
    assert near.state is far.state is State.ESTABLISHED


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
    told: list[Event] = attrs.field(factory=list)

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
        own, peer = (bytes.fromhex(facts[f"{end}_spki_sha256"]) for end in ends)

        def export(_label: bytes, _size: int, context: bytes) -> bytes:
            return bytes.fromhex(facts["exporter_dialler" if context == b"\x01" else "exporter_listener"])

        alpn = facts["alpn"].encode()
        return ChannelBinding.of(export, alpn=alpn, group=facts["group"], own_spki_sha256=own, peer_spki_sha256=peer)

    def signed(self, role: Role) -> bytes:
        ours = (role is Role.DIALLER) is (self.given["role"] == "dialler")
        return signed_input(role, self.binding(), hello_hash(*self.hellos), ours=ours)

    def take(self, step: Case) -> None:
        if "do" in step:  # it decides by what it was told
            self.told += self.machine.events()
        match step:
            case {"do": "start"}:
                self.made = self.machine.send(Start())
            case {"do": "accept"}:
                self.made = self.machine.send(Accept(expected=self.expected))
            case {"do": "prove"}:
                self.made = self.machine.send(Prove())
            case {"do": "reject", "code": code}:
                refuse = parse_message(self.machine.send(Reject(ErrorCode[code], "not \x1b[1mtoday")))
                assert isinstance(refuse, Refuse)
                raise errors.RemoteError(refuse.text, code=refuse.code)
            case {"do": "wait", "t": until}:
                self.wait(until)
            case {"out": name}:
                self.compare(messages()[name])
            case {"in": what}:
                data = arriving(what)
                if data[1:3] == b"\0\x01":
                    self.hellos.append(data)
                self.machine.receive(data, step["t"])
            case _:
                raise AssertionError(f"no such step: {step}")

    def wait(self, until: float) -> None:
        """Time passes, and the machine is woken when it wants to be."""
        if self.machine.deadline is not None and until >= self.machine.deadline:
            self.machine.tick(self.machine.deadline)
            [expired] = self.machine.events()
            assert isinstance(expired, Expired)
            raise expired.error
        self.machine.tick(until)

    def closed(self, error: errors.RemoteError) -> None:
        """After an error nothing is told and nothing is taken."""
        answer = parse_message(refusal(error))
        assert isinstance(answer, Refuse)
        assert (answer.code, answer.retry_after) == (error.code, error.retry_after)
        assert (self.machine.events(), self.machine.deadline) == ([], None)
        for name in ("dialler-hello", "listener-hello", "dialler-auth", "refuse-busy"):
            with pytest.raises(errors.RemoteError) as caught:
                self.machine.receive(messages()[name], 0.0)
            assert caught.value.code is ErrorCode.UNEXPECTED

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
        play.closed(caught.value)
        return
    for step in steps:
        play.take(step)
    wanted = expect["accept"]
    claim, *_, last = told = play.told + play.machine.events()
    assert list(map(type, told)) == TOLD[given["role"]]
    assert isinstance(claim, Greeted | Claimed)
    assert (claim.domain, claim.fingerprint.hex()) == (wanted["peer"], wanted["fingerprint"])
    assert isinstance(last, Established)
    outcome = last.outcome
    assert play.machine.deadline is None
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


@attrs.define
class Claims:
    """A listener's counts, and the claims that it has admitted."""

    guard: ClaimGuard = attrs.field(factory=ClaimGuard)
    admitted: dict[str, Admission] = attrs.field(factory=dict)

    def claim(self, name: str, domain: str, address: str, key: str, now: float) -> int:
        spki = hashlib.sha256(key.encode()).digest()
        admission = self.guard.admit(DomainName(domain), address=address, spki_sha256=spki, now=now)
        assert admission.allowed is (not admission.retry_after)
        if admission.allowed:
            self.admitted[name] = admission
        return admission.retry_after

    def take(self, step: Case) -> None:
        now = step["t"]
        match step:
            case {"claim": name, "domain": domain, "address": address, "key": key, "busy": busy}:
                assert self.claim(name, domain, address, key, now) == busy, name
            case {"over": name}:
                self.guard.release(self.admitted[name])
            case {"proved": name, "busy": busy}:
                assert self.guard.proved(self.admitted[name], now) == busy, name
            case {"strangers": count} | {"proving": count}:
                for number in range(count):
                    address = f"10.0.{number // 256}.{number % 256}"
                    assert self.claim("many", f"s{number}.example", address, "theirs", now) == 0
                    if "proving" in step:
                        assert self.guard.proved(self.admitted["many"], now) == 0
                    self.guard.release(self.admitted["many"])
            case _:
                raise AssertionError(f"no such step: {step}")


def check_claims(given: Case, expect: Case) -> None:
    """Kind `claims`."""
    claims = Claims()
    for step in given["steps"]:
        claims.take(step)
    assert expect == {"accept": {}}


CONSUMERS = {
    "claims": check_claims,
    "run": check_run,
    "handshake-message": check_message,
    "machine": check_machine,
    "continuity": check_continuity,
}
