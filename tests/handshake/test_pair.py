"""The honest way, and any message altered on the way."""

import os
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.handshake.peers import A, B, connection, initiator, pair, prints
from volly_fed import limits
from volly_fed.codepoints import ErrorCode, MessageType, Role
from volly_fed.errors import BadMessage, LocalProtocolError, Refused, RemoteError
from volly_fed.handshake import Accept, Claimed, Command, Initiator, Prove, Reject, Responder, Start, refusal
from volly_fed.handshake.state import State
from volly_fed.testing.machine_pair import MachinePair
from volly_fed.wire import codec, encode_message, parse_message
from volly_fed.wire.messages import Auth, Hello, Ping, Refuse


def run_to_failure(played: MachinePair) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        played.run()
    assert played.dialled is None  # the dialler speaks last, so nobody is established on one side only but the acceptor
    assert State.CLOSED in (played.initiator.state, played.responder.state)
    return caught.value


def test_both_know_each_other() -> None:
    played = pair().run()
    assert played.dialled is not None
    assert played.accepted is not None
    assert (played.dialled.peer, played.accepted.peer) == (B.name, A.name)
    assert (played.dialled.identity, played.accepted.identity) == (B.key.public, A.key.public)
    assert {played.dialled.fingerprint} == prints(B)
    assert {played.accepted.fingerprint} == prints(A)
    assert (played.dialled.role, played.accepted.role) == (Role.DIALLER, Role.ACCEPTOR)
    assert played.dialled.version == played.accepted.version == 1
    assert played.initiator.state is played.responder.state is State.ESTABLISHED


def test_four_messages_of_known_sizes() -> None:
    played = pair().run()
    kinds = [type(parse_message(data)) for data in played.line]
    assert kinds == [Hello, Hello, Auth, Auth]
    assert all(len(data) <= limits.MAX_HANDSHAKE_MESSAGE for data in played.line)
    assert len(played.line[0]) == len(played.line[1]) < 2100


@pytest.mark.spec("versioning-4", "versioning-10")
def test_extensions_reach_the_other_side_and_unknown_ones_do_no_harm() -> None:
    offered = {7: b"x", 0x1A1A: b"grease"}
    played = pair(dialler=attrs.evolve(A, extensions=offered)).run()
    assert played.accepted is not None
    assert dict(played.accepted.extensions) == offered


@pytest.mark.spec("handshake-32", "handshake-34")
def test_a_statement_reaches_the_other_side_unread_with_the_proof() -> None:
    longest = b"s" * limits.MAX_CONTINUITY
    played = pair(
        dialler=attrs.evolve(A, statement=longest), acceptor=attrs.evolve(B, statement=b"not read here")
    ).run()
    assert played.dialled is not None
    assert played.accepted is not None
    assert (played.accepted.statement, played.dialled.statement) == (longest, b"not read here")
    assert all(len(data) <= limits.MAX_HANDSHAKE_MESSAGE for data in played.line)
    plain = pair().run()
    assert plain.dialled is not None
    assert plain.dialled.statement == b""
    assert len(plain.line[2]) < 3400  # nothing is sent where there is nothing to say


def test_a_statement_over_the_limit_is_our_bug_here_and_malformed_there() -> None:
    with pytest.raises(ValueError, match="Length"):
        attrs.evolve(A, statement=bytes(limits.MAX_CONTINUITY + 1))

    def too_long(number: int, data: bytes) -> bytes:
        fields: Any = codec.decode(data)
        return codec.encode(fields | {2: bytes(limits.MAX_CONTINUITY + 1)}) if number == 2 else data

    assert run_to_failure(pair(too_long)).code is ErrorCode.MALFORMED


@pytest.mark.spec("handshake-3")
def test_unknown_hello_fields_are_ignored_and_signed() -> None:
    def with_unknown_field(data: bytes) -> bytes:
        fields: Any = codec.decode(data)
        return codec.encode(fields | {99: [b"news", {1: True}]})

    ours, theirs = connection()
    newer = Newer(own=A, wanted=B.name, expected=prints(B), binding=ours, random=os.urandom, deadline=15)
    newer.change = with_unknown_field
    played = MachinePair(newer, Responder(own=B, binding=theirs, random=os.urandom, deadline=15), prints(A)).run()
    assert played.accepted is not None
    # the same field added on the way instead is an altered HELLO
    assert run_to_failure(pair(lambda n, d: with_unknown_field(d) if n == 0 else d)).code is ErrorCode.BAD_SIGNATURE


class Newer(Initiator):
    """A dialler of a later version, whose HELLO has more in it."""

    change: Callable[[bytes], bytes]

    def _hello(self, wanted: Any) -> bytes:
        data = self.change(super()._hello(wanted))
        self._hellos[self._role] = data
        return data


# --- anything altered ----------------------------------------------------------------------------------------------

LINE = pair().run().line


@st.composite
def alterations(draw: st.DrawFn, data: bytes) -> bytes:
    kind = draw(st.sampled_from(["flip", "cut", "extend", "replace", "random", "foreign"]))
    at = draw(st.integers(0, len(data) - 1))
    if kind == "flip":
        return data[:at] + bytes([data[at] ^ draw(st.integers(1, 255))]) + data[at + 1 :]
    if kind == "cut":
        return data[:at]
    if kind == "extend":
        return data + draw(st.binary(min_size=1, max_size=8))
    if kind == "replace":
        return data[:at] + draw(st.binary(min_size=1, max_size=64)) + data[at + 1 :]
    return draw(st.binary(max_size=100)) if kind == "random" else draw(st.sampled_from(LINE))


@settings(deadline=None)
@given(st.integers(0, 3), st.data())
def test_no_altered_message_leads_to_an_established_pair(number: int, data: st.DataObject) -> None:
    def alter(n: int, sent: bytes) -> bytes:
        if n != number:
            return sent
        changed = data.draw(alterations(sent))
        return changed if changed != sent else sent + b"\0"

    run_to_failure(pair(alter))


VALUES = st.recursive(
    st.integers(0, 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=20) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.integers(0, 9), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.integers(0, 3), st.integers(1, 7), VALUES)
def test_no_altered_field_leads_to_an_established_pair(number: int, field: int, value: object) -> None:
    def alter(n: int, sent: bytes) -> bytes:
        fields: Any = codec.decode(sent)
        if n != number:
            return sent
        assume(field not in fields or fields[field] != value)
        return codec.encode(fields | {field: value})

    # AUTH signs nothing of itself: unknown fields in it are ignored like in any message, a statement proves itself
    if number >= 2 and (field > 2 or (field == 2 and isinstance(value, bytes))):
        pair(alter).run()
    else:
        run_to_failure(pair(alter))


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["initiator", "responder"]))
def test_garbage_raises_remote_errors_only(data: bytes, which: str) -> None:
    played = pair()
    played.initiator.send(Start())
    machine: Initiator | Responder = getattr(played, which)
    with pytest.raises(RemoteError):
        machine.receive(data, 0)
    assert machine.state is State.CLOSED
    assert machine.events() == []


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.spec("wire-27")
@pytest.mark.parametrize("code", [c for c in ErrorCode if c is not ErrorCode.NONE])
def test_a_rejected_caller_learns_why(code: ErrorCode) -> None:
    played = pair()
    played.responder.receive(played.initiator.send(Start()), 0)
    data = played.responder.send(Reject(code, "not today"))
    with pytest.raises(Refused, match="not today") as caught:
        played.initiator.receive(data, 0)
    assert caught.value.code is code
    assert played.initiator.state is played.responder.state is State.CLOSED


def test_a_caller_whose_tls_key_is_not_published_is_rejected_with_that_reason() -> None:
    played = pair()
    played.responder.receive(played.initiator.send(Start()), 0)
    [claim] = played.responder.events()
    assert isinstance(claim, Claimed)
    assert claim.domain == A.name  # the daemon looks it up, and finds other TLSA records
    data = played.responder.send(Reject(ErrorCode.KEY_MISMATCH, "the TLS key is not one that a.example publishes"))
    with pytest.raises(Refused, match=r"a\.example") as caught:
        played.initiator.receive(data, 0)
    assert caught.value.code is ErrorCode.KEY_MISMATCH
    with pytest.raises(LocalProtocolError):
        played.responder.send(Accept(expected=prints(A)))


def test_a_dialler_can_reject_too() -> None:
    played = pair()
    played.responder.receive(played.initiator.send(Start()), 0)
    played.initiator.receive(played.responder.send(Accept(expected=prints(A))), 0)
    with pytest.raises(Refused):
        played.responder.receive(played.initiator.send(Reject(ErrorCode.POLICY, "changed my mind")), 0)


@pytest.mark.spec("wire-20")
def test_refusal_is_short_and_printable() -> None:
    message = parse_message(refusal(BadMessage("a\x1b[31m\n" + "x" * 2 * limits.MAX_TEXT)))
    assert isinstance(message, Refuse)
    assert message.code is ErrorCode.MALFORMED
    assert message.text.startswith("a[31mx")
    assert len(message.text) == limits.MAX_TEXT


# --- order, size, time ---------------------------------------------------------------------------------------------


def messages() -> dict[str, bytes]:
    return {
        "hello-a": LINE[0],
        "hello-b": LINE[1],
        "auth": LINE[2],
        "ping": encode_message(Ping(token=1)),
        "batch": codec.encode({0: int(MessageType.BATCH), 1: bytes(8), 2: 1, 3: []}),
    }


@pytest.mark.spec("wire-28")
@pytest.mark.parametrize("sent", ["auth", "ping", "batch"])
def test_the_dialler_hears_nothing_before_hello(sent: str) -> None:
    machine = initiator(connection()[0])
    machine.send(Start())
    with pytest.raises(RemoteError) as caught:
        machine.receive(messages()[sent], 0)
    assert caught.value.code is ErrorCode.UNEXPECTED


@pytest.mark.spec("handshake-5")
@pytest.mark.parametrize("sent", messages())
def test_nothing_comes_before_start_claims_are_answered_or_after_the_end(sent: str) -> None:
    fresh = pair()
    with pytest.raises(RemoteError):
        fresh.initiator.receive(messages()[sent], 0)
    waiting = pair()
    waiting.responder.receive(waiting.initiator.send(Start()), 0)
    with pytest.raises(RemoteError) as caught:
        waiting.responder.receive(messages()[sent], 0)  # a second HELLO, or an AUTH before Accept
    assert caught.value.code is ErrorCode.UNEXPECTED
    done = pair().run()
    for machine in (done.initiator, done.responder):
        with pytest.raises(RemoteError):
            machine.receive(messages()[sent], 0)


@pytest.mark.spec("handshake-22")
def test_a_closed_machine_stays_closed() -> None:
    machine = pair().responder
    with pytest.raises(BadMessage):
        machine.receive(b"\xff", 0)
    with pytest.raises(RemoteError):
        machine.receive(LINE[0], 0)
    for command in (Accept(expected=prints(A)), Prove(), Reject(ErrorCode.BUSY, "")):
        with pytest.raises(LocalProtocolError):
            machine.send(command)
    assert machine.deadline is None


@pytest.mark.spec("handshake-8")
def test_commands_out_of_order_are_our_bug_and_change_nothing() -> None:
    played = pair()
    not_the_diallers: list[Command] = [Prove(), Accept(expected=prints(B))]
    not_the_acceptors: list[Command] = [Prove(), Accept(expected=prints(A)), Start()]
    for command in not_the_diallers:
        with pytest.raises(LocalProtocolError):
            played.initiator.send(command)
    for command in not_the_acceptors:
        with pytest.raises(LocalProtocolError):
            played.responder.send(command)
    played.run()


@pytest.mark.spec("handshake-4")
def test_a_message_over_the_limit_is_not_read() -> None:
    big = codec.encode({0: int(MessageType.HELLO), 9: bytes(limits.MAX_HANDSHAKE_MESSAGE)})
    with pytest.raises(BadMessage, match="limit"):
        pair().responder.receive(big, 0)


def test_extensions_that_do_not_fit_are_our_bug() -> None:
    wide = attrs.evolve(A, extensions={n: bytes(limits.MAX_EXTENSION) for n in range(limits.MAX_EXTENSIONS)})
    with pytest.raises(LocalProtocolError, match="fit"):
        pair(dialler=wide).initiator.send(Start())


def test_every_open_state_expires_by_tick() -> None:
    played = pair()
    for machine in (played.initiator, played.responder):
        assert machine.deadline == limits.HANDSHAKE
        machine.tick(limits.HANDSHAKE - 0.001)
        assert machine.events() == []
        machine.tick(limits.HANDSHAKE)
        [expired] = machine.events()
        assert expired.error.code is ErrorCode.TIMEOUT  # type: ignore[union-attr] # the only event there can be
        machine.tick(limits.HANDSHAKE + 1)
        assert machine.events() == []
        assert machine.state is State.CLOSED


def test_expiry_while_the_claim_is_looked_up() -> None:
    played = pair()
    played.responder.receive(played.initiator.send(Start()), 0)
    played.responder.tick(limits.HANDSHAKE)
    with pytest.raises(LocalProtocolError):
        played.responder.send(Accept(expected=prints(A)))


@pytest.mark.spec("handshake-38")
def test_a_message_after_the_deadline_is_late_even_without_a_tick() -> None:
    played = pair()
    with pytest.raises(RemoteError) as caught:
        played.responder.receive(played.initiator.send(Start()), limits.HANDSHAKE)
    assert caught.value.code is ErrorCode.TIMEOUT


def test_an_established_handshake_does_not_expire() -> None:
    played = pair().run()
    played.initiator.tick(1e9)
    assert played.initiator.events() == []
    assert played.initiator.state is State.ESTABLISHED


# --- versions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "common"), [((1, 1), (1, 3), 1), ((1, 3), (2, 5), 3), ((2, 4), (1, 2), 2), ((1, 9), (1, 9), 9)]
)
def test_the_highest_common_version(ours: tuple[int, int], theirs: tuple[int, int], common: int) -> None:
    played = pair(dialler=attrs.evolve(A, versions=ours), acceptor=attrs.evolve(B, versions=theirs)).run()
    assert played.dialled is not None
    assert played.accepted is not None
    assert played.dialled.version == played.accepted.version == common


@pytest.mark.spec("handshake-21")
@pytest.mark.parametrize(("ours", "theirs"), [((1, 1), (2, 3)), ((4, 5), (1, 3))])
def test_no_common_version(ours: tuple[int, int], theirs: tuple[int, int]) -> None:
    played = pair(dialler=attrs.evolve(A, versions=ours), acceptor=attrs.evolve(B, versions=theirs))
    assert run_to_failure(played).code is ErrorCode.UNSUPPORTED_VERSION


@pytest.mark.spec("handshake-2")
def test_a_range_upside_down_is_malformed() -> None:
    assert run_to_failure(pair(dialler=attrs.evolve(A, versions=(2, 1)))).code is ErrorCode.MALFORMED
