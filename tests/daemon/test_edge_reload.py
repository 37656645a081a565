"""An edge node reads its files again: what changed is used, what cannot be used changes nothing."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest

from tests.daemon.edge_nodes import E1, RunningNode, edge_node, home, one
from tests.daemon.sites import material
from volly_fed.crypto.certificate import TlsKey
from volly_fed.crypto.signature import IdentityKey, fingerprint
from volly_fed.daemon import material as files
from volly_fed.daemon.material import Material, TlsMaterial
from volly_fed.errors import LocalError


def reads(monkeypatch: pytest.MonkeyPatch, node: RunningNode, keys: Material, **changes: object) -> None:
    """What its files say from now on."""
    edge = attrs.evolve(node.node.config.edge, **changes)  # type: ignore[arg-type] # a test's own names
    config = attrs.evolve(node.node.config, edge=edge)
    monkeypatch.setattr(files, "read_edge_config", lambda _path: config)
    monkeypatch.setattr(files, "load_material", lambda _folder: keys)


def other_keys() -> Material:
    tls, identity = TlsKey.generate(), IdentityKey.generate(os.urandom)
    certificate = tls.self_signed(E1, datetime.now(UTC) - timedelta(days=1), timedelta(days=30))
    return Material(
        identity=identity, fingerprint=fingerprint(identity.public), tls=TlsMaterial(key=tls, certificate=certificate)
    )


async def test_nothing_changed_and_the_link_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = one(tmp_path)
    async with home(a, E1) as port, edge_node(port) as node:
        reads(monkeypatch, node, material(E1))
        link = node.node._link
        await node.node.reload()
        await node.log.wait("reloaded")
        assert node.node._link is link
        assert a.log.all("edge_down") == []


async def test_another_tls_key_is_shown_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = one(tmp_path)
    async with home(a, E1) as port, edge_node(port) as node:
        keys = attrs.evolve(material(E1), tls=other_keys().tls)
        reads(monkeypatch, node, keys)
        await node.node.reload()
        await node.log.wait("homeserver_up", count=2)
        assert node.node.keys is keys
        assert node.log.all("homeserver_down") == []


async def test_another_identity_is_used_with_its_enrolment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = one(tmp_path)
    async with home(a, E1) as port, edge_node(port) as node:
        keys = other_keys()
        a.server.edges.enrolled = lambda: [(E1, keys.fingerprint)]
        reads(monkeypatch, node, keys)
        await node.node.reload()
        await node.log.wait("homeserver_up", count=2)
        assert node.node.registry.connect(77).edge == keys.fingerprint


@pytest.mark.parametrize("broken", ["read_edge_config", "load_material"])
async def test_a_file_that_cannot_be_used_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(_path: Path) -> None:
        raise LocalError("edge.toml: what is this")

    a = one(tmp_path)
    async with home(a, E1) as port, edge_node(port) as node:
        reads(monkeypatch, node, other_keys())
        monkeypatch.setattr(files, broken, fail)
        link, before = node.node._link, (node.node.keys, node.node.config, node.node.context)
        await node.node.reload()
        await node.log.wait("reload_failed")
        assert (node.node.keys, node.node.config, node.node.context) == before
        assert node.node._link is link


async def test_what_wants_a_restart_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = one(tmp_path)
    async with home(a, E1) as port, edge_node(port) as node:
        reads(monkeypatch, node, material(E1), domain="other.test")
        await node.node.reload()
        assert "restart" in (await node.log.wait("reload_failed"))["reason"]
