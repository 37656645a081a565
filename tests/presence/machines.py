"""The vectors of presence that are conversations: filters in pieces, the viewing and the showing machine, step by step.

Each step of a machine is something that is done, or comes in, or what has to leave; a refusal comes of the last one.
"""

import hashlib
from typing import Any

import pytest

from tests.presence.helpers import source
from tests.presence.plain import expand
from volly_fed.codepoints import ErrorCode, FilterClass
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage, RemoteError
from volly_fed.presence import Pace, Show, View, bounds
from volly_fed.presence.delta import parse_delta
from volly_fed.presence.filter import Filter
from volly_fed.presence.placement import Placement, filter_bits
from volly_fed.presence.snapshot import Assembly, snapshot_pieces
from volly_fed.wire import Message, encode_message, parse_message
from volly_fed.wire.messages import PresenceDelta, PresenceResume, PresenceSnapshot

Case = dict[str, Any]


def members(count: int) -> list[bytes]:
    return [expand(f"member {number}", 16) for number in range(count)]


def _filter(key: bytes, size: FilterClass, count: int) -> bytes:
    made = Filter(Placement(Secret(key), size))
    made.add_all(members(count))
    return made.to_bytes()


def _refused(error: RemoteError, expected: Case) -> None:
    assert error.code is ErrorCode[expected["code"]]
    assert isinstance(error, BadMessage) is (expected["class"] == "BadMessage")


# --- filters in pieces ---------------------------------------------------------------------------------------------


def check_snapshot(given: Case, expect: Case) -> None:
    """Kind `presence-snapshot`: the pieces as they are sent, and put together again."""
    key, size = bytes.fromhex(given["key"]), FilterClass(given["class"])
    bits = _filter(key, size, given["members"])
    pieces = snapshot_pieces(epoch=given["epoch"], key=key, size=size, sequence=given["sequence"], bits=bits)
    encoded = [encode_message(piece) for piece in pieces]
    assert expect["accept"]["pieces"] == [
        {
            "offset": piece.offset,
            "size": len(data),
            "head": data[:48].hex(),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        for piece, data in zip(pieces, encoded, strict=True)
    ]
    assembly = Assembly(pieces[0])
    taken = [assembly.add(piece) for piece in map(parse_message, encoded) if isinstance(piece, PresenceSnapshot)]
    assert taken == [None] * (len(pieces) - 1) + [bits]


# --- the viewing side ----------------------------------------------------------------------------------------------


def check_viewing(given: Case, expect: Case) -> None:
    """Kind `presence-viewing`."""
    *steps, last = given["steps"]
    viewer = _Viewer()
    for step in steps:
        viewer.take(step)
    if "reject" in expect:
        with pytest.raises(RemoteError) as caught:
            viewer.take(last)
        _refused(caught.value, expect["reject"])
        assert viewer.held() == expect["reject"]["filter"]
        return
    viewer.take(last)
    assert viewer.view.state.name == expect["accept"]["state"]
    assert viewer.held() == expect["accept"]["filter"]


class _Viewer:
    def __init__(self) -> None:
        self.view = View()
        self.sent: list[str] = []

    def take(self, step: Case) -> None:
        match step:
            case {"do": "link"}:
                self.sent.append(encode_message(self.view.connected()).hex())
            case {"do": "ask"}:
                self.sent.append(encode_message(self.view.again()).hex())
            case {"do": "lose"}:
                self.view.lost()
            case {"do": "wait"}:
                self.view.tick(step["t"])
            case {"out": out}:
                assert self.sent.pop(0) == out
            case {"state": state}:
                assert self.view.state.name == state
            case {"in": data}:
                self.view.receive(parse_message(_encoded(data)), step["t"])
            case _:
                raise AssertionError(step)

    def held(self) -> Case | None:
        found = self.view.filter
        if found is None:
            return None
        return {
            "filter_id": found.placement.filter_id.hex(),
            "epoch": self.view.epoch,
            "sequence": self.view.sequence,
            "sha256": hashlib.sha256(found.to_bytes()).hexdigest(),
        }


def _encoded(data: Any) -> bytes:
    """The bytes of a message, or of a piece that stands there by its fields."""
    if isinstance(data, str):
        return bytes.fromhex(data)
    key, offset, size = bytes.fromhex(data["key"]), data["offset"], data["size"]
    spelled = data["bits"]
    if "byte" in spelled:
        bits = bytes.fromhex(spelled["byte"]) * size
    else:
        whole = _filter(key, FilterClass(min(data["class"], FilterClass.TAGS_1M)), spelled["members"])
        bits = whole[offset : offset + size].ljust(size, b"\0")
    return encode_message(
        PresenceSnapshot(
            epoch=data["epoch"], key=key, size=data["class"], sequence=data["sequence"], offset=offset, bits=bits
        )
    )


# --- the showing side ----------------------------------------------------------------------------------------------


def check_showing(given: Case, expect: Case) -> None:
    """Kind `presence-showing`. What leaves is applied to a copy, in which users are then looked for."""
    *steps, last = given["steps"]
    shower = _Shower(Pace(given["pace"]))
    for step in steps:
        shower.take(step)
    if "reject" in expect:
        with pytest.raises(RemoteError) as caught:
            shower.take(last)
        _refused(caught.value, expect["reject"])
        return
    shower.take(last)
    assert shower.show.state.name == expect["accept"]["state"]
    everybody = members(10)
    found = [] if shower.copy is None else [tag.hex() for tag in everybody if tag in shower.copy]
    assert found == expect["accept"]["found"]


class _Shower:
    def __init__(self, pace: Pace) -> None:
        self.show = Show(pace=pace, random=source(), now=0.0)
        self.epoch = 0
        self.online: dict[bytes, None] = {}
        self.copy: Filter | None = None
        self.sequence = 0
        self.keys: list[str] = []

    def take(self, step: Case) -> None:
        match step:
            case {"do": "link"}:
                self.show.connected()
            case {"do": "lose"}:
                self.show.lost()
            case {"do": "show", "t": t}:
                self.epoch, self.online = step["epoch"], dict.fromkeys(members(step["members"]))
                self.show.begin(self.epoch, list(self.online), t)
            case {"do": "withdraw"}:
                self.show.withdraw()
            case {"do": "online", "tag": tag, "t": t}:
                self.online[bytes.fromhex(tag)] = None
                self.show.join(bytes.fromhex(tag), t)
            case {"do": "offline", "tag": tag, "t": t}:
                del self.online[bytes.fromhex(tag)]
                self.show.leave(bytes.fromhex(tag), t)
            case {"in": {"resume": sequence}, "t": t}:
                assert self.copy is not None
                self.show.receive(PresenceResume(filter=self.copy.placement.filter_id, sequence=sequence), t)
            case {"in": data, "t": t}:
                self.show.receive(parse_message(bytes.fromhex(data)), t)
            case {"out": out, "t": t}:
                self.leaves(t, out)
            case _:
                raise AssertionError(step)
        if self.show.wants_tags:
            self.show.begin(self.epoch, list(self.online), step["t"])

    def leaves(self, t: float, out: Case | None) -> None:
        message = self.show.next_message(t)
        if out is None:
            assert message is None
            return
        assert message is not None
        assert message.TYPE.name == out["type"]
        match message:
            case PresenceSnapshot():
                found = {"epoch": message.epoch, "class": message.size, "sequence": message.sequence}
                assert found == {name: out[name] for name in found}
                assert (message.key.hex() in self.keys, message.key.hex() == (self.keys or [""])[-1]) == (
                    (True, True) if out["key"] == "same" else (False, False)
                )
                self.keys.append(message.key.hex())
                self.copy = Filter.from_bytes(Placement(Secret(message.key), FilterClass(message.size)), message.bits)
                self.sequence = message.sequence
                assert 0.38 < self.copy.ones / filter_bits(self.copy.placement.size) < bounds.MAX_FILL
            case PresenceDelta():
                self.follow(message, out["sequence"])
            case Message():
                self.copy = None

    def follow(self, message: PresenceDelta, sequence: int) -> None:
        assert self.copy is not None
        assert (message.filter, message.sequence) == (self.copy.placement.filter_id, sequence)
        if sequence > self.sequence:
            assert sequence == self.sequence + 1
            self.copy.flip(parse_delta(message.changes, filter_bits(self.copy.placement.size)))
            self.sequence = sequence


CONSUMERS = {
    "presence-snapshot": check_snapshot,
    "presence-viewing": check_viewing,
    "presence-showing": check_showing,
}
