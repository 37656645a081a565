"""What a target is, and how an input that is a sequence of steps is written.

in: bytes; out: steps, and back. A step is its number, its length (two bytes) and its bytes: so that one step can change
without another reading of those that follow, and a mutator can move them as wholes.
Never: refuses an input: what is cut short is what there is of it.
"""

from collections.abc import Callable, Iterable
from random import Random
from typing import TypeAlias

import attrs

Step: TypeAlias = tuple[int, bytes]
Raw: TypeAlias = Callable[[bytes], bytes]
"""libFuzzer's own mutation of some bytes."""
Mutate: TypeAlias = Callable[[bytes, Random, Raw], bytes]
"""(input, chance, raw mutation) -> another input, of any length."""

MAX_STEPS = 200
_HEAD = 3


@attrs.frozen(kw_only=True)
class Target:
    """`run` raises what must not be raised, AssertionError for a broken invariant; whatever else it does is fine."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    """Good inputs to begin with."""
    mutate: Mutate | None = None
    longest: int = 4096
    """Bytes of an input."""


def split(data: bytes) -> list[Step]:
    """The steps that `data` spells, MAX_STEPS at most."""
    steps: list[Step] = []
    at = 0
    while at < len(data) and len(steps) < MAX_STEPS:
        end = at + _HEAD + int.from_bytes(data[at + 1 : at + _HEAD], "big")
        steps.append((data[at], data[at + _HEAD : end]))
        at = end
    return steps


def join(steps: Iterable[Step]) -> bytes:
    """The inverse of `split`."""
    return b"".join(bytes([number]) + len(data).to_bytes(2, "big") + data for number, data in steps)


def pick(data: bytes, at: int, default: int = 0) -> int:
    """A byte of a step, or what it is where the step is too short."""
    return data[at] if at < len(data) else default
