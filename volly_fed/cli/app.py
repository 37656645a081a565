"""The `volly-fed` command: which commands there are, imported when used, and what becomes of their errors.

in: the command line; out: an exit code: 0 fine, 1 warnings, 2 failed or refused, 3 could not tell.
Never: lets a traceback reach the operator, unless --debug or VOLLY_FED_DEBUG asks for it.
"""

import importlib
import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NamedTuple

import attrs
import click

from volly_fed import __version__
from volly_fed.cli import failure
from volly_fed.cli.failure import Failure


class Command(NamedTuple):
    """Where a command's click object is, and one line about it."""

    module: str
    attribute: str
    summary: str


COMMANDS = {
    "init": Command("init", "init", "Make keys, configuration and policy; print the DNS records."),
    "dns": Command("dns", "dns", "The DNS records: print, check, publish, roll the TLS key."),
    "serve": Command("serve", "serve", "Run the homeserver."),
    "edge": Command("edge", "edge", "Run an edge node, or make its files (edge init)."),
    "edges": Command("edges", "edges", "The edge nodes of this homeserver: enrol, list, revoke."),
    "probe": Command("probe", "probe", "Every step from a domain's records to its identity."),
    "doctor": Command("doctor", "doctor", "Everything about this installation, and what to do about it."),
    "trust": Command("trust", "trust", "Whom to federate with, and how far."),
    "keys": Command("keys", "keys", "The public side of the keys; changing the identity."),
    "backup": Command("backup", "backup", "All of a homeserver in one file, while it runs."),
    "restore": Command("restore", "restore", "The files out of a backup, in a new folder."),
    "cache": Command("cache", "cache", "The DNS cache of the running homeserver."),
    "status": Command("status", "status", "How the running homeserver is doing."),
    "peers": Command("status", "peers", "Its peers: links, queues, attempts, errors."),
    "watch": Command("watch", "watch", "The same, live: a table, or a line of JSON for each change."),
    "queue": Command("queue", "queue", "What waits for peers: list, hold, release, drop, retry."),
    "retry": Command("status", "retry", "Dial a peer now instead of after its pause."),
    "drain": Command("drain", "drain", "Take nothing new and deliver what waits, before an upgrade or a move."),
    "reload": Command("reload", "reload", "Let the running homeserver read policy, enrolments and keys again."),
    "config": Command("config", "config", "The annotated configuration; all problems of yours."),
    "device": Command("device", "device", "A command-line device: card, contacts, send, listen, presence."),
    "testnet": Command("testnet", "testnet", "A whole federation on loopback."),
}


@attrs.define
class State:
    """What the options of `volly-fed` itself say."""

    debug: bool = False


class LazyGroup(click.Group):
    """Commands that are imported when they are used: `volly-fed dns print` must not load the whole daemon."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """The command, imported now; None if there is no such."""
        if cmd_name not in COMMANDS:
            return None
        where = COMMANDS[cmd_name]
        module = importlib.import_module(f"volly_fed.cli.{where.module}")
        command: click.Command = getattr(module, where.attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """The list in --help, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.summary) for name, command in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="volly-fed")
@click.option("--debug", is_flag=True, envvar="VOLLY_FED_DEBUG", help="Show tracebacks of errors.")
@click.pass_obj
def app(state: State, debug: bool) -> None:
    """A homeserver for federated, blind, post-quantum signaling.

    Exit codes: 0 fine, 1 warnings, 2 failed or refused, 3 could not tell.
    """
    state.debug = debug


def main() -> None:
    """The entry point of the `volly-fed` command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Do what `arguments` say and return the exit code. Errors are reported on standard error."""
    state = State()
    try:
        code = _invoke(arguments, state)
        sys.stdout.flush()
    except BaseException as error:
        return _report(error, state, as_json="--json" in arguments)
    return code


def _invoke(arguments: Sequence[str], state: State) -> int:
    # not app.main(), which turns a closed pipe into exit code 1
    try:
        with app.make_context("volly-fed", list(arguments), obj=state) as context:
            result = app.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    return result if isinstance(result, int) else failure.OK  # a command returns its exit code, or nothing


def _report(error: BaseException, state: State, *, as_json: bool) -> int:
    leaves = list(failure.leaves(error))
    if any(isinstance(leaf, KeyboardInterrupt | click.Abort) for leaf in leaves):
        return failure.INTERRUPTED
    if isinstance(error, BrokenPipeError):
        _abandon_stdout()
        return failure.BROKEN_PIPE
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else failure.FAILED
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return failure.FAILED
    known = failure.explain(error)
    if state.debug or (known is None and os.environ.get("VOLLY_FED_DEBUG")):
        traceback.print_exception(error)
    shown = known or _bug(leaves[0])
    click.echo(shown.text(), err=True)
    if as_json:
        click.echo(json.dumps({"error": shown.message, "note": shown.note}, ensure_ascii=False))
    return shown.code


def _bug(error: BaseException) -> Failure:
    place = traceback.extract_tb(error.__traceback__)
    where = f" in {place[-1].name}" if place else ""
    return Failure(
        message=f"this is a bug in volly-fed ({type(error).__name__}{where}); please report it, with what you did",
        note="`volly-fed --debug …` shows the details; look through them for secrets before you send them",
    )


def _abandon_stdout() -> None:
    """The reader has gone: nothing that Python flushes at exit may complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
