"""Where the homeservers' processor time goes under a load: by thread, and by part of the program.

python -m bench.relay.profile [--rate N] [--seconds S] [--json FILE]

Without --rate the link is saturated. Needs py-spy (the extra `bench`) and the right to trace one's own processes.
The time of each thread is the scheduler's account of a run that nobody watches; the shares are of stack samples in
a second run, which goes slower for being watched. A sample counts for the innermost function that belongs to a part:
what a C library does is its caller's. Waiting counts nowhere, nor does what takes less than 1 % of a thread's samples.
"""

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import trio

from bench.relay.load import BUSY_TICK, REST_TICK, Load, paced, saturated
from bench.relay.processor import threads
from bench.relay.setting import Setting, folder, setting
from volly_fed import limits

PARTS: Final = {
    "volly_fed/daemon/tls": "TLS",
    "volly_fed/daemon/socket_stream": "system calls: send, receive",
    "volly_fed/daemon/metered": "system calls: send, receive",
    "volly_fed/daemon/message_socket": "WebSocket",
    "volly_fed/daemon/websocket": "WebSocket",
    "websockets/": "WebSocket",
    "volly_fed/wire": "messages (CBOR)",
    "volly_fed/session": "session",
    "volly_fed/daemon/intake": "judging envelopes",
    "volly_fed/relay": "judging envelopes",
    "volly_fed/router": "judging envelopes",
    "volly_fed/trust": "judging envelopes",
    "volly_fed/daemon/store": "store",
    "volly_fed/edge": "claims and delivery",
    "volly_fed/daemon/edge": "claims and delivery",
    "volly_fed/daemon": "links, peers, queues",
    "trio/": "event loop",
}
"""Where a file's path begins, and the part it belongs to; the first that fits."""
_HERTZ: Final = 500
_SLOW_TICK: Final = 1000
"""Envelopes a second up to which they are submitted one by one."""
_LEAST: Final = 0.01
_WAITS: Final = "get_events (trio/"
"""Where an event loop waits for events."""


async def measure(rate: int | None, seconds: float) -> list[dict[str, Any]]:
    """Rows: process, thread, µs an envelope, shares by part."""
    with folder(None) as where:
        async with setting(where) as world:
            pids = {domain[0].upper(): child.process.pid for domain, child in world.network.homeservers.items()}
            before = {name: threads(pid) for name, pid in pids.items()}
            load = await _run(world, rate, seconds)
            after = {name: threads(pid) for name, pid in pids.items()}
            with _watched(pids, seconds, where) as raw:
                await _run(world, rate, seconds)
            envelopes = max(1, len(load.run.seen))
            rows = []
            for name in pids:
                samples = _samples(raw[name])
                for thread, spent in sorted(after[name].items(), key=lambda item: -item[1]):
                    took = (spent - before[name].get(thread, 0)) / 1000 / envelopes
                    if thread in samples:
                        title, parts = samples[thread]
                        rows.append({"process": name, "thread": title, "us": round(took, 1), "parts": _shares(parts)})
    return rows


async def _run(world: Setting, rate: int | None, seconds: float) -> Load:
    if rate is None:
        return await saturated(world, seconds, under_way=limits.WINDOW_ENVELOPES)
    return await paced(world, rate, seconds, tick=BUSY_TICK if rate > _SLOW_TICK else REST_TICK)


@contextmanager
def _watched(pids: dict[str, int], seconds: float, where: Path) -> Iterator[dict[str, Path]]:
    """Stack samples of the processes while the block runs; complete when it is left."""
    files = {name: where / f"{name}.raw" for name in pids}
    program, quiet = str(Path(sys.executable).with_name("py-spy")), subprocess.DEVNULL
    options = ["--format", "raw", "--threads", "--rate", str(_HERTZ), "--duration", str(max(1, round(seconds)))]
    spies = [
        subprocess.Popen(
            [program, "record", "--pid", str(pid), "--output", str(files[name]), *options], stdout=quiet, stderr=quiet
        )
        for name, pid in pids.items()
    ]
    try:
        yield files
        for spy in spies:
            if spy.wait(timeout=seconds + 60):
                raise RuntimeError("py-spy failed; it needs the right to trace processes (kernel.yama.ptrace_scope)")
    finally:
        for spy in spies:
            spy.kill()


def _samples(path: Path) -> dict[int, tuple[str, Counter[str]]]:
    """By thread: its name, and how many samples fell into each part."""
    found: dict[int, tuple[str, Counter[str]]] = {}
    for line in path.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        if _WAITS in frames[-1]:
            continue  # mostly it does just that
        number, _, title = thread.removeprefix("thread (").partition("): ")
        _, parts = found.setdefault(int(number), (title, Counter()))
        parts[part_of(frames)] += int(count)
    return found


def part_of(frames: list[str]) -> str:
    """The part that the innermost frame belongs to, of those that belong to one. A frame: `function (file:line)`."""
    for frame in reversed(frames):
        file = frame.rpartition("(")[2]
        for beginning, part in PARTS.items():
            if file.startswith(beginning):
                return part
    return "the rest"


def _shares(parts: Counter[str]) -> dict[str, float]:
    total = parts.total()
    return {part: round(count / total, 3) for part, count in parts.most_common() if count >= _LEAST * total}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.relay.profile", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=int, help="envelopes a second; default: as many as are taken")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    rows = trio.run(measure, args.rate, args.seconds)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")
    for row in rows:
        print(f"{row['process']}  {row['thread']:<20} {row['us']:8.1f} µs/envelope")
        for part, share in row["parts"].items():
            print(f"     {part:<32} {share * 100:5.1f} %  {share * row['us']:8.1f} µs")


if __name__ == "__main__":
    main()
