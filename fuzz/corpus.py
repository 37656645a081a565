"""The committed corpus: what is in it, and which inputs are worth keeping.

in: a target, the folders of known and new inputs; out: the smallest inputs that together reach every line and jump that
all of them reach. Never: keeps more than CAP bytes of one target.
"""

import hashlib
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import volly_fed
from fuzz.target import Target

CAP = 64 * 1024
"""Bytes of one target's corpus: all of them have a few hundred kB."""
FOLDER = Path(__file__).parent / "corpus"
_CODE = str(Path(volly_fed.__file__).parent)

Jump = tuple[int, int, int]
"""(code, line before, line)."""


def has_wheel() -> bool:
    """Whether atheris is published for this interpreter; pyproject.toml has the same condition."""
    return (
        platform.python_implementation() == "CPython"
        and sys.version_info < (3, 15)
        and (sys.platform, platform.machine()) == ("linux", "x86_64")
    )


def inputs(folder: Path) -> Iterator[Path]:
    """The inputs in a folder, in a fixed order."""
    return (path for path in sorted(folder.glob("*")) if path.is_file())


def jumps(target: Target, data: bytes) -> set[Jump]:
    """What of volly_fed `data` reaches, as pairs of lines that follow each other."""
    seen: set[Jump] = set()

    def enter(frame: FrameType, _event: str, _argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_CODE):
            return None
        code, before = id(frame.f_code), 0

        def step(inner: FrameType, event: str, _argument: Any) -> Any:
            nonlocal before
            if event == "line":
                seen.add((code, before, inner.f_lineno))
                before = inner.f_lineno
            return step

        return step

    sys.settrace(enter)
    try:
        target.run(data)
    finally:
        sys.settrace(None)
    return seen


def minimise(name: str, target: Target, known: Path, new: Path) -> str:
    """Rewrite `known`: seeds and findings stay; of the others and of what is new the shortest, each if it reaches more.

    A seed that is there, as long as it is now, is not made anew: signatures differ from one time to the next.
    """
    known.mkdir(parents=True, exist_ok=True)
    kept = {f"seed-{number:02}": data for number, data in enumerate(target.seeds())}
    for path in inputs(known):
        if path.name.startswith("finding-") or path.stat().st_size == len(kept.get(path.name, b"")):
            kept[path.name] = path.read_bytes()
    candidates = {path.read_bytes() for folder in (known, new) for path in inputs(folder)} - {*kept.values()}
    reached: set[Jump] = set().union(*(jumps(target, data) for data in kept.values()))
    for data in sorted(candidates, key=lambda data: (len(data), data)):
        more = jumps(target, data) - reached
        if more and sum(map(len, kept.values())) + len(data) <= CAP:
            kept[hashlib.sha256(data).hexdigest()[:16]] = data
            reached |= more
    for path in inputs(known):
        if path.name not in kept:
            path.unlink()
    for file, data in kept.items():
        (known / file).write_bytes(data)
    size = sum(map(len, kept.values()))
    return f"{name:<12}{len(candidates):>7} inputs -> {len(kept):>4}, {size:>6} bytes, {len(reached)} jumps"
