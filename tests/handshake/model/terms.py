"""HELLO, what one end sees of its channel, and what AUTH signs, field by field.

in: nothing of the code; tests/handshake/test_model_fields.py compares the fields with the real ones.
out: Hello, View, FIELDS, transcript.
"""

from collections.abc import Callable
from operator import itemgetter
from typing import Any, NamedTuple

from tests.handshake.model.world import Kind

DIALLER, ACCEPTOR = "dialler", "acceptor"


class Hello(NamedTuple):
    """As `wire.messages.Hello`; `versions` is the highest one (the lowest is 1)."""

    versions: int
    own: str
    wanted: str
    identity: str
    nonce: str
    extensions: str


class View(NamedTuple):
    """As `ChannelBinding` and both HELLOs, seen from one end. `exporter` stands for the connection."""

    exporter: str
    alpn: Kind
    group: str
    dialler_key: str
    acceptor_key: str
    dialler: Hello
    acceptor: Hello


CHANNEL_FIELDS = (
    "context",
    "label",
    "role",
    "exporter context",
    "exporter",
    "alpn",
    "group",
    "signer SPKI",
    "other SPKI",
)
HELLO_FIELDS = tuple(f"{role} {field}" for role in (DIALLER, ACCEPTOR) for field in Hello._fields)
FIELDS = CHANNEL_FIELDS + HELLO_FIELDS
"""In the order of `transcript`."""

Transcript = tuple[Any, ...]


def whole_transcript(view: View, signer: str) -> Transcript:
    """Everything that `signer` signs on the channel that `view` shows, in the order of FIELDS."""
    keys = view.dialler_key, view.acceptor_key
    own, other = keys if signer == DIALLER else reversed(keys)
    fixed = ("volly-fed/s2s-auth/v1", "volly-fed s2s hybrid authentication v1")
    return (*fixed, signer, signer, view.exporter, view.alpn, view.group, own, other, *view.dialler, *view.acceptor)


def transcript_without(dropped: frozenset[str]) -> Callable[[View, str], Transcript]:
    """`whole_transcript` without the fields in `dropped`."""
    unknown = dropped - set(FIELDS)
    assert not unknown, f"{unknown} are no fields of the transcript"
    pick = itemgetter(*(n for n, field in enumerate(FIELDS) if field not in dropped))

    def transcript(view: View, signer: str) -> Transcript:
        picked: Transcript = pick(whole_transcript(view, signer))
        return picked

    return transcript
