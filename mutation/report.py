"""What came of the mutants: the table, and the list of those that no vector can notice.

in: mutants and verdicts, survivors.toml; out: lines for people, and complaints. A survivor that is not in the list is
one, and so is a line of the list that no longer holds.
"""

import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mutation.operators import KINDS, Mutant

LIST = Path(__file__).parent / "survivors.toml"


def excused() -> dict[str, str]:
    """Name of a mutant -> why it may survive."""
    groups = tomllib.loads(LIST.read_text(encoding="utf-8"))["group"]
    names = [(name, group["why"]) for group in groups for name in group["mutants"]]
    twice = [name for name, count in Counter(name for name, _ in names).items() if count > 1]
    if twice:
        raise ValueError(f"{LIST.name} has these twice: {twice}")
    return dict(names)


def table(mutants: Sequence[Mutant], verdicts: Mapping[str, str]) -> Iterator[str]:
    """By module and by kind: the mutants, those that were noticed, and of the others those that are listed."""
    reasons = excused()
    groups = {mutant.module.removeprefix("volly_fed."): mutant.module for mutant in mutants}
    yield f"{'':24}{'mutants':>8}{'noticed':>9}{'':>8}{'listed':>8}{'left':>6}"
    for title, those in [
        *((name, [m for m in mutants if m.module == module]) for name, module in groups.items()),
        *((f"kind {kind}", [m for m in mutants if m.kind == kind]) for kind in KINDS),
        ("all", list(mutants)),
    ]:
        survive = [m for m in those if not verdicts[m.name]]
        listed = sum(m.name in reasons for m in survive)
        share = 1 - len(survive) / len(those) if those else 1
        counts = f"{len(those):8}{len(those) - len(survive):9}{share:8.1%}{listed:8}{len(survive) - listed:6}"
        yield f"{title:24}{counts}"


def complaints(mutants: Sequence[Mutant], verdicts: Mapping[str, str], names: set[str]) -> Iterator[str]:
    """Survivors that nothing excuses; excuses for what was noticed, or for what is not among the `names` of all."""
    reasons = excused()
    for mutant in mutants:
        if not verdicts[mutant.name] and mutant.name not in reasons:
            yield f"survives ({mutant.kind}, line {mutant.line}): {mutant.name}"
        if verdicts[mutant.name] and mutant.name in reasons:
            yield f"listed, but noticed by {verdicts[mutant.name]}: {mutant.name}"
    yield from (f"listed, but there is no such mutant: {name}" for name in reasons if name not in names)
