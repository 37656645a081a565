"""What is wrong with a homeserver, since when, and what to do: the questions an operator comes with.

in: what the overview tells, and the health; out: one entry for each thing that is wrong, the worst first.
Never: calls something wrong that is only new (a first attempt under way), or fine what could not be looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import trio

from volly_fed.codepoints import TrustLevel
from volly_fed.daemon.http.health import Health
from volly_fed.daemon.upkeep.findings import Finding, Verdict
from volly_fed.daemon.wording import duration

SLOW = 60
"""Seconds that the oldest envelope may wait for a linked peer: links carry thousands in a second."""
_NOTE = "note:"
Document = Mapping[str, Any]


@attrs.frozen(kw_only=True)
class Wrong:
    """One thing that is wrong. `serious`: envelopes cannot be taken, or do not arrive."""

    serious: bool
    about: str
    """A domain, an edge's name, "the store" or what was checked."""
    what: str
    reason: str
    since_s: float | None
    advice: str


def wrongs(homeserver: Document, peers: Sequence[Document], health: Health) -> list[Wrong]:
    """What is wrong now."""
    found = [*_store(health), *_edges(homeserver["edges"]), *_checked(health), *_peers(peers)]
    return sorted(found, key=lambda wrong: not wrong.serious)


def split(text: str) -> tuple[str, str]:
    """A reason and the next step, where the text names one after "note:"; each on one line."""
    reason, _, advice = " ".join(text.split()).partition(_NOTE)
    return reason.strip(" ;"), advice.strip()


def is_broken(peer: Document) -> bool:
    """Whether there is no link to `peer` for a reason that is known."""
    return peer["trouble_s"] is not None


def _store(health: Health) -> Iterator[Wrong]:
    if health.outage is not None:
        reason, advice = split(str(health.outage))
        since = None if health.outage_since is None else round(trio.current_time() - health.outage_since, 1)
        yield Wrong(
            serious=True,
            about="the store",
            what="takes nothing: envelopes are refused, known ones still leave",
            reason=reason,
            since_s=since,
            advice=advice or "look at the disk and its mount; it goes on by itself",
        )


def _edges(edges: Sequence[Document]) -> Iterator[Wrong]:
    gone = [edge for edge in edges if edge["linked_s"] is None]
    if not edges:
        yield Wrong(
            serious=True,
            about="edge nodes",
            what="none is enrolled: no device can send or receive",
            reason="",
            since_s=None,
            advice="`volly-fed edge init` on the edge's machine prints what to do here",
        )
    for edge in gone:
        alone = len(gone) == len(edges)
        yield Wrong(
            serious=alone,
            about=edge["name"],
            what="is not connected" + (", nor is any other edge node: no device can send or receive" if alone else ""),
            reason="" if edge["gone_s"] is not None else "it has not been since this homeserver started",
            since_s=edge["gone_s"],
            advice="is `volly-fed edge` running there, and does its log say `homeserver_down`?",
        )


def _checked(health: Health) -> Iterator[Wrong]:
    for finding in health.findings or ():
        if finding.verdict in {Verdict.FAILED, Verdict.WARNING, Verdict.UNKNOWN}:
            yield _found(finding)


def _found(finding: Finding) -> Wrong:
    return Wrong(
        serious=finding.verdict is Verdict.FAILED,
        about=finding.subject,
        what="could not be checked" if finding.verdict is Verdict.UNKNOWN else "is not as it should be",
        reason=finding.reason,
        since_s=None,
        advice=finding.note or "`volly-fed doctor` looks closer",
    )


def _peers(peers: Sequence[Document]) -> Iterator[Wrong]:
    for peer in sorted(peers, key=lambda peer: -peer["queue"]["envelopes"]):
        waiting, oldest = peer["queue"]["envelopes"], peer["queue"]["oldest_s"]
        if is_broken(peer):
            reason, advice = split(peer["last_error"])
            yield Wrong(
                serious=waiting > 0,
                about=peer["domain"],
                what=f"{'cannot be reached' if peer['failures'] else 'has lost its link'}; {_waits(waiting, oldest)}",
                reason=reason,
                since_s=peer["trouble_s"],
                advice=advice or f"`volly-fed probe {peer['domain']}` shows each step; {_next(peer)}",
            )
        elif waiting and oldest > SLOW and peer["state"] == "linked":
            held = peer["level"] in {TrustLevel.METADATA, TrustLevel.NONE}
            yield Wrong(
                serious=not held,
                about=peer["domain"],
                what=f"is linked and takes too little; {_waits(waiting, oldest)}",
                reason=f"its level, {peer['level']}, lets no envelope leave" if held else "",
                since_s=oldest,
                advice=f"`volly-fed trust explain {peer['domain']}`" if held else "ask its operator whether it is busy",
            )


def _waits(count: int, oldest: float) -> str:
    if not count:
        return "nothing waits for it"
    return (
        f"{count} envelope{'s' if count > 1 else ''} wait{'' if count > 1 else 's'}, the oldest for {duration(oldest)}"
    )


def _next(peer: Document) -> str:
    if peer["state"] == "dialling":
        return "it is being dialled"
    if peer["next_attempt_s"]:
        return f"it is dialled again in {duration(peer['next_attempt_s'])}"
    return "it is dialled when there is something for it"
