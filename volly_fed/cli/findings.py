"""Findings on the terminal: a table for people, one JSON document for programs, a sign of life while they are made.

in: Findings of a check; out: lines on standard output, the waiting on standard error.
Never: prints what names from outside contain as anything but text.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import trio
from rich.console import Console
from rich.table import Table
from rich.text import Text

from volly_fed import limits
from volly_fed.daemon.upkeep.findings import Finding, Verdict

T = TypeVar("T")
_STYLES = {
    Verdict.OK: "green",
    Verdict.INFO: "cyan",
    Verdict.WARNING: "yellow",
    Verdict.UNKNOWN: "magenta",
    Verdict.FAILED: "bold red",
}


def print_findings(findings: Sequence[Finding]) -> None:
    """A row each: verdict, subject, reason, and the note below; in a pipe, a line each, for grep."""
    console = Console(highlight=False)
    if not console.is_terminal:
        for found in findings:
            why = f": {found.reason}" if found.reason else ""
            note = f" (note: {found.note})" if found.note else ""
            print(f"{found.verdict:<8} {found.subject}{why}{note}")
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for found in findings:
        reason = Text(found.reason)
        if found.note:
            reason.append(f"\nnote: {found.note}", style="dim")
        table.add_row(Text(str(found.verdict), style=_STYLES[found.verdict]), Text(found.subject), reason)
    console.print(table)


async def with_patience(what: str, work: Callable[[], Awaitable[T]]) -> T:
    """What `work` returns; once it takes longer than limits.PROGRESS_AFTER, a terminal shows `what` is done."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_wait, what)
        result = await work()
        nursery.cancel_scope.cancel()
    return result


async def _wait(what: str) -> None:
    await trio.sleep(limits.PROGRESS_AFTER)
    with Console(stderr=True).status(Text(f"{what} …")):
        await trio.sleep_forever()
