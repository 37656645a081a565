"""Refusals in the log: the first at once, the others as a sum, and nothing for ever."""

import trio
import trio.testing

from volly_fed import limits
from volly_fed.daemon.refusals import Refusals


async def test_the_first_and_then_a_sum(autojump_clock: trio.testing.MockClock) -> None:
    lines: list[tuple[str, int]] = []

    def note(kind: str, text: str) -> None:
        refusals.note(kind, lambda count: lines.append((text, count)))

    refusals = Refusals()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refusals.run)
        for n in range(1000):
            note("BUSY", f"busy {n}")
        note("POLICY", "no")
        assert lines == [("busy 0", 1), ("no", 1)]
        await trio.sleep(limits.REFUSALS_SUMMED + 1)
        assert lines[2:] == [("busy 999", 999)]
        note("BUSY", "still in the same flood")
        note("POLICY", "a new one")
        assert lines[3:] == [("a new one", 1)]
        await trio.sleep(limits.REFUSALS_SUMMED)
        assert lines[4:] == [("still in the same flood", 1)]
        await trio.sleep(10 * limits.REFUSALS_SUMMED)
        assert refusals._kinds == {}
        note("BUSY", "one")
        note("BUSY", "two")
        nursery.cancel_scope.cancel()
    assert lines[5:] == [("one", 1), ("two", 1)]
