"""An edge node knows its homeserver by the identity it was given, and takes no envelopes from it."""

from pathlib import Path

import pytest
import trio

from tests.daemon.edge_nodes import E1, edge_node, home, one
from tests.daemon.sites import A, material
from tests.daemon.test_edge_reload import reads
from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.daemon.edge_node import _HomeserverHandler
from volly_fed.errors import RemoteError
from volly_fed.names import Fingerprint
from volly_fed.session import Received

STRANGER = Fingerprint(bytes(32))


@pytest.mark.spec("edge-3")
async def test_a_homeserver_with_another_identity_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = one(tmp_path)
    async with home(a, E1) as port, edge_node(port) as node:
        reads(monkeypatch, node, material(E1), homeserver_identity=STRANGER)
        await node.node.reload()
        with trio.fail_after(limits.DIAL):
            down = await node.log.wait("homeserver_down")
        assert "identity" in down["reason"]
        assert node.node._link is None
        assert len(node.log.all("homeserver_up")) == 1


@pytest.mark.spec("edge-3")
async def test_while_it_changes_either_identity_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = one(tmp_path)
    async with home(a, E1) as port, edge_node(port) as node:
        following = material(A).fingerprint
        reads(monkeypatch, node, material(E1), homeserver_identity=STRANGER, homeserver_identity_next=following)
        await node.node.reload()
        with trio.fail_after(limits.DIAL):
            await node.log.wait("homeserver_up", count=2)
        assert node.log.all("homeserver_down") == []


@pytest.mark.spec("edge-6")
async def test_a_homeserver_that_submits_breaks_the_protocol(tmp_path: Path) -> None:
    """What the link makes of the error, tests of the link show."""
    async with home(one(tmp_path), E1) as port, edge_node(port) as node:
        with pytest.raises(RemoteError) as caught:
            await _HomeserverHandler(node.node).received(Received(stream=bytes(8), first=1, envelopes=[b""]))
    assert caught.value.code is ErrorCode.UNEXPECTED
