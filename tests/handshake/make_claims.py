"""Who is refused before a claim is looked up, and who is not: step by step at one listener.

in: nothing; out: the file claims.json. Times keep away from the ends of a window, which may slide or not.
"""

from typing import Any

from tests.handshake.make_messages import Vectors, case, document

Step = dict[str, Any]
NOTES = {
    "lock-out": "Claims are counted by the claimed domain: whoever makes false ones in its name locks the owner out.",
    "prefix": "Each IPv6 address is a caller of its own: one host has 2^64 of them.",
}
ADDRESS, ELSEWHERE = "192.0.2.1", "198.51.100.7"


def claim(name: str, *, of: str = "a.example", by: str = ADDRESS, key: str = "k1", busy: int = 0, t: float = 0) -> Step:
    """One claim, by a caller at an address with a TLS key."""
    return {"t": t, "claim": name, "domain": of, "address": by, "key": key, "busy": busy}


def over(name: str, t: float = 0) -> Step:
    return {"t": t, "over": name}


def proved(name: str, busy: int = 0, t: float = 0) -> Step:
    return {"t": t, "proved": name, "busy": busy}


def false(count: int, t: float = 0, **who: Any) -> list[Step]:
    """So many that are looked up and never proved, each over before the next."""
    names = [f"{who.get('key', 'k1')} {who.get('by', '')} {t} {n}" for n in range(count)]
    return [step for name in names for step in (claim(name, t=t, **who), over(name, t))]


def known(name: str, key: str = "k1", t: float = 0, **who: Any) -> list[Step]:
    """A claim that is proved: its domain's key is known from then on."""
    return [claim(name, key=key, t=t, **who), proved(name, t=t)]


AT_A_TIME: dict[str, list[Step]] = {
    "one-look-up-at-a-time": [
        claim("first"),
        claim("second", busy=1),
        claim("from elsewhere", by=ELSEWHERE),
        claim("of another", of="b.example"),
        over("first"),
        claim("third"),
        over("first"),
        claim("fourth", busy=1),
    ],
    "a-proof-ends-the-look-up": [*known("first"), claim("second"), claim("third", key="k2")],
    "a-look-up-that-is-forgotten": [claim("first"), claim("second", busy=1, t=14.5), claim("third", t=15.5)],
    "others-look-ups-are-not-forgotten-with-it": [
        claim("first"),
        claim("second", by=ELSEWHERE, t=10),
        claim("third", t=16),
        claim("fourth", by=ELSEWHERE, busy=1, t=16),
    ],
}


BY_CALLER: dict[str, list[Step]] = {
    "six-false-claims-of-one-domain-from-one-address": [
        *false(6),
        claim("seventh", busy=50, t=10),
        claim("from elsewhere", by=ELSEWHERE, t=10),
        claim("of another", of="b.example", t=10),
        *false(6, t=61),
        claim("and seventh", busy=59, t=62),
    ],
    "a-window-of-60-seconds": [
        *false(3),
        *false(3, t=30),
        claim("seventh", busy=20, t=40),
        claim("when three are old", t=61),
        over("when three are old", t=61),
        *false(2, t=62),
        claim("again too many", busy=27, t=63),
    ],
    "a-refused-claim-does-not-count": [
        *false(6),
        *(claim(f"refused {n}", busy=30, t=30) for n in range(6)),
        *false(6, t=61),
    ],
    "a-proof-wipes-the-count": [
        *false(5, key="k2"),
        *known("true"),
        *false(6, key="k2"),
        claim("last", key="k2", busy=60),
    ],
    "a-proof-wipes-no-others-count": [
        *false(6, by=ELSEWHERE),
        *known("true"),
        claim("false", key="k2", by=ELSEWHERE, busy=60),
    ],
    "a-proved-key-is-its-own-caller": [
        *known("true"),
        *false(6, key="k2"),
        claim("false", key="k2", busy=60),
        *false(6, by=ADDRESS),
        claim("also too many", busy=60),
        claim("from elsewhere too", by=ELSEWHERE, busy=60),
    ],
    "a-proved-key-is-good-for-its-domain": [
        *known("true"),
        *false(6, of="b.example", key="k2"),
        claim("of another", of="b.example", busy=60),
    ],
}


MANY = [step for n in range(5) for step in false(6, of=f"d{n}.example")]
BY_ADDRESS: dict[str, list[Step]] = {
    "thirty-false-claims-from-one-address": [
        *MANY,
        claim("of another", of="e.example", busy=60),
        claim("from elsewhere", of="e.example", by=ELSEWHERE),
        claim("later", of="e.example", t=61),
    ],
    "twenty-nine-false-claims-from-one-address": [*MANY[:-2], claim("thirtieth", of="e.example")],
    "a-proved-key-is-not-counted-by-address": [*known("true"), *MANY, claim("true too")],
    "what-a-proved-key-claims-spends-no-address": [
        *known("true"),
        *false(6),
        *MANY[:-2],
        claim("thirtieth", of="e.example"),
    ],
    "a-proof-wipes-the-count-of-the-address-by-its-own": [
        *MANY[:-12],
        *false(5),
        *known("true"),
        *MANY[-12:],
        claim("thirty-first", of="e.example", busy=60),
    ],
    "addresses-in-one-64": [
        *false(6, by="2001:db8::1"),
        claim("neighbour", by="2001:db8::ffff:0:0:2", busy=60),
        claim("next network", by="2001:db8:0:1::1"),
    ],
    "an-address-of-both-kinds": [
        *false(6, by=f"::ffff:{ADDRESS}"),
        claim("the same", busy=60),
        claim("another", by=f"::ffff:{ELSEWHERE}"),
    ],
    "a-link-local-address": [*false(6, by="fe80::1%eth0"), claim("the same", by="fe80::2%eth1", busy=60)],
}


IN_ALL: dict[str, list[Step]] = {
    "six-hundred-strangers": [
        *known("true"),
        {"t": 0, "strangers": 600},
        claim("stranger", of="e.example", busy=60),
        claim("true too", by=ELSEWHERE),
        claim("later", of="e.example", t=61),
    ],
    "five-hundred-and-ninety-nine-strangers": [
        *known("true"),
        *false(6),
        {"t": 0, "strangers": 599},
        claim("stranger", of="e.example"),
        claim("one too many", of="f.example", busy=60),
    ],
    "who-proves-itself-is-no-stranger": [
        {"t": 0, "strangers": 599},
        *known("true"),
        claim("last", of="e.example"),
        claim("one too many", of="f.example", busy=60),
    ],
    "twenty-proofs": [
        *(step for n in range(20) for step in known(f"true {n}", by=f"192.0.2.{n}")),
        claim("twenty-first", busy=3),
        claim("a second later", busy=2, t=1.99),
        claim("with another key", key="k2", by=ELSEWHERE, busy=2, t=1.99),
        claim("of another", of="b.example", t=1.99),
        *(step for n in range(20) for step in known(f"later {n}", t=61)),
        claim("again too many", busy=3, t=61),
    ],
    "twenty-proofs-and-one-that-was-let-in": [
        *(step for n in range(19) for step in known(f"true {n}")),
        claim("twentieth"),
        claim("twenty-first", by=ELSEWHERE, key="k2"),
        proved("twentieth"),
        proved("twenty-first", busy=3),
        *(step for n in range(20) for step in known(f"later {n}", t=61)),
    ],
    "proofs-are-counted-while-many-others-prove-themselves": [
        *(step for n in range(10) for step in known(f"true {n}")),
        {"t": 0, "proving": 4095},
        *(step for n in range(10, 20) for step in known(f"true {n}")),
        *known("one more", of="b.example"),
        claim("twenty-first", busy=3),
    ],
    "proofs-of-another-are-old": [
        *known("true"),
        *(step for n in range(20) for step in known(f"of another {n}", of="b.example", t=61)),
        claim("of another too", of="b.example", busy=3, t=61),
    ],
    "a-key-that-is-proved-twice-is-one": [
        *(step for n, key in enumerate((1, 2, 3, 2, 4, 5, 6, 7, 8)) for step in known(f"true {n}", key=f"k{key}", t=n)),
        *false(6, key="other", t=9),
        *false(1, key="k1", t=9),
    ],
    "proofs-of-others-are-counted-for-themselves": [
        *(step for n in range(20) for step in known(f"true {n}")),
        {"t": 0, "proving": 100},
        claim("twenty-first", busy=3),
    ],
    "eight-keys-of-one-domain": [
        *(step for n in range(1, 9) for step in known(f"true {n}", key=f"k{n}", t=n)),
        *known("true again", key="k1", t=9),
        *known("ninth", key="k9", t=10),
        *false(6, key="other", t=11),
        claim("second", key="k2", busy=60, t=11),
        *(step for n in (1, 3, 9) for step in false(1, key=f"k{n}", t=11)),
    ],
    "as-many-domains-as-are-remembered": [
        *known("true"),
        {"t": 1, "proving": 4095},
        *false(6, key="other", t=2),
        claim("still known", t=2),
    ],
    "one-domain-more-than-is-remembered": [
        *known("of another", of="b.example"),
        *known("true"),
        *known("of another again", of="b.example", t=1),
        {"t": 2, "proving": 4095},
        *false(6, key="other", t=3),
        claim("known no more", busy=60, t=3),
        *false(6, of="b.example", key="other", t=3),
        claim("still known", of="b.example", t=3),
    ],
}
"""`strangers`: so many callers that have nothing in common. `proving`: so many domains that prove themselves."""


def claims_file() -> Vectors:
    flags = {
        "a-proved-key-is-its-own-caller": ["lock-out"],
        "six-false-claims-of-one-domain-from-one-address": ["lock-out"],
        "addresses-in-one-64": ["prefix"],
    }
    rows = AT_A_TIME | BY_CALLER | BY_ADDRESS | IN_ALL
    cases = [case(name, {"steps": steps}, accept={}) | {"flags": flags.get(name, [])} for name, steps in rows.items()]
    return document("claims", cases, [36, 37], NOTES)
