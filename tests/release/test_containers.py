"""The image and the federation of containers, as far as can be told without building them."""

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from volly_fed.config.example import homeserver_text

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.federation.yml").read_text(encoding="utf-8")
FOLDER = ROOT / "contrib" / "federation"


@pytest.fixture(scope="module")
def prepare() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prepare", FOLDER / "prepare.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_domain_has_its_containers_at_the_addresses_of_its_files(prepare: ModuleType) -> None:
    looked_at = dict(re.findall(r"ipv4_address: ([\d.]+) \} \}\n +environment: \{ CONFIG: (\S+) \}", COMPOSE))
    commands = re.findall(r"command: \[(serve|edge), --config, (\S+)\]\n.*ipv4_address: ([\d.]+)", COMPOSE)
    expected = []
    for number, domain in enumerate(prepare.DOMAINS, 1):
        home, prefix = f"/federation/{domain}", f"172.31.53.{number}"
        expected.append(("serve", f"{home}/volly-fed.toml", f"{prefix}0"))
        edges = range(1, prepare.EDGES + 1)
        expected += [("edge", f"{home}/edge-{edge}/edge.toml", f"{prefix}{edge}") for edge in edges]
    assert commands == expected
    assert looked_at == {address: path for kind, path, address in expected if kind == "serve"}


def test_the_options_that_are_changed_are_there(prepare: ModuleType, tmp_path: Path) -> None:
    config = tmp_path / "volly-fed.toml"
    config.write_text(homeserver_text({"server.domain": "a.test", "federation.host": "fed.a.test"}))
    prepare.change(config, "resolvers", '["192.0.2.2:53"]')
    prepare.change(config, "anchors_file", '"anchors.ds"')
    prepare.change(config, "allow_private_addresses", "true")
    dns = tomllib.loads(config.read_text())["dns"]
    assert dns == {"resolvers": ["192.0.2.2:53"], "anchors_file": "anchors.ds", "allow_private_addresses": True}


def test_the_image_is_made_of_files_that_reach_it() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = {
        name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.MULTILINE) for name in line.split()
    }
    let_in = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE))
    assert {name.split("/")[0] for name in copied} == let_in
    assert all((ROOT / name).exists() for name in copied)
    assert "USER 5223:5223" in dockerfile


def test_what_is_mounted_is_there() -> None:
    mounted = re.findall(r'"\./(\S+?):', COMPOSE)
    assert mounted
    assert all((ROOT / name).exists() for name in mounted)
