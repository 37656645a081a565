"""The steps of session vectors, and the messages in them, spelled field by field: not by the package's own encoder."""

from typing import Any

from tests.making import cbor

Step = dict[str, Any]
Spelled = dict[int, Any]


def into(value: object, at: float | None = None) -> Step:
    data = value if isinstance(value, bytes) else cbor(value)
    return {"in": data.hex()} | ({} if at is None else {"t": at})


def out(value: object) -> Step:
    return {"out": cbor(value).hex()}


def quiet(at: float | None = None) -> Step:
    return {"out": ""} | ({} if at is None else {"t": at})


def opens(stream: bytes) -> Spelled:
    return {0: 0x10, 1: stream}


def batch(stream: bytes, first: int, *envelopes: bytes) -> Spelled:
    return {0: 0x11, 1: stream, 2: first, 3: list(envelopes)}


def ack(stream: bytes, cursor: int, **fields: Any) -> Spelled:
    numbers = {"refusals": 3, "window": 4, "window_bytes": 5}
    return {0: 0x12, 1: stream, 2: cursor} | {numbers[name]: value for name, value in fields.items()}


def close(code: int = 0, text: str = "", retry_after: int = 0) -> Spelled:
    return {0: 0x13, 1: code, 2: text} | ({3: retry_after} if retry_after else {})


def ping(token: int) -> Spelled:
    return {0: 0x14, 1: token}


def pong(token: int) -> Spelled:
    return {0: 0x15, 1: token}


def offer(*envelopes: bytes, urgency: int = 1) -> Step:
    return {"offer": [envelope.hex() for envelope in envelopes], "class": urgency}


def opened(stream: bytes) -> Step:
    return {"opened": stream.hex()}


def received(stream: bytes, first: int, *envelopes: bytes) -> Step:
    return {"received": {"stream": stream.hex(), "first": first, "envelopes": [e.hex() for e in envelopes]}}


def durable(stream: bytes, cursor: int, *refusals: tuple[int, int, str]) -> Step:
    return {"durable": {"stream": stream.hex(), "cursor": cursor, "refusals": [list(r) for r in refusals]}}


def settled(*envelopes: bytes, refused: Any = (), later: Any = ()) -> Step:
    """`envelopes`: ours no longer; `refused`: those of them that the peer will not have, with the code."""
    return {
        "settled": {
            "done": [e.hex() for e in envelopes],
            "refused": [[e.hex(), code] for e, code in refused],
            "later": [e.hex() for e in later],
        }
    }
