"""Processors that do not sleep: each is given something to do that everything else goes before (SCHED_IDLE).

A virtual processor that has gone to sleep wakes up slowly, and its waking is charged to whoever it wakes for. With
this, what remains is what the software does. Source: sched(7).
"""

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection


@contextmanager
def awake() -> Iterator[None]:
    """Keep every processor awake while the block runs."""
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe()
    processes = [context.Process(target=_spin, args=(theirs,), daemon=True) for _ in range(os.cpu_count() or 1)]
    try:
        for process in processes:
            process.start()
        theirs.close()
        yield
    finally:
        ours.close()
        for process in processes:
            if process.pid is not None:
                process.kill()
                process.join()


def _spin(pipe: Connection) -> None:
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while not pipe.poll():  # it has an end when whoever started us has
        pass
