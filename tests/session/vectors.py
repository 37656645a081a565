"""The vectors of session: one machine, played step by step."""

from typing import Any

import pytest

from volly_fed.codepoints import EnvelopeClass, ErrorCode
from volly_fed.errors import BadMessage, RemoteError
from volly_fed.session import (
    Acknowledge,
    Closing,
    Drain,
    Finished,
    Grant,
    Lost,
    Next,
    Outbound,
    Received,
    Session,
    Settled,
    StreamOpened,
)

Case = dict[str, Any]


class Player:
    """One session, its stream and its clock; what it tells must be the next step."""

    def __init__(self, streams: list[str]) -> None:
        ids = iter(map(bytes.fromhex, streams))
        self.outbound: Outbound[bytes] = Outbound(lambda _: next(ids))
        self.now = 0.0
        self.connect()

    def connect(self) -> None:
        self.session: Session[bytes] = Session(self.outbound, now=self.now)
        self.told: list[Case] = []

    def play(self, step: Case) -> None:
        self.now = step.get("t", self.now)
        match {name: value for name, value in step.items() if name != "t"}:
            case {"in": data}:
                self.session.receive(bytes.fromhex(data), self.now)
            case {"tick": True}:
                self.session.tick(self.now)
            case {"out": data}:
                self.session.tick(self.now)
                assert self.session.send(Next()).hex() == data
            case {"offer": envelopes, "class": urgency}:
                items = [(envelope, envelope) for envelope in map(bytes.fromhex, envelopes)]
                self.outbound.offer(items, EnvelopeClass(urgency))
            case {"durable": {"stream": stream, "cursor": cursor, "refusals": refusals}}:
                told = tuple((number, ErrorCode(code), text) for number, code, text in refusals)
                self.session.send(Acknowledge(stream=bytes.fromhex(stream), cursor=cursor, refusals=told))
            case {"grant": {"window": window, "window_bytes": window_bytes}}:
                self.session.send(Grant(window=window, window_bytes=window_bytes))
            case {"drain": {"code": code, "text": text}}:
                self.session.send(Drain(code=ErrorCode(code), text=text))
            case {"reconnect": True}:
                self.connect()
            case told:
                assert self.told.pop(0) == told
        self.told += [spelled(event) for event in self.session.events()]


def spelled(event: object) -> Case:
    """An event as it stands in a vector."""
    match event:
        case StreamOpened(stream):
            return {"opened": stream.hex()}
        case Received():
            envelopes = [envelope.hex() for envelope in event.envelopes]
            return {"received": {"stream": event.stream.hex(), "first": event.first, "envelopes": envelopes}}
        case Settled():
            refused = [[key.hex(), int(code)] for key, code, _ in event.refused]
            later = [envelope.hex() for _, envelope in event.later]
            return {"settled": {"done": [key.hex() for key in event.keys], "refused": refused, "later": later}}
        case Closing():
            return {"closing": int(event.code)}
        case Finished():
            return {"end": "complete" if event.complete else "incomplete"}
        case Lost():
            return {"end": "lost"}
    raise AssertionError(event)


def check_machine(given: Case, expect: Case) -> None:
    """Kind `session-machine`."""
    player = Player(given["streams"])
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
        return
    player.play(last)
    assert expect == {"accept": {}}
    assert player.told == []


CONSUMERS = {"session-machine": check_machine}
