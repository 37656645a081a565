"""The steps of session vectors, and the messages in them, spelled field by field: not by the package's own encoder."""

from typing import Any

from tests.making import cbor

Step = dict[str, Any]
Spelled = dict[Any, Any]


def into(value: object, at: float | None = None) -> Step:
    return {"in": _spelled(value)} | ({} if at is None else {"t": at})


def out(value: object, at: float | None = None) -> Step:
    return {"out": _spelled(value)} | ({} if at is None else {"t": at})


def _spelled(value: object) -> object:
    if isinstance(value, dict) and "sizes" in value:
        return value
    return (value if isinstance(value, bytes) else cbor(value)).hex()


def zeros(stream: bytes, first: int, *sizes: int) -> Spelled:
    """A BATCH of envelopes that are so many zeros each, by its fields."""
    return {"stream": stream.hex(), "first": first, "sizes": [*sizes]}


def drain(code: int = 0, text: str = "") -> Step:
    return {"drain": {"code": code, "text": text}}


def grant(window: int = 1024, window_bytes: int = 1 << 20) -> Step:
    return {"grant": {"window": window, "window_bytes": window_bytes}}


def tick(at: float) -> Step:
    """Nothing happens but time."""
    return {"t": at, "tick": True}


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


def offer(*envelopes: bytes | int, urgency: int = 1) -> Step:
    """Envelopes by their bytes, or by how many zeros they are."""
    return {"offer": [_short(each) for each in envelopes], "class": urgency}


def _short(envelope: bytes | int) -> str | int:
    return envelope if isinstance(envelope, int) else envelope.hex()


def again(*envelopes: bytes, urgency: int = 1) -> Step:
    """Envelopes that were postponed: they are older than what waits."""
    return {"again": [envelope.hex() for envelope in envelopes], "class": urgency}


def forget(*envelopes: bytes) -> Step:
    """Nobody wants these to be sent any more."""
    return {"forget": [envelope.hex() for envelope in envelopes]}


def ended(how: str, at: float | None = None) -> Step:
    return {"end": how} | ({} if at is None else {"t": at})


def opened(stream: bytes) -> Step:
    return {"opened": stream.hex()}


def received(stream: bytes, first: int, *envelopes: bytes | int) -> Step:
    return {"received": {"stream": stream.hex(), "first": first, "envelopes": [_short(e) for e in envelopes]}}


def durable(stream: bytes, cursor: int, *refusals: tuple[int, int, str]) -> Step:
    return {"durable": {"stream": stream.hex(), "cursor": cursor, "refusals": [list(r) for r in refusals]}}


def settled(*envelopes: bytes | int, refused: Any = (), later: Any = ()) -> Step:
    """`envelopes`: ours no longer; `refused`: those of them that the peer will not have, with the code."""
    return {
        "settled": {
            "done": [_short(e) for e in envelopes],
            "refused": [[e.hex(), code] for e, code in refused],
            "later": [e.hex() for e in later],
        }
    }
