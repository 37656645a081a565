"""The status page as a document: what is wrong comes first, in words, with what to do; what errors quote is no HTML."""

from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import attrs
import pytest

from volly_fed import limits_http
from volly_fed.daemon.http.edge import EdgeFace, EdgeState
from volly_fed.daemon.http.health import Health
from volly_fed.daemon.http.page import homeserver_page, prose
from volly_fed.daemon.http.picture import picture
from volly_fed.daemon.http.situation import wrongs
from volly_fed.daemon.upkeep.findings import Finding, Verdict
from volly_fed.errors import StorageError

Document = dict[str, Any]
EVIL = '<script>alert(1)</script> & "quotes" \''
REFUSED = "no target of gone.test can be reached: fed.gone.test: connection refused"


def peer(domain: str = "b.test", **changes: Any) -> Document:
    """A peer that is linked; as Overview.list_peers has it, as far as it is shown."""
    return {
        "domain": domain,
        "level": "full",
        "state": "linked",
        "linked_s": 7300.0,
        "queue": {"envelopes": 0, "bytes": 0, "oldest_s": 0},
        "failures": 0,
        "next_attempt_s": None,
        "last_error": "",
        "trouble_s": None,
        "latency_s": 0.004,
        **changes,
    }


def gone(domain: str = "gone.test", waiting: int = 3, **changes: Any) -> Document:
    """One that cannot be reached."""
    queue = {"envelopes": waiting, "bytes": waiting * 1000, "oldest_s": 61 if waiting else 0}
    trouble = {"state": "waiting", "linked_s": None, "failures": 2, "trouble_s": 62.0, "next_attempt_s": 5.0}
    return peer(domain, **{**trouble, "queue": queue, "last_error": REFUSED, **changes})


def edge(name: str = "edge-1", linked: float | None = 60.0, left: float | None = None) -> Document:
    return {"name": name, "linked_s": linked, "gone_s": left}


def status(peers: list[Document], edges: list[Document] | None = None, health: Health | None = None) -> Document:
    edges, health = [edge()] if edges is None else edges, health or Health(listening=True)
    homeserver = {
        "domain": "a.test",
        "version": "1",
        "up_s": 90000.0,
        "identity": "IDENTITY",
        "tls_spki_sha256": "00",
        "peers": {"known": len(peers), "linked": sum(each["state"] == "linked" for each in peers)},
        "edges": edges,
        "queue": {"envelopes": 0, "bytes": 0, "oldest_s": 0},
    }
    wrong = [attrs.asdict(each) for each in wrongs(homeserver, peers, health)]
    return {"homeserver": homeserver, "peers": peers, "wrong": wrong, "not_ready": health.troubles()}


class Reader(HTMLParser):
    """The text of a page, the first heading, and whether every element is closed."""

    VOID = frozenset({"meta", "link", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.parts: list[str] = []
        self.heading = ""
        self.scripts = 0
        self.feed(page)
        assert self.open == []
        self.text = " ".join(" ".join(self.parts).split())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert not {name for name, _ in attributes if name.startswith("on") or name in {"src", "style"}}
        self.scripts += tag == "script"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, _attributes: list[tuple[str, str | None]]) -> None:
        assert tag in {"path", "rect", "circle"}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"style", "script"}:
            self.parts.append(data)
        if self.open and self.open[-1] == "h1":
            self.heading += data


def test_all_is_well_where_nothing_is_wrong() -> None:
    page = Reader(homeserver_page(status([peer(), peer("idle.test", state="idle", linked_s=None)])))
    assert page.heading == "All is well"
    assert "1 of 2 peers linked (1 without need), 1 of 1 edge node connected. Nothing waits." in page.text
    assert "Do" not in page.text.split("Peers")[0].split()


def test_one_thing_that_is_wrong_is_the_heading_and_has_reason_time_and_advice() -> None:
    page = Reader(homeserver_page(status([peer(), gone()])))
    assert page.heading == "gone.test cannot be reached"
    assert f"3 envelopes wait, the oldest for 1 min 1 s Why {REFUSED} For 1 min 2 s Do volly-fed probe" in page.text
    assert "it is dialled again in 5 s" in page.text
    assert "broken for 1 min; 3 wait, oldest 1 min" in page.text, "the picture says it too"
    assert "fed.gone.test: connection refused" in page.text.partition("this server")[0]


def test_what_an_error_says_to_do_is_what_is_advised() -> None:
    (wrong,) = status([gone(last_error="b.test refuses us\nnote: ask\nits operator")])["wrong"]
    assert (wrong["reason"], wrong["advice"]) == ("b.test refuses us", "ask its operator")


def test_the_worst_comes_first() -> None:
    health = Health(listening=True, findings=[Finding(subject="a record", verdict=Verdict.WARNING, note="publish it")])
    health.outage = StorageError("the disk is full\nnote: free space")
    found = status([gone("quiet.test", waiting=0), gone()], [edge(), edge("edge-2", None, 30.0)], health)
    about = [(wrong["about"], wrong["serious"]) for wrong in found["wrong"]]
    assert about == [
        ("the store", True),
        ("gone.test", True),
        ("edge-2", False),
        ("a record", False),
        ("quiet.test", False),
    ]
    page = Reader(homeserver_page(found))
    assert page.heading == "5 things are wrong, 2 of them serious"
    assert "free space" in page.text


@pytest.mark.parametrize(
    ("edges", "said", "serious"),
    [
        ([], "edge nodes none is enrolled", True),
        ([edge(linked=None)], "edge-1 is not connected, nor is any other edge node", True),
        ([edge(), edge("edge-2", None)], "edge-2 is not connected", False),
    ],
)
def test_edge_nodes_that_are_missing(edges: list[Document], said: str, serious: bool) -> None:
    found = status([], edges)
    assert [wrong["serious"] for wrong in found["wrong"]] == [serious]
    assert said in Reader(homeserver_page(found)).text


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"state": "dialling", "linked_s": None}, None),
        ({"queue": {"envelopes": 9, "bytes": 9, "oldest_s": 5}}, None),
        ({"queue": {"envelopes": 9, "bytes": 9, "oldest_s": 500}}, "is linked and takes too little"),
        ({"queue": {"envelopes": 9, "bytes": 9, "oldest_s": 500}, "level": "metadata"}, "lets no envelope leave"),
        ({"state": "idle", "linked_s": None, "trouble_s": 1.0, "last_error": "closed"}, "has lost its link"),
    ],
)
def test_what_is_new_is_not_wrong_and_what_lasts_is(changes: Document, wrong: str | None) -> None:
    found = status([peer(**changes)])["wrong"]
    assert [wrong in each["what"] + each["reason"] for each in found if wrong] == [True] * bool(wrong)
    assert bool(found) == (wrong is not None)


def test_not_ready_is_not_well() -> None:
    page = Reader(homeserver_page(status([], health=Health())))
    assert page.heading == "Not ready: not listening: it is starting, or stopping"


def test_nothing_from_outside_is_html() -> None:
    found = status([gone(last_error=EVIL), peer(level=EVIL)], [edge(EVIL, None)])
    page = Reader(homeserver_page(found))
    assert page.scripts == 1, "ours"
    assert EVIL in page.text
    assert prose(f"`{EVIL}`").count("<") == 2


def test_the_picture_is_well_formed_and_says_states_without_colour() -> None:
    drawn = picture(status([gone(last_error=EVIL)])["homeserver"], [gone(last_error=EVIL), peer()])
    tree = ElementTree.fromstring(drawn)
    assert tree.attrib["role"] == "img"
    assert "1 of 2 peers linked" in tree.attrib["aria-label"]
    words = [text.text for text in tree.iter("text")]
    assert "linked for 2 h; nothing waits" in words
    assert any(str(word).startswith("broken for") for word in words)
    strokes = {path.attrib["class"] for path in tree.iter("path")}
    assert {"line linked", "line broken"} <= strokes


def test_a_page_of_many_peers_is_bounded() -> None:
    found = status([gone(f"p{number}.test") for number in range(3000)])
    page = homeserver_page(found)
    assert len(page) < 120_000
    text = Reader(page).text
    assert f"and {3000 - limits_http.PEERS_LISTED} more" in text
    assert "3000 things are wrong" in text


def edge_state(**changes: Any) -> EdgeState:
    state = EdgeState(
        name="edge-1",
        domain="a.test",
        homeserver="127.0.0.1:5224",
        identity="IDENTITY",
        linked_since=0.0,
        down_since=None,
        reason="",
        devices=7,
        unsettled=2,
    )
    return attrs.evolve(state, **changes)


async def test_an_edge_node_is_ready_as_long_as_it_has_its_homeserver() -> None:
    face = EdgeFace(state=edge_state)
    assert await face.troubles() == []
    page = Reader(face.page(await face.status()))
    assert page.heading == "All is well"
    assert "7 connections" in page.text
    assert b"volly_fed_edge_devices 7.0" in await face.metrics()


async def test_an_edge_node_says_why_it_has_not() -> None:
    face = EdgeFace(
        state=lambda: edge_state(linked_since=None, down_since=0.0, reason="127.0.0.1:5224 does not answer")
    )
    assert await face.troubles() == ["no link to the homeserver of a.test: 127.0.0.1:5224 does not answer"]
    page = Reader(face.page(await face.status()))
    assert page.heading == "the homeserver of a.test is not linked"
    assert "Why 127.0.0.1:5224 does not answer" in page.text
    assert b"volly_fed_edge_homeserver_linked 0.0" in await face.metrics()
