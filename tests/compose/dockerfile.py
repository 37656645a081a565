"""The Dockerfile, read as strictly as an engine does, for those who run its steps without one.

in: the file; out: its stages, each with the steps that make it.
Never: passes over an instruction, or a form of one, that `tests.compose.image` does not carry out.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

WORDS: Final = frozenset({"ARG", "CMD", "COPY", "ENV", "EXPOSE", "RUN", "USER", "WORKDIR"})
_FROM: Final = re.compile(r"(?P<base>\S+) AS (?P<name>\S+)")


@attrs.frozen
class Step:
    """One instruction: its word, and what follows it, continued lines joined."""

    word: str
    text: str


@attrs.frozen(kw_only=True)
class Stage:
    """`base` is another stage's name, or an image that nobody here has."""

    name: str
    base: str
    steps: tuple[Step, ...]


def load(path: Path) -> dict[str, Stage]:
    """All stages by name, in their order. Raises ValueError for what nobody here understands."""
    stages: dict[str, Stage] = {}
    for step in _steps(path.read_text()):
        if step.word == "FROM":
            named = _FROM.fullmatch(step.text)
            if named is None:
                raise ValueError(f"not understood: FROM {step.text}")
            last = Stage(name=named["name"], base=named["base"], steps=())
        elif step.word not in WORDS or not stages:
            raise ValueError(f"not understood: {step.word} {step.text}")
        else:
            last = attrs.evolve(last, steps=(*last.steps, step))
        stages[last.name] = last
    return stages


def needed(stages: dict[str, Stage], target: str) -> list[Stage]:
    """What `target` is made of, itself last: bases and stages that are copied from."""
    found: dict[str, Stage] = {}

    def visit(name: str) -> None:
        stage = stages.get(name)
        if stage is None or name in found:
            return
        visit(stage.base)
        for step in stage.steps:
            if step.word == "COPY" and step.text.startswith("--from="):
                visit(step.text.split()[0].removeprefix("--from="))
        found[name] = stage

    visit(target)
    return list(found.values())


def _steps(text: str) -> Iterator[Step]:
    joined = ""
    for line in text.splitlines():
        if line.lstrip().startswith("#") or not line.strip():
            continue
        joined += line.removesuffix("\\")
        if not line.endswith("\\"):
            word, _, rest = joined.partition(" ")
            yield Step(word, rest.strip())
            joined = ""
    if joined:
        raise ValueError("the last line goes on")
