"""One target under libFuzzer, in a process of its own, for libFuzzer ends it: `python -m fuzz.child TARGET ARGUMENT …`.

in: the target's name and libFuzzer's arguments; out: libFuzzer's report on standard error, findings as files.
Never: returns.
"""

import hashlib
import sys
import warnings
from pathlib import Path
from random import Random

import atheris

from fuzz.target import Target


def main() -> None:
    """Run until libFuzzer has had enough; exit code other than 0: a finding."""
    name, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=["volly_fed"]):
        from fuzz import load  # what is imported here is counted

        target = load(name)
    warnings.simplefilter("error")  # as in the tests: a warning is a finding
    options = {} if target.mutate is None else {"custom_mutator": _mutator(target)}
    prefix = next(one.partition("=")[2] for one in arguments if one.startswith("-artifact_prefix="))
    atheris.Setup([sys.argv[0], *arguments], lambda data: _run(target, data, prefix), **options)
    atheris.Fuzz()


def _run(target: Target, data: bytes, prefix: str) -> None:
    """What libFuzzer writes when Python has ended gets lost if its own alarm comes first: so it is written here."""
    try:
        target.run(data)
    except BaseException:
        file = Path(f"{prefix}crash-{hashlib.sha1(data).hexdigest()}")  # the name that libFuzzer gives it
        file.write_bytes(data)
        print(f"Test unit written to {file}", file=sys.stderr, flush=True)
        raise


def _mutator(target: Target):  # type: ignore[no-untyped-def] # atheris has no types to name here
    assert target.mutate is not None
    change = target.mutate

    def mutate(data: bytes, room: int, seed: int) -> bytes:
        def raw(part: bytes) -> bytes:
            return bytes(atheris.Mutate(part, min(room, 2 * len(part) + 16)))

        return change(data, Random(seed), raw)[:room]

    return mutate


main()
