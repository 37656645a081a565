"""The vectors of session: one machine, played step by step."""

from typing import Any

import pytest

from volly_fed.codepoints import EnvelopeClass, ErrorCode
from volly_fed.errors import BadMessage, LocalProtocolError, RemoteError
from volly_fed.session import (
    Acknowledge,
    Closing,
    Drain,
    Extra,
    Finished,
    Grant,
    Lost,
    Next,
    Other,
    Outbound,
    Received,
    Session,
    Settled,
    StreamOpened,
    closing,
)
from volly_fed.wire import Message, encode_message, parse_message
from volly_fed.wire.messages import Batch, Close

Case = dict[str, Any]
BY_TYPE: dict[int, type[Message]] = {kind.TYPE: kind for kind in Message.__subclasses__()}


class Player:
    """One session, its stream and its clock; what it tells must be the next step.

    It is driven as a link drives it: woken when it wants to be, asked for a message when it may have one.
    """

    def __init__(self, given: Case) -> None:
        ids = iter(map(bytes.fromhex, given["streams"]))
        self.extra = frozenset(BY_TYPE[number] for number in given.get("beside", ()))
        self.outbound: Outbound[bytes] = Outbound(lambda _: next(ids))
        self.now = 0.0
        self.older: Session[bytes] | None = None
        self.connect()

    def connect(self) -> None:
        self.session: Session[bytes] = Session(self.outbound, now=self.now, extra=self.extra)
        self.told: list[Case] = []

    def play(self, step: Case) -> None:
        self.wait(step.get("t", self.now))
        self.listen()
        session = self.older if "older" in step else self.session
        assert session is not None
        match {name: value for name, value in step.items() if name not in ("t", "older")}:
            case {"in": message}:
                session.receive(encode_message(zeros(message)) if "sizes" in message else unhex(message), self.now)
            case {"tick": True}:
                session.tick(self.now)
            case {"out": message}:
                wanted = encode_message(zeros(message)) if "sizes" in message else unhex(message)
                may_send, made = session.may_send, session.send(Next())
                assert made == wanted
                assert may_send or not made
            case {"offer": envelopes, "class": urgency}:
                items = [(key(frame), frame) for frame in spelled_out(envelopes)]
                assert self.outbound.room(EnvelopeClass(urgency)) >= len(items)
                self.outbound.offer(items, EnvelopeClass(urgency))
            case {"again": envelopes, "class": urgency}:
                items = [(key(frame), frame) for frame in spelled_out(envelopes)]
                self.outbound.put_back(items, EnvelopeClass(urgency))
            case {"forget": envelopes}:
                self.outbound.discard({key(frame) for frame in spelled_out(envelopes)})
            case {"hold": held}:
                self.outbound.hold(held)
            case {"durable": {"stream": stream, "cursor": cursor, "refusals": refusals}}:
                told = tuple((number, ErrorCode(code), text) for number, code, text in refusals)
                session.send(Acknowledge(stream=unhex(stream), cursor=cursor, refusals=told))
            case {"grant": {"window": window, "window_bytes": window_bytes}}:
                session.send(Grant(window=window, window_bytes=window_bytes))
            case {"drain": {"code": code, "text": text}}:
                session.send(Drain(code=ErrorCode(code), text=text))
            case {"send": message, "refused": True}:
                with pytest.raises(LocalProtocolError):
                    session.send(Extra(parse_message(unhex(message))))
            case {"send": message}:
                session.send(Extra(parse_message(unhex(message))))
            case {"reconnect": True}:
                self.connect()
            case {"takeover": True}:
                self.older = session
                self.connect()
            case told:
                assert self.told.pop(0) == told
        self.wait(self.now)
        self.listen()

    def listen(self) -> None:
        for session in (self.older, self.session):
            if session is not None:
                self.told += [spelled(event) for event in session.events()]
                assert session.deadline is None or not session.over

    def wait(self, until: float) -> None:
        """Time passes, and the session is woken whenever it has said that it wants to be."""
        asked: float | None = -1.0
        while asked != (asked := self.session.deadline) and asked is not None and asked <= until:
            self.now = max(self.now, asked)
            self.session.tick(self.now)
        self.now = until


def unhex(data: str) -> bytes:
    return bytes.fromhex(data)


def key(envelope: bytes) -> bytes:
    """What its owner knows an envelope by."""
    return b"key of " + envelope


def zeros(message: Case) -> Batch:
    """A BATCH by its fields: envelopes of so many zeros each."""
    envelopes = [bytes(size) for size in message["sizes"]]
    return Batch(stream=unhex(message["stream"]), first=message["first"], envelopes=envelopes)


def spelled_out(envelopes: list[Any]) -> list[bytes]:
    """Envelopes: their bytes, or how many zeros they are."""
    return [bytes(each) if isinstance(each, int) else unhex(each) for each in envelopes]


def spelled(event: object) -> Case:
    """An event as it stands in a vector."""
    match event:
        case StreamOpened(stream):
            return {"opened": stream.hex()}
        case Received():
            envelopes = [_short(envelope) for envelope in event.envelopes]
            return {"received": {"stream": event.stream.hex(), "first": event.first, "envelopes": envelopes}}
        case Settled():
            refused = [[_named(known), int(code)] for known, code, _ in event.refused]
            later = [_short(envelope) for known, envelope in event.later if known == key(envelope)]
            return {"settled": {"done": [_named(known) for known in event.keys], "refused": refused, "later": later}}
        case Other(message):
            return {"got": encode_message(message).hex()}
        case Closing():
            return {"closing": int(event.code)}
        case Finished():
            return {"end": "complete" if event.complete else "incomplete"}
        case Lost():
            return {"end": "lost"}
    raise AssertionError(event)


def _named(known: bytes) -> str | int:
    assert known.startswith(key(b""))
    return _short(known.removeprefix(key(b"")))


def _short(envelope: bytes) -> str | int:
    """Its bytes; of zeros that are long, how many."""
    return envelope.hex() if any(envelope) or len(envelope) < 16 else len(envelope)


def check_machine(given: Case, expect: Case) -> None:
    """Kind `session-machine`."""
    player = Player(given)
    *steps, last = given["steps"]
    for step in steps:
        player.play(step)
    if "reject" in expect:
        assert player.told == []
        with pytest.raises(RemoteError) as caught:
            player.play(last)
        assert caught.value.code is ErrorCode[expect["reject"]["code"]]
        assert isinstance(caught.value, BadMessage) is (expect["reject"]["class"] == "BadMessage")
        assert player.session.over
        last_word = parse_message(closing(caught.value))
        assert isinstance(last_word, Close)
        assert last_word.code is caught.value.code
        player.play(last | {"in": "ff"})  # nothing is taken any more
        player.play({"out": ""})
        assert player.told == []
        return
    player.play(last)
    assert expect == {"accept": {}}
    assert player.told == []


CONSUMERS = {"session-machine": check_machine}
