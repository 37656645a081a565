import json
import subprocess
import sys
import types
from collections.abc import Callable

import click
import pytest
import trio

from volly_fed import __version__
from volly_fed.cli import app, failure
from volly_fed.cli.app import COMMANDS, Command, run
from volly_fed.errors import Bogus, ConfigError, Indeterminate, LocalError, StorageError

Raise = Callable[[BaseException], None]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Raise:
    """Makes `volly-fed fail` raise what it is given."""

    def arrange(error: BaseException) -> None:
        @click.command()
        @click.option("--json", "as_json", is_flag=True)
        def fail(as_json: bool) -> None:
            raise error

        module = types.ModuleType("volly_fed.cli.fail")
        module.fail = fail  # type: ignore[attr-defined]  # a module made for this test
        monkeypatch.setitem(sys.modules, "volly_fed.cli.fail", module)
        monkeypatch.setitem(COMMANDS, "fail", Command("fail", "fail", ""))

    return arrange


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (LocalError("it broke; note: mend it"), 2, "error: it broke\nnote: mend it\n"),
        (LocalError("it broke.\nnote: mend it"), 2, "error: it broke\nnote: mend it\n"),
        (StorageError("disk full"), 2, "error: disk full\n"),
        (Bogus("a signature is missing"), 2, "error: a signature is missing\n"),
        (Indeterminate("no answer"), 3, "error: no answer\n"),
        (trio.TooSlowError(), 3, "error: there was no answer in time\nnote: check that the other end runs\n"),
        (ConfigError(["x.toml: a: is missing"]), 2, "error: x.toml: a: is missing\nnote: `volly-fed config example`"),
        (ConfigError(["a: x; note: y"]), 2, "error: a: x\nnote: y\n"),
        (
            ConfigError(["a: x", "b: y; note: z"]),
            2,
            "error: the configuration has 2 problems\n  a: x\n  b: y (z)\nnote: ",
        ),
        (ConfigError(["a: x", "b: y"]), 2, "error: the configuration has 2 problems\n  a: x\n  b: y\nnote: "),
        (PermissionError(13, "Permission denied", "/x/y"), 2, "error: /x/y: Permission denied\nnote: run this as"),
        (OSError(28, "No space left on device"), 2, "error: No space left on device\nnote: make room on that disk"),
        (
            OSError(98, "Address already in use"),
            2,
            "error: Address already in use\nnote: another process listens there",
        ),
        (OSError("all attempts to connect failed"), 2, "error: all attempts to connect failed\n"),
        (click.ClickException("no"), 2, "error: no\n"),
        (ExceptionGroup("g", [ExceptionGroup("h", [LocalError("x; note: y")])]), 2, "error: x\nnote: y\n"),
        (ExceptionGroup("g", [LocalError("x"), LocalError("x")]), 2, "error: x\n"),
        (ExceptionGroup("g", [LocalError("x"), Bogus("y")]), 2, "error: x\nerror: y\n"),
    ],
)
def test_expected_errors_are_one_message_without_traceback(
    failing: Raise, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, text: str
) -> None:
    failing(error)
    assert run(["fail"]) == code
    printed = capsys.readouterr()
    assert printed.err.startswith(text)
    assert printed.out == ""
    assert "Traceback" not in printed.err


@pytest.mark.parametrize("error", [ValueError("planted secret"), ExceptionGroup("g", [LocalError("x"), KeyError("y")])])
def test_a_bug_is_one_line_that_asks_to_report_it(
    failing: Raise, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    failing(error)
    assert run(["fail"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: this is a bug in volly-fed (")
    assert "please report it" in printed.splitlines()[0]
    assert "Traceback" not in printed
    assert "planted secret" not in printed


@pytest.mark.parametrize("by_variable", [False, True])
def test_debug_shows_the_traceback(
    failing: Raise, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, by_variable: bool
) -> None:
    failing(ValueError("detail"))
    if by_variable:
        monkeypatch.setenv("VOLLY_FED_DEBUG", "1")
    assert run(["fail"] if by_variable else ["--debug", "fail"]) == 2
    printed = capsys.readouterr().err
    assert "Traceback" in printed
    assert "ValueError: detail" in printed


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), BaseExceptionGroup("g", [KeyboardInterrupt(), LocalError("x")]), click.Abort()]
)
def test_an_interruption_is_quiet(failing: Raise, capsys: pytest.CaptureFixture[str], error: BaseException) -> None:
    failing(error)
    assert run(["fail"]) == 130
    assert "error" not in capsys.readouterr().err


@pytest.mark.parametrize(("error", "code"), [(SystemExit(3), 3), (SystemExit("x"), 2), (click.exceptions.Exit(1), 1)])
def test_exit_codes_of_commands_pass(failing: Raise, error: BaseException, code: int) -> None:
    failing(error)
    assert run(["fail"]) == code


def test_a_command_may_return_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    group = click.Group("group", commands={"three": click.Command("three", callback=lambda: 3)})
    module = types.ModuleType("volly_fed.cli.group")
    module.group = group  # type: ignore[attr-defined]  # a module made for this test
    monkeypatch.setitem(sys.modules, "volly_fed.cli.group", module)
    monkeypatch.setitem(COMMANDS, "group", Command("group", "group", ""))
    assert run(["group", "three"]) == 3


def test_with_json_errors_are_a_document_too(failing: Raise, capsys: pytest.CaptureFixture[str]) -> None:
    failing(LocalError("it broke; note: mend it"))
    assert run(["fail", "--json"]) == 2
    assert json.loads(capsys.readouterr().out) == {"error": "it broke", "note": "mend it"}


def test_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["no-such-command"]) == 2
    assert capsys.readouterr().err.startswith("error: No such command 'no-such-command'.\nnote: see `volly-fed --help`")
    assert run(["init", "not a domain"]) == 2
    assert "Invalid value for 'DOMAIN'" in capsys.readouterr().err
    assert run([]) == 2
    assert capsys.readouterr().err.startswith("Usage: volly-fed")


def test_help_lists_every_command_without_importing_any(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed and command.summary in printed for name, command in COMMANDS.items())
    assert all(len(command.summary) < 70 for command in COMMANDS.values())


def test_help_and_small_commands_do_not_load_the_daemon() -> None:
    code = (
        "import sys\nfrom volly_fed.cli.app import run\nrun(sys.argv[1:])\n"
        "heavy = {'apsw', 'OpenSSL', 'websockets', 'dns', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'{heavy} were loaded' if heavy else 0)\n"
    )
    for arguments in (["--help"], ["config", "example"], ["init", "--help"]):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_a_closed_pipe_is_quiet() -> None:
    command = f"{sys.executable} -m volly_fed config example | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.strip() in {"0", str(failure.BROKEN_PIPE)}


@pytest.mark.parametrize("arguments", [["config", "example"], ["--help"]])
def test_a_pipe_that_closes_early_is_quiet(arguments: list[str]) -> None:
    code = (
        "import os, sys\nfrom volly_fed.cli.app import main\n"
        "r, w = os.pipe()\nos.dup2(w, 1)\nos.close(w)\nos.close(r)\n"
        "main()\n"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (failure.BROKEN_PIPE, "")


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert __version__ in capsys.readouterr().out
    assert app.app.get_command(click.Context(app.app), "nothing") is None
