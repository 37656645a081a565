"""The probe with real files: absent, junk, hanging, crashing, incomplete, right."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from volly_fed import limits
from volly_fed.crypto.probe import Unavailable, _version_said, candidates, probe_liboqs

SOURCE = """
#include <stdlib.h>
#ifdef HANGS
#include <unistd.h>
__attribute__((constructor)) static void hang(void) { for (;;) pause(); }
#endif
#ifdef CRASHES
void OQS_init(void) { abort(); }
#else
void OQS_init(void) {}
#endif
const char *OQS_version(void) { return "0.16.0"; }
#ifndef LACKS
int OQS_KEM_alg_is_enabled(const char *name) { return name != 0; }
#else
int OQS_KEM_alg_is_enabled(const char *name) { return name == 0; }
#endif
int OQS_SIG_alg_is_enabled(const char *name) { return name != 0; }
#ifndef OLD
int OQS_SIG_verify_with_ctx_str(void) { return 0; }
int OQS_KEM_keypair_derand(void) { return 0; }
#endif
"""


def library(folder: Path, *flags: str) -> str:
    """A shared library with liboqs's entry points and nothing behind them."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) to build a pretended liboqs with")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pretended.c").write_text(SOURCE)
    path = folder / "liboqs.so"
    command = [compiler, "-shared", "-fPIC", *flags, "-o", str(path), str(folder / "pretended.c")]
    subprocess.run(command, check=True, capture_output=True)
    return str(path)


def junk(folder: Path) -> str:
    path = folder / "junk.so"
    path.write_bytes(b"\0asm\1\0\0\0" + bytes(100))
    return str(path)


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    for paths in ([], [str(tmp_path / "absent.so")], [junk(tmp_path)], [str(tmp_path)]):
        with pytest.raises(Unavailable, match="no liboqs shared library was found"):
            probe_liboqs(paths)


def test_a_right_library_is_found_behind_a_junk_file(tmp_path: Path) -> None:
    right = library(tmp_path)
    assert probe_liboqs([right]) == "0.16.0"
    assert probe_liboqs([junk(tmp_path), right]) == "0.16.0"


def test_the_folder_in_the_environment_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OQS_INSTALL_PATH", str(tmp_path))
    right = library(tmp_path / "lib64")
    assert right in list(candidates(os.environ))
    assert str(tmp_path / "lib" / "liboqs.so") not in list(candidates(os.environ))
    assert probe_liboqs() == "0.16.0"


def test_the_home_folder_is_searched_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "_oqs" / "lib" / "liboqs.so"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    assert str(file) in list(candidates({}))


def test_a_file_that_hangs_is_given_up_and_ends_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A named pipe nobody writes to: opening it blocks for ever, as it would in this process."""
    monkeypatch.setattr(limits, "LIBOQS_PROBE", 0.5)
    pipe = tmp_path / "liboqs.so"
    os.mkfifo(pipe)
    with pytest.raises(Unavailable, match=r"did not load in 0\.5 s"):
        probe_liboqs([str(pipe), "behind.so"])


def test_a_library_that_hangs_while_loading_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LIBOQS_PROBE", 0.5)
    with pytest.raises(Unavailable, match="did not load"):
        probe_liboqs([library(tmp_path, "-DHANGS")])


def test_a_library_that_crashes_ends_the_search(tmp_path: Path) -> None:
    right = library(tmp_path / "right")
    with pytest.raises(Unavailable, match=r"broken one \(the probe ended with -6\)"):
        probe_liboqs([library(tmp_path / "crashes", "-DCRASHES"), right])


@pytest.mark.parametrize("flag", ["-DLACKS", "-DOLD"])
def test_a_library_without_what_we_need_is_refused_by_version(tmp_path: Path, flag: str) -> None:
    with pytest.raises(Unavailable, match=r"version 0\.16\.0\) lacks"):
        probe_liboqs([library(tmp_path, flag)])


def test_another_library_is_no_liboqs() -> None:
    with pytest.raises(Unavailable, match="is no liboqs"):
        probe_liboqs(["libc.so.6"])


@pytest.mark.parametrize("output", [b"", b"0.16.0", b"fits", b"a b c", b"\xff\xfe", b"0.16.0 maybe"])
def test_unreadable_answers_are_refused(output: bytes) -> None:
    with pytest.raises(Unavailable, match="no readable version"):
        _version_said("x", output)


def test_an_interpreter_that_cannot_start_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "absent"))
    with pytest.raises(Unavailable, match="probe could not start"):
        probe_liboqs(["x"])
