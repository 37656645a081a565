"""What the writers of vectors have in common: messages spelled without the package's own codec, cases, files."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cbor2

from tests.vectors import SPEC

Vectors = dict[str, Any]
VECTORS = SPEC / "vectors"
RECORDED = Path(__file__).parent / "recorded.json"


def cbor(value: object) -> bytes:
    """Deterministic CBOR, by another encoder than the one that is tested."""
    return cbor2.dumps(value, canonical=True)


def expand(label: str, size: int) -> bytes:
    """Bytes that look random: SHAKE-256 of the label."""
    return hashlib.shake_256(label.encode()).digest(size)


def vectors(
    concept: str, kind: str, covers: str, cases: Sequence[Vectors], notes: dict[str, str] | None = None
) -> Vectors:
    """A file; `covers`: the requirements that it shows, by number, or by id where they are another document's."""
    ids = [f"{concept}-{number}" if number.isdigit() else number for number in covers.split()]
    return {"spec": f"{concept} v1", "kind": kind, "covers": ids, "notes": notes or {}, "cases": list(cases)}


def case(identity: str, given: Vectors, *, flags: Sequence[str] = (), **expect: Vectors) -> Vectors:
    return {"id": identity, "flags": list(flags), "given": given, "expect": expect}


def rejected(code: str, kind: str = "BadMessage") -> Vectors:
    return {"class": kind, "code": code}


def text(document: Vectors) -> str:
    return json.dumps(document, indent=1) + "\n"


def write(concept: str, name: str, document: Vectors) -> None:
    folder = VECTORS / concept
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(text(document), encoding="utf-8")


def recorded() -> dict[str, bytes]:
    """What cannot be made again, for a library has put randomness of its own into it.

    `xwing_*` is the first test vector of draft-connolly-cfrg-xwing-kem; signatures are by the identity of a vector.
    """
    values: dict[str, str] = json.loads(RECORDED.read_text(encoding="utf-8"))
    return {name: bytes.fromhex(value) for name, value in values.items()}
