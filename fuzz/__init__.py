"""Coverage-guided fuzzing of everything that reads bytes from outside: `python -m fuzz`, one module per target.

in: nothing; out: the targets' names, and each as its module says. Importing this imports no code under test: atheris
has to be there first.
"""

import importlib

from fuzz.target import Target

NAMES = ("wire", "envelope", "handshake", "session", "link", "discovery", "validator", "presence", "client", "device")


def load(name: str) -> Target:
    """The target of that name."""
    target = importlib.import_module(f"fuzz.{name}").TARGET
    assert isinstance(target, Target)
    return target
