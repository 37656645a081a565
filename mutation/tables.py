"""What is changed in the tables of the machines: an entry is gone, an entry leads elsewhere, an empty cell has one.

in: a module that holds tables, and its syntax tree; out: changes that write the table anew at the end of the module.
"""

import ast
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

from volly_fed.machine import Transitions
from volly_fed.wire.messages import Ack, Auth, Batch, Close, Hello, Open, Refuse

SAID = {"TRANSITIONS": (Hello, Auth, Refuse), "RECEIVING": (Open, Batch, Close), "SENDING": (Ack,)}
"""What the other end says, by table. That one of its cells is empty is a check; the others are for our own side."""


def changed_tables(
    module: ModuleType, tree: ast.Module
) -> Iterator[tuple[str, str, str, Callable[[Any], None], Any, Any]]:
    """(kind, table, label, put, old, new), as of operators."""
    written = {ast.unparse(node).partition(" ")[0].rstrip(":") for node in tree.body}
    for name, table in vars(module).items():
        if isinstance(table, Transitions) and name in written:
            put = partial(tree.body.__setitem__, slice(len(tree.body), None))
            for kind, label, cell in _cells(name, table):
                new = f"{name} = Transitions({{**{name}.table, {cell}}})"
                yield kind, name, label, put, [], ast.parse(new).body


def _cells(name: str, table: Transitions[Any]) -> Iterator[tuple[str, str, str]]:
    """Kind, label, and the row that is written anew."""
    for state, row in table.table.items():
        states: list[Any] = [*table.table]
        for trigger, after in row.items():
            entry = f"{state.name}: {trigger.__name__} → {after.name}"
            other = states[states.index(after) - 1]
            rest = f"{state}: {{k: v for k, v in {name}.table[{state}].items() if k.__name__ != {trigger.__name__!r}}}"
            yield "table", f"without {entry}", rest
            elsewhere = f"{{k: {other} if k.__name__ == {trigger.__name__!r} else v"
            yield (
                "table",
                f"{entry}, but to {other.name}",
                f"{state}: {elsewhere} for k, v in {name}.table[{state}].items()}}",
            )
        for trigger in SAID[name]:
            if trigger not in row:
                empty = f"{state}: {{**{name}.table[{state}], {trigger.__name__}: {state}}}"
                yield "check", f"{state.name}: {trigger.__name__} is taken", empty
