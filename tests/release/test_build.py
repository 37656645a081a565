"""The wheel and the sdist: the same bytes wherever they are built, complete, and without what is not theirs."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import attrs
import pytest

from volly_fed import __version__

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ONLY_IN_A_CHECKOUT = (".ci/",)
INFO = f"volly_fed-{__version__}.dist-info"


@attrs.frozen
class Built:
    """One build: what the builder said, and the two files."""

    said: str
    sdist: Path
    wheel: Path


@pytest.fixture(scope="module")
def tracked() -> frozenset[str]:
    """What git has."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout: nothing says what belongs to it")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return frozenset(name for name in listed.split("\0") if name and (ROOT / name).exists())


def build(tracked: frozenset[str], tree: Path, *options: str, age: int, mode: int) -> Built:
    """Build from a copy whose files are that old and have that mode."""
    for name in tracked:
        target = tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
        target.chmod(mode)
        os.utime(target, (age, age))
    # -W error: what the build backend warns about fails
    command = [sys.executable, "-W", "error", "-m", "build", "--no-isolation", *options, str(tree)]
    environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,), (wheel,) = (tree / "dist").glob("*.tar.gz"), (tree / "dist").glob("*.whl")
    return Built(done.stdout + done.stderr, sdist, wheel)


@pytest.fixture(scope="module")
def built(tracked: frozenset[str], tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The wheel is built from the sdist."""
    return build(tracked, tmp_path_factory.mktemp("here"), age=1_000_000_000, mode=0o644)


def test_nothing_is_warned_about(built: Built) -> None:
    assert "warn" not in built.said.lower()
    assert "deprecat" not in built.said.lower()


def test_another_place_and_time_give_the_same_bytes(
    built: Built, tracked: frozenset[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("elsewhere")
    again = build(tracked, folder, "--sdist", "--wheel", age=1_700_000_001, mode=0o600)  # both straight from the tree
    for one, other in ((built.sdist, again.sdist), (built.wheel, again.wheel)):
        assert one.name == other.name
        assert one.read_bytes() == other.read_bytes(), one.name


def test_the_wheel_has_the_package_its_types_and_its_licence_alone(built: Built, tracked: frozenset[str]) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = set(wheel.namelist())
        assert wheel.read(f"{INFO}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        assert "License-Expression: Apache-2.0" in wheel.read(f"{INFO}/METADATA").decode()
    package = {name for name in tracked if name.startswith("volly_fed/")}
    assert "volly_fed/py.typed" in package
    metadata = {f"{INFO}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    assert names == package | metadata


def test_the_sdist_has_everything_that_git_has(built: Built, tracked: frozenset[str]) -> None:
    with tarfile.open(built.sdist) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert names == {name for name in tracked if not name.startswith(ONLY_IN_A_CHECKOUT)} | {"PKG-INFO"}
