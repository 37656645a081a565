"""What an error means to the operator: one message, the next step, the exit code.

in: an exception, exception groups of trio's nurseries included; out: a Failure, or None for a bug of ours.
Never: shows a traceback, or hides an error of ours behind one that was expected.
"""

import errno
import re
from collections.abc import Iterator

import attrs
import click
import trio

from volly_fed.errors import ConfigError, Indeterminate, VollyFedError

OK = 0
WARNINGS = 1
FAILED = 2
UNKNOWN = 3
INTERRUPTED = 130
BROKEN_PIPE = 141

_NOTE = re.compile(r"[\s;,.:]*\bnote:\s*", re.IGNORECASE)
_EXAMPLE = "`volly-fed config example` prints every option with its documentation"
_STEPS = {
    errno.EADDRINUSE: "another process listens there; stop it (`ss -ltnp` shows it) or choose another port",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address; correct `listen` in the configuration",
    errno.EACCES: "run this as the user who owns it; ports below 1024 need CAP_NET_BIND_SERVICE",
    errno.ENOENT: "check the path",
    errno.ENOSPC: "make room on that disk; nothing that was acknowledged is lost",
    errno.EDQUOT: "make room on that disk; nothing that was acknowledged is lost",
    errno.EROFS: "the disk is read-only; choose another data_dir, or mount it for writing",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`, or LimitNOFILE= of the service)",
    errno.ECONNREFUSED: "nobody listens there; check the address, and that the other end runs",
}


@attrs.frozen(kw_only=True)
class Failure:
    """What to say, the next step ("" if there is none), and the exit code."""

    message: str
    note: str = ""
    code: int = FAILED

    def text(self) -> str:
        """As it stands on standard error."""
        return f"error: {self.message}" + (f"\nnote: {self.note}" if self.note else "")


def explain(error: BaseException) -> Failure | None:
    """The Failure that `error` is, or None if nobody expected it. A group is expected only if all in it are."""
    failures = [_explain_one(leaf) for leaf in leaves(error)]
    known = [failure for failure in failures if failure is not None]
    if not known or len(known) != len(failures):
        return None
    different = list(dict.fromkeys(known))
    if len(different) == 1:
        return different[0]
    return attrs.evolve(different[0], message="\nerror: ".join(failure.message for failure in different))


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group, or `error` itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def split(text: str) -> tuple[str, str]:
    """An error's text as (message, next step): what stands before and after its "note:"."""
    message, *notes = _NOTE.split(text.strip(), maxsplit=1)
    return message, notes[0] if notes else ""


def _explain_one(error: BaseException) -> Failure | None:
    if isinstance(error, ConfigError):
        return _configuration(error)
    if isinstance(error, VollyFedError):
        message, note = split(str(error) or type(error).__name__)
        return Failure(message=message, note=note, code=UNKNOWN if isinstance(error, Indeterminate) else FAILED)
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "volly-fed"
        return Failure(message=error.format_message(), note=f"see `{command} --help`")
    if isinstance(error, click.ClickException):
        return Failure(message=error.format_message())
    if isinstance(error, trio.TooSlowError):
        return Failure(message="there was no answer in time", note="check that the other end runs", code=UNKNOWN)
    if isinstance(error, OSError):
        return _system(error)
    return None


def _configuration(error: ConfigError) -> Failure:
    parts = [split(problem) for problem in error.problems]
    if len(parts) == 1:
        return Failure(message=parts[0][0], note=parts[0][1] or _EXAMPLE)
    lines = [f"  {message} ({note})" if note else f"  {message}" for message, note in parts]
    return Failure(message="\n".join([f"the configuration has {len(parts)} problems", *lines]), note=_EXAMPLE)


def _system(error: OSError) -> Failure:
    words = error.strerror or str(error) or type(error).__name__
    message = f"{error.filename}: {words}" if error.filename else words
    return Failure(message=message, note=_STEPS.get(error.errno or 0, ""))
