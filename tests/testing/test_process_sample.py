"""What a process holds, and whether it grows."""

import mmap
import os
import socket

import pytest

from volly_fed.testing.process_sample import sample, slope


def test_this_process_holds_a_socket_more() -> None:
    before = sample(os.getpid())
    with socket.socket():
        during = sample(os.getpid())
    after = sample(os.getpid())
    assert before is not None
    assert during is not None
    assert after is not None
    assert during.sockets == before.sockets + 1 == after.sockets + 1
    assert during.files == before.files + 1


def test_memory_is_seen() -> None:
    before = sample(os.getpid())
    with mmap.mmap(-1, 16 << 20) as held:  # not from the heap, which may have as much to spare
        held.write(os.urandom(16 << 20))
        after = sample(os.getpid())
    assert before is not None
    assert after is not None
    assert after.private_dirty - before.private_dirty > 15 << 10
    assert after.rss >= after.private_dirty


def test_a_process_that_is_gone_has_no_sample() -> None:
    assert sample(2**22 + 1) is None


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([], 0.0),
        ([(1.0, 5.0)], 0.0),
        ([(1.0, 5.0), (1.0, 9.0)], 0.0),
        ([(0.0, 5.0), (2.0, 5.0)], 0.0),
        ([(0.0, 0.0), (1.0, 3.0), (2.0, 6.0)], 3.0),
        ([(0.0, 4.0), (1.0, 2.0), (2.0, 4.0), (3.0, 2.0)], -0.4),
    ],
)
def test_slope(points: list[tuple[float, float]], expected: float) -> None:
    assert slope(points) == pytest.approx(expected)
