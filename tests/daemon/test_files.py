import contextlib
import errno
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from volly_fed.daemon.files import (
    PUBLIC_FILE,
    Creation,
    creating,
    locked,
    move_over,
    read_bytes,
    read_private_text,
    read_text,
    there_is,
    write_bytes,
    write_text,
)
from volly_fed.errors import LocalError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_written_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_text(tmp_path / "a", "ä\n")
        write_text(tmp_path / "b", "x", PUBLIC_FILE)
    finally:
        os.umask(before)
    assert (mode(tmp_path / "a"), mode(tmp_path / "b")) == (0o600, 0o644)
    assert read_private_text(tmp_path / "a", "key") == "ä\n"
    assert everything(tmp_path) == ["a", "b"]


def test_a_replaced_file_is_whole_or_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a"
    write_text(target, "old")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LocalError, match="no space left on device\nnote: nothing was changed; make room"):
        write_text(target, "new")
    assert target.read_text() == "old"
    assert everything(tmp_path) == ["a"]


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o602, 0o610, 0o666])
def test_a_key_that_others_can_touch_is_refused_with_the_repair(tmp_path: Path, bits: int) -> None:
    key = tmp_path / "identity.key"
    write_text(key, "x")
    key.chmod(bits)
    with pytest.raises(LocalError) as caught:
        read_private_text(key, "key file")
    assert f"mode {bits:04o}" in str(caught.value)
    assert f"note: run `chmod 600 {key}`" in str(caught.value)
    assert read_text(key, "file") == "x"
    key.chmod(0o400)
    assert read_private_text(key, "key file") == "x"


def test_what_is_missing_is_named_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"key file .*a does not exist\nnote: run init"):
        read_text(tmp_path / "a", "key file", "run init")


def test_what_is_no_file_is_refused_without_blocking(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(LocalError, match="is not a file"):
            read_text(tmp_path / name, "file")


def test_what_is_too_large_or_no_text_is_refused_without_its_content(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"a" * ((1 << 20) + 1))
    (tmp_path / "binary").write_bytes(b"secret\xff")
    with pytest.raises(LocalError, match="larger than"):
        read_text(tmp_path / "large", "file")
    with pytest.raises(LocalError, match="not a text file") as caught:
        read_text(tmp_path / "binary", "file")
    assert caught.value.__cause__ is None


@contextlib.contextmanager
def another_user() -> Iterator[None]:
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes its user, which needs root")


@needs_root
def test_unreadable_and_foreign_files_as_another_user(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    write_text(tmp_path / "key", "x")
    (tmp_path / "ours").write_text("x")
    (tmp_path / "ours").chmod(0o600)
    with another_user():
        with pytest.raises(LocalError, match="cannot be read: permission denied\nnote: run this as the user who owns"):
            read_private_text(tmp_path / "key", "key file")
        with pytest.raises(LocalError, match=f"permission denied\nnote: run this as the user who owns {tmp_path}"):
            write_text(tmp_path / "key", "y")
    assert (tmp_path / "key").read_text() == "x"


def test_a_creation_makes_everything(tmp_path: Path) -> None:
    with Creation() as new:
        new.folder(tmp_path / "a" / "b")
        new.folder(tmp_path / "a")
        new.file(tmp_path / "a" / "b" / "c", "x")
        new.file(tmp_path / "a" / "d", "y", PUBLIC_FILE)
    assert everything(tmp_path) == ["a", "a/b", "a/b/c", "a/d"]
    assert mode(tmp_path / "a" / "b") == 0o700
    assert mode(tmp_path / "a" / "b" / "c") == 0o600


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_creation_that_fails_undoes_itself(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "before").mkdir()

    def make() -> None:
        with Creation() as new:
            new.folder(tmp_path / "before")
            new.folder(tmp_path / "a" / "b")
            new.file(tmp_path / "a" / "b" / "c", "x")
            new.file(tmp_path / "before" / "d", "x")
            raise error

    with pytest.raises(error):
        make()
    assert everything(tmp_path) == ["before"]


def test_a_creation_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")

    def make() -> None:
        with Creation() as new:
            new.file(tmp_path / "new", "x")
            new.file(tmp_path / "there", "x")

    with pytest.raises(LocalError, match="file exists\nnote: nothing was changed"):
        make()
    assert everything(tmp_path) == ["there"]
    assert (tmp_path / "there").read_text() == "mine"


@pytest.mark.parametrize("occupied", [False, True])
def test_file_systems_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, occupied: bool) -> None:
    def unsupported(_path: Path, _target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "hardlink_to", unsupported)
    if occupied:
        (tmp_path / "a").write_text("mine")
        with pytest.raises(LocalError, match="file exists"):
            Creation().file(tmp_path / "a", "x")
    else:
        Creation().file(tmp_path / "a", "x")
    assert everything(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == ("mine" if occupied else "x")


def test_what_others_have_put_in_stays(tmp_path: Path) -> None:
    new = Creation()
    new.folder(tmp_path / "a")
    (tmp_path / "a" / "theirs").write_text("x")
    new.undo()
    assert everything(tmp_path) == ["a", "a/theirs"]


def test_only_one_process_is_inside_a_lock(tmp_path: Path) -> None:
    code = (
        "import fcntl, os, sys\nfd = os.open(sys.argv[1], os.O_RDONLY)\n"
        "try:\n    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n    print('free')\n"
        "except BlockingIOError:\n    print('taken')\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with locked(tmp_path):
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "taken\n"
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "free\n"


def test_a_lock_on_nothing_is_explained(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="no such file"), locked(tmp_path / "nothing"):
        pass


def test_bytes_are_written_as_texts_are(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"\xff\x00", PUBLIC_FILE)
    assert mode(tmp_path / "a") == 0o644
    assert read_bytes(tmp_path / "a", "statement") == b"\xff\x00"
    with pytest.raises(LocalError, match=r"statement .* does not exist\nnote: make one"):
        read_bytes(tmp_path / "b", "statement", "make one")


def test_a_file_takes_the_place_of_another(tmp_path: Path) -> None:
    write_text(tmp_path / "new", "new")
    write_text(tmp_path / "old", "old")
    move_over(tmp_path / "new", tmp_path / "old")
    assert (everything(tmp_path), (tmp_path / "old").read_text()) == (["old"], "new")
    with pytest.raises(LocalError, match="old: no such file"):
        move_over(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_text() == "new"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_writes_belongs_to_the_daemons_user(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12346)
    write_text(tmp_path / "new", "text")
    (tmp_path / "old").write_text("text")
    os.chown(tmp_path / "old", 23456, 23457)
    write_text(tmp_path / "old", "other text")
    owners = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in tmp_path.iterdir()}
    assert owners == {"new": (12345, 12346), "old": (23456, 23457)}


# --- a disk that fails -----------------------------------------------------------------------------------------------


def broken(*_: object, **__: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_disk_that_fails_is_told_as_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    assert there_is(path)
    assert not there_is(tmp_path / "other")
    for module, name, act in (
        (os, "fstat", lambda: read_text(path, "file")),
        (Path, "stat", lambda: there_is(path)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, broken)
            with pytest.raises(LocalError, match=r"cannot be read: (.|\n)*\nnote: "):
                act()


def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(LocalError, match=r"\nnote: "), locked(tmp_path):
        pass


def test_a_large_file_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "made"
    with creating(target) as file:
        file.write(b"half")
        assert not target.exists()
        assert [stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()] == [0o600]
    assert target.read_bytes() == b"half"
    with pytest.raises(LocalError, match="nothing was changed"), creating(target) as file:  # it came meanwhile
        file.write(b"other")
    assert target.read_bytes() == b"half"
    with pytest.raises(ZeroDivisionError), creating(tmp_path / "other"):
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
