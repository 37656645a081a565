"""Our stream to one peer: what waits, what is in flight, and what the peer has settled. It outlives links.

in: envelopes with the keys their owner knows them by; acknowledgements; out: batches; settled keys.
Never: gives one sequence number to two envelopes, or forgets an envelope before the peer has settled it.
"""

from collections import deque
from collections.abc import Hashable, Sequence, Set
from itertools import islice
from typing import Generic, TypeVar

from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass, ErrorCode
from volly_fed.errors import RemoteError
from volly_fed.machine import RandomSource
from volly_fed.session.events import Settled
from volly_fed.wire.fit import fitting
from volly_fed.wire.messages import STREAM_BYTES, Refusal

K = TypeVar("K", bound=Hashable)

# Why a stream's id is random and new in every process: envelopes are sent while the disk still works on them. After a
# crash the store does not know which sequence numbers were sent but never synced, and would give them out again; a
# receiver that has stored the first bearer of such a number would drop the second as a duplicate. Under a new id
# nothing is a duplicate by number, and what was really sent twice is found by its envelope id.


class Outbound(Generic[K]):
    """The sending half of a session. Make one per peer and process; give it to each new Session in turn."""

    def __init__(self, random: RandomSource) -> None:
        """`random` is asked for the stream's id, now and if the peer turns out to have lost its cursor."""
        self._random = random
        self.stream = random(STREAM_BYTES)  # [session-3]
        self._waiting: tuple[deque[tuple[K, bytes]], ...] = tuple(deque() for _ in EnvelopeClass)
        self._waiting_bytes = 0
        self._in_flight: deque[tuple[K, bytes]] = deque()
        self._settled = 0  # in flight are the sequence numbers that follow it
        self._held = False
        self.attach(None)

    # --- for the owner of the queue ---

    def offer(self, envelopes: Sequence[tuple[K, bytes]], urgency: EnvelopeClass = EnvelopeClass.SIGNAL) -> None:
        """Queue `envelopes` behind those of the same class. They may leave before they are on our disk.

        `room` is a promise to be kept by the caller, not enforced here: a batch may overshoot it.
        """
        self._waiting[urgency].extend(envelopes)
        self._waiting_bytes += sum([len(frame) for _, frame in envelopes])

    def put_back(self, envelopes: list[tuple[K, bytes]], urgency: EnvelopeClass) -> None:
        """Queue `envelopes`, which the peer had no room for, before those of the same class: they are older."""
        self._waiting[urgency].extendleft(reversed(envelopes))
        self._waiting_bytes += sum(len(frame) for _, frame in envelopes)

    def discard(self, keys: Set[K]) -> None:
        """Forget those of `keys` that have no sequence number yet: their owner is done with them."""
        for waiting in self._waiting:
            kept = [item for item in waiting if item[0] not in keys]
            if len(kept) < len(waiting):
                self._waiting_bytes -= sum(len(frame) for key, frame in waiting if key in keys)
                waiting.clear()
                waiting.extend(kept)

    @property
    def under_way(self) -> set[K]:
        """The keys of what was sent, on this link or an earlier one, and is not settled."""
        return {key for key, _ in self._in_flight}

    def hold(self, held: bool) -> None:
        """Send nothing until told otherwise, on whichever link: what waits and what an earlier link carried stays."""
        self._held = held

    def room(self, urgency: EnvelopeClass) -> int:
        """How many envelopes of this class may be offered now; what does not fit stays on the disk."""
        share = limits.WAITING_SHARES[urgency]
        if self._waiting_bytes >= share * limits.WAITING_BYTES:
            return 0
        return max(0, int(share * limits.WAITING_ENVELOPES) - self.waiting)

    @property
    def waiting(self) -> int:
        """Envelopes that have no sequence number yet."""
        return sum(map(len, self._waiting))

    @property
    def in_flight(self) -> int:
        """Envelopes that were sent, on this link or an earlier one, and are not settled."""
        return len(self._in_flight)

    # --- for the session ---

    def attach(self, session: object) -> None:
        """From now on only `session` sends and settles; on its link nothing was sent yet."""
        self._owner = session
        self._sent = self._settled  # up to here this link has carried; less than what is in flight after a reconnect
        self._sent_bytes = 0  # of what this link has carried and is not settled
        self._window = self._window_bytes = 0  # what the peer has granted on this link

    def belongs_to(self, session: object) -> bool:
        """Whether no later session has taken the stream over."""
        return self._owner is session

    def resume(self, cursor: int, refusals: tuple[Refusal, ...]) -> Settled[K] | None:
        """A link begins, and the peer has settled up to `cursor`, with these `refusals` among the last of it.

        What an earlier link has carried so far is settled here too, for its acknowledgements may be lost; the rest is
        sent again. Refusals of what we know to be settled are old news.

        None: the peer has less than it acknowledged before (it was restored, or is an edge that restarted). Then all
        that is unsettled was put on a fresh stream, which wants an OPEN of its own.
        Raises RemoteError: the peer claims to have what was never sent.
        """
        if cursor < self._settled:  # [session-8]
            self.stream = self._random(STREAM_BYTES)
            self._settled = self._sent = self._sent_bytes = 0
            return None
        if cursor > self._settled + len(self._in_flight):
            raise RemoteError(f"cursor {cursor} is beyond what this stream has carried")  # [session-9]
        settled = self._settle(cursor, tuple(refusal for refusal in refusals if refusal[0] > self._settled))
        self._sent, self._sent_bytes = cursor, 0
        return settled

    def acknowledge(self, cursor: int, refusals: tuple[Refusal, ...]) -> Settled[K]:
        """Settle everything up to `cursor`. Raises RemoteError: a cursor or a refusal out of range."""
        if not self._settled <= cursor <= self._sent:  # [session-20]
            raise RemoteError(f"cursor {cursor} is not between {self._settled} and {self._sent}")
        return self._settle(cursor, refusals)

    def grant(self, window: int, window_bytes: int) -> None:
        """The peer lets us have so much in flight on this link; we never have more than our own limits."""
        self._window = min(window, limits.WINDOW_ENVELOPES)
        self._window_bytes = min(window_bytes, limits.WINDOW_BYTES)

    @property
    def may_send(self) -> bool:
        """Whether anything was not sent on this link; the window may be full."""
        return not self._held and (self._sent - self._settled < len(self._in_flight) or any(self._waiting))

    def _settle(self, cursor: int, refusals: tuple[Refusal, ...]) -> Settled[K]:
        count, first = cursor - self._settled, self._settled + 1
        refused: dict[int, tuple[ErrorCode, str]] = {}
        for sequence, code, text in refusals:  # before anything is settled: of what is refused here, nothing is
            if not first <= sequence <= cursor or sequence - first in refused:  # [session-21]
                raise RemoteError(f"a refusal of {sequence}, where {first} to {cursor} are settled")
            refused[sequence - first] = (code, text)
        next_done = self._in_flight.popleft
        done = [next_done() for _ in range(count)]
        keys, frames = zip(*done, strict=True) if done else ((), ())
        self._settled = cursor
        self._sent_bytes -= sum(map(len, frames))
        if not refused:
            return Settled(keys=[*keys])
        return _sort_out(done, refused)

    def next_batch(self) -> tuple[int, list[bytes]] | None:
        """(first sequence number, envelopes): what was in flight on an earlier link first, then what waits.

        None: nothing waits or may leave, or the window is full.
        """
        if self._held:  # [router-6]
            return None
        first, under_way = self._sent + 1, self._sent - self._settled
        count = min(limits.BATCH_ENVELOPES, self._window - under_way)  # [session-14] [session-24]
        room = min(limits.BATCH_BYTES, self._window_bytes - self._sent_bytes)
        if count <= 0 or room <= 0:
            return None
        if not under_way:
            # [session-25]
            room = max(room, limits.MAX_ENVELOPE)  # else one that is larger than the window would never leave
            count = 1 if self._window_bytes < limits.MAX_ENVELOPE else count  # [session-39]
        unsent = len(self._in_flight) - under_way
        frames = self._again(unsent, count, room) if unsent else self._fresh(count, room)
        if not frames:
            return None
        self._sent += len(frames)
        self._sent_bytes += sum(map(len, frames))
        return first, frames

    def _again(self, unsent: int, count: int, room: int) -> list[bytes]:
        start = len(self._in_flight) - unsent
        frames = [frame for _, frame in islice(self._in_flight, start, start + count)]
        return frames[: fitting(frames, room)]

    def _fresh(self, count: int, room: int) -> list[bytes]:
        taken: list[bytes] = []
        for waiting in self._waiting:  # in the order of urgency [session-16]
            some = [*islice(waiting, count - len(taken))]
            frames = [frame for _, frame in some]
            fit = fitting(frames, room)
            taken += frames[:fit]
            self._in_flight.extend(some[:fit])
            if fit < len(waiting):
                for _ in range(fit):
                    waiting.popleft()
                break  # not past an envelope that found no room: a lesser class must not overtake it for its size
            waiting.clear()
            room -= sum(map(len, frames))
        self._waiting_bytes -= sum(map(len, taken))
        return taken


def _sort_out(done: list[tuple[K, bytes]], refused: dict[int, tuple[ErrorCode, str]]) -> Settled[K]:
    settled: Settled[K] = Settled(keys=[])
    for at, item in enumerate(done):
        code, text = refused.get(at, (ErrorCode.NONE, ""))
        if code is ErrorCode.OVERLOADED:
            settled.later.append(item)
            continue
        settled.keys.append(item[0])
        if at in refused:
            settled.refused.append((item[0], code, text))
    return settled
