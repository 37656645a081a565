"""The status page: is all well, what is wrong, since when, what to do; then the picture and the tables.

in: what /status.json has; out: one HTML document that needs nothing else, and no script to be read.
Never: puts text from outside into the page but escaped: errors quote what peers and name servers have said.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from volly_fed import limits_http
from volly_fed.daemon.http import assets
from volly_fed.daemon.http.picture import latency, picture, state_of, waiting
from volly_fed.daemon.http.situation import is_broken
from volly_fed.daemon.wording import duration, size

Document = Mapping[str, Any]
_WELL = "All is well"


def homeserver_page(status: Document) -> str:
    """Of a homeserver."""
    homeserver, peers, wrong = status["homeserver"], status["peers"], status["wrong"]
    headline = _headline(wrong, status["not_ready"])
    serious = bool(status["not_ready"]) or any(entry["serious"] for entry in wrong)
    kind = "bad" if serious else "warn" if wrong else "good"
    body = (
        f'<header><p class="who"><b>{escape(homeserver["domain"])}</b> <span class="quiet">volly-fed '
        f"{escape(homeserver['version'])}, up for {duration(homeserver['up_s'])}</span></p>"
        f'<h1 class="{kind}">{escape(headline)}</h1>'
        f'<p class="sum">{escape(_sum(homeserver, peers))}</p></header>'
        f"{_wrongs(wrong, status['not_ready'])}"
        f'<div class="both"><figure>{picture(homeserver, peers)}</figure><div>'
        f"{_peers(peers)}{_edges(homeserver['edges'])}</div></div>"
        f"{_footer(homeserver)}"
    )
    mark = "" if headline == _WELL else "✕ "
    return document(f"{mark}{homeserver['domain']}: {headline}", body)


def edge_page(status: Document) -> str:
    """Of an edge node."""
    edge, wrong = status["edge"], status["wrong"]
    headline = _headline(wrong, status["not_ready"])
    linked = "not linked" if edge["linked_s"] is None else f"linked for {duration(edge['linked_s'])}"
    rows = {
        f"homeserver of {edge['domain']}": f"{linked}, at {edge['homeserver']}",
        "devices": f"{edge['devices']} connections",
        "submitted and not settled": f"{edge['unsettled']} envelopes",
    }
    body = (
        f'<header><p class="who"><b>{escape(edge["name"])}</b> <span class="quiet">edge node of '
        f"{escape(edge['domain'])}, volly-fed {escape(edge['version'])}, up for {duration(edge['up_s'])}</span></p>"
        f'<h1 class="{"bad" if wrong else "good"}">{escape(headline)}</h1></header>{_wrongs(wrong, ())}'
        f"{_table('State', ('what', 'is'), ''.join(map(_row, rows.items())))}{footer({'identity': edge['identity']})}"
    )
    return document(f"{'✕ ' if wrong else ''}{edge['name']}: {headline}", body)


def document(title: str, body: str) -> str:
    """A page around `body`, HTML."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="icon" href="data:,">'
        f'<noscript><meta http-equiv="refresh" content="{limits_http.PAGE_REFRESH}"></noscript>'
        f"<style>{assets.STYLE}</style></head><body>"
        '<p id="stale" role="alert" hidden></p><p id="said" role="status"></p>'
        f"<main>{body}</main><script>{assets.SCRIPT}</script></body></html>\n"
    )


def prose(text: str) -> str:
    """`text` as HTML, with what stands in backticks as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(" ".join(text.split())))


def footer(rows: Mapping[str, str]) -> str:
    """Facts that hardly change, when this was, and where programs find the same."""
    facts = "".join(f"<dt>{escape(name)}</dt><dd><code>{escape(value)}</code></dd>" for name, value in rows.items())
    links = ", ".join(f'<a href="{path}">{path}</a>' for path in ("/status.json", "/metrics", "/readyz"))
    return (
        f"<footer><dl>{facts}</dl><p>As of {datetime.now(UTC):%H:%M:%S} UTC; looks again every "
        f"{limits_http.PAGE_REFRESH} seconds. For programs: {links}</p></footer>"
    )


def _headline(wrong: Sequence[Document], not_ready: Sequence[str]) -> str:
    if len(wrong) == 1:
        return f"{wrong[0]['about']} {wrong[0]['what']}".partition(";")[0].partition(":")[0]
    if wrong:
        serious = sum(entry["serious"] for entry in wrong)
        return f"{len(wrong)} things are wrong" + (f", {serious} of them serious" if 0 < serious < len(wrong) else "")
    return "Not ready: " + not_ready[0] if not_ready else _WELL


def _sum(homeserver: Document, peers: Sequence[Document]) -> str:
    edges, queue = homeserver["edges"], homeserver["queue"]
    linked = sum(edge["linked_s"] is not None for edge in edges)
    waits = "Nothing waits"
    if queue["envelopes"]:
        count = f"{queue['envelopes']} envelope{'s wait' if queue['envelopes'] > 1 else ' waits'}"
        waits = f"{count} ({size(queue['bytes'])}), the oldest for {duration(queue['oldest_s'])}"
    unneeded = sum(peer["state"] == "idle" and not is_broken(peer) for peer in peers)
    idle = f" ({unneeded} without need)" if unneeded else ""
    return (
        f"{homeserver['peers']['linked']} of {len(peers)} peers linked{idle}, {linked} of {len(edges)} edge "
        f"node{'' if len(edges) == 1 else 's'} connected. {waits}."
    )


def _wrongs(wrong: Sequence[Document], not_ready: Sequence[str]) -> str:
    shown, more = wrong[: limits_http.PEERS_DRAWN], len(wrong) - limits_http.PEERS_DRAWN
    rest = f"<li>and {more} more: /status.json has them all</li>" if more > 0 else ""
    unready = "" if wrong else "".join(f"<li>{prose(reason)}</li>" for reason in not_ready[1:])
    entries = "".join(map(_wrong, shown)) + rest + unready
    return f'<ul class="wrongs">{entries}</ul>' if entries else ""


def _wrong(entry: Document) -> str:
    rows = {
        "Why": prose(entry["reason"]),
        "For": "" if entry["since_s"] is None else duration(entry["since_s"]),
        "Do": prose(entry["advice"]),
    }
    facts = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in rows.items() if text)
    kind = "" if entry["serious"] else ' class="minor"'
    return f'<li{kind}><p class="what">{prose(entry["about"] + " " + entry["what"])}</p><dl>{facts}</dl></li>'


def _peers(peers: Sequence[Document]) -> str:
    if not peers:
        return ""
    ordered = sorted(peers, key=lambda peer: (not is_broken(peer), peer["domain"]))
    rows = "".join(map(_peer, ordered[: limits_http.PEERS_LISTED]))
    more = len(peers) - limits_http.PEERS_LISTED
    note = f'<p class="quiet">and {more} more: /status.json has them all</p>' if more > 0 else ""
    return _table("Peers", ("domain", "level", "state", "delivery", "queue"), rows) + note


def _peer(peer: Document) -> str:
    took = "" if peer["latency_s"] is None else latency(peer["latency_s"])
    return _row((peer["domain"], peer["level"], state_of(peer), took, waiting(peer)))


def _edges(edges: Sequence[Document]) -> str:
    if not edges:
        return ""
    rows = "".join(_row((edge["name"], _edge_state(edge))) for edge in edges[: limits_http.PEERS_LISTED])
    return _table("Edge nodes", ("name", "state"), rows)


def _edge_state(edge: Document) -> str:
    if edge["linked_s"] is not None:
        return f"connected for {duration(edge['linked_s'])}"
    return "not connected" + (f" for {duration(edge['gone_s'])}" if edge["gone_s"] is not None else "")


def _table(title: str, heads: Iterable[str], rows: str) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return f"<section><h2>{title}</h2><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></section>"


def _row(cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _footer(homeserver: Document) -> str:
    return footer({"identity": homeserver["identity"], "TLS key": homeserver["tls_spki_sha256"]})
