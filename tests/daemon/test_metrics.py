"""Metrics: what a real homeserver's scrape has, what it never has, and that what we ship for it fits."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from tests.daemon.edge_nodes import E1, edge, home
from tests.daemon.sites import BOX, A, B, Site, envelope, sites, some_limits
from tests.daemon.test_presence_sites import Watching, announce
from volly_fed import limits_http
from volly_fed.codepoints import EnvelopeClass, TrustLevel
from volly_fed.daemon.http.homeserver import HomeserverFace
from volly_fed.daemon.http.metrics import METRICS, OTHER, PREFIX, edge_metrics, homeserver_metrics, named
from volly_fed.names import DomainName, mailbox_text
from volly_fed.observe.tally import Tally
from volly_fed.trust.policy import Policy
from volly_fed.wire.messages import Watch

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "contrib" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "contrib" / "grafana" / "volly-fed.json"
MONITORING = ROOT / "docs" / "monitoring.md"
EDGE: dict[str, Any] = {"edge": {"linked_s": 3.0, "devices": 4, "unsettled": 5}, "not_ready": []}

Scrape = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def face(site: Site) -> HomeserverFace:
    server = site.server
    return HomeserverFace(overview=server._overview(site.store), tally=server.tally, health=server.health)


def parsed(text: bytes) -> Scrape:
    families = text_string_to_metric_families(text.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


async def scrape(site: Site) -> Scrape:
    return parsed(await face(site).metrics())


def value(found: Scrape, name: str, **labels: str) -> float:
    return found[PREFIX + name, tuple(sorted(labels.items()))]


def names(text: bytes) -> set[str]:
    """Of families, as Prometheus has them; a histogram's with what it is made of."""
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text.decode(), re.MULTILINE))
    parts = {
        name + part for name, kind in kinds.items() if kind == "histogram" for part in ("_bucket", "_sum", "_count")
    }
    return set(kinds) | parts


async def test_an_envelope_is_counted_at_every_step_of_its_way(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await b.register()
        refused = envelope(B, capability=bytes(16))
        await a.submit(envelope(B), envelope(B, urgency=EnvelopeClass.RING), refused)
        await a.until(lambda: len(a.settled) == 3)
        ours, theirs = await scrape(a), await scrape(b)
    assert value(ours, "envelopes_accepted_total", **{"origin": "edge", "class": "signal"}) == 2
    assert value(ours, "envelopes_accepted_total", **{"origin": "edge", "class": "ring"}) == 1
    assert value(ours, "envelopes_delivered_total", **{"to": "peer", "class": "signal"}) == 1
    assert value(ours, "envelopes_delivered_total", **{"to": "peer", "class": "ring"}) == 1
    (code,) = {dict(labels)["code"] for name, labels in ours if name == f"{PREFIX}envelopes_refused_total"}
    refusal = {"class": "signal", "code": code}
    assert value(ours, "envelopes_refused_total", origin="by_peer", **refusal) == 1
    assert value(theirs, "envelopes_refused_total", origin="peer", **refusal) == 1
    assert value(theirs, "envelopes_accepted_total", **{"origin": "peer", "class": "signal"}) == 1
    assert value(ours, "delivery_seconds_count", **{"class": "signal"}) == 2
    assert 0 < value(ours, "delivery_seconds_sum", **{"class": "signal"}) < 10
    assert value(ours, "handshakes_total", **{"with": "peer", "role": "dialler", "code": "NONE"}) == 1
    assert value(theirs, "handshakes_total", **{"with": "peer", "role": "acceptor", "code": "NONE"}) == 1
    assert value(ours, "handshake_seconds_count", **{"with": "peer"}) == 1
    assert value(ours, "discoveries_total", verdict="secure") == 1
    assert value(ours, "discovery_seconds_count") == 1
    assert value(ours, "store_commit_seconds_count") > 0
    assert value(ours, "links", level="full") == value(ours, "peer_linked", peer=B) == 1


async def test_a_peer_that_cannot_be_reached_is_counted_and_timed(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A, limits=some_limits(backoff_cap=3600.0))
    async with a.running(listening=False):
        await a.submit(envelope(B))
        await a.log.wait("dial_failed", peer=B)
        found = await scrape(a)
    assert value(found, "peers_broken") == 1
    assert value(found, "peer_trouble_seconds", peer=B) > 0
    assert value(found, "queue_envelopes", peer=B) == 1
    assert value(found, "queue_bytes", peer=B) > 1024
    failed = sum(
        number
        for (name, labels), number in found.items()
        if name == f"{PREFIX}discoveries_total" and labels != (("verdict", "secure"),)
    )
    assert failed == 1


async def test_trouble_ends_with_a_link(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running():
        await a.submit(envelope(B))
        await a.log.wait("dial_failed", peer=B)
        assert value(await scrape(a), "peers_broken") == 1
        async with b.running():
            await a.log.wait("link_up", peer=B)
            found = await scrape(a)
            assert value(found, "peers_broken") == value(found, "peer_trouble_seconds", peer=B) == 0
            assert value(found, "peer_linked", peer=B) == 1
        ended = await a.log.wait("link_down", peer=B)
        found = await scrape(a)
        assert value(found, "links_ended_total", code=ended["code"]) == 1
        assert value(found, "peers_broken") == 1


async def test_what_is_said_about_presence_and_who_proves_to_be_an_edge_is_counted(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with home(a, E1) as a_port, home(b, E1) as b_port, edge(a_port) as at_a, edge(b_port, wanted=B) as at_b:
        await at_b.say(Watch(domain=A))
        await at_a.say(announce(1))
        await Watching(at_b, A).until(1, True)
        showing, seeing = await scrape(a), await scrape(b)
    for direction, kind in (("in", "request"), ("out", "snapshot")):
        assert value(showing, "presence_messages_total", direction=direction, kind=kind) >= 1
    for direction, kind in (("out", "request"), ("in", "snapshot")):
        assert value(seeing, "presence_messages_total", direction=direction, kind=kind) >= 1
    assert value(seeing, "handshakes_total", **{"with": "edge", "role": "acceptor", "code": "NONE"}) == 1
    assert value(seeing, "handshake_seconds_count", **{"with": "edge"}) == 1


async def test_a_policy_that_forbids_a_peer_is_a_code(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    b.policy = Policy(default=TrustLevel.NONE)
    async with a.running(), b.running():
        await a.submit(envelope(B))
        await a.log.wait("dial_failed", peer=B)
        ours, theirs = await scrape(a), await scrape(b)
    assert value(ours, "handshakes_total", **{"with": "peer", "role": "dialler", "code": "POLICY"}) >= 1
    assert value(theirs, "handshakes_total", **{"with": "peer", "role": "acceptor", "code": "POLICY"}) >= 1


async def test_nobody_but_some_peers_is_named(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A, limits=some_limits(backoff_cap=3600.0))
    async with a.running(listening=False):
        many = [DomainName(f"peer{number}.test") for number in range(limits_http.PEERS_NAMED + 20)]
        await a.submit(*(envelope(domain) for domain in many))
        found = await scrape(a)
        text = await face(a).metrics()
    peers = {dict(labels)["peer"] for _, labels in found if "peer" in dict(labels)}
    assert len(peers) == limits_http.PEERS_NAMED + 1
    assert OTHER in peers
    total = sum(number for (name, _), number in found.items() if name == f"{PREFIX}queue_envelopes")
    assert total == len(many)
    assert BOX.hex() not in text.decode()
    assert mailbox_text(BOX) not in text.decode()
    allowed = {name for described in METRICS.values() for name in described.labels} | {"le", "generation"}
    assert {name for _, labels in found for name, _ in labels} <= allowed


def test_those_in_trouble_are_named_first() -> None:
    def peer(name: str, trouble: float | None, waiting: int) -> dict[str, Any]:
        return {"domain": name, "trouble_s": trouble, "queue": {"envelopes": waiting}}

    some = [peer(f"p{number}", None, 0) for number in range(limits_http.PEERS_NAMED)]
    first, others = named([*some, peer("zzz", 1.0, 0), peer("zz", None, 3)])
    assert [found["domain"] for found in first[:3]] == ["zzz", "zz", "p0"]
    assert len(others) == 2


async def test_the_table_is_what_is_there(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A)
    async with a.running(listening=False):
        text = await face(a).metrics()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", (text + edge_metrics(EDGE)).decode(), re.MULTILINE))
    assert {name: kind for name, kind in kinds.items() if name.startswith(PREFIX)} == {
        PREFIX + name: described.kind for name, described in METRICS.items()
    }
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"} <= set(kinds)


def test_the_documentation_has_the_same_table() -> None:
    rows = []
    for name, described in METRICS.items():
        labels = ", ".join(f"`{label}`" for label in described.labels)
        rows.append(f"| `{PREFIX}{name}` | {described.kind} | {labels} | {described.help} |")
    assert "\n".join(rows) in MONITORING.read_text(), "\n".join(rows)


# --- what we ship for it -------------------------------------------------------------------------------------------


def in_use(text: str) -> set[str]:
    return set(re.findall(r"\b(?:volly_fed|process|python)_[a-z_]+\b", text))


def expressions() -> dict[str, set[str]]:
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [
        variable["query"]["query"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"
    ]
    alerts = re.sub(r"(?m)^\s*(summary|description|runbook_url|#).*$", "", ALERTS.read_text())
    return {"dashboard": in_use("\n".join(queries)), "alerts": in_use(alerts)}


async def test_every_metric_that_is_asked_for_is_there(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A)
    async with a.running(listening=False):
        there = names(await face(a).metrics()) | names(edge_metrics(EDGE))
    for place, wanted in expressions().items():
        assert len(wanted) > 10, place
        assert wanted <= there, place


def test_every_metric_is_shown_or_watched() -> None:
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for wanted in expressions().values() for name in wanted}
    unused = {PREFIX + name for name in METRICS} - shown
    assert unused == {PREFIX + name for name in ("info", "queue_bytes")}


def test_every_alert_says_what_it_means_and_the_documentation_what_to_do() -> None:
    rules = re.split(r"(?m)^      - alert: ", ALERTS.read_text())[1:]
    assert len(rules) > 10
    headings = re.findall(r"(?m)^### (VollyFed\w+)$", MONITORING.read_text())
    assert headings == [rule.partition("\n")[0] for rule in rules]
    tested = (ALERTS.parent / "alerts_test.yml").read_text()
    for rule in rules:
        name = rule.partition("\n")[0]
        assert f"runbook_url: docs/monitoring.md#{name.lower()}" in rule
        assert re.search(r"summary: \S", rule)
        assert re.search(r"description: \S", rule)
        assert re.search(rf"alertname: {name}\n", tested), f"{name} has no test that sets it off"


@pytest.mark.debian
@pytest.mark.parametrize("arguments", [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]])
async def test_prometheus_takes_the_alerts(arguments: list[str]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        assert not os.environ.get("CI"), "promtool is missing (Debian: prometheus)"
        pytest.skip("promtool is not installed")
    with trio.fail_after(30):
        done = await trio.run_process(
            [promtool, *arguments], cwd=ALERTS.parent, capture_stdout=True, stderr=subprocess.STDOUT, check=False
        )
    assert done.returncode == 0, done.stdout.decode()


def test_metrics_cost_a_bounded_time() -> None:
    empty = {"domain": "x", "state": "idle", "trouble_s": None, "queue": {"envelopes": 0, "bytes": 0, "oldest_s": 0}}
    status = {
        "homeserver": {"edges": []},
        "peers": [empty | {"domain": f"p{number}.test", "level": "full"} for number in range(5000)],
        "store_outage": False,
        "self_check": [],
        "not_ready": [],
    }
    assert len(homeserver_metrics(status, Tally())) < 64 << 10
