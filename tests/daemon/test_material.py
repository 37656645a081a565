import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import dns.name
import pytest

from volly_fed.config.model import AnchorSource, HomeserverConfig, Validation
from volly_fed.config.values import read_resolver
from volly_fed.crypto.certificate import TlsKey
from volly_fed.daemon import material
from volly_fed.daemon.dns.configured import make_resolver
from volly_fed.daemon.setup import create_edge, create_homeserver
from volly_fed.errors import ConfigError, LocalError
from volly_fed.names import Fingerprint

VALUES = {"server.domain": "a.test", "federation.host": "fed.a.test"}


def everything(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in folder.rglob("*")}


@pytest.fixture
def config(tmp_path: Path) -> HomeserverConfig:
    return create_homeserver(tmp_path / "v" / "volly-fed.toml", VALUES)


def test_a_new_homeserver_loads_and_keeps_its_keys_private(config: HomeserverConfig, tmp_path: Path) -> None:
    assert everything(tmp_path / "v") == {
        "volly-fed.toml": 0o644,
        "trust.toml": 0o644,
        "data": 0o700,
        "data/identity.key": 0o600,
        "data/tls.key": 0o600,
        "data/tls.crt": 0o644,
        "data/tls-next.key": 0o600,
        "data/tls-next.crt": 0o644,
    }
    assert material.read_homeserver_config(tmp_path / "v" / "volly-fed.toml") == config
    found = material.load_material(config.server.data_dir)
    published = material.load_published(config)
    assert published.identity == found.fingerprint
    assert published.tls[0] == found.tls.key.spki_sha256 != published.tls[1]
    assert published.device_tls is None
    assert material.load_edges(config) == {}
    assert material.load_policy(config).default == "selective"
    assert material.load_anchors(config) is None


def test_no_secret_in_any_repr(config: HomeserverConfig) -> None:
    found = material.load_material(config.server.data_dir)
    for secret in (found.identity.seed, found.tls.key.seed):
        assert secret.reveal().hex() not in repr(found)
        assert repr(secret.reveal())[2:20] not in repr(found)


def test_a_new_edge_loads(tmp_path: Path) -> None:
    values = {
        "edge.name": "edge-1",
        "edge.domain": "a.test",
        "edge.homeserver": "127.0.0.1:5224",
        "edge.homeserver_identity": Fingerprint(bytes(32)),
        "devices.allow_plain_loopback": True,
    }
    config = create_edge(tmp_path / "edge.toml", values)
    assert material.read_edge_config(tmp_path / "edge.toml") == config
    material.load_material(config.edge.data_dir)
    assert sorted(everything(tmp_path)) == [
        "edge-data",
        "edge-data/identity.key",
        "edge-data/tls.crt",
        "edge-data/tls.key",
        "edge.toml",
    ]


@pytest.mark.parametrize("there", ["volly-fed.toml", "trust.toml", "data/identity.key", "data/tls-next.crt"])
def test_nothing_is_overwritten_and_nothing_made_beside_it(tmp_path: Path, there: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / there).write_text("mine")
    before = everything(tmp_path)
    with pytest.raises(LocalError, match=f"will not overwrite .*{there}\nnote: nothing was changed"):
        create_homeserver(tmp_path / "volly-fed.toml", VALUES)
    assert everything(tmp_path) == before
    assert (tmp_path / there).read_text() == "mine"


@pytest.mark.parametrize("step", range(1, 8))
def test_a_creation_that_fails_at_any_file_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    links = 0
    real = Path.hardlink_to

    def fail_at(path: Path, target: Path) -> None:
        nonlocal links
        links += 1
        if links == step:
            raise KeyboardInterrupt
        real(path, target)

    monkeypatch.setattr(Path, "hardlink_to", fail_at)
    with pytest.raises(KeyboardInterrupt):
        create_homeserver(tmp_path / "new" / "volly-fed.toml", VALUES)
    assert everything(tmp_path) == {}


def test_bad_values_are_found_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"federation\.host"):
        create_homeserver(tmp_path / "x" / "volly-fed.toml", {"server.domain": "a.test", "federation.host": "-"})
    assert everything(tmp_path) == {}


@pytest.mark.parametrize("name", ["identity.key", "tls.key", "tls.crt"])
def test_a_missing_file_says_what_to_do(config: HomeserverConfig, name: str) -> None:
    (config.server.data_dir / name).unlink()
    with pytest.raises(LocalError, match=rf"{name} does not exist\nnote: run `volly-fed init DOMAIN`"):
        material.load_material(config.server.data_dir)


@pytest.mark.parametrize("name", ["identity.key", "tls.key"])
def test_a_key_that_others_can_read_stops_the_start(config: HomeserverConfig, name: str) -> None:
    (config.server.data_dir / name).chmod(0o644)
    with pytest.raises(LocalError, match="note: run `chmod 600 "):
        material.load_material(config.server.data_dir)


@pytest.mark.parametrize("name", ["identity.key", "tls.key", "tls.crt"])
def test_damaged_files_are_named(config: HomeserverConfig, name: str) -> None:
    path = config.server.data_dir / name
    path.write_text(path.read_text()[:100])
    with pytest.raises(LocalError, match=f"{name} is damaged"):
        material.load_material(config.server.data_dir)


def test_a_certificate_that_is_base64_but_nothing_else(config: HomeserverConfig) -> None:
    (config.server.data_dir / "tls.crt").write_text(ssl.DER_cert_to_PEM_cert(b"not a certificate"))
    with pytest.raises(LocalError, match="is not that of"):
        material.load_material(config.server.data_dir)


def test_the_wrong_kind_of_key(config: HomeserverConfig) -> None:
    data = config.server.data_dir
    (data / "identity.key").write_text((data / "tls.key").read_text())
    with pytest.raises(LocalError, match="holds a VOLLY-FED TLS SEED, not a VOLLY-FED IDENTITY SEED"):
        material.load_material(data)


def test_a_certificate_of_another_key(config: HomeserverConfig) -> None:
    data = config.server.data_dir
    (data / "tls.crt").write_text((data / "tls-next.crt").read_text())
    with pytest.raises(LocalError, match=r"tls\.crt is not that of .*tls\.key"):
        material.load_material(data)


def test_a_missing_policy_is_not_everybodys_friend(config: HomeserverConfig) -> None:
    config.server.trust_file.unlink()
    with pytest.raises(LocalError, match=r"trust policy .* does not exist"):
        material.load_policy(config)


def test_problems_of_the_policy_and_the_edges_name_their_files(config: HomeserverConfig) -> None:
    config.server.trust_file.write_text('default = "most"\n')
    (config.server.data_dir / "edges.toml").write_text("[a]\n")
    with pytest.raises(ConfigError, match=r"trust\.toml: default"):
        material.load_policy(config)
    with pytest.raises(ConfigError, match=r"edges\.toml: a: "):
        material.load_edges(config)


def test_the_device_certificate_is_published(tmp_path: Path) -> None:
    key = TlsKey.generate()
    certificate = key.self_signed("s.a.test", datetime.now(UTC), timedelta(days=1))
    chain = "# a comment\n" + ssl.DER_cert_to_PEM_cert(certificate) + "trailing"
    (tmp_path / "device.pem").write_text(chain)
    values = VALUES | {"devices.host": "s.a.test", "devices.tls_certificate": tmp_path / "device.pem"}
    config = create_homeserver(tmp_path / "volly-fed.toml", values)
    assert material.load_published(config).device_tls == key.spki_sha256
    (tmp_path / "device.pem").write_text(ssl.DER_cert_to_PEM_cert(b"junk"))
    with pytest.raises(LocalError, match=r"note: check devices\.tls_certificate"):
        material.load_published(config)


def test_a_missing_configuration(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="note: run `volly-fed init DOMAIN`, or name the file with --config"):
        material.read_homeserver_config(tmp_path / "x")
    with pytest.raises(LocalError, match="note: run `volly-fed edge init`"):
        material.read_edge_config(tmp_path / "x")


def test_anchors_come_from_the_file_the_system_or_this_program(
    config: HomeserverConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, kept = tmp_path / "anchors.ds", tmp_path / "root.key"
    system = attrs.evolve(config, dns=attrs.evolve(config.dns, anchors=AnchorSource.SYSTEM))
    monkeypatch.setattr(material, "SYSTEM_ANCHORS", (tmp_path / "missing", kept, named))
    with pytest.raises(
        LocalError, match=r"no trust anchors can be read in .*missing, .*root\.key.*\nnote: install dns-"
    ):
        material.load_anchors(system)
    kept.write_text("kept")
    named.write_text("named")
    assert material.load_anchors(config) is None
    assert material.load_anchors(system) == ("kept", kept)
    both = attrs.evolve(system, dns=attrs.evolve(system.dns, anchors_file=named))
    assert material.load_anchors(both) == ("named", named)


def test_the_resolver_is_made_as_the_configuration_says(config: HomeserverConfig, tmp_path: Path) -> None:
    anchors = tmp_path / "anchors.ds"
    anchors.write_text(". IN DS 1 13 2 " + "00" * 32 + "\n")
    asked = read_resolver("192.0.2.53:5353")
    made = make_resolver(
        attrs.evolve(
            config,
            dns=attrs.evolve(config.dns, resolvers=(asked,), anchors_file=anchors, allow_private_addresses=True),
        )
    )
    assert made.servers == (asked,)
    assert made.allow_private
    assert [ds.key_tag for ds in made.anchors[dns.name.root]] == [1]
    unfit = attrs.evolve(config.dns, resolvers=(asked,), validate=Validation.RESOLVER_AD)
    with pytest.raises(ConfigError, match=r"192\.0\.2\.53"):
        make_resolver(attrs.evolve(config, dns=unfit))
    anchors.write_text("nothing\n")
    with pytest.raises(ConfigError, match=r"anchors\.ds"):
        make_resolver(attrs.evolve(config, dns=attrs.evolve(config.dns, anchors_file=anchors)))
