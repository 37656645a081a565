"""A homeserver whose files change while it runs: what a reload takes over, and when it takes nothing."""

import errno
import os
from pathlib import Path

import pytest
import trio

from tests.daemon.sites import Site, envelope, material, sites
from volly_fed.codepoints import TrustLevel
from volly_fed.config.keys import KeyKind, format_key
from volly_fed.config.values import Server
from volly_fed.crypto.signature import IdentityKey
from volly_fed.daemon import reread
from volly_fed.daemon.dns.resolver import system_resolvers
from volly_fed.daemon.files import write_text
from volly_fed.daemon.setup import create_homeserver
from volly_fed.errors import ConfigError, LocalError
from volly_fed.names import DomainName, fingerprint_text

A, B = DomainName("a.test"), DomainName("b.test")
NETWORK = [Server("192.0.2.53", 53)]
"""What the system's resolver is said to be."""


@pytest.fixture(autouse=True)
def system(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here depends on the resolvers of the machine."""
    monkeypatch.setattr(reread, "system_resolvers", lambda: list(NETWORK))


def site_with_files(folder: Path) -> Site:
    """One whose keys are the files in its folder."""
    [site] = sites(folder, A)
    create_homeserver(
        folder / "made" / "f.toml",
        {"server.domain": A, "federation.host": f"fed.{A}", "server.data_dir": str(site.folder)},
    )
    return site


async def test_a_reload_shows_the_keys_of_the_files_and_asks_the_resolvers_of_the_network(tmp_path: Path) -> None:
    site = site_with_files(tmp_path)
    async with site.running(listening=False):
        server = site.server
        before = server.credentials
        assert before.keys.fingerprint == material(A).fingerprint

        answer = await server.reload()
        shown = server.credentials
        assert shown is not before
        assert (
            answer["identity"] == fingerprint_text(shown.keys.fingerprint) != fingerprint_text(before.keys.fingerprint)
        )
        assert answer["tls_spki_sha256"] == shown.keys.tls.key.spki_sha256.hex()
        assert server.peers.dialer.party.key is shown.keys.identity
        assert server.peers.dialer.context is shown.to_peers
        assert server._peer_plan("192.0.2.1").context is shown.for_peers
        assert server._edge_plan("192.0.2.1").party is shown.party
        assert site.log.all("keys_changed", fingerprint=answer["identity"])
        assert list(server.resolver.servers) == NETWORK

        await server.reload()
        assert len(site.log.all("keys_changed")) == 1
        assert len(site.log.all("reloaded")) == 2


@pytest.mark.parametrize("spoiled", ["trust.toml", "edges.toml", "identity.key", "tls.crt", "continuity.cbor"])
@pytest.mark.spec("trust-10")
async def test_one_file_that_cannot_be_used_keeps_everything_as_it_was(tmp_path: Path, spoiled: str) -> None:
    site = site_with_files(tmp_path)
    async with site.running(listening=False):
        server = site.server
        await server.reload()
        before, policy, resolvers = server.credentials, server.judge.policy, server.resolver.servers
        write_text(site.folder / "identity.key", format_key(KeyKind.IDENTITY, IdentityKey.generate(os.urandom).seed))
        write_text(site.folder / "trust.toml", 'default = "none"\n')
        write_text(site.folder / spoiled, "x")
        with pytest.raises(LocalError, match=rf"nothing was reloaded: [^\n]*{spoiled}(.|\n)*\nnote: "):
            await server.reload()
        assert server.credentials is before
        assert server.judge.policy is server.intake.policy is policy
        assert server.resolver.servers == resolvers
        assert server.peers.dialer.context is before.to_peers
        assert spoiled in site.log.all("reload_failed")[0]["reason"]
        await server._reload_on_signal()
        assert len(site.log.all("reload_failed")) == 2


async def test_a_disk_that_fails_keeps_everything_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = site_with_files(tmp_path)
    whole = Path.stat

    def broken(path: Path, **how: bool) -> os.stat_result:
        if path.name == "edges.toml":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return whole(path, **how)

    async with site.running(listening=False):
        before = site.server.credentials
        monkeypatch.setattr(Path, "stat", broken)
        await site.server._reload_on_signal()
        assert "edges.toml cannot be read" in site.log.all("reload_failed")[0]["reason"]
        assert site.server.credentials is before


async def test_resolvers_that_may_not_be_believed_are_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = site_with_files(tmp_path)

    def refuse(_: object) -> None:
        raise ConfigError(["192.0.2.53 cannot be trusted"])

    async with site.running(listening=False):
        monkeypatch.setattr(site.server.resolver, "use", refuse)
        before = site.server.credentials
        with pytest.raises(LocalError, match=r"nothing was reloaded: 192.0.2.53 cannot be trusted\nnote: correct it"):
            await site.server.reload()
        assert site.server.credentials is before


async def test_reloads_come_one_after_the_other(tmp_path: Path) -> None:
    site = site_with_files(tmp_path)
    async with site.running(listening=False), trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(site.server.reload)
    assert len(site.log.all("reloaded")) == 5


async def test_a_link_from_before_stays_unless_the_policy_forbids_it(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    create_homeserver(
        tmp_path / "made" / "f.toml",
        {"server.domain": A, "federation.host": f"fed.{A}", "server.data_dir": str(a.folder)},
    )
    async with a.running(), b.running():
        await b.register()
        await a.submit(envelope(B))
        await a.until(lambda: len(a.settled) == 1)
        (a.folder / "trust.toml").write_text('default = "full"\n')
        assert (await a.server.reload())["ended"] == 0
        await a.submit(envelope(B))
        await a.until(lambda: len(a.settled) == 2)
        assert len(a.log.all("link_up")) == 1
        (a.folder / "trust.toml").write_text(f'default = "{TrustLevel.NONE}"\n')
        assert (await a.server.reload())["ended"] == 1
        await b.log.wait("link_down", code="POLICY")


def test_the_system_has_resolvers_or_says_so(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.53\n")
    assert system_resolvers(path) == NETWORK
