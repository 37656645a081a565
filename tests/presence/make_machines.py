"""The vectors of presence that are filters in pieces; those of both machines are in cases_viewing and cases_showing.

Like tests.presence.make_vectors, which writes them, this knows nothing of the package that is tested: messages are put
together byte by byte. Of what the showing side draws by chance only what everybody must do alike is expected.
"""

import hashlib

from tests.presence.cases_showing import showing
from tests.presence.cases_viewing import viewing
from tests.presence.plain import KEY, Vectors, case
from tests.presence.spelling import EPOCH, PIECE, bits_of, message

__all__ = ["showing", "snapshots", "viewing"]


def snapshots() -> list[Vectors]:
    cases = []
    for size, members, sequence in ((0, 3, 0), (1, 3, 23), (2, 3, 24), (3, 1, 70_000)):
        bits = bits_of(KEY, size, members)
        pieces = []
        for offset in range(0, len(bits), PIECE):
            whole = message(0x52, EPOCH, KEY, size, sequence, offset, bits[offset : offset + PIECE])
            pieces.append(
                {
                    "offset": offset,
                    "size": len(whole),
                    "head": whole[:48].hex(),
                    "sha256": hashlib.sha256(whole).hexdigest(),
                }
            )
        given = {"epoch": EPOCH, "key": KEY.hex(), "class": size, "sequence": sequence, "members": members}
        cases.append(case(f"class-{size}-in-{len(pieces)}", given, accept={"pieces": pieces}))
    return cases
