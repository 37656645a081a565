"""What each end of a handshake does with right and wrong messages, step by step.

in: the messages of make_messages; out: the file machine.json.
A step is `do` (what the role decides), `in` (a message, maybe altered) or `out` (what it sends).
"""

from typing import Any

from tests.handshake.make_messages import (
    M_NAME,
    Vectors,
    case,
    channel,
    document,
    messages,
    transcript,
)
from tests.spec.run import A, B, expand
from volly_fed.crypto.signature import fingerprint

Step = dict[str, Any]
NOTES = {
    "order": "A message that the state does not allow is taken all the same: nothing proves that it means anything.",
    "replay": "A proof of another connection, or of the other direction, is taken for one of this.",
    "binding": "The transcript lacks a fact of the channel: whoever stands between two connections passes proofs on.",
    "name": "HELLO is not compared with the names: a proof for one domain is good at another.",
    "identity": "The identity is not compared with the published ones, or half of a key or signature is enough.",
    "downgrade": "The HELLOs are not in the transcript as they were sent: versions and extensions are taken away.",
    "altered": "The HELLOs are encoded again before they are hashed, or a field is left out.",
    "time": "A handshake that takes too long goes on.",
}
AUTH_START = 7
"""Bytes of AUTH before the signature."""


def step(kind: str, what: Any, t: float = 0) -> Step:
    return {"t": t, kind: what}


def put(name: str, at: int, data: bytes) -> Step:
    """A message with some bytes replaced."""
    return {"message": name, "at": at, "put": data.hex()}


def at_field(name: str, before: bytes) -> int:
    return messages()[name].index(before)


DIALLER = [
    step("do", "start"),
    step("out", "dialler-hello"),
    step("in", "listener-hello"),
    step("do", "prove"),
    step("out", "dialler-auth"),
    step("in", "listener-auth"),
]
LISTENER = [
    step("in", "dialler-hello"),
    step("do", "accept"),
    step("out", "listener-hello"),
    step("in", "dialler-auth"),
    step("do", "prove"),
    step("out", "listener-auth"),
]


MIXED_DIALLER = [
    step("do", "start"),
    step("out", "rich-dialler-hello"),
    step("in", "listener-hello"),
    step("do", "prove"),
    step("out", "mixed-dialler-auth"),
    step("in", "mixed-listener-auth"),
]
MIXED_LISTENER = [
    step("in", "rich-dialler-hello"),
    step("do", "accept"),
    step("out", "listener-hello"),
    step("in", "mixed-dialler-auth"),
    step("do", "prove"),
    step("out", "mixed-listener-auth"),
]
STATES = {
    "START": ("dialler", DIALLER[:0]),
    "GREETING": ("dialler", DIALLER[:2]),
    "GREETED": ("dialler", DIALLER[:3]),
    "PROVING": ("dialler", DIALLER[:5]),
    "LISTENING": ("listener", LISTENER[:0]),
    "CLAIMED": ("listener", LISTENER[:1]),
    "ACCEPTED": ("listener", LISTENER[:3]),
    "PROVED": ("listener", LISTENER[:4]),
}
"""How each state is reached."""
ESTABLISHED = {"ESTABLISHED": ("dialler", DIALLER), "ESTABLISHED-by-the-listener": ("listener", LISTENER)}
OTHER = {"dialler": "listener", "listener": "dialler"}
EXPECTED = {("GREETING", "hello"), ("PROVING", "auth"), ("LISTENING", "hello"), ("ACCEPTED", "auth")}


def given(role: str, steps: list[Step], **changes: Any) -> Vectors:
    peer = B if role == "dialler" else A
    return {
        "role": role,
        "versions": [1, 1],
        "extensions": {},
        "expected": [fingerprint(peer.identity.public).hex()],
        "channel": channel() | changes.pop("channel", {}),
        "steps": steps,
    } | changes


def accepted(role: str, name: str, steps: list[Step], version: int = 1, **changes: Any) -> Vectors:
    """A handshake that is established; `hellos` are what the transcripts are made of."""
    first, second = changes.pop("hellos", ("dialler-hello", "listener-hello"))
    peer = B if role == "dialler" else A
    on = channel()
    signed = [transcript(end, on, messages()[first], messages()[second]).hex() for end in ("dialler", "listener")]
    found = {"state": "ESTABLISHED", "peer": peer.name, "version": version}
    found |= {"fingerprint": fingerprint(peer.identity.public).hex(), "extensions": changes.pop("offered", {})}
    found |= {"statement": changes.pop("statement", "")}
    found |= dict(zip(("dialler_signs", "listener_signs"), signed, strict=True))
    return case(name, given(role, steps, **changes), accept=found)


def refused(role: str, name: str, flag: str, steps: list[Step], code: str, **changes: Any) -> Vectors:
    """The last step is the one that is refused."""
    kind = {"MALFORMED": "BadMessage", "BAD_SIGNATURE": "BadSignature"}.get(code, "RemoteError")
    kind = changes.pop("kind", kind)
    made = case(name, given(role, steps, **changes), reject={"class": kind, "code": code, "state": "CLOSED"})
    return made | {"flags": [flag] if flag else []}


def established() -> list[Vectors]:
    rich: Vectors = {"versions": [1, 2], "extensions": {"7": "6f6e", "6682": ""}}
    hellos = ("rich-dialler-hello", "rich-listener-hello")
    found = [accepted("dialler", "dialler", DIALLER), accepted("listener", "listener", LISTENER)]
    for role, steps in (("dialler", DIALLER), ("listener", LISTENER)):
        richer = [{k: f"rich-{v}" if k in ("in", "out") else v for k, v in s.items()} for s in steps]
        offered = {"7": "6f6e", "6682": ""}
        found.append(accepted(role, f"{role}-rich", richer, 2, hellos=hellos, offered=offered, **rich))
    hellos = ("rich-dialler-hello", "listener-hello")
    found += [
        accepted("listener", "listener-of-one-version", MIXED_LISTENER, hellos=hellos, offered=rich["extensions"]),
        accepted("dialler", "listener-of-one-version-answers", MIXED_DIALLER, hellos=hellos, **rich),
    ]
    found += [
        accepted(role, f"{role}-at-the-last-moment", [each | {"t": 14.9} for each in steps] + [step("do", "wait", 99)])
        for role, steps in (("dialler", DIALLER), ("listener", LISTENER))
    ]
    with_statement = [*LISTENER[:3], step("in", "dialler-auth-with-statement"), *LISTENER[4:]]
    found.append(accepted("listener", "statement", with_statement, statement=b"not read here".hex()))
    return found


def wrong_order() -> list[Vectors]:
    found = [
        refused("listener", f"listener-hears-{what}-first", "order", [step("in", what)], "UNEXPECTED")
        for what in ("dialler-auth", "ping")
    ]
    found += [
        refused("listener", "hello-twice", "order", [*LISTENER[:3], LISTENER[0]], "UNEXPECTED"),
        refused("listener", "hello-twice-at-once", "order", [LISTENER[0], LISTENER[0]], "UNEXPECTED"),
        refused("listener", "auth-before-the-answer", "order", [LISTENER[0], LISTENER[3]], "UNEXPECTED"),
        refused("listener", "auth-twice", "order", [*LISTENER[:4], LISTENER[3]], "UNEXPECTED"),
        refused("dialler", "dialler-hears-auth-first", "order", [*DIALLER[:2], DIALLER[5]], "UNEXPECTED"),
        refused("dialler", "auth-before-ours", "order", [*DIALLER[:3], DIALLER[5]], "UNEXPECTED"),
        refused("dialler", "hello-before-ours", "order", [DIALLER[2]], "UNEXPECTED"),
        refused("dialler", "nothing-follows", "order", [*DIALLER, step("in", "ping")], "UNEXPECTED"),
        refused("listener", "nothing-follows-later", "order", [*LISTENER, step("in", "ping", 16)], "UNEXPECTED"),
    ]
    found += [
        refused(role, f"{what}-in-{state}", "order", [*steps, step("in", f"{OTHER[role]}-{what}")], "UNEXPECTED")
        for state, (role, steps) in (STATES | ESTABLISHED).items()
        for what in ("hello", "auth")
        if (state, what) not in EXPECTED
    ]
    late = [*LISTENER[:3], step("in", "dialler-auth", 15)]
    found.append(refused("listener", "late", "time", late, "TIMEOUT"))
    return found


def replayed() -> list[Vectors]:
    other = {f"exporter_{end}": expand(f"another channel {end}", 64).hex() for end in ("dialler", "listener")}
    mirrored = [*DIALLER[:5], step("in", "dialler-auth")]
    found = [
        refused("listener", "on-another-channel", "replay", LISTENER[:4], "BAD_SIGNATURE", channel=other),
        refused("dialler", "on-another-channel-dialler", "replay", DIALLER, "BAD_SIGNATURE", channel=other),
        refused("dialler", "own-hello-comes-back", "replay", [*DIALLER[:2], step("in", "dialler-hello")], "WRONG_NAME"),
        refused("dialler", "own-auth-comes-back", "replay", mirrored, "BAD_SIGNATURE"),
    ]
    nonce = put("dialler-hello", at_field("dialler-hello", A.draw("nonce", 32)), expand("another nonce", 32))
    steps = [step("in", nonce), *LISTENER[1:4]]
    found.append(refused("listener", "auth-of-another-nonce", "replay", steps, "BAD_SIGNATURE"))
    return found


def wrong_binding() -> list[Vectors]:
    digest = expand("another TLS key", 32).hex()
    changes = {
        "exporter": {"exporter_dialler": expand("another exporter", 64).hex()},
        "alpn": {"alpn": "volly-edge/1"},
        "alpn-and-group-trade-bytes": {"alpn": "volly-fed/1X", "group": "25519MLKEM768"},
        "group": {"group": "X25519"},
        "dialler-key": {"dialler_spki_sha256": digest},
        "listener-key": {"listener_spki_sha256": digest},
        "keys-exchanged": {
            "dialler_spki_sha256": channel()["listener_spki_sha256"],
            "listener_spki_sha256": channel()["dialler_spki_sha256"],
        },
    }
    return [
        refused("listener", f"wrong-{name}", "binding", LISTENER[:4], "BAD_SIGNATURE", channel=change)
        for name, change in changes.items()
    ] + [
        refused(
            "dialler",
            "wrong-exporter-of-the-listener",
            "binding",
            DIALLER,
            "BAD_SIGNATURE",
            channel={"exporter_listener": expand("another exporter", 64).hex()},
        )
    ]


def wrong_names() -> list[Vectors]:
    own, wanted = (at_field("dialler-hello", b"\x69" + name.encode()) + 1 for name in (A.name, B.name))
    evil = M_NAME.encode()
    answer = at_field("listener-hello", b"\x69" + B.name.encode()) + 1
    to = at_field("listener-hello", b"\x69" + A.name.encode()) + 1
    for_evil, claims_evil = put("dialler-hello", wanted, evil), put("dialler-hello", own, evil)
    as_evil, made_out = put("listener-hello", answer, evil), put("listener-hello", to, evil)
    found = [
        refused("listener", "hello-for-another-domain", "name", [step("in", for_evil)], "WRONG_NAME"),
        refused("dialler", "another-domain-answers", "name", [*DIALLER[:2], step("in", as_evil)], "WRONG_NAME"),
        refused("dialler", "answer-made-out-to-another", "name", [*DIALLER[:2], step("in", made_out)], "WRONG_NAME"),
    ]
    # who publishes another's identity as its own gets as far as the signature
    steps = [step("in", claims_evil), step("do", "accept"), LISTENER[3]]
    found.append(refused("listener", "the-proof-of-another-domain", "name", steps, "BAD_SIGNATURE"))
    return found


def wrong_identities() -> list[Vectors]:
    last = at_field("dialler-hello", A.identity.public) + 1983
    mixed = put("dialler-hello", last - 31, B.identity.public[-32:])
    mixed_print = fingerprint(A.identity.public[:-32] + B.identity.public[-32:]).hex()
    accept = [LISTENER[0], step("do", "accept")]
    found = [
        refused("listener", "not-published", "identity", accept, "IDENTITY_MISMATCH", expected=["00" * 32]),
        refused("listener", "nothing-published", "identity", accept, "IDENTITY_MISMATCH", expected=[]),
        refused(
            "dialler", "listener-not-published", "identity", DIALLER[:3], "IDENTITY_MISMATCH", expected=["00" * 32]
        ),
        refused("listener", "our-own", "identity", [step("in", "own-identity-hello")], "IDENTITY_MISMATCH"),
        refused(
            "listener",
            "half-of-another-key",
            "identity",
            [step("in", mixed), step("do", "accept")],
            "IDENTITY_MISMATCH",
        ),
        refused(
            "listener",
            "half-of-another-key-published",
            "identity",
            [step("in", mixed), step("do", "accept"), LISTENER[3]],
            "BAD_SIGNATURE",
            expected=[mixed_print],
        ),
    ]
    auth = messages()["dialler-auth"]
    for name, at in (("first", 0), ("end-of-ml-dsa", 3308), ("start-of-ed25519", 3309), ("last", 3372)):
        flipped = bytes([auth[AUTH_START + at] ^ 1])
        steps = [*LISTENER[:3], step("in", put("dialler-auth", AUTH_START + at, flipped))]
        found.append(refused("listener", f"signature-{name}-byte", "identity", steps, "BAD_SIGNATURE"))
    for name in ("other-context", "by-listener-key"):
        steps = [*LISTENER[:3], step("in", f"dialler-auth-{name}")]
        found.append(refused("listener", f"signature-{name}", "identity", steps, "BAD_SIGNATURE"))
    return found


def downgraded() -> list[Vectors]:
    rich = {"versions": [1, 2], "extensions": {"7": "6f6e", "6682": ""}}
    hello = "rich-dialler-hello"
    lower = put(hello, at_field(hello, b"\x01\x82\x01\x02") + 3, b"\x01")
    other = put(hello, at_field(hello, b"\x42on"), b"\x42no")
    found = [
        refused(
            "listener",
            f"fewer-{name}",
            "downgrade",
            [
                step("in", said),
                step("do", "accept"),
                step("out", "rich-listener-hello"),
                step("in", "rich-dialler-auth"),
            ],
            "BAD_SIGNATURE",
            **rich,
        )
        for name, said in (("versions", lower), ("extensions", "dialler-hello"), ("bytes-of-an-extension", other))
    ]
    answer = put("rich-listener-hello", at_field("rich-listener-hello", b"\x01\x82\x01\x02") + 3, b"\x01")
    steps = [step("do", "start"), step("out", hello), step("in", answer), step("do", "prove")]
    steps.append(step("in", "rich-listener-auth"))
    found.append(refused("dialler", "fewer-versions-of-the-listener", "downgrade", steps, "BAD_SIGNATURE", **rich))
    found.append(
        refused("listener", "no-common-version", "downgrade", [step("in", "versions-2-hello")], "UNSUPPORTED_VERSION")
    )
    found.append(
        refused(
            "listener", "no-common-version-below", "downgrade", LISTENER[:1], "UNSUPPORTED_VERSION", versions=[2, 3]
        )
    )
    found.append(refused("listener", "range-reversed", "", [step("in", "versions-reversed-hello")], "MALFORMED"))
    return found


def altered() -> list[Vectors]:
    """The dialler sent dialler-hello; something else arrives, and then its AUTH."""
    return [
        refused("listener", f"{name}-on-the-way", "altered", [step("in", name), *LISTENER[1:4]], "BAD_SIGNATURE")
        for name in ("unknown-field-hello", "extension-hello", "probe-hello")
    ]


def endings() -> list[Vectors]:
    """In each state: time is up, this end refuses, the other end refuses."""
    found: list[Vectors] = []
    refuse = step("in", "refuse-busy")
    found.append(refused("dialler", "refused-in-ESTABLISHED", "order", [*DIALLER, refuse], "UNEXPECTED"))
    for state, (role, steps) in STATES.items():
        up, reject = step("do", "wait", 15), step("do", "reject") | {"code": "POLICY"}
        found += [
            refused(role, f"time-is-up-in-{state}", "time", [*steps, step("do", "wait", 14.9), up], "TIMEOUT"),
            refused(role, f"refusing-in-{state}", "", [*steps, reject], "POLICY"),
            refused(role, f"refused-in-{state}", "", [*steps, refuse], "BUSY", kind="Refused"),
        ]
    return found


def refusals() -> list[Vectors]:
    return [
        refused("dialler", "told-busy", "", [*DIALLER[:2], step("in", "refuse-busy")], "BUSY", kind="Refused"),
        refused(
            "dialler",
            "told-something-new",
            "",
            [*DIALLER[:2], step("in", "refuse-unknown-code")],
            "UNEXPECTED",
            kind="Refused",
        ),
        refused("listener", "told-before-anything", "", [step("in", "refuse-busy")], "BUSY", kind="Refused"),
    ]


def machine_file() -> Vectors:
    makers = (established, wrong_order, replayed, wrong_binding, wrong_names, wrong_identities, downgraded)
    cases = [made for maker in (*makers, altered, refusals, endings) for made in maker()]
    assert {flag for made in cases for flag in made["flags"]} == set(NOTES)
    return document("machine", cases, [2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 18, 21, 38], NOTES)
