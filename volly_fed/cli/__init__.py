"""The command line: one module per command group, imported when the command is used.

app      the `volly-fed` command: which commands there are, and what becomes of errors
failure  errors in words for the operator, with exit codes
options  what commands share: --config, --json, and the kinds of argument
"""

from volly_fed.cli.app import main

__all__ = ["main"]
