"""The bytes and numbers that stand in spec/presence.md and spec/privacy.md are those of the program."""

import re

import numpy as np
import pytest

from tests.vectors import SPEC
from volly_fed.client.presence import announcement
from volly_fed.codepoints import FilterClass
from volly_fed.crypto.secret import Secret
from volly_fed.presence import bounds
from volly_fed.presence.delta import encode_delta
from volly_fed.presence.placement import Placement, filter_bits, filter_bytes, locate, slice_bits
from volly_fed.wire import encode_message
from volly_fed.wire.messages import Announce, PresenceDelta, PresenceRequest, PresenceSnapshot

PAGE = (SPEC / "presence.md").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())
EPOCH = 991_000
PLACE = Placement(Secret(bytes(range(32, 64))), FilterClass.TAGS_4K)
SAID = announcement(Secret(bytes(range(32))), EPOCH, ["b.example", "*"])
BITS = sorted(locate(PLACE.encrypt([SAID.tags[0][1]]), PLACE.width))


_FENCED = re.findall(r"^```\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
LINES = ["".join(line.split()).rstrip("…") for body in _FENCED for line in body.splitlines()]
"""Of the fences, without blanks."""


def begins(data: bytes) -> bool:
    """Whether a long line in the page is how `data` begins."""
    return any(len(line) > 80 and data.hex().startswith(line) for line in LINES)


@pytest.mark.parametrize(
    "data",
    [
        encode_message(SAID),
        encode_message(Announce(number=7, epoch=EPOCH, tags=SAID.tags)),
    ],
)
def test_the_announcements_of_the_run(data: bytes) -> None:
    assert data.hex() in LINES


def test_the_filter_and_the_step_of_the_run() -> None:
    assert f"PRESENCE_REQUEST, `{encode_message(PresenceRequest()).hex()}`" in WORDS
    piece = PresenceSnapshot(epoch=EPOCH, key=PLACE.key.reveal(), size=0, sequence=0, offset=0, bits=bytes(8192))
    assert begins(encode_message(piece))
    changes = encode_delta(np.array(BITS, dtype=np.int64), filter_bits(PLACE.size))
    assert changes is not None
    assert begins(encode_message(PresenceDelta(filter=PLACE.filter_id, sequence=1, changes=changes)))
    assert f"ANNOUNCE`, {len(encode_message(SAID))} bytes" in WORDS
    assert f"encrypts to `{PLACE.encrypt([SAID.tags[0][1]]).hex()}`" in WORDS
    assert f"for the filter `{PLACE.filter_id.hex()}`, sequence 1, with {len(changes)} bytes" in WORDS
    *most, last = map(str, BITS)
    assert f"her bits are {', '.join(most)} and {last}." in WORDS


def test_the_coding_bit_by_bit() -> None:
    data = encode_delta(np.array([5, 40_000], dtype=np.int64), filter_bits(FilterClass.TAGS_4K))
    assert data is not None
    assert f"as bytes `{data[:4].hex()} {data[4:8].hex()}`, and {len(data) - 8} zero bytes" in WORDS
    assert not any(data[8:])


def test_the_table_of_classes() -> None:
    rows = [row for row in re.findall(r"^\| (\d) \|(.*)\|$", PAGE, re.MULTILINE) if row[0] in "01234"]
    found = [[int("".join(cell.split())) for cell in cells.split("|")] for _, cells in rows]
    assert found == [
        [
            bounds.CAPACITY[size],
            slice_bits(size),
            filter_bits(size),
            filter_bytes(size),
            max(1, filter_bytes(size) // bounds.SNAPSHOT_PIECE),
        ]
        for size in FilterClass
    ]


def test_the_measured_figures_are_those_of_the_readme() -> None:
    """Of the README the bench keeps care; privacy.md repeats it, with other words for the rows and what is bold."""

    def figures(text: str) -> list[list[str]]:
        rows = [line for line in text.splitlines() if re.search(r"\d\.\d{3} \(.*\) +\|", line)]
        return [[cell.strip(" *") for cell in row.split("|")[2:-1]] for row in rows]

    readme = (SPEC.parent / "README.md").read_text(encoding="utf-8")
    measured = readme[readme.index("<!-- presence-privacy: begin -->") : readme.index("<!-- presence-privacy: end -->")]
    privacy = (SPEC / "privacy.md").read_text(encoding="utf-8")
    assert len(figures(measured)) > 10
    assert figures(privacy) == figures(measured)
