"""Where the next link of an edge goes on."""

from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.daemon.edge_streams import EdgeStreams
from volly_fed.session import Received
from volly_fed.wire.messages import Refusal

STREAM = b"stream-1"


def batch(first: int, last: int, stream: bytes = STREAM) -> Received:
    return Received(stream=stream, first=first, envelopes=[b""] * (last + 1 - first))


def no(sequence: int, text: str = "full") -> Refusal:
    return sequence, ErrorCode.OVERLOADED, text


def test_a_stream_goes_on_with_the_refusals_of_its_last_window() -> None:
    streams = EdgeStreams()
    assert streams.resumption(STREAM) == (0, ())
    streams.settled(batch(1, 5), (no(2), no(4)))
    streams.settled(batch(6, 6), ())
    assert streams.resumption(STREAM) == (6, (no(2), no(4)))
    streams.settled(batch(7, limits.WINDOW_ENVELOPES + 2), ())
    assert streams.resumption(STREAM) == (limits.WINDOW_ENVELOPES + 2, (no(4),))


def test_a_former_link_that_is_late_takes_nothing_back() -> None:
    streams = EdgeStreams()
    streams.settled(batch(1, 9), (no(2), no(8)))
    streams.settled(batch(1, 4), (no(3, "still"),))
    assert streams.resumption(STREAM) == (9, (no(8), no(3, "still")))


def test_the_oldest_streams_are_forgotten() -> None:
    streams = EdgeStreams()
    for number in range(limits.EDGE_STREAMS + 1):
        streams.settled(batch(1, 1, number.to_bytes(8, "big")), ())
    assert streams.resumption(bytes(8)) == (0, ())
    assert streams.resumption((1).to_bytes(8, "big")) == (1, ())
