"""Mutations that keep an input's form, so that what is behind the first check is reached.

in: an input, chance, libFuzzer's own mutation; out: another input.
Of CBOR a value changes, and the whole is written anew; of a sequence a step changes, goes, comes twice or elsewhere.
One in eight inputs is changed without regard to any form, for the first check is to be tried too.
"""

from collections.abc import Callable
from random import Random
from typing import Any

import cbor2

from fuzz.target import Mutate, Raw, Step, join, split
from volly_fed import limits
from volly_fed.wire import codec

_EDGES = (0, 1, 23, 24, 255, 256, 65535, 65536, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
_MAX_STEP = 0xFFFF


def cbor(data: bytes, random: Random, raw: Raw) -> bytes:
    """`data` as CBOR with one value changed; raw where it is none. By cbor2: our own codec is slow while watched."""
    if not random.randrange(8):
        return raw(data)
    try:
        value = cbor2.loads(  # no tags: what they ask for is without bound here too
            data, tag_hook=codec._refuse_tag, semantic_decoders=codec._NO_TAGS, max_depth=limits.MAX_DEPTH
        )
    except Exception:  # it leaks many
        return raw(data)
    try:
        return cbor2.dumps(_changed(value, random, raw), canonical=True)
    except (cbor2.CBOREncodeError, TypeError):
        return raw(data)


def _changed(value: Any, random: Random, raw: Raw) -> Any:
    """Down into a list or a map most of the time, for there what matters is."""
    if isinstance(value, dict) and value:
        return _changed_map(value, random, raw)
    if isinstance(value, list) and value:
        return _changed_list(value, random, raw)
    match random.randrange(12):
        case 0:
            return random.choice([[], {}, b"", "", True, 0, [value], {0: value}])
        case 1 if isinstance(value, bytes):
            return value * 2
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return random.choice([*_EDGES, value + 1, max(0, value - 1), random.getrandbits(random.randrange(1, 65))])
    if isinstance(value, bytes):
        return raw(value)
    if isinstance(value, str):
        return raw(value.encode()).decode("utf-8", "replace")
    return value


def _changed_map(value: dict[int, Any], random: Random, raw: Raw) -> dict[int, Any]:
    made, key = dict(value), random.choice([*value])
    match random.randrange(10):
        case 0:
            del made[key]
        case 1:
            made[random.choice([*_EDGES, key + 1])] = made[random.choice([*value])]
        case 2:
            made[key] = made[random.choice([*value])]
        case _:
            made[key] = _changed(made[key], random, raw)
    return made


def _changed_list(value: list[Any], random: Random, raw: Raw) -> list[Any]:
    made, at = list(value), random.randrange(len(value))
    match random.randrange(10):
        case 0:
            del made[at]
        case 1:
            made.insert(at, random.choice(value))
        case 2:
            made *= random.choice([2, 3, 17])
        case _:
            made[at] = _changed(made[at], random, raw)
    return made


def prefixed(size: int, inner: Mutate) -> Mutate:
    """The first `size` bytes choose what is read; `inner` changes the rest."""

    def mutate(data: bytes, random: Random, raw: Raw) -> bytes:
        head, rest = data[:size].ljust(size, b"\0"), data[size:]
        if not random.randrange(16):
            return bytes(byte ^ random.randrange(256) for byte in head) + rest
        return head + inner(rest, random, raw)

    return mutate


def steps(numbers: int, *, inner: Mutate, fresh: Callable[[Random], Step] | None = None) -> Mutate:
    """A sequence of steps, numbered below `numbers`; `inner` changes what is in one, `fresh` makes new ones."""

    def mutate(data: bytes, random: Random, raw: Raw) -> bytes:
        if not random.randrange(8):
            return raw(data)
        made = split(data)
        for _ in range(random.choice([1, 1, 2, 4])):
            _one_change(made, random, raw)
        return join((number, payload[:_MAX_STEP]) for number, payload in made)

    def _one_change(made: list[Step], random: Random, raw: Raw) -> None:
        at = random.randrange(len(made) + 1)
        choice = random.randrange(8)
        if at == len(made) or choice == 0:
            number = random.randrange(numbers)
            made.insert(at, fresh(random) if fresh and random.randrange(2) else (number, random.randbytes(6)))
        elif choice == 1:
            del made[at]
        elif choice == 2:
            made.insert(random.randrange(len(made) + 1), made[at])
        elif choice == 3:
            made.append(made.pop(at))
        elif choice == 4:
            made[at] = (random.randrange(numbers), made[at][1])
        else:
            made[at] = (made[at][0], inner(made[at][1], random, raw))

    return mutate


def plain(data: bytes, _: Random, raw: Raw) -> bytes:
    """LibFuzzer's."""
    return raw(data)
