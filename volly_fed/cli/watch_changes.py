"""What has changed between two looks at a homeserver, as events for scripts.

in: two answers of `watch`, one after the other; out: events, each a flat document with a word for what it is.
Never: asks anybody; reports the same thing twice in a row.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

Look: TypeAlias = Mapping[str, Any]
"""{"status": …, "peers": […]}, as `volly-fed status` and `peers` have them."""
Change: TypeAlias = dict[str, Any]


def beginning(look: Look) -> Change:
    """How things are when somebody begins to follow."""
    status = look["status"]
    return {
        "event": "watching",
        "domain": status["domain"],
        "linked": sorted(peer["domain"] for peer in look["peers"] if peer["linked_s"] is not None),
        "edges": sorted(edge["name"] for edge in status["edges"] if edge["linked_s"] is not None),
        "envelopes": status["queue"]["envelopes"],
        "held": status["held"],
        "draining": status["draining"],
        "problems": status["problems"],
    }


def changes(before: Look, now: Look) -> Iterator[Change]:
    """What has changed from one to the other: links, edges, queues, holds, problems."""
    old = {peer["domain"]: peer for peer in before["peers"]}
    new = {peer["domain"]: peer for peer in now["peers"]}
    for domain in sorted(old | new):
        yield from _peer(domain, old.get(domain), new.get(domain))
    yield from _edges(before["status"], now["status"])
    if before["status"]["draining"] != now["status"]["draining"]:
        yield {"event": "draining_began" if now["status"]["draining"] else "draining_ended"}
    yield from _problems(before["status"], now["status"])


def _peer(domain: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[Change]:
    was, is_ = (None if peer is None else peer["linked_s"] for peer in (old, new))
    again = was is not None and is_ is not None and is_ < was  # it broke, and came back, between two looks
    if was is not None and (is_ is None or again):
        yield {"event": "link_down", "peer": domain, "reason": new["last_error"] if new else ""}
    if new and is_ is not None and (was is None or again):
        yield {"event": "link_up", "peer": domain, "level": new["level"], "identity": new["identity"]}
    yield from _queue(domain, old["queue"]["envelopes"] if old else 0, new["queue"] if new else _EMPTY)
    held = [peer is not None and peer["held_s"] is not None for peer in (old, new)]
    if held[0] is not held[1]:
        yield {"event": "held" if held[1] else "released", "peer": domain}


def _queue(domain: str, was: int, queue: Mapping[str, Any]) -> Iterator[Change]:
    if queue["envelopes"] > was:
        yield {"event": "queue_grows", "peer": domain, "before": was, **queue}
    elif was and not queue["envelopes"]:
        yield {"event": "queue_empty", "peer": domain, "before": was}


def _edges(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    old, new = ({edge["name"]: edge["linked_s"] for edge in status["edges"]} for status in (before, now))
    for name in sorted(old | new):
        was, is_ = old.get(name), new.get(name)
        again = was is not None and is_ is not None and is_ < was
        if was is not None and (is_ is None or again):
            yield {"event": "edge_down", "edge": name}
        if is_ is not None and (was is None or again):
            yield {"event": "edge_up", "edge": name}


def _problems(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    """By what they are about: the words have numbers in them, which change all the time."""
    old, new = (dict(zip(status["problem_subjects"], status["problems"], strict=True)) for status in (before, now))
    for about in sorted(new.keys() - old.keys()):
        yield {"event": "problem", "about": about, "text": new[about]}
    for about in sorted(old.keys() - new.keys()):
        yield {"event": "problem_ended", "about": about, "text": old[about]}


_EMPTY: Mapping[str, Any] = {"envelopes": 0, "bytes": 0, "oldest_s": 0}
