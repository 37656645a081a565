"""Is there a liboqs that can be loaded? Asked in a child process, so that a bad file hurts nobody.

in: the environment's library paths; out: the version, or why not, in words.
Never: loads a library into this process, imports liboqs-python, downloads, or waits longer than limits.LIBOQS_PROBE.
Why: importing liboqs-python without a loadable library makes it clone and build one after a five-second countdown,
and a file that hangs or crashes on loading would take this process with it.
"""

import ctypes.util
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from volly_fed import limits
from volly_fed.errors import LocalError

_CANNOT_LOAD = 3
_CHILD = f"""
import ctypes, sys
try:
    library = ctypes.CDLL(sys.argv[1])
except OSError:
    sys.exit({_CANNOT_LOAD})
library.OQS_init()
library.OQS_version.restype = ctypes.c_char_p
library.OQS_KEM_alg_is_enabled.argtypes = library.OQS_SIG_alg_is_enabled.argtypes = [ctypes.c_char_p]
algorithms = library.OQS_KEM_alg_is_enabled(b"ML-KEM-768") and library.OQS_SIG_alg_is_enabled(b"ML-DSA-65")
calls = hasattr(library, "OQS_SIG_verify_with_ctx_str") and hasattr(library, "OQS_KEM_keypair_derand")
print(library.OQS_version().decode(), "fits" if algorithms and calls else "lacks")
"""


class Unavailable(LocalError):
    """liboqs cannot be used, and why; what follows is `choose_provider`'s decision."""


def candidates(environment: Mapping[str, str]) -> Iterator[str]:
    """The files that liboqs-python 0.14 to 0.16 would try, in its order (`_load_shared_obj`)."""
    for name in ("liboqs", "oqs"):
        if found := ctypes.util.find_library(name):
            yield found
    root = Path(environment["OQS_INSTALL_PATH"]) if "OQS_INSTALL_PATH" in environment else Path.home() / "_oqs"
    for folder in ("lib", "lib64"):
        path = root / folder / "liboqs.so"
        if path.exists():
            yield str(path.absolute())


def probe_liboqs(paths: Sequence[str] | None = None) -> str:
    """The version of the first library that loads. Blocks for at most limits.LIBOQS_PROBE a file.

    `paths` are `candidates(os.environ)` unless given. Raises Unavailable when none loads, when the first that loads
    lacks what we need, or when one hangs or crashes: liboqs-python would try that one too, in this process.
    """
    for path in candidates(os.environ) if paths is None else paths:
        version = _maybe_version(path)
        if version is not None:
            return version
    raise Unavailable("no liboqs shared library was found")


def _maybe_version(path: str) -> str | None:
    """The library's version; None when it is cleanly not loadable, so that the next candidate is tried."""
    command = [sys.executable, "-I", "-c", _CHILD, path]
    try:
        child = subprocess.run(  # noqa: S603 - our own interpreter and program; the path is an argument
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limits.LIBOQS_PROBE,
            env={"PATH": os.devnull},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{path} did not load in {limits.LIBOQS_PROBE:g} s") from None
    except OSError as error:
        raise Unavailable(f"the probe could not start: {error.strerror}") from None
    if child.returncode == _CANNOT_LOAD:
        return None
    if child.returncode != 0:
        raise Unavailable(f"{path} is no liboqs, or a broken one (the probe ended with {child.returncode})")
    return _version_said(path, child.stdout)


def _version_said(path: str, output: bytes) -> str:
    words = output.decode("ascii", "replace").split()
    match words:
        case [version, "fits"]:
            return version
        case [version, "lacks"]:
            raise Unavailable(f"{path} (version {version}) lacks ML-KEM-768, ML-DSA-65 or contexts")
        case _:
            raise Unavailable(f"{path} gave no readable version")
