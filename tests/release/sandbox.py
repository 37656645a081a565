"""Runs a program under the system call filter of a unit: `python -m tests.release.sandbox UNIT PROGRAM ARGUMENT …`.

in: SystemCallFilter of the unit, the groups of calls as systemd-analyze knows them; out: the program, in this process.
Never: does without the filter: where it cannot be made, `missing` says why, and running fails.
"""

import ctypes
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000 | errno.EPERM
_NO_NEW_PRIVILEGES: Final = 38
_LIBRARY: Final = "libseccomp.so.2"


def missing() -> str | None:
    """Why there is no filter here; None: there is."""
    if shutil.which("systemd-analyze") is None:
        return "systemd-analyze is not installed"
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError:
        return f"{_LIBRARY} is not installed"
    return None


def groups() -> dict[str, set[str]]:
    """The members of each group: calls, and other groups."""
    said = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager"], capture_output=True, text=True, check=True
    )
    found: dict[str, set[str]] = {}
    members: set[str] = set()
    for line in said.stdout.splitlines():
        word = line.strip()
        if not word or word.startswith("#"):
            continue
        if line.startswith("@"):
            members = found.setdefault(word, set())
        elif line.startswith(" "):
            members.add(word)
    return found


def allowed(unit: Path) -> set[str]:
    """The calls that its filter lets through."""
    known = groups()

    def calls(name: str) -> set[str]:
        return set().union(*map(calls, known[name])) if name.startswith("@") else {name}

    found: set[str] = set()
    for line in unit.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("=")
        if key == "SystemCallFilter":
            named = set().union(*(calls(name) for name in value.removeprefix("~").split()))
            found = found - named if value.startswith("~") else found | named
    return found


def confine(unit: Path) -> None:
    """From here on, this process and all that it becomes or starts get EPERM for every other call."""
    library = ctypes.CDLL(_LIBRARY)
    library.seccomp_init.restype = ctypes.c_void_p
    rules = ctypes.c_void_p(library.seccomp_init(_REFUSE))
    for name in allowed(unit):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # others are of other processors
            assert library.seccomp_rule_add(rules, ctypes.c_uint32(_ALLOW), number, 0) == 0
    assert ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    assert library.seccomp_load(rules) == 0


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
