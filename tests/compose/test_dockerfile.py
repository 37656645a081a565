"""The Dockerfile is understood as a whole, and what is not understood is an error."""

from pathlib import Path

import pytest

from tests.compose.dockerfile import Step, load, needed
from tests.compose.namespaces import ROOT
from tests.compose.roots import Image


def read(folder: Path, text: str) -> Path:
    path = folder / "Dockerfile"
    path.write_text(text)
    return path


def test_the_stages_of_ours() -> None:
    stages = load(ROOT / "Dockerfile")
    assert list(stages) == ["base", "liboqs", "wheel", "volly-fed", "testbed"]
    assert [stage.name for stage in needed(stages, "volly-fed")] == ["base", "wheel", "liboqs", "volly-fed"]
    assert Step("USER", "10001:10001") in stages["volly-fed"].steps


def test_lines_that_go_on_are_one_step(tmp_path: Path) -> None:
    text = "# made up\nFROM there AS here\nRUN one && \\\n    # between\n    two\n\nENV A=1\n"
    stages = load(read(tmp_path, text))
    assert stages["here"].steps == (Step("RUN", "one &&     two"), Step("ENV", "A=1"))


@pytest.mark.parametrize(
    "text", ["FROM there\n", "RUN first\n", "FROM there AS here\nADD . /\n", "FROM a AS b\nRUN \\\n"]
)
def test_what_is_not_understood_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"not understood|goes on"):
        load(read(tmp_path, text))


def test_what_stands_before_a_command() -> None:
    image = Image(layers=(), environment={"PATH": "/bin"}, user="1:2", workdir="/srv")
    plain = ["/usr/bin/env", "-i", "--chdir=/srv", "PATH=/bin", "/usr/bin/setpriv", "--reuid=1", "--regid=2"]
    assert image.enter() == [*plain, "--clear-groups", "--"]
    assert "--no-new-privs" in image.enter(locked=True)
    assert Image(layers=(), user="root").enter() == ["/usr/bin/env", "-i", "--chdir=/"]
