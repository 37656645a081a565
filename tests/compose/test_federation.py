"""docker-compose.federation.yml comes up from the file itself, and its three domains exchange what their levels permit.

Without an engine: the Dockerfile's steps run in roots of their own, and each service is a process in namespaces of its
own, in the root that its image is, with the file's command, environment, user, capabilities, volumes, address,
resolver, health check and order. What only an engine applies is in `model.LEFT_TO_ENGINES`.
"""

import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trio
import yaml

from tests.compose.image import Builder
from tests.compose.model import LEFT_TO_ENGINES, Service, load
from tests.compose.namespaces import PATH, ROOT, Container, Machine, machine, missing
from tests.compose.roots import Image
from volly_fed import __version__

FILE = ROOT / "docker-compose.federation.yml"
PIP = ("python", "-m", "pip", "--disable-pip-version-check")
NOT_OURS = {"pip"}
"""What `python -m venv` brings itself."""
WAITING = ("sh", "-c", "trap 'exit 0' TERM; sleep infinity & wait")


@pytest.fixture(scope="module")
def images() -> Iterator[dict[str, Image]]:
    """What the Dockerfile makes, by stage."""
    lacking = missing("mmdebstrap", "prometheus")
    if lacking and "CI" not in os.environ:
        pytest.skip(lacking)
    assert not lacking, lacking
    with tempfile.TemporaryDirectory() as folder:
        builder = Builder(dockerfile=ROOT / "Dockerfile", folder=Path(folder))
        yield {target: builder.image(target) for target in ("volly-fed", "testbed")}


ASK = """
import json, sys, urllib.request
print(json.dumps([json.load(urllib.request.urlopen("http://127.0.0.1:9090/api/v1/" + path)) for path in sys.argv[1:]]))
"""
METRIC = "volly_fed_edges"


async def scraped(running: Machine, service: Service) -> None:
    """Prometheus, as the file starts it, gets the metrics of all three homeservers, and has our alerts."""
    command = ("prometheus", *service.command, "--storage.tsdb.path=/srv/data")  # the first word is its image's
    box = await running.start(attrs.evolve(service, command=command))
    found: set[str] = set()
    with trio.fail_after(60):
        while found != {"a.test", "b.test", "c.test"}:
            await trio.sleep(0.5)
            if await box.run(("python3", "-c", ASK, "targets")) == 0:
                (values,) = json.loads(await output(box, "python3", "-c", ASK, f"query?query={METRIC}"))
                found = {one["metric"]["domain"] for one in values["data"]["result"]}
    targets, rules = json.loads(await output(box, "python3", "-c", ASK, "targets", "rules"))
    assert {one["health"] for one in targets["data"]["activeTargets"]} == {"up"}
    alerts = yaml.safe_load((ROOT / "contrib" / "prometheus" / "alerts.yml").read_text())["groups"]
    assert [len(group["rules"]) for group in rules["data"]["groups"]] == [len(group["rules"]) for group in alerts]


async def output(box: Container, *command: str) -> str:
    """What `command` prints inside."""
    done = await trio.run_process([*box.enter, *command], capture_stdout=True, env={**os.environ, "PATH": PATH})
    return done.stdout.decode()


def test_the_kubernetes_example_names_commands_that_exist() -> None:
    """It has only been parsed, as docs/containers.md says."""
    documents = list(yaml.safe_load_all((ROOT / "contrib" / "kubernetes" / "volly-fed.yaml").read_text()))
    sets = [document for document in documents if document["kind"] == "StatefulSet"]
    assert [one["spec"]["replicas"] for one in sets] == [1, 1]
    commands = [one["spec"]["template"]["spec"]["containers"][0]["args"] for one in sets]
    assert [command[:2] for command in commands] == [["volly-fed", "serve"], ["volly-fed", "edge"]]


def test_the_file_is_understood_and_complete() -> None:
    services = load(FILE)
    edges = [name for name in services if "-edge-" in name]
    assert sorted({name[0] for name in edges}) == ["a", "b", "c"]
    assert len(edges) == 6
    addresses = [service.address for service in services.values() if service.address]
    assert len(set(addresses)) == len(addresses)
    assert all(services[name].health for name in ("dns", "a", "b", "c"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("healthcheck: &homeserver-health", "helthcheck: &homeserver-health"),
        ("a-edge-1:/srv/edge", "a-edge-9:/srv/edge"),
        ("a: {condition: service_healthy}", "z: {condition: service_healthy}"),
    ],
)
def test_what_is_not_understood_is_an_error(tmp_path: Path, old: str, new: str) -> None:
    text = FILE.read_text()
    assert old in text
    (tmp_path / "compose.yml").write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=r"not understood|no volume|no services"):
        load(tmp_path / "compose.yml")
    assert not LEFT_TO_ENGINES & {"command", "volumes", "networks", "depends_on", "healthcheck", "dns"}


@pytest.mark.real
@pytest.mark.debian
async def test_the_image_has_what_is_pinned_and_nothing_of_it_can_be_changed_from_inside(
    images: dict[str, Image], tmp_path: Path
) -> None:
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements" / "lock.txt").read_text(), re.MULTILINE))
    service = attrs.evolve(load(FILE)["a"], command=WAITING)
    async with machine(tmp_path, "10.77.0.1", images) as running:
        box = await running.start(service)
        assert await output(box, "volly-fed", "--version") == f"volly-fed, version {__version__}\n"
        installed = json.loads(await output(box, *PIP, "list", "--format=json"))
        names = {re.sub(r"[-_.]+", "-", one["name"].lower()) for one in installed}
        assert {"volly-fed", "cryptography", "trio"} <= names
        assert names - NOT_OURS - {"volly-fed"} <= locked
        assert await output(box, *PIP, "check") == "No broken requirements found.\n"
        assert await output(box, "id", "-u") == "10001\n"
        status = dict(line.split(":\t") for line in (await output(box, "cat", "/proc/self/status")).splitlines())
        assert {status[name].strip() for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")} == {"0" * 16}
        assert status["NoNewPrivs"] == "1"
        assert await box.run(("touch", "/tmp/anything")) == 1
        assert await box.stop() == 0
        writable = await running.start(attrs.evolve(service, name="writable", address=None, read_only=False))
        found = await output(writable, "sh", "-c", "find / -xdev -writable -not -type l 2>/dev/null; true")
        assert set(found.split()) == {"/tmp", "/var/tmp", "/run/lock", "/srv/edge"}  # /srv/homeserver is a volume's


@pytest.mark.real
@pytest.mark.debian
async def test_it_comes_up_and_the_levels_decide(images: dict[str, Image], tmp_path: Path) -> None:
    services = load(FILE)
    async with machine(tmp_path, "10.77.0.1", images) as running:
        await running.up(services)
        await running.up(services, ["exchange"])
        exchange = running.containers["exchange"]
        code = await exchange.process.wait()
        said = exchange.log.read_text()
        assert code == 0, said
        assert said.splitlines() == [
            "exchange: a.test -> b.test: delivered",
            "exchange: b.test -> a.test: delivered",
            "exchange: a.test -> c.test: refused by policy",
            "exchange: c.test -> a.test: refused by policy",
            "exchange: b.test -> c.test: refused by policy",
            "exchange: c.test -> b.test: refused by policy",
            "exchange: a.test sees its contact at b.test: online",
            "exchange: b.test sees its contact at a.test: online",
            "exchange: a.test sees its contact at c.test: online",
            "exchange: c.test sees its contact at a.test: online",
            "exchange: b.test sees its contact at c.test: unknown (POLICY)",
            "exchange: c.test sees its contact at b.test: unknown (POLICY)",
            "exchange: all as the levels say",
        ]
        await scraped(running, services["prometheus"])
        for name in ("a", "b", "c", "a-edge-1"):
            assert await running.containers[name].stop() == 0, running.containers[name].log.read_text()[-3000:]
