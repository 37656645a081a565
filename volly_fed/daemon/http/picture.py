"""The federation as a picture: this server, its edge nodes above it, its peers below it, and the links between.

in: what the overview tells; out: inline SVG, styled by the page. What is wrong is drawn first, and said in words.
Never: says anything by colour alone: links differ by their strokes, a broken one is crossed out.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from textwrap import wrap
from typing import Any

from volly_fed import limits_http
from volly_fed.daemon.http.situation import is_broken, split
from volly_fed.daemon.wording import brief

_WIDTH = 400
_EDGE_WIDTH, _EDGE_HEIGHT, _EDGES_IN_ROW, _EDGE_GAP, _EDGE_DROP = 126, 42, 3, 11, 24
_SELF_HEIGHT = 46
_TRUNK, _PEER_LEFT, _PEER_GAP = 24, 104, 12
_PEER_HEIGHT = 48
_REASON_HEIGHT, _REASON_WIDTH, _REASON_LINES = 17, 42, 3
_CROSS = 6
Document = Mapping[str, Any]


def picture(homeserver: Document, peers: Sequence[Document]) -> str:
    """The whole picture."""
    edges, top = [*_edges(homeserver["edges"])], _edges_height(homeserver["edges"])
    ordered = sorted(peers, key=lambda peer: (not is_broken(peer), peer["state"] != "linked", peer["domain"]))
    drawn, below = _peers(ordered[: limits_http.PEERS_DRAWN], top + _SELF_HEIGHT)
    rest = len(ordered) - limits_http.PEERS_DRAWN
    if rest > 0:
        drawn.append(_text(_PEER_LEFT, below + 16, f"and {rest} more, in the table", "small"))
    elif not peers:
        drawn.append(_text(0, below + 24, "No peers yet: nothing has passed between us and anybody.", "small"))
    height = below + (36 if rest > 0 or not peers else 2)
    linked = sum(peer["state"] == "linked" for peer in peers)
    label = f"{homeserver['domain']} with {linked} of {len(peers)} peers linked; the tables say the same in words"
    return (
        f'<svg viewBox="-1 -1 {_WIDTH + 2} {height + 2}" role="img" aria-label="{escape(label)}">'
        + "".join([*edges, *drawn, _self(homeserver, top)])
        + "</svg>"
    )


def _self(homeserver: Document, top: int) -> str:
    return (
        f'<rect class="self" x="0" y="{top}" width="{_WIDTH}" height="{_SELF_HEIGHT}" rx="4"/>'
        + _text(14, top + 28, _short(homeserver["domain"], 34), "name self-text")
        + _text(_WIDTH - 14, top + 28, "this server", "small self-text end")
    )


def _edges_height(edges: Sequence[Document]) -> int:
    rows = -(-min(len(edges), limits_http.EDGES_DRAWN) // _EDGES_IN_ROW)
    return rows * (_EDGE_HEIGHT + _EDGE_DROP)


def _edges(edges: Sequence[Document]) -> Iterator[str]:
    ordered = sorted(edges, key=lambda edge: (edge["linked_s"] is not None, edge["name"]))
    bottom = _edges_height(edges)
    for place, edge in enumerate(ordered[: limits_http.EDGES_DRAWN]):
        row, column = divmod(place, _EDGES_IN_ROW)
        left, top = column * (_EDGE_WIDTH + _EDGE_GAP), row * (_EDGE_HEIGHT + _EDGE_DROP)
        # a row's links pass behind the boxes of the rows below it, and come out beside each other
        middle, foot = left + _EDGE_WIDTH // 2 + 12 * row, top + _EDGE_HEIGHT
        gone = edge["linked_s"] is None
        yield _line(f"M{middle} {foot}V{bottom}", "broken" if gone else "linked")
        if gone:
            yield _cross(middle, foot + _EDGE_DROP // 2)
        yield f'<rect class="box{" broken" if gone else ""}" x="{left}" y="{top}" width="{_EDGE_WIDTH}" '
        yield f'height="{_EDGE_HEIGHT}" rx="4"/>' + _text(left + 10, top + 18, _short(edge["name"], 15), "name")
        state = "not connected" if gone else f"edge, {brief(edge['linked_s'])}"
        yield _text(left + 10, top + 34, state, "small bad" if gone else "small")


def _peers(peers: Sequence[Document], top: int) -> tuple[list[str], int]:
    """What is drawn, and how far down it reaches."""
    drawn: list[str] = []
    at, last = top + _PEER_GAP, top
    for peer in peers:
        height = _PEER_HEIGHT + _REASON_HEIGHT * len(_reason(peer))
        last = at + _PEER_HEIGHT // 2
        drawn += _peer(peer, at, height)
        at += height + _PEER_GAP
    if peers:
        drawn.insert(0, _line(f"M{_TRUNK} {top}V{last}", ""))
    return drawn, at


def _peer(peer: Document, top: int, height: int) -> Iterator[str]:
    broken, middle = is_broken(peer), top + _PEER_HEIGHT // 2
    yield f"<g><title>{escape(_title(peer))}</title>"
    yield _line(f"M{_TRUNK} {middle}H{_PEER_LEFT}", "broken" if broken else peer["state"])
    if broken:
        yield _cross((_TRUNK + _PEER_LEFT) // 2, middle)
    elif peer["state"] == "linked" and peer["latency_s"] is not None:
        yield _text((_TRUNK + _PEER_LEFT) // 2, middle - 7, latency(peer["latency_s"]), "small mid")
    yield f'<rect class="box{" broken" if broken else ""}" x="{_PEER_LEFT}" y="{top}" '
    yield f'width="{_WIDTH - _PEER_LEFT}" height="{height}" rx="4"/>'
    yield _text(_PEER_LEFT + 12, top + 20, _short(peer["domain"], 26), "name")
    yield _text(_WIDTH - 12, top + 20, peer["level"], "small end")
    yield _text(_PEER_LEFT + 12, top + 38, f"{state_of(peer)}; {waiting(peer)}", "small bad" if broken else "small")
    for number, line in enumerate(_reason(peer), 1):
        yield _text(_PEER_LEFT + 12, top + 38 + _REASON_HEIGHT * number, line, "small")
    yield "</g>"


def _reason(peer: Document) -> list[str]:
    """Why it is broken, in a few lines, without what is said beside it."""
    if not is_broken(peer):
        return []
    reason = split(peer["last_error"])[0].removeprefix(f"no target of {peer['domain']} can be reached: ")
    return wrap(reason, _REASON_WIDTH, max_lines=_REASON_LINES, placeholder=" …")


def _title(peer: Document) -> str:
    reason = f": {split(peer['last_error'])[0]}" if is_broken(peer) else ""
    return f"{peer['domain']}, {peer['level']}, {state_of(peer)}{reason}; {waiting(peer)}"


def state_of(peer: Document) -> str:
    """In words, with the time that it has lasted."""
    if is_broken(peer):
        return f"broken for {brief(peer['trouble_s'])}"
    if peer["linked_s"] is not None:
        return f"linked for {brief(peer['linked_s'])}"
    return {"dialling": "being dialled", "idle": "no link needed"}.get(peer["state"], str(peer["state"]))


def waiting(peer: Document) -> str:
    """What waits for it, in few words."""
    queue = peer["queue"]
    if not queue["envelopes"]:
        return "nothing waits"
    return f"{queue['envelopes']} wait{'' if queue['envelopes'] > 1 else 's'}, oldest {brief(queue['oldest_s'])}"


def latency(seconds: float) -> str:
    """How long a delivery took."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else brief(seconds)


def _line(path: str, state: str) -> str:
    return f'<path class="line {state}" d="{path}"/>'


def _cross(x: int, y: int) -> str:
    c = _CROSS
    return _line(f"M{x - c} {y - c}L{x + c} {y + c}M{x - c} {y + c}L{x + c} {y - c}", "broken")


def _text(x: int, y: int, text: str, kind: str) -> str:
    return f'<text x="{x}" y="{y}" class="{kind}">{escape(text)}</text>'


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
