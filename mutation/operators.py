"""What is changed: one place of one module, in its syntax tree.

in: a module; out: mutants, in the order of the source, each with a name that an edit elsewhere does not change.
Left alone: annotations, decorators, docstrings, assertions, words for people, how attrs declares a field.
"""

import ast
import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import attrs

from mutation.tables import changed_tables

KINDS = ("check", "table", "other")
"""A check that is gone, or a message that is taken where the table has no entry; an entry of a table that is gone or
leads elsewhere; anything else."""

Put = Callable[[Any], None]
Change = tuple[str, str, ast.AST]
"""Kind, label, and what stands there instead."""

OPPOSITES: dict[type[ast.AST], Any] = {
    ast.Lt: ast.LtE,
    ast.Gt: ast.GtE,
    ast.Eq: ast.NotEq,
    ast.Is: ast.IsNot,
    ast.In: ast.NotIn,
    ast.And: ast.Or,
    ast.Add: ast.Sub,
    ast.Mult: ast.Div,
}
OPPOSITES |= {other: one for one, other in OPPOSITES.items()}
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
DEFAULT_CODE = "ErrorCode.UNEXPECTED"
CHECKS = ("verify_", "_check", "_expect", "after")
"""How a function begins that raises where something is wrong."""
LEAVES = (ast.Raise, ast.Return, ast.Continue, ast.Break)
OR_NOT = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)


@attrs.frozen(eq=False)
class Mutant:
    """One change: `put(new)` makes it in `tree`, which all mutants of a module share, and `put(old)` takes it back."""

    name: str
    kind: str
    module: str
    tree: ast.Module = attrs.field(repr=False)
    put: Put = attrs.field(repr=False)
    old: Any = attrs.field(repr=False)
    new: Any = attrs.field(repr=False)

    @property
    def line(self) -> int:
        """Where it is; 0: at the end, for the tables."""
        return getattr(self.old, "lineno", 0)

    def source(self) -> str:
        """The whole module, changed."""
        self.put(self.new)
        try:
            return ast.unparse(ast.fix_missing_locations(self.tree))
        finally:
            self.put(self.old)


def mutants(module: ModuleType) -> Iterator[Mutant]:
    """All of one module."""
    tree = ast.parse(inspect.getsource(module))
    finder = _Finder()
    finder.inside(tree)
    seen: Counter[str] = Counter()
    short = module.__name__.removeprefix("volly_fed.").replace(".", "/")
    for kind, where, label, *change in [*finder.found, *changed_tables(module, tree)]:
        name = f"{short} {where}: {label}"
        seen[name] += 1
        yield Mutant(name + (f" ({seen[name]})" if seen[name] > 1 else ""), kind, module.__name__, tree, *change)


class _Finder:
    """Walks a module, and notes (kind, function, label, put, old, new) of each change."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str, str, Put, Any, Any]] = []
        self._where: tuple[str, ...] = ()
        self._bytes = False  # in a function that gives bytes, where + joins
        self._refusing = False  # in the condition of a refusal
        self._line = ""  # of the innermost statement

    def inside(self, node: ast.AST) -> None:
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list"):
                continue
            refusing = self._refusing
            if name == "test":
                self._refusing = isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise)
            if isinstance(value, list):
                for at, child in enumerate(value):
                    self._visit(child, node, partial(value.__setitem__, at))
            else:
                self._visit(value, node, partial(setattr, node, name))
            self._refusing = refusing

    def _visit(self, node: Any, parent: ast.AST, put: Put) -> None:
        if not isinstance(node, ast.AST) or _left_alone(node):
            return
        outside = self._where, self._bytes, self._refusing
        if isinstance(node, ast.stmt):
            self._refusing, self._line = False, ast.unparse(node).splitlines()[0]
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            self._where = (*self._where, node.name)
            self._bytes = isinstance(node, ast.FunctionDef) and ast.unparse(node.returns or node) == "bytes"
        for kind, label, new in self._changes(node, parent):
            self.found.append((kind, ".".join(self._where), label, put, node, new))
        if not isinstance(node, ast.Raise):
            self.inside(node)
        self._where, self._bytes, self._refusing = outside

    def _changes(self, node: ast.AST, parent: ast.AST) -> Iterator[Change]:
        match node:
            case ast.If() | ast.IfExp():
                yield from _conditions(node)
            case ast.Raise():
                yield from _raises(node, parent)
            case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
                yield "other", f"`{ast.unparse(node)}` gives None", ast.Return(ast.Constant(None))
            case ast.Match(cases=cases):
                for at, each in enumerate(cases):
                    kind = "check" if isinstance(each.body[-1], ast.Raise) else "other"
                    label = ast.unparse(each).strip().splitlines()[0]
                    yield kind, f"without `{label}`", _copy(node, cases=_without(cases, at))
            case ast.comprehension(ifs=ifs):
                for at, test in enumerate(ifs):
                    yield "other", f"without `if {ast.unparse(test)}`", _copy(node, ifs=_without(ifs, at))
            case ast.Expr(value=ast.Call()) | ast.Delete() | ast.Break() | ast.Continue():
                yield _gone(node)
            case ast.Assign(targets=[target]) | ast.AugAssign(target=target) if self._where[-1:] != ("__init__",):
                if "self" in ast.unparse(target) or isinstance(target, ast.Subscript):
                    yield _gone(node)
            case ast.expr():
                for dropped, new in self._expressions(node):
                    label = f"`{ast.unparse(node)}` → `{ast.unparse(ast.fix_missing_locations(new))}`"
                    if dropped:
                        label = f"`{ast.unparse(node)}` without `{ast.unparse(dropped)}`"
                    if isinstance(node, ast.Constant):
                        label += f" in `{self._line}`"
                    yield "check" if dropped and self._refusing else "other", label, new

    def _expressions(self, node: ast.expr) -> Iterator[tuple[ast.expr | None, ast.expr]]:
        """Which of several conditions it drops, if it does, and the new expression."""
        match node:
            case ast.Compare(left, ops, comparators):
                for at, operator in enumerate(ops):
                    yield (
                        None,
                        ast.Compare(left, [*ops[:at], OPPOSITES[type(operator)](), *ops[at + 1 :]], comparators),
                    )
            case ast.BoolOp(op, values):
                yield None, ast.BoolOp(OPPOSITES[type(op)](), values)
                for at in range(len(values)):
                    rest = _without(values, at)
                    yield values[at], ast.BoolOp(op, rest) if len(rest) > 1 else rest[0]
            case ast.UnaryOp(op=ast.Not()):
                yield None, node.operand
            case ast.BinOp(left, ast.Add(), right) if self._bytes:
                yield from ((None, left), (None, right))
            case ast.BinOp(left, op, right) if type(op) in OPPOSITES:
                yield None, ast.BinOp(left, OPPOSITES[type(op)](), right)
            case ast.Constant(value=bool() as flag):
                yield None, ast.Constant(not flag)
            case ast.Constant(value=int() | float() as number):
                yield from ((None, ast.Constant(number + 1)), (None, ast.Constant(number - 1)))
            case ast.Call(func=ast.Name(name)) if name in CALLS:
                yield None, _copy(node, func=ast.Name(CALLS[name], ast.Load()))
            case ast.Set(elts) if len(elts) > 1:
                yield from ((None, ast.Set(_without(elts, at))) for at in range(len(elts)))


def _conditions(node: ast.If | ast.IfExp) -> Iterator[Change]:
    """It never holds; it holds where it should not."""
    test = ast.unparse(node.test)
    leaves = isinstance(node, ast.If) and isinstance(node.body[-1], LEAVES)
    yield "check" if leaves else "other", f"never `if {test}`", _copy(node, test=ast.Constant(False))
    alone = isinstance(node.test, ast.Compare) and isinstance(node.test.ops[0], OR_NOT)
    if not alone and not isinstance(node.test, ast.UnaryOp):  # else that is one of its own changes
        yield "other", f"if not `{test}`", _copy(node, test=ast.UnaryOp(ast.Not(), node.test))


def _raises(node: ast.Raise, parent: ast.AST) -> Iterator[Change]:
    if not isinstance(parent, ast.If | ast.match_case):  # else the condition never holds, or the case is gone
        yield _gone(node, "check")
    keywords = node.exc.keywords if isinstance(node.exc, ast.Call) else []
    rest = [each for each in keywords if each.arg != "code" or ast.unparse(each.value) == DEFAULT_CODE]
    if len(rest) < len(keywords):
        yield "other", f"`{ast.unparse(node)}` without the code", _copy(node, exc=_copy(node.exc, keywords=rest))


def _gone(node: ast.stmt, kind: str = "") -> Change:
    text = ast.unparse(node).splitlines()[0]
    called = {call.func for call in ast.walk(node) if isinstance(call, ast.Call)}
    names = {func.attr if isinstance(func, ast.Attribute) else ast.unparse(func) for func in called}
    kind = kind or ("check" if any(name.startswith(CHECKS) for name in names) else "other")
    return kind, f"without `{text}`", ast.Pass()


def _left_alone(node: ast.AST) -> bool:
    """An assertion; a field, by attrs; words for people, or a choice between some."""
    match node:
        case ast.Assert() | ast.keyword(arg="strict") | ast.JoinedStr():
            return True
        case ast.Call():
            return ast.unparse(node.func).startswith("attrs.")
        case ast.BoolOp(values=values):
            return any(isinstance(value, ast.Constant) and isinstance(value.value, str) for value in values)
        case _:
            return isinstance(node, ast.Assign) and isinstance(node.value, ast.JoinedStr)


def _without(values: list[Any], at: int) -> list[Any]:
    return values[:at] + values[at + 1 :]


def _copy(node: Any, **changes: Any) -> Any:
    return type(node)(**{name: getattr(node, name) for name in node._fields} | changes)
