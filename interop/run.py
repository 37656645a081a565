"""Puts implementations through the scenarios: `python -m interop.run --help`; README.md says what for.

in: contracts, names of scenarios; out: progress, a table, and what differs from results.jsonl.
Exit code 0: as committed; 1: something differs; 2: wrong use; 3: nothing could be tried.
Never: leaves a process behind.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

if not __package__:  # run as a file: its folder would hide modules of the same names
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import attrs
import trio

from interop.cast import Cast, playing
from interop.contract import Contract, ContractError, read_contract
from interop.results import (
    RESULTS,
    Key,
    Outcome,
    Verdict,
    differences,
    in_words,
    merged,
    print_table,
    read_results,
    results_text,
)
from interop.scenario import Scenario, all_scenarios
from interop.server import ServerError
from interop.stage import leaves, play

PEERS: Final = Path(__file__).parent / "peers"
INTERRUPTED: Final = 130
"""As shells have it for SIGINT."""
AT_ONCE: Final = 2
"""Combinations that are tried at the same time."""


def main() -> int:
    """The exit code."""
    options = _options()
    scenarios = all_scenarios()
    chosen = [one for one in scenarios if not options.prefixes or one.name.startswith(tuple(options.prefixes))]
    if options.list:
        for one in chosen:
            print(f"{one.name}  {one.servers} {' '.join(one.covers)}\n    {one.story}")
        return 0
    try:
        reference, contracts = read_contract(PEERS / "python"), _contracts(options.server)
        for contract in contracts:
            _build(contract)
    except ContractError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    runner = Runner(combinations(reference, contracts), chosen)
    interrupted = False
    try:
        trio.run(runner.run)
    except* KeyboardInterrupt:  # everything that was started has ended by now
        interrupted = True
    if interrupted:
        return INTERRUPTED
    return _conclude(runner, options, known=known_keys(scenarios, reference, contracts))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m interop.run", description="Scenarios for any implementation.")
    parser.add_argument("prefixes", nargs="*", metavar="NAME-PREFIX", help="only scenarios whose name begins so")
    parser.add_argument("--server", type=Path, action="append", metavar="CONTRACT.toml", help="default: interop/peers")
    parser.add_argument("--list", action="store_true", help="the scenarios, and what each covers")
    parser.add_argument("--json", action="store_true", help="verdicts with reasons and seconds on standard output")
    parser.add_argument("--accept", action="store_true", help="write the verdicts to results.jsonl")
    return parser.parse_args()


def _contracts(given: Sequence[Path] | None) -> list[Contract]:
    paths = given or sorted(PEERS.glob("*/CONTRACT.toml"), key=lambda path: (path.parent.name != "python", path))
    return [read_contract(path) for path in paths]


def _build(contract: Contract) -> None:
    if not contract.build:
        return
    try:
        done = subprocess.run(contract.build, cwd=contract.folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ContractError(f"{contract.name} cannot be built: {error}\nnote: correct `build`") from error
    if done.returncode:
        said = (done.stdout + done.stderr).rstrip()
        raise ContractError(f"{contract.name} cannot be built: exit code {done.returncode}\n{said}")


def combinations(reference: Contract, contracts: Sequence[Contract]) -> list[tuple[Contract, ...]]:
    """Each with the reference, in both directions, and each alone."""
    pairs: list[tuple[Contract, ...]] = []
    for contract in contracts:
        pairs += [(contract, reference)] if contract == reference else [(contract, reference), (reference, contract)]
    return pairs + [(contract,) for contract in contracts]


def known_keys(scenarios: Sequence[Scenario], reference: Contract, contracts: Sequence[Contract]) -> set[Key]:
    """Every key that there can be, those of implementations that are not here included."""
    committed = read_results()
    names = {reference.name, *(contract.name for contract in contracts)}
    servers = {scenario.name: scenario.servers for scenario in scenarios}
    absent = {key for key in committed if not names.issuperset(key[1]) and servers.get(key[0]) == len(key[1])}
    tried = [tuple(one.name for one in given) for given in combinations(reference, contracts)]
    if reference not in contracts:
        tried += [(reference.name, reference.name), (reference.name,)]
    return absent | {
        (name, combination) for name, count in servers.items() for combination in tried if len(combination) == count
    }


def _conclude(runner: "Runner", options: argparse.Namespace, known: set[Key]) -> int:
    verdicts = sorted(runner.verdicts, key=lambda verdict: verdict.key)
    committed = read_results()
    if options.json:
        print(json.dumps([verdict.as_json() for verdict in verdicts], indent=2))
    else:
        print_table(verdicts)
    if options.accept:
        RESULTS.write_text(results_text(merged(verdicts, committed, known)), encoding="utf-8")
        return 0
    found = differences(verdicts, committed, known)
    for difference in found:
        print(f"DIFFERS: {difference}", file=sys.stderr)
    return 1 if found else 0


@attrs.define
class Runner:
    """Plays all scenarios with all combinations."""

    combinations: Sequence[tuple[Contract, ...]]
    scenarios: Sequence[Scenario]
    verdicts: list[Verdict] = attrs.field(factory=list, init=False)

    async def run(self) -> None:
        """Several combinations at a time; of each, one scenario after the other, and those that only wait beside."""
        room = trio.Semaphore(AT_ONCE)
        with tempfile.TemporaryDirectory(prefix="volly-fed-interop-") as folder:
            async with trio.open_nursery() as nursery:
                for number, contracts in enumerate(self.combinations):
                    await room.acquire()
                    quick, patient = self._supported(contracts)
                    nursery.start_soon(self._play_all, Path(folder) / f"{number}-patient", contracts, patient)
                    nursery.start_soon(self._run_one, Path(folder) / str(number), contracts, quick, room)

    def _supported(self, contracts: tuple[Contract, ...]) -> tuple[list[Scenario], list[Scenario]]:
        """What is to be played, in order: what wants servers of its own comes last; and what takes long, for itself."""
        supported: list[Scenario] = []
        for one in self.scenarios:
            if one.servers != len(contracts):
                continue
            if any(one.needs & contract.lacks for contract in contracts):
                self._note(one, contracts, Outcome.UNSUPPORTED)
            else:
                supported.append(one)
        supported.sort(key=lambda one: one.fresh)
        return [one for one in supported if not one.patient], [one for one in supported if one.patient]

    async def _run_one(
        self, folder: Path, contracts: tuple[Contract, ...], waiting: list[Scenario], room: trio.Semaphore
    ) -> None:
        try:
            await self._play_all(folder, contracts, waiting)
        finally:
            room.release()

    async def _play_all(self, folder: Path, contracts: tuple[Contract, ...], waiting: list[Scenario]) -> None:
        """Scenarios share servers until one has failed."""
        casts = 0
        while waiting:
            casts += 1
            await self._play_some(folder / str(casts), contracts, waiting)

    async def _play_some(self, folder: Path, contracts: tuple[Contract, ...], waiting: list[Scenario]) -> None:
        """Play from the beginning of `waiting`, with one cast; ends with the first that fails, or wants another."""
        try:
            async with playing(folder, contracts) as cast:
                while waiting:
                    one = waiting.pop(0)
                    good = await self._play(cast, one, contracts)
                    if not good or one.fresh or (waiting and waiting[0].fresh):
                        return
                    await cast.tidy()
        except* ServerError as group:  # it did not start, now or again
            if waiting:
                self._note(waiting.pop(0), contracts, Outcome.FAIL, "\n".join(map(str, leaves(group))))

    async def _play(self, cast: Cast, one: Scenario, contracts: tuple[Contract, ...]) -> bool:
        began = trio.current_time()
        before = [server.written for server in cast.servers]
        reason = await play(cast, one)
        outcome = Outcome.FAIL if reason else Outcome.PASS
        self._note(one, contracts, outcome, reason, trio.current_time() - began)
        if reason:
            for server, start in zip(cast.servers, before, strict=True):
                said = server.tail(start).rstrip() or "(nothing)"
                print(f"--- standard error of {server.contract.name}, {server.domain}:\n{said}", file=sys.stderr)
        return not reason

    def _note(
        self, one: Scenario, contracts: tuple[Contract, ...], outcome: Outcome, reason: str = "", seconds: float = 0.0
    ) -> None:
        servers = tuple(contract.name for contract in contracts)
        verdict = Verdict(scenario=one.name, servers=servers, outcome=outcome, reason=reason, seconds=seconds)
        self.verdicts.append(verdict)
        print(f"{outcome:<11} {seconds:5.1f} s  {in_words(verdict.key)}", file=sys.stderr)
        if reason:
            print("    " + reason.replace("\n", "\n    "), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
