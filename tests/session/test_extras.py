"""Messages beside the stream: bounded in number and in bytes until the writer takes them."""

import pytest

from volly_fed import limits
from volly_fed.errors import LocalProtocolError
from volly_fed.session import Extra, Next, Outbound, Session
from volly_fed.wire import encode_message, parse_message
from volly_fed.wire.messages import Deliver, Open, Release


@pytest.fixture
def session() -> Session[int]:
    made: Session[int] = Session(Outbound(bytes), now=0.0, extra=frozenset({Deliver, Release}))
    assert isinstance(parse_message(made.send(Next())), Open)
    return made


def test_their_bytes_are_counted_until_they_leave(session: Session[int], monkeypatch: pytest.MonkeyPatch) -> None:
    large = Deliver(envelopes=[bytes(60_000)])
    monkeypatch.setattr(limits, "EXTRA_BYTES", 100_000)
    session.send(Extra(large))
    assert session.extra_room > 0
    session.send(Extra(large))
    assert session.extra_room == 0
    with pytest.raises(LocalProtocolError):
        session.send(Extra(Release(mailbox=bytes(32))))
    assert session.send(Next()) == encode_message(large)
    assert session.extra_room == limits.EXTRA_MESSAGES - 1
    session.send(Next())
    assert session.extra_room == limits.EXTRA_MESSAGES
