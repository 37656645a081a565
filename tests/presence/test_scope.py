"""Scope x level: the columns about presence of the trust table."""

import pytest

from volly_fed.codepoints import TrustLevel
from volly_fed.names import DomainName
from volly_fed.presence.scope import hear, show, tag_to_show

PEER = DomainName("peer.example")
NAMED, ANYBODY = b"n" * 16, b"a" * 16
SCOPES = {"other.example": b"o" * 16}
L = TrustLevel


@pytest.mark.parametrize(
    ("level", "given", "shown"),
    [
        (L.FULL, {}, None),
        (L.FULL, {"*": ANYBODY}, ANYBODY),
        (L.FULL, {PEER: NAMED}, NAMED),
        (L.FULL, {"*": ANYBODY, PEER: NAMED}, NAMED),
        (L.SELECTIVE, {}, None),
        (L.SELECTIVE, {"*": ANYBODY}, None),
        (L.SELECTIVE, {PEER: NAMED}, NAMED),
        (L.SELECTIVE, {"*": ANYBODY, PEER: NAMED}, NAMED),
        (L.METADATA, {}, None),
        (L.METADATA, {"*": ANYBODY}, ANYBODY),
        (L.METADATA, {PEER: NAMED}, NAMED),
        (L.NONE, {"*": ANYBODY, PEER: NAMED}, None),
    ],
)
def test_who_is_shown(level: TrustLevel, given: dict[str, bytes], shown: bytes | None) -> None:
    for tags in (given, given | SCOPES):
        assert tag_to_show(level, PEER, tags) == shown
        decision = show(level, PEER, tags)
        assert decision.allowed is (shown is not None)
        assert decision.level is level
        assert level in decision.reason


@pytest.mark.parametrize(("level", "heard"), [(L.FULL, True), (L.SELECTIVE, True), (L.METADATA, True), (L.NONE, False)])
def test_who_is_heard(level: TrustLevel, heard: bool) -> None:
    assert hear(level, PEER).allowed is heard
