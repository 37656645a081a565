"""How long to measure, and where."""

from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class Options:
    """What the command line says. `quick` is a smoke test: nothing that it prints means anything."""

    quick: bool = False
    folder: Path | None = None
    rounds: int = 1
    idle: float = 0.0
    """Seconds to wait, before each round, for a machine that does nothing else."""

    @property
    def seconds(self) -> float:
        """Of one measurement."""
        return 0.3 if self.quick else 5.0

    def scaled(self, count: int, quick: int) -> int:
        """`count`, or `quick` for a smoke test."""
        return quick if self.quick else count
