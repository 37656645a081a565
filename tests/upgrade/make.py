"""Makes what a release leaves on the disk: two domains that know each other, with envelopes on their way.

in: the name of an archive to make; run by the release's own code, see README.md; out: the archive.
a.test has two envelopes queued for bob@b.test, b.test has three in his mailbox, and he has had one before that.
Never: uses what is not in the first release: it has to run with all of them.
"""

import json
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import trio

import volly_fed
from tests.federation.harness import A, B, Federation, Heard, count_rows, federation, listening
from volly_fed.daemon import material
from volly_fed.names import fingerprint_text

STORED = ["stored at b.test: 1", "stored at b.test: 2", "stored at b.test: 3"]
QUEUED = ["queued at a.test: 1", "queued at a.test: 2"]
_NOT_KEPT = {"homeserver.log", "edge-1.log", "admin.sock"}


async def fill(net: Federation) -> dict[str, Any]:
    """Let the envelopes come where they are to be found; what the test is to find."""
    alice, bob, heard = net.device(A, "alice"), net.device(B, "bob"), Heard()
    async with listening(bob, heard):
        assert (await alice.send(bob.card, "before")).accepted
        await heard.wait(1)
    for text in STORED:
        assert (await alice.send(bob.card, text)).accepted
    await net.homeserver(A).stop()  # not before all has left
    await net.homeserver(B).stop()
    assert count_rows(net.store(B), "inbound") == len(STORED)
    await net.start_homeservers(A)
    for text in QUEUED:
        assert (await alice.send(bob.card, text)).accepted
    await net.homeserver(A).stop()
    assert count_rows(net.store(A), "outbound") == len(QUEUED)
    identities = {
        domain: fingerprint_text(material.load_material(net.site(domain).folder / "data").fingerprint)
        for domain in (A, B)
    }
    return {"made_at": int(time.time()), "identities": identities, "waiting": [*STORED, *QUEUED], "had": ["before"]}


async def make(target: Path) -> None:
    """Make `target`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with federation(folder) as net:
            found = await fill(net)
        (folder / "expected.json").write_text(json.dumps(found, indent=1))
        with tarfile.open(target, "x:xz") as archive:
            for path in ("expected.json", f"net/{A}", f"net/{B}", "device-alice", "device-bob"):
                archive.add(folder / path, path, filter=_kept)


def _kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return None if Path(member.name).name in _NOT_KEPT else member


if __name__ == "__main__":
    assert Path(volly_fed.__file__).is_relative_to(Path.cwd()), f"{volly_fed.__file__} is not the release's"
    trio.run(make, Path(sys.argv[1]))
