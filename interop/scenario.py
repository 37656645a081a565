"""What a scenario is: an async function with a name, what it covers, and how long it may take.

in: functions marked with `@scenario`; out: the registry, in which names are found; `check` and `equal` for verdicts.
Never: runs anything: that is stage.play.
"""

import hashlib
import importlib
import pkgutil
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

import interop.scenarios
from interop.contract import ABILITIES

if TYPE_CHECKING:  # the stage knows scenarios, not the other way round
    from interop.stage import Stage

SECONDS: Final = 20.0
PATIENT: Final = 60.0
_SHOWN: Final = 8
_NAME: Final = re.compile(r"[a-z]+(-[a-z0-9]+)*/[a-z0-9]+(-[a-z0-9]+)*")
_ID: Final = re.compile(r"[a-z]+-\d+")

Play = Callable[["Stage"], Awaitable[None]]
T = TypeVar("T")


class Failed(Exception):
    """What an implementation did is not what the specification says; the message says what was to be seen."""


@attrs.frozen(kw_only=True)
class Scenario:
    """One scenario. `servers`: how many homeservers of implementations under test take part, 1 or 2."""

    name: str
    play: Play = attrs.field(repr=False)
    servers: int
    covers: tuple[str, ...]
    """Requirements of spec/ that it shows."""
    needs: frozenset[str]
    """What each of the servers has to be able to do, beyond what all are."""
    seconds: float
    fresh: bool
    """Whether it has servers of its own, which nobody has used before."""

    @property
    def patient(self) -> bool:
        """Whether it waits for a timer of the protocol most of the time."""
        return self.seconds > PATIENT

    @property
    def story(self) -> str:
        """What happens in it, in a paragraph."""
        return " ".join((self.play.__doc__ or "").split())


_SCENARIOS: dict[str, Scenario] = {}


def scenario(
    name: str,
    *,
    servers: int,
    covers: Iterable[str] = (),
    needs: Iterable[str] = (),
    seconds: float = SECONDS,
    fresh: bool = False,
) -> Callable[[Play], Play]:
    """Register the function below as `name`, CONCEPT/WHAT-HAPPENS. It has a docstring in prose.

    Raises ValueError for what would confuse the results: names twice, ids that have no such form.
    """
    covered, needed = tuple(covers), frozenset(needs)

    def register(play: Play) -> Play:
        if not _NAME.fullmatch(name) or name in _SCENARIOS:
            raise ValueError(f"{name}: a scenario is named once, concept/what-happens")
        if servers not in (1, 2) or needed.difference(ABILITIES) or not all(map(_ID.fullmatch, covered)):
            raise ValueError(f"{name}: 1 or 2 servers; needs are of {ABILITIES}; covers are ids of requirements")
        if not play.__doc__:
            raise ValueError(f"{name}: say in its docstring what happens")
        _SCENARIOS[name] = Scenario(
            name=name, play=play, servers=servers, covers=covered, needs=needed, seconds=seconds, fresh=fresh
        )
        return play

    return register


def all_scenarios() -> list[Scenario]:
    """Those of every module in interop/scenarios, by name."""
    for module in pkgutil.iter_modules(interop.scenarios.__path__):
        importlib.import_module(f"interop.scenarios.{module.name}")
    return [_SCENARIOS[name] for name in sorted(_SCENARIOS)]


def check(holds: object, what: str) -> None:
    """Raise Failed, "expected: WHAT", unless `holds`."""
    if not holds:
        raise Failed(f"expected: {what}")


def equal(actual: T, expected: T, what: str) -> None:
    """Raise Failed with both unless they are the same."""
    if actual != expected:
        raise Failed(f"{what}: expected {_short(expected)}, and it is {_short(actual)}")


def _short(value: object) -> str:
    """Bytes by their length and their beginning of a digest; many things by their number, too."""
    if isinstance(value, bytes):
        return f"<{len(value)} bytes, SHA-256 {hashlib.sha256(value).hexdigest()[:_SHOWN]}…>"
    if isinstance(value, list | tuple):
        more = f", … {len(value)} in all" if len(value) > _SHOWN else ""
        return "[" + ", ".join(map(_short, value[:_SHOWN])) + more + "]"
    return repr(value)
