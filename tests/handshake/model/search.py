"""Every reachable state of a Setting, breadth first, and the first one in which an agreement is broken.

in: a Setting and the agreements expected; out: Result, with the attack if there is one. Deterministic.
"""

# Three things keep the search small; each leaves out only runs that have a twin which is searched.
# 1. Connecting comes first (network.py).
# 2. What HELLO an end hears is chosen when something depends on it: for a dialler that is its AUTH, for an acceptor the
#    AUTH that it takes (its own HELLO depends on the claimed name alone, which is chosen with the connection).
# 3. A HELLO is not delivered if nobody takes what comes of it: if nobody at all could want the signature that follows,
#    and the end itself cannot be brought to an end that concerns an honest domain. A refused end is a dead end.

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import attrs

from tests.handshake.model.agreement import ALL, Agreement, Met, best_partner, disagreements
from tests.handshake.model.ends import Choice, Signature, choices
from tests.handshake.model.network import End, Network, networks
from tests.handshake.model.terms import ACCEPTOR, DIALLER, transcript_without
from tests.handshake.model.world import A, B, Check, Kind, Setting, identity_of

Pins = frozenset[tuple[str, str, str]]
"""(who remembers, whom, which identity)."""


class Session(NamedTuple):
    """How far an end is: it has heard a HELLO (and signed), and is done, with the proof of the end `partner`, or -1."""

    choice: Choice | None = None
    done: bool = False
    partner: int = -1


class State(NamedTuple):
    """All sessions, and what a and b have pinned."""

    sessions: tuple[Session, ...]
    pins: Pins


class Move(NamedTuple):
    """End number `number` hears its HELLO and signs, or is done with a proof; a whole attack is a list of these."""

    number: int
    done: bool
    forged: bool


@attrs.frozen(kw_only=True)
class Attack:
    """A run that ends with end `victim` being done and wrong about `broken`."""

    setting: Setting
    network: Network
    moves: tuple[Move, ...]
    sessions: tuple[Session, ...]
    victim: int
    broken: tuple[Agreement, ...]


@attrs.frozen(kw_only=True)
class Result:
    """How many states were visited, the attack that was found, if any, and how many ends were done at once at most."""

    states: int
    done: int
    attack: Attack | None = None


def search(
    setting: Setting, expected: frozenset[Agreement] = ALL, *, excuse: bool = True, reduce: bool = True
) -> Result:
    """Look for a state in which one of `expected` is broken; `reduce` is point 3 above.

    `excuse`: an end that relied on forged records, without the true identity pinned, may be wrong about its peer.
    """
    states, done, known = 0, 0, _Known(setting)
    for network in networks(setting):
        result = _Play(known, network, expected, excuse=excuse, reduce=reduce).run()
        states += result.states
        done = max(done, result.done)
        if result.attack is not None:
            return attrs.evolve(result, states=states, done=done)
    return Result(states=states, done=done)


class _Known:
    """What ends can hear, worked out once for all arrangements in which they look the same."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self._transcript = transcript_without(setting.dropped)
        self._choices: dict[tuple[object, ...], list[Choice]] = {}

    def choices(self, network: Network, end: End) -> list[Choice]:
        """As `ends.choices`."""
        partner = None if end.partner is None else network[end.partner]
        key = end, partner, *(other is None for other in network)
        if key not in self._choices:
            self._choices[key] = choices(self.setting, network, end, self._transcript)
        return self._choices[key]


class _Play:
    """The search of one arrangement."""

    def __init__(
        self, known: _Known, network: Network, expected: frozenset[Agreement], *, excuse: bool, reduce: bool
    ) -> None:
        self.setting, self.network, self.expected, self.excuse = known.setting, network, expected, excuse
        self.ends = [end for end in network if end is not None]
        self.choices = {end.number: known.choices(network, end) for end in self.ends}
        if reduce:
            self.signable = {choice.signs for each in self.choices.values() for choice in each}
            self.wanted = {choice.wants for each in self.choices.values() for choice in each}
            self.choices = {n: [c for c in self.choices[n] if self._matters(network[n], c)] for n in self.choices}

    def _matters(self, end: End | None, choice: Choice) -> bool:
        assert end is not None
        elicits = choice.signs in self.wanted
        can_be_done = choice.wants in self.signable or choice.forgeable
        if end.role == DIALLER:
            return elicits or (can_be_done and choice.concerns_us)
        return can_be_done and (elicits or choice.concerns_us)

    def run(self) -> Result:
        pinned = {(A, B, identity_of(B)), (B, A, identity_of(A))} if self.setting.pinned else set()
        first = State((Session(),) * 4, frozenset(pinned))
        came_from: dict[State, tuple[State, Move] | None] = {first: None}
        waiting = deque([first])
        most = 0
        while waiting:
            state = waiting.popleft()
            for move, after in self._moves(state):
                if after in came_from:
                    continue
                came_from[after] = state, move
                waiting.append(after)
                most = max(most, sum(session.done for session in after.sessions))
                if move.done and (broken := self._broken(state, after, move.number)):
                    attack = Attack(
                        setting=self.setting,
                        network=self.network,
                        moves=_path(came_from, after),
                        sessions=after.sessions,
                        victim=move.number,
                        broken=tuple(broken),
                    )
                    return Result(states=len(came_from), done=most, attack=attack)
        return Result(states=len(came_from), done=most)

    def _moves(self, state: State) -> Iterator[tuple[Move, State]]:
        for end in self.ends:
            session = state.sessions[end.number]
            if session.done:
                continue
            if session.choice is None and end.role == DIALLER:
                for choice in self.choices[end.number]:
                    yield Move(end.number, False, False), _with(state, end, Session(choice))
                continue
            open_choices = self.choices[end.number] if session.choice is None else [session.choice]
            for choice in open_choices:
                forged = not self._was_signed(state, end, choice.wants)
                if forged and not choice.forgeable:
                    continue
                if (after := self._finish(state, end, choice)) is not None:
                    yield Move(end.number, True, forged), after

    def _was_signed(self, state: State, end: End, wanted: Signature) -> bool:
        """Whether some honest end has made the signature, and the attacker can hand it to `end`."""
        for other in self.ends:
            choice = state.sessions[other.number].choice
            reaches = (end.open and other.open) or end.partner == other.number
            if choice is not None and reaches and choice.signs == wanted and _has_signed(state, other):
                return True
        return False

    def _finish(self, state: State, end: End, choice: Choice) -> State | None:
        """`end` takes the proof, unless another identity is pinned; pins it where none is."""
        heard, pins = choice.heard, state.pins
        if end.kind is Kind.FEDERATION:
            pinned = {identity for who, whom, identity in pins if (who, whom) == (end.own, heard.own)}
            if pinned and heard.identity not in pinned and Check.PIN not in self.setting.skipped:
                return None
            if not pinned:
                pins = pins | {(end.own, heard.own, heard.identity)}
        this, signed = Met(end, choice), self._signed(state)
        known = any(identity_of(other.end.own) == heard.identity for other in signed)
        partner = best_partner(this, signed, _taken(state, end)) if known else -1
        return State(_with(state, end, Session(choice, True, partner)).sessions, pins)

    def _signed(self, state: State) -> list[Met]:
        """The ends that have signed something, with what they have heard."""
        met = ((end, state.sessions[end.number].choice) for end in self.ends if _has_signed(state, end))
        return [Met(end, choice) for end, choice in met if choice is not None]

    def _broken(self, before: State, after: State, number: int) -> list[Agreement]:
        end = self.network[number]
        choice = after.sessions[number].choice
        assert end is not None
        assert choice is not None
        if not choice.concerns_us or (self.excuse and self._is_excused(before, end, choice)):
            return []
        return disagreements(Met(end, choice), self._signed(before), _taken(before, end), self.expected)

    def _is_excused(self, before: State, end: End, choice: Choice) -> bool:
        peer = choice.heard.own
        return self.setting.forged(peer) and (end.own, peer, identity_of(peer)) not in before.pins


def _has_signed(state: State, end: End) -> bool:
    """A dialler signs when it has heard, an acceptor when it is done."""
    session = state.sessions[end.number]
    return session.choice is not None and (session.done or end.role != ACCEPTOR)


def _taken(state: State, end: End) -> set[int]:
    """The ends whose proofs other sessions in the place of `end` have had."""
    same_role = (0, 1) if end.role == DIALLER else (2, 3)
    return {state.sessions[n].partner for n in same_role if n != end.number and state.sessions[n].done}


def _with(state: State, end: End, session: Session) -> State:
    sessions = list(state.sessions)
    sessions[end.number] = session
    return State(tuple(sessions), state.pins)


def _path(came_from: dict[State, tuple[State, Move] | None], state: State) -> tuple[Move, ...]:
    moves: list[Move] = []
    while (step := came_from[state]) is not None:
        state, move = step
        moves.append(move)
    return tuple(reversed(moves))
