"""Nothing that an operator is shown tells a secret or a user: log, commands, status page, metrics, a crash.

A whole run at the default log level, with names, contents, keys and mailboxes that are looked for afterwards in every
spelling (`evidence.find`). At the end one of them is planted in each kind of place, to see that it would be found.
"""

import json
import sys
import urllib.request
from pathlib import Path

import attrs
import pytest
import trio

from tests.federation.evidence import Places, find
from tests.federation.harness import A, B, Federation, Heard, federation, introduce, listening
from tests.federation.test_in_the_clear import NAMES, SAID, own_secrets, sender_secrets
from tests.federation.test_presence import know_each_other, online, watch
from volly_fed.client.sightings import Presence
from volly_fed.daemon import material
from volly_fed.errors import ChannelError, LocalError
from volly_fed.names import DomainName
from volly_fed.testnet.devices import Device
from volly_fed.testnet.processes import command, start
from volly_fed.testnet.sites import free_ports

pytestmark = pytest.mark.real

COMMANDS = (
    ["status"],
    ["peers"],
    ["peers", B],
    ["queue", "list"],
    ["queue", "list", B],
    ["cache", "show", B],
    ["trust", "identities"],
    ["trust", "evidence", B],
    ["trust", "explain", B],
    ["edges", "list"],
    ["keys", "show"],
    ["dns", "print"],
    ["config", "check"],
    ["doctor"],
)
AS_JSON = (["status"], ["peers", B], ["queue", "list"], ["queue", "list", B], ["trust", "evidence", B])
PAGES = ("", "status.json", "healthz", "readyz", "metrics")


def named(net: Federation, domain: DomainName, who: str) -> Device:
    device = net.device(domain, who)
    return attrs.evolve(device, home=device.home.with_keys(attrs.evolve(device.keys, name=NAMES[who])))


def secrets_of(net: Federation, *devices: Device) -> dict[str, bytes]:
    """Everything about users, and the servers' private keys."""
    found = {"contents": SAID.encode()}
    for device in devices:
        found |= own_secrets(device) | sender_secrets(device)
        book = device.home.presence()
        assert book is not None
        found[f"{device.keys.name}: presence key"] = book.key.reveal()
    for domain in (A, B):
        keys = material.load_material(net.site(domain).folder / "data")
        found[f"{domain}: identity seed"] = keys.identity.seed.reveal()
        lines = (net.site(domain).folder / "data" / material.TLS_KEY).read_text().splitlines()
        found[f"{domain}: TLS key"] = max(lines, key=len).encode()
    return found


def serve_http(net: Federation, domain: DomainName) -> str:
    """Let the homeserver of `domain` show its page when it starts; the address."""
    (port,) = free_ports(1)
    config = net.site(domain).config
    text = config.read_text()
    changed = text.replace('# listen = "127.0.0.1:9223"', f'listen = "127.0.0.1:{port}"')
    assert changed != text
    config.write_text(changed)
    return f"http://127.0.0.1:{port}/"


async def said(net: Federation, address: str) -> Places:
    """Everything that a.test shows to its operator now."""
    places: Places = {}
    config = str(net.site(A).config)

    async def ask(words: list[str]) -> None:
        done = await trio.run_process(
            command(*words, "--config", config), check=False, capture_stdout=True, capture_stderr=True
        )
        assert done.stdout + done.stderr, words
        places[" ".join(words)] = done.stdout + done.stderr

    async with trio.open_nursery() as nursery:
        for words in (*COMMANDS, *([*each, "--json"] for each in AS_JSON)):
            nursery.start_soon(ask, words)
    for page in PAGES:
        places[f"/{page}"] = await trio.to_thread.run_sync(read, address + page)
    return places


def read(address: str) -> bytes:
    """The page there; its body, whatever its status."""
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        return bytes(error.read())


def logs(net: Federation) -> Places:
    """What all processes have written."""
    return {str(path.relative_to(net.network.folder)): path.read_bytes() for path in net.network.folder.rglob("*.log")}


async def crash(net: Federation, alice: Device, bob: Device, *options: str) -> bytes:
    """What the homeserver of a.test says when it meets a fault in its own code."""
    log = net.network.folder / f"crash{''.join(options)}.log"
    program = [sys.executable, str(Path(__file__).with_name("crashing.py"))]
    child = await start("crashing", [*options, "serve", "--config", str(net.site(A).config)], log, program=program)
    net.network.children.append(child)
    while child.process.poll() is None:
        with trio.move_on_after(5):  # the edge has to find it first
            try:
                await alice.send(bob.card, f"{SAID}crash")
            except (ChannelError, LocalError):
                continue
    assert await child.process.wait() == 2
    return log.read_bytes()


async def test_nothing_shown_to_an_operator_tells_a_secret(tmp_path: Path) -> None:
    async with federation(tmp_path, start=False) as net:
        address = serve_http(net, A)
        await net.network.start_all()
        alice, bob = named(net, A, "alice"), named(net, B, "bob")
        know_each_other(alice, bob)
        await introduce(alice)
        heard = Heard()
        async with trio.open_nursery() as nursery, listening(bob, heard):
            sight = await watch(nursery, bob, alice)
            async with online(alice):
                assert (await alice.send(bob.card, f"{SAID}1")).accepted
                await heard.wait(1)
                await sight.wait(alice, Presence.ONLINE)
            nursery.cancel_scope.cancel()
        secrets = secrets_of(net, alice, bob)
        await net.homeserver(B).stop()
        assert (await alice.send(bob.card, f"{SAID}2")).accepted
        await net.logged(A, "dial_failed")

        places = await said(net, address)
        assert json.loads(places["queue list --json"])["peers"], "an envelope is waiting, and is shown"
        places |= {f"crash {options}": text for options, text in await crashes(net, alice, bob)}
        places |= logs(net)
        assert find(places, secrets) == set()
        for place in ("status", "/metrics", "/", "crash ('--debug',)", "a.test/homeserver.log"):
            for name, secret in secrets.items():
                spelt = secret if secret.isascii() else secret.hex().encode()
                assert (name, place) in find({place: places[place] + spelt}, {name: secret}), (name, place)


async def crashes(net: Federation, alice: Device, bob: Device) -> list[tuple[tuple[str, ...], bytes]]:
    """With and without the details; each says what it is."""
    await net.homeserver(A).stop()
    plain = await crash(net, alice, bob)
    assert b"this is a bug in volly-fed" in plain
    detailed = await crash(net, alice, bob, "--debug")
    assert b"a planted fault at" in detailed
    return [((), plain), (("--debug",), detailed)]
