"""A peer's queue: every row is offered once and in order, from memory or from the disk."""

from hypothesis import given
from hypothesis import strategies as st

from volly_fed.relay.queue import Backlog, queue_room


def test_a_queue_is_bounded_in_envelopes_and_bytes() -> None:
    for envelopes, size, room in ((0, 0, 10), (9, 0, 1), (15, 0, 0), (1, 999, 9), (1, 1000, 0)):
        assert queue_room(envelopes, size, most_envelopes=10, most_bytes=1000) == room


def test_a_backlog_of_a_former_process_leaves_by_itself() -> None:
    backlog = Backlog()
    assert backlog.stored(range(5, 7), room=100) == 0  # not past what may lie on the disk
    assert backlog.next_read(100) == 0
    assert backlog.next_read(100) is None  # one at a time
    backlog.read(6)
    assert backlog.next_read(100) == 6
    backlog.read(None)
    assert backlog.next_read(100) is None
    assert backlog.stored(range(7, 9), room=100) == 2


def test_rows_stored_during_a_read_are_read_later() -> None:
    backlog = Backlog()
    assert backlog.next_read(10) == 0
    assert backlog.stored(range(1, 3), room=10) == 0
    backlog.read(None)
    assert backlog.next_read(10) == 0
    backlog.read(2)


def test_a_read_that_has_caught_up_needs_no_other() -> None:
    backlog = Backlog()
    assert backlog.next_read(10) == 0
    backlog.read(None)
    assert backlog.stored(range(1, 5), room=2) == 2
    assert backlog.next_read(10) == 2
    backlog.read(4)
    assert backlog.next_read(10) is None
    assert backlog.stored(range(5, 7), room=10) == 2


def test_a_read_that_failed_is_asked_for_again() -> None:
    backlog = Backlog()
    assert backlog.next_read(10) == 0
    backlog.read_failed()
    assert backlog.next_read(10) == 0


@given(
    st.lists(st.one_of(st.tuples(st.just("store"), st.integers(1, 9)), st.tuples(st.just("read"), st.integers(0, 9))))
)
def test_every_row_is_offered_once_in_order(steps: list[tuple[str, int]]) -> None:
    """`disk` is all that was stored; a read sees what was stored when it was begun, which may be a step earlier."""
    backlog, disk, offered = Backlog(), 3, []
    pending: tuple[int, int] | None = None

    def finish() -> None:
        nonlocal pending
        if pending is not None:
            rows = list(range(pending[0] + 1, pending[1] + 1))
            backlog.read(rows[-1] if rows else None)
            offered.extend(rows)
            pending = None

    for what, number in [*steps, *[("read", 9)] * 100]:
        if what == "store":
            rows = range(disk + 1, disk + 1 + number)
            disk += number
            offered.extend(rows[: backlog.stored(rows, room=4)])
        else:
            finish()
            after = backlog.next_read(number)
            if after is not None:
                pending = (after, min(disk, after + number))
    finish()
    assert offered == list(range(1, disk + 1))
