"""The Dockerfile's steps, run without an engine: each stage is a folder over those that it builds on.

in: the Dockerfile, the repository as its context; out: images.
In place of the base image, which nobody here can fetch, stands a Debian root of the same release with the same Python.
The steps themselves run as they are written, with the network and the certificates of this machine.
Never: runs a step with another value than the defaults of its ARGs.
"""

import json
import os
import re
import shlex
import string
import subprocess
from pathlib import Path
from typing import Final

import attrs

from tests.compose.dockerfile import Stage, Step, load, needed
from tests.compose.roots import MOUNT, Image

_SEARCH: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_BASE: Final = re.compile(r"python:(?P<python>\d+\.\d+)-slim-(?P<debian>[a-z]+)")
_SETTINGS: Final = ("PIP_CERT", "PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT", "SSL_CERT_FILE", "http_proxy", "https_proxy")
"""Of this machine's way to the network, what a step may need; an engine has settings of its own."""
_CERTIFICATES: Final = "/etc/ssl/certs"
_RUN: Final = f"""
set -eu
{MOUNT}
mount --bind /etc/resolv.conf "$ROOT/etc/resolv.conf"
mount --bind {_CERTIFICATES} "$ROOT{_CERTIFICATES}"
exec chroot "$ROOT" "$@"
"""
_COPY: Final = f"""
set -eu
{MOUNT}
mkdir -p "$ROOT$TARGET"
exec tar --extract --directory "$ROOT$TARGET"
"""
_READ: Final = f"""
set -eu
{MOUNT}
exec tar --create --directory "$ROOT$SOURCE" .
"""
_SLIM: Final = ("doc", "locale", "man")
_PYTHON: Final = "python3 -m venv /opt/python && ln -s /opt/python/bin/python /opt/python/bin/pip /usr/local/bin/"
_LAST: Final = 4000


@attrs.define(kw_only=True)
class Builder:
    """Makes images below `folder`, each stage once."""

    dockerfile: Path
    folder: Path
    images: dict[str, Image] = attrs.field(factory=dict)

    def image(self, target: str) -> Image:
        """What the stage `target` leaves. Minutes may pass. Fails with the last lines of a step that fails."""
        for stage in needed(load(self.dockerfile), target):
            if stage.name not in self.images:
                self.images[stage.name] = self._stage(stage)
        return self.images[target]

    def _stage(self, stage: Stage) -> Image:
        if stage.base not in self.images:
            self.images[stage.base] = self._stand_in(stage.base)
        image = self.images[stage.base]
        image = attrs.evolve(image, layers=(self._written(stage.name), *image.layers))
        self._written(stage.name).mkdir(parents=True)
        arguments: dict[str, str] = {}
        for step in stage.steps:
            match step.word:
                case "ARG":
                    name, _, default = step.text.partition("=")
                    arguments[name] = default.strip('"')
                case "RUN":
                    command = [*image.enter(variables=arguments | _settings()), "/bin/sh", "-c", step.text]
                    self._run(stage.name, image, _RUN, command, {})
                case "COPY":
                    self._copy(stage.name, image, step)
                case _:
                    image = _with(image, step)
        return image

    def _written(self, name: str) -> Path:
        return self.folder / name / "upper"

    def _run(
        self, name: str, image: Image, script: str, command: list[str], variables: dict[str, str], data: bytes = b""
    ) -> bytes:
        lower = attrs.evolve(image, layers=tuple(layer for layer in image.layers if layer != self._written(name)))
        words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
        done = subprocess.run(
            [*words, "bash", "-c", script, name, *command],
            input=data,
            capture_output=True,
            check=False,
            env={**os.environ, **lower.mounting(self.folder / name), **variables},
        )
        said = (done.stdout + done.stderr)[-_LAST:].decode(errors="replace")
        assert done.returncode == 0, f"stage {name}: {' '.join(command)}\nends with {done.returncode}:\n{said}"
        return done.stdout

    def _copy(self, name: str, image: Image, step: Step) -> None:
        *sources, target = step.text.split()
        if sources[0].startswith("--from="):
            stage, (source,) = sources[0].removeprefix("--from="), sources[1:]
            data = self._run(f"{stage}-read", self.images[stage], _READ, [], {"SOURCE": source})
        else:
            data = self._from_context(sources)
        self._run(name, image, _COPY, [], {"TARGET": target}, data)

    def _from_context(self, sources: list[str]) -> bytes:
        """Files of the repository, in a tape archive; of `.` all that .dockerignore lets through."""
        root = self.dockerfile.parent
        everything, *rest = (root / ".dockerignore").read_text().split()
        assert everything == "*", "only exceptions from everything are understood here"
        seen = [line.removeprefix("!") for line in rest]
        if sources == ["."]:
            words = seen
        else:
            assert set(sources) <= set(seen), f".dockerignore keeps {sources} away"
            words = ["--transform=s,.*/,,", *sources]
        command = ["tar", "--create", "--owner=0", "--group=0", "--numeric-owner", "--directory", str(root), *words]
        return subprocess.run(command, capture_output=True, check=True).stdout

    def _stand_in(self, base: str) -> Image:
        wanted = _BASE.fullmatch(base)
        assert wanted, f"nothing can stand in for {base}"
        root = self.folder / "stand-in"
        options = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _SLIM]
        options += [f"--aptopt={line}" for line in _apt_settings()]
        options += ["--include=python3-venv,ca-certificates", f"--customize-hook=chroot \"$1\" sh -c '{_PYTHON}'"]
        command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", *options, wanted["debian"], str(root)]
        done = subprocess.run(command, capture_output=True, check=False, text=True)
        assert done.returncode == 0, done.stderr[-_LAST:]
        # as in images of Debian: nothing that is installed is started
        policy = root / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        image = Image(layers=(root,), environment=_SEARCH)
        says = self._run("base-check", image, _RUN, [*image.enter(), "python", "--version"], {}).decode()
        assert says.startswith(f"Python {wanted['python']}."), f"{says} is not the Python of {base}"
        return image


def _with(image: Image, step: Step) -> Image:
    environment = dict(image.environment)
    match step.word:
        case "ENV":
            for word in shlex.split(step.text):
                key, _, value = word.partition("=")
                environment[key] = string.Template(value).substitute(environment)
            return attrs.evolve(image, environment=environment)
        case "USER":
            return attrs.evolve(image, user=step.text)
        case "WORKDIR":
            return attrs.evolve(image, workdir=step.text)
        case "CMD":
            return attrs.evolve(image, command=tuple(json.loads(step.text)))
        case "EXPOSE":
            return image
    raise ValueError(f"not carried out: {step.word}")


def _settings() -> dict[str, str]:
    return {name: os.environ[name] for name in _SETTINGS if name in os.environ}


def _apt_settings() -> list[str]:
    """How this machine's apt gets to the network."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, check=True, text=True).stdout
    return [line for line in dump.splitlines() if re.match(r"Acquire::(https?::Proxy|Check-)", line)]
