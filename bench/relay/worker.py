"""A generator in a process of its own, so that its work is not counted as a homeserver's.

in: a class with an async `run` and async methods; out: the same methods here, and the process's pid.
Never: outlives whoever started it: the pipe between them ends, and so does the process.
"""

import multiprocessing
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any, Protocol

import trio


class Generator(Protocol):
    """What runs in a worker."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Whatever goes on between calls; started when calls may come."""
        ...


class Worker:
    """The caller's side. One call at a time."""

    def __init__(self, pipe: Connection, pid: int) -> None:
        self._pipe = pipe
        self.pid = pid

    async def call(self, method: str, *arguments: object) -> Any:
        """What `method` of the generator returns. Raises RuntimeError when it failed."""
        self._pipe.send((method, arguments))
        return await self.answer()

    async def answer(self) -> Any:
        """The next answer of the worker."""
        try:
            good, value = await trio.to_thread.run_sync(self._pipe.recv, abandon_on_cancel=True)
        except EOFError:
            raise RuntimeError("a generator has ended; what it wrote stands above") from None
        if not good:
            raise RuntimeError(f"a generator failed: {value}")
        return value


@asynccontextmanager
async def working(kind: type[Generator], *arguments: object) -> AsyncIterator[Worker]:
    """A worker that makes `kind(*arguments)` and runs it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([kind.__module__])
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, kind, arguments), daemon=True)
    process.start()
    theirs.close()
    assert process.pid is not None
    worker = Worker(ours, process.pid)
    try:
        await worker.answer()
        yield worker
    finally:
        ours.close()
        process.kill()
        process.join()


def _work(pipe: Connection, kind: type[Generator], arguments: tuple[object, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started us is told, too, and ends us
    with suppress(EOFError):
        trio.run(_serve, pipe, kind(*arguments))


async def _serve(pipe: Connection, generator: Generator) -> None:
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(generator.run)
            pipe.send((True, None))
            while True:
                method, arguments = await trio.to_thread.run_sync(pipe.recv, abandon_on_cancel=True)
                pipe.send((True, await getattr(generator, method)(*arguments)))
    except* EOFError:
        pass
    except* Exception as errors:
        pipe.send((False, "; ".join(map(repr, errors.exceptions))))
        raise
