"""File systems of their own for processes: layers of folders under one that is written to, as engines stack them.

in: an image; out: what a shell mounts, and what stands before a command that is to run inside.
Linux, and root: overlays have to be allowed.
Never: lets a process inside see a file of the machine that it was not given.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

MOUNT: Final = r"""
mkdir -p "$UPPER" "$WORK" "$ROOT"
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$UPPER,workdir=$WORK" "$ROOT"
mount -t proc proc "$ROOT/proc"
mount -t tmpfs -o mode=0755 tmpfs "$ROOT/dev"
for device in null zero full random urandom tty; do
    : >"$ROOT/dev/$device"
    mount --bind "/dev/$device" "$ROOT/dev/$device"
done
mkdir -m 1777 "$ROOT/dev/shm"
ln -s /proc/self/fd "$ROOT/dev/fd"
ln -s fd/0 "$ROOT/dev/stdin"; ln -s fd/1 "$ROOT/dev/stdout"; ln -s fd/2 "$ROOT/dev/stderr"
"""
"""For bash, in a mount and a process namespace: $ROOT is then what `layers` says, with the usual devices."""


@attrs.frozen(kw_only=True)
class Image:
    """What a stage of a Dockerfile leaves. `layers`: folders, the uppermost first."""

    layers: tuple[Path, ...]
    environment: Mapping[str, str] = attrs.field(factory=dict)
    user: str = ""
    """UID:GID; empty for root."""
    workdir: str = "/"
    command: tuple[str, ...] = ()

    def enter(self, *, variables: Mapping[str, str] | None = None, locked: bool = False) -> list[str]:
        """What stands before a command, where this image is the root already.

        `locked`: without any capability, and without a way to get one.
        """
        found = [f"{key}={value}" for key, value in {**self.environment, **(variables or {})}.items()]
        return ["/usr/bin/env", "-i", f"--chdir={self.workdir}", *found, *self._drop(locked=locked)]

    def _drop(self, *, locked: bool) -> list[str]:
        user, _, group = self.user.partition(":")
        words = [f"--reuid={user}", f"--regid={group}", "--clear-groups"] if user and user != "root" else []
        if locked:
            words += ["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
        return ["/usr/bin/setpriv", *words, "--"] if words else []

    def mounting(self, folder: Path) -> dict[str, str]:
        """The variables of MOUNT; what is written goes below `folder`."""
        return {
            "LOWER": ":".join(map(str, self.layers)),
            "UPPER": str(folder / "upper"),
            "WORK": str(folder / "work"),
            "ROOT": str(folder / "root"),
        }
