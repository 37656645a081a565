"""BIND's delv as a judge: it walks the chain of trust itself, over any server that answers for every zone of a world.

in: a trust anchor, a server's port and a question; out: delv's opinion in RFC 4035's words, and what it said.
"""

import re
from pathlib import Path

import trio

from tests.discovery.debian import tool
from tests.discovery.opinion import Opinion
from volly_fed.discovery.endpoint import Status

PATIENCE = 20.0
"""Seconds for one answer, usually 0.05: delv goes on asking a server that is silent for longer than anybody waits."""
ABSENT = {"ncache nxdomain", "ncache nxrrset"}
"""What delv calls a failed resolution and is a proved or unproved denial."""
BOGUS = {
    "broken trust chain",
    "insecurity proof failed",
    "no valid DS",
    "no valid KEY",
    "no valid NSEC",
    "no valid RRSIG",
    "RRSIG failed to verify",
}


def anchor(folder: Path, text: str) -> Path:
    """The anchors file that delv reads, from the DS line of a zone file."""
    tag, algorithm, digest_type, digest = text.split(" DS ", 1)[1].split()
    path = folder / "delv.anchor"
    path.write_text(f'trust-anchors {{ "." static-ds {tag} {algorithm} {digest_type} "{digest}"; }};\n')
    return path


def opinion_of(output: str) -> Opinion:
    """The opinion on a whole answer: on its worst part, since each link of an alias chain has a line of its own."""
    failure = re.search(r"^;; resolution failed: (.*)$", output, re.MULTILINE)
    if failure and failure[1] not in ABSENT:
        return Opinion.BOGUS if failure[1] in BOGUS else Opinion.INDETERMINATE
    parts = re.findall(r"^; (negative response, )?(fully validated|unsigned answer)$", output, re.MULTILINE)
    if not parts:
        return Opinion.INDETERMINATE
    unsigned = any(part == "unsigned answer" for _, part in parts)
    # after an alias, delv says only how it failed; a denial that it could not prove would be a failure of another kind
    negative = bool(failure) or any(negative for negative, _ in parts)
    return Opinion.of(Status.INSECURE if unsigned else Status.SECURE, records=not negative)


async def judge(anchors: Path, port: int, name: str, rdtype: str) -> tuple[Opinion, str]:
    """delv's opinion on one question, and its messages."""
    command = [tool("delv"), "-a", str(anchors), "+root=.", "@127.0.0.1", "-p", str(port), name, rdtype]
    with trio.move_on_after(PATIENCE):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
        said = done.stderr.decode()
        return opinion_of(f"{done.stdout.decode()}\n{said}"), " ".join(said.split())
    return Opinion.INDETERMINATE, "no answer"
