"""The counters and the present state of a process as metrics.

in: a Tally, what the status page has; out: Prometheus' text format (0.0.4).
Never: a label from outside but the domains of at most limits_http.PEERS_NAMED peers, and those on gauges only, so that
a peer may come and go among them; a mailbox, a user, an address or an edge's name.
METRICS is the reference: docs/monitoring.md has the same table, and a test compares.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from volly_fed import __version__, limits_http
from volly_fed.daemon.http.situation import is_broken
from volly_fed.daemon.upkeep.findings import Verdict
from volly_fed.observe.tally import Histogram, Tally

PREFIX: Final = "volly_fed_"
OTHER: Final = "other"


class Described(NamedTuple):
    """One metric: gauge, counter (its name ends in _total) or histogram; its help; its labels."""

    kind: str
    help: str
    labels: tuple[str, ...] = ()


METRICS: Final[Mapping[str, Described]] = {
    "info": Described("gauge", "Always 1; what runs.", ("version",)),
    "ready": Described("gauge", "1 where /readyz says so.", ()),
    "store_outage": Described("gauge", "1 while the store takes nothing."),
    "self_check_findings": Described("gauge", "What the last self-check found.", ("verdict",)),
    "edges": Described("gauge", "Edge nodes that are enrolled, and that are linked.", ("state",)),
    "peers": Described("gauge", "Domains we have had to do with of late.", ("state",)),
    "peers_broken": Described("gauge", "Those without a link for a reason: it broke, or could not be made."),
    "links": Described("gauge", "Links to peers.", ("level",)),
    "peer_linked": Described("gauge", 'Links; "other": how many.', ("peer",)),
    "peer_trouble_seconds": Described("gauge", "Since when a peer is broken; 0: it is not.", ("peer",)),
    "queue_envelopes": Described("gauge", "What waits for peers.", ("peer",)),
    "queue_bytes": Described("gauge", "The same in bytes.", ("peer",)),
    "queue_oldest_seconds": Described("gauge", "How long the oldest has waited; 0: nothing waits.", ("peer",)),
    "envelopes_accepted_total": Described("counter", "Envelopes that became durable here.", ("origin", "class")),
    "envelopes_refused_total": Described(
        "counter",
        "Envelopes not taken from edges and peers, and by peers from us (by_peer); OVERLOADED there comes again.",
        ("origin", "class", "code"),
    ),
    "envelopes_delivered_total": Described(
        "counter",
        "Envelopes that a peer or a device has acknowledged. The class of those for devices is not known, nor of those "
        "that an earlier process accepted.",
        ("to", "class"),
    ),
    "envelopes_expired_total": Described("counter", "Envelopes deleted because their time had run out.", ("queue",)),
    "delivery_seconds": Described("histogram", "From acceptance to the peer's acknowledgement.", ("class",)),
    "handshakes_total": Described(
        "counter",
        "Calls, ours and others': NONE is a link, anything else the reason why there is none.",
        ("with", "role", "code"),
    ),
    "handshake_seconds": Described("histogram", "From the connection to the last proof, of links.", ("with",)),
    "links_ended_total": Described("counter", "Links to peers that ended; NONE: in order.", ("code",)),
    "discoveries_total": Described("counter", "Look-ups of peers, the cache's answers included.", ("verdict",)),
    "discovery_seconds": Described("histogram", "How long they took."),
    "presence_messages_total": Described("counter", "Messages about presence on peers' links.", ("direction", "kind")),
    "store_commit_seconds": Described("histogram", "Transactions of the store, the sync to the disk included."),
    "edge_homeserver_linked": Described("gauge", "On an edge node: 1 while it is linked with its homeserver."),
    "edge_devices": Described("gauge", "On an edge node: connections of devices."),
    "edge_unsettled_envelopes": Described("gauge", "On an edge node: submitted, and not settled by the homeserver."),
}

_Sample = tuple[Sequence[str], float]


def homeserver_metrics(status: Mapping[str, Any], tally: Tally) -> bytes:
    """Of a homeserver; `status` is what its /status.json has."""
    return _text([*_state(status), *_peers(status["peers"]), *_counted(tally)])


def edge_metrics(status: Mapping[str, Any]) -> bytes:
    """Of an edge node."""
    edge = status["edge"]
    return _text(
        [
            _gauge("info", [((__version__,), 1)]),
            _gauge("ready", [((), not status["not_ready"])]),
            _gauge("edge_homeserver_linked", [((), edge["linked_s"] is not None)]),
            _gauge("edge_devices", [((), edge["devices"])]),
            _gauge("edge_unsettled_envelopes", [((), edge["unsettled"])]),
        ]
    )


def named(peers: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Those with time series of their own, and the others: what is in trouble or waits goes first, then by name."""
    ordered = sorted(peers, key=lambda peer: (not is_broken(peer), -peer["queue"]["envelopes"], peer["domain"]))
    return ordered[: limits_http.PEERS_NAMED], ordered[limits_http.PEERS_NAMED :]


def _state(status: Mapping[str, Any]) -> Iterator[Metric]:
    peers, edges = status["peers"], status["homeserver"]["edges"]
    found = [finding["verdict"] for finding in status["self_check"] or ()]
    yield _gauge("info", [((__version__,), 1)])
    yield _gauge("ready", [((), not status["not_ready"])])
    yield _gauge("store_outage", [((), status["store_outage"])])
    yield _gauge("self_check_findings", [((str(verdict),), found.count(str(verdict))) for verdict in Verdict])
    linked = sum(edge["linked_s"] is not None for edge in edges)
    yield _gauge("edges", [(("enrolled",), len(edges)), (("linked",), linked)])
    states = [peer["state"] for peer in peers]
    yield _gauge("peers", [((state,), states.count(state)) for state in ("linked", "dialling", "waiting", "idle")])
    yield _gauge("peers_broken", [((), sum(map(is_broken, peers)))])
    levels = [peer["level"] for peer in peers if peer["state"] == "linked"]
    yield _gauge("links", [((level,), levels.count(level)) for level in ("full", "selective", "metadata")])


def _peers(peers: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    some, others = named(peers)

    def gauge(name: str, values: Iterable[float], other: float) -> Metric:
        samples: list[_Sample] = [((peer["domain"],), value) for peer, value in zip(some, values, strict=True)]
        return _gauge(name, [*samples, ((OTHER,), other)])

    def queue(name: str, field: str, of_others: Any) -> Metric:
        values = [peer["queue"][field] for peer in some]
        return gauge(name, values, of_others([peer["queue"][field] for peer in others], default=0))

    yield gauge("peer_linked", map(_linked, some), sum(map(_linked, others)))
    yield gauge("peer_trouble_seconds", map(_trouble, some), max(map(_trouble, others), default=0))
    yield queue("queue_envelopes", "envelopes", _sum)
    yield queue("queue_bytes", "bytes", _sum)
    yield queue("queue_oldest_seconds", "oldest_s", max)


def _counted(tally: Tally) -> Iterator[Metric]:
    yield _counter("envelopes_accepted_total", tally.accepted)
    yield _counter("envelopes_refused_total", tally.refused)
    yield _counter("envelopes_delivered_total", tally.delivered)
    yield _counter("envelopes_expired_total", tally.expired)
    yield _histogram("delivery_seconds", {(name,): times for name, times in tally.waited.items()})
    yield _counter("handshakes_total", tally.handshakes)
    yield _histogram("handshake_seconds", {(name,): times for name, times in tally.proofs.items()})
    yield _counter("links_ended_total", tally.ended)
    yield _counter("discoveries_total", tally.discoveries)
    yield _histogram("discovery_seconds", {(): tally.looked_up})
    yield _counter("presence_messages_total", tally.presence)
    yield _histogram("store_commit_seconds", {(): tally.commits})


def _linked(peer: Mapping[str, Any]) -> int:
    return int(peer["state"] == "linked")


def _trouble(peer: Mapping[str, Any]) -> float:
    return 0.0 if peer["trouble_s"] is None else max(0.1, float(peer["trouble_s"]))


def _sum(values: Iterable[float], *, default: float) -> float:
    return sum(values, start=default)


def _gauge(name: str, samples: Iterable[_Sample]) -> Metric:
    described = METRICS[name]
    family = GaugeMetricFamily(PREFIX + name, described.help, labels=described.labels)
    for labels, value in samples:
        family.add_metric(labels, float(value))
    return family


def _counter(name: str, counts: Mapping[tuple[str, ...], int]) -> Metric:
    described = METRICS[name]
    family = CounterMetricFamily(PREFIX + name.removesuffix("_total"), described.help, labels=described.labels)
    for labels, count in sorted(counts.items()):
        family.add_metric(labels, count)
    return family


def _histogram(name: str, histograms: Mapping[tuple[str, ...], Histogram]) -> Metric:
    described = METRICS[name]
    family = HistogramMetricFamily(PREFIX + name, described.help, labels=described.labels)
    for labels, histogram in histograms.items():
        upto, buckets = 0, []
        for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
            upto += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), float(upto)))
        family.add_metric(labels, buckets, histogram.total)
    return family


class _Collected(Collector):
    """Families that are there already."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families

    def describe(self) -> Iterable[Metric]:
        return ()


def _text(families: Sequence[Metric]) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    registry.register(_Collected(families))
    GCCollector(registry=registry)
    return generate_latest(registry)
