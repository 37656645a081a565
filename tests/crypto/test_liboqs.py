"""The adapter and its loading. No package index has a native liboqs, so liboqs-python is played by a fake package."""

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crypto.fake_oqs import Faults
from volly_fed.crypto.liboqs import LiboqsProvider, load_liboqs
from volly_fed.crypto.openssl import OpenSslProvider
from volly_fed.crypto.probe import Unavailable
from volly_fed.crypto.provider import choose_provider
from volly_fed.crypto.secret import Secret
from volly_fed.errors import LocalError

Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make `import oqs` run the given program; the probe finds nothing unless the test says so."""

    def install(program: str) -> None:
        package = tmp_path / "packages" / "oqs"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(program)
        monkeypatch.syspath_prepend(str(package.parent))
        monkeypatch.delitem(sys.modules, "oqs", raising=False)

    monkeypatch.setenv("OQS_INSTALL_PATH", str(tmp_path / "nothing"))
    monkeypatch.delitem(sys.modules, "oqs", raising=False)
    return install


def found() -> str:
    return "0.16.0"


def test_without_liboqs_python_nothing_is_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "oqs", None)

    def probe() -> str:
        raise AssertionError("probed")

    with pytest.raises(Unavailable, match="liboqs-python is not installed"):
        load_liboqs(OpenSslProvider(), probe=probe)


def test_without_a_library_liboqs_python_is_not_imported(install: Install) -> None:
    install("raise AssertionError('imported')")
    with pytest.raises(Unavailable, match="no liboqs shared library was found"):
        load_liboqs(OpenSslProvider())
    assert "oqs" not in sys.modules


def test_the_setting_liboqs_is_refused_clearly_where_there_is_no_library(install: Install) -> None:
    install("raise AssertionError('imported')")
    with pytest.raises(
        LocalError, match=r"no liboqs shared library was found; note: install the liboqs shared library"
    ):
        choose_provider("liboqs")
    assert choose_provider("auto").name == "openssl"


def test_a_found_library_is_loaded_and_passes_the_self_test(install: Install) -> None:
    install("from tests.crypto.fake_oqs import *")
    provider = choose_provider("liboqs", load=lambda openssl: load_liboqs(openssl, probe=found))
    assert provider.name == "liboqs"
    assert provider.description.startswith("liboqs 0.16.0 ")


def test_importing_is_caged(install: Install, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = os.environ["PATH"]
    install(
        "import os, warnings, pathlib\n"
        "print('liboqs-python faulthandler is disabled')\n"
        "warnings.warn('liboqs version differs')\n"
        f"pathlib.Path({str(tmp_path)!r}, 'path').write_text(os.environ['PATH'])\n"
        "from tests.crypto.fake_oqs import *\n"
    )
    load_liboqs(OpenSslProvider(), probe=found)
    assert capfd.readouterr().out == ""
    assert (tmp_path / "path").read_text() == os.devnull
    assert os.environ["PATH"] == path


def test_a_missing_path_stays_missing(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("from tests.crypto.fake_oqs import *")
    monkeypatch.delenv("PATH")
    load_liboqs(OpenSslProvider(), probe=found)
    assert "PATH" not in os.environ


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise SystemExit(1)", "SystemExit"),
        ("raise RuntimeError('no')", "RuntimeError"),
        ("import subprocess; subprocess.run(['git', 'clone'])", "NotADirectoryError"),
        ("", "AttributeError"),
    ],
)
def test_a_package_that_does_not_load_is_a_reason(program: str, reason: str, install: Install) -> None:
    path = os.environ["PATH"]
    install(program)
    with pytest.raises(Unavailable, match=rf"does not load \({reason}\)"):
        load_liboqs(OpenSslProvider(), probe=found)
    assert os.environ["PATH"] == path


def test_keys_inside_liboqs_are_freed_with_their_object(fake_liboqs: LiboqsProvider) -> None:
    key = fake_liboqs.mlkem768_key(Secret(bytes(64)))
    before = Faults.freed
    del key
    gc.collect()
    assert Faults.freed == before + 1


@pytest.mark.parametrize("size", [0, 32, 63, 65])
def test_seeds_of_a_wrong_size_never_reach_liboqs(size: int, fake_liboqs: LiboqsProvider) -> None:
    with pytest.raises(ValueError, match="an ML-KEM-768 seed has 64 bytes"):
        fake_liboqs.mlkem768_key(Secret(bytes(size)))
