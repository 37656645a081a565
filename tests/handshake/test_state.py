"""The table itself: nothing is established without both proofs."""

from collections.abc import Iterator

import pytest

from tests.handshake.peers import A, pair, prints
from volly_fed.errors import LocalProtocolError, RemoteError
from volly_fed.handshake import Accept, Claimed, Prove, Reject, Start
from volly_fed.handshake.state import FINAL, TRANSITIONS, Expiry, State
from volly_fed.wire.messages import Auth, Hello, Ping, Refuse

WAYS = {
    (Start, Hello, Prove, Auth),  # the dialler: ours goes out first, theirs comes in last
    (Hello, Accept, Auth, Prove),  # the acceptor: theirs comes first
}


def ways(state: State, so_far: tuple[type, ...] = ()) -> Iterator[tuple[type, ...]]:
    if state is State.ESTABLISHED:
        yield so_far
    for trigger, after in TRANSITIONS.table[state].items():
        yield from ways(after, (*so_far, trigger))


def test_there_are_two_ways_to_be_established() -> None:
    assert {*ways(State.START), *ways(State.LISTENING)} == WAYS


def test_every_open_state_can_end_and_nothing_leads_out_of_an_end() -> None:
    for state in State:
        triggers = TRANSITIONS.table[state]
        if state in FINAL:
            assert triggers == {}
        else:
            assert {t: triggers[t] for t in (Refuse, Reject, Expiry)} == dict.fromkeys(
                (Refuse, Reject, Expiry), State.CLOSED
            )


def test_a_missing_entry_is_the_fault_of_whoever_caused_it() -> None:
    with pytest.raises(RemoteError, match="Ping is not allowed in state CLAIMED"):
        TRANSITIONS.after(State.CLAIMED, Ping, remote=True)
    with pytest.raises(LocalProtocolError):
        TRANSITIONS.after(State.CLAIMED, Prove, remote=False)


@pytest.mark.spec("handshake-19")
def test_an_acceptor_signs_nothing_before_the_caller_has_proved_itself() -> None:
    played = pair()
    played.responder.receive(played.initiator.send(Start()), 0)
    with pytest.raises(LocalProtocolError):
        played.responder.send(Prove())
    played.responder.send(Accept(expected=prints(A)))
    with pytest.raises(LocalProtocolError):
        played.responder.send(Prove())
    assert [type(event) for event in played.responder.events()] == [Claimed]
