"""Writes spec/vectors/relay: python -m tests.relay.make_vectors. A test compares what is there."""

from collections.abc import Callable

from tests.making import Vectors, case, cbor, expand, rejected, vectors, write

MAILBOX, IDENTITY, CAPABILITY = expand("mailbox", 32), expand("envelope", 16), expand("capability", 16)
EXPIRY = 1_800_000_000
FIELDS = [1, MAILBOX, "chat.example", IDENTITY, EXPIRY, 1, CAPABILITY, bytes(1024)]
NAMES = ["version", "mailbox", "domain", "id", "expiry", "class", "capability", "body"]
LONG = ".".join(["a" * 63] * 3 + ["b" * 61])
SIZES = (1024, 2048, 4096, 8192, 16384, 32768, 65536)


def envelope(*, size: int = 1024, **changes: object) -> Vectors:
    """Its bytes: `head`, then a body of zeros, which is its end."""
    fields = [changes.get(name, value) for name, value in zip(NAMES, FIELDS, strict=True)]
    data = cbor([*fields[:7], bytes(size)])
    return {"head": data[: len(data) - size].hex(), "zeros": size}


def whole(data: bytes, *, zeros: int = 0) -> Vectors:
    return {"head": data.hex(), "zeros": zeros}


def envelopes() -> Vectors:
    good: list[tuple[str, dict[str, object], int]] = [("plain", {}, 1024)]
    good += [(f"body-{size}", {}, size) for size in SIZES[1:]]
    good += [("ring", {"class": 0}, 1024), ("bulk", {"class": 2}, 1024)]
    good += [(f"domain-of-{len(name)}", {"domain": name}, 1024) for name in ("a", "a" * 23, "a" * 24, LONG)]
    good += [
        (f"expiry-{n}", {"expiry": n}, 1024) for n in (0, 23, 24, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**64 - 1)
    ]
    cases = []
    for name, changes, size in good:
        fields = dict(zip(NAMES, FIELDS, strict=True)) | changes
        spelled = {each: value.hex() if isinstance(value, bytes) else value for each, value in fields.items()}
        accept = spelled | {"expiry": str(fields["expiry"]), "body": size}
        del accept["version"]
        cases.append(case(name, envelope(size=size, **changes), accept=accept))
    plain = cbor(FIELDS)
    cut = plain[:-1024]
    bad: list[tuple[str, Vectors, str]] = [
        ("empty", whole(b""), "MALFORMED"),
        ("another-version", envelope(version=2), "UNSUPPORTED_VERSION"),
        ("short-mailbox", envelope(mailbox=bytes(31)), "MALFORMED"),
        ("no-domain", envelope(domain=""), "MALFORMED"),
        ("upper-case-domain", envelope(domain="Chat.example"), "MALFORMED"),
        ("final-dot", envelope(domain="chat.example."), "MALFORMED"),
        ("domain-not-ascii", envelope(domain="ch\u00e4t.example"), "MALFORMED"),
        ("long-label", envelope(domain="a" * 64), "MALFORMED"),
        ("domain-of-254", envelope(domain=LONG + "b"), "MALFORMED"),
        ("domain-as-bytes", envelope(domain=b"chat.example"), "MALFORMED"),
        ("short-id", envelope(id=bytes(15)), "MALFORMED"),
        ("negative-expiry", envelope(expiry=-1), "MALFORMED"),
        ("expiry-as-text", envelope(expiry="soon"), "MALFORMED"),
        ("unknown-class", envelope(**{"class": 3}), "MALFORMED"),
        ("class-is-a-boolean", envelope(**{"class": True}), "MALFORMED"),
        ("long-capability", envelope(capability=bytes(17)), "MALFORMED"),
        ("body-of-no-class", envelope(size=1025), "MALFORMED"),
        ("body-too-short", envelope(size=1023), "MALFORMED"),
        ("body-too-large", envelope(size=131_072), "MALFORMED"),
        ("body-is-cut-off", whole(cut, zeros=1023), "MALFORMED"),
        ("bytes-after-the-end", whole(cut, zeros=1025), "MALFORMED"),
        ("nine-fields", whole(b"\x89" + cut[1:], zeros=1024), "MALFORMED"),
        ("length-not-shortest", whole(cut.replace(b"\x6cchat", b"\x78\x0cchat"), zeros=1024), "MALFORMED"),
        ("expiry-not-shortest", whole(cut.replace(b"\x1a\x6b", b"\x1b\0\0\0\0\x6b"), zeros=1024), "MALFORMED"),
        ("indefinite-length", whole(b"\x9f" + cut[1:], zeros=1024), "MALFORMED"),
    ]
    flags = {"length-not-shortest", "expiry-not-shortest", "indefinite-length", "bytes-after-the-end"}
    for name, given, code in bad:
        cases.append(case(name, given, flags=["one-spelling"] if name in flags else [], reject=rejected(code)))
    notes = {
        "one-spelling": "an envelope has one spelling: who takes another one lets two relays disagree about its id"
    }
    return vectors("relay", "envelope-codec", "1 3 4", cases, notes)


def sent(number: int = 0, **changes: object) -> Vectors:
    """An envelope by its fields: `lives` is from now to its expiry, `size` that of its body."""
    fields: Vectors = {
        "id": expand(f"id {number}", 16).hex(),
        "mailbox": MAILBOX.hex(),
        "domain": "home.example",
        "lives": 3600,
        "class": 1,
        "capability": CAPABILITY.hex(),
        "size": 1024,
    }
    return fields | changes


def world(*batches: list[Vectors], **changes: object) -> Vectors:
    settings: Vectors = {
        "own": "home.example",
        "from": "peer.example",
        "levels": {"peer.example": "full"},
        "mailbox": {"id": MAILBOX.hex(), "grants": [[CAPABILITY.hex(), ["*"]]]},
        "limits": {},
    }
    return settings | changes | {"batches": list(batches)}


def intake() -> Vectors:
    """`answers`: for each batch, the code for each envelope (NONE: it is settled); `holds`, `queued`: ids, in order."""
    month = 31 * 86_400
    other = expand("another capability", 16).hex()
    rows: list[tuple[str, Vectors, list[list[str]], list[int], list[int]]] = [
        ("stored", world([sent(0), sent(1)]), [["NONE", "NONE"]], [0, 1], []),
        ("each-on-its-own", world([sent(0), sent(1, lives=-400), sent(2)]), [["NONE", "EXPIRED", "NONE"]], [0, 2], []),
        ("duplicate-in-a-batch", world([sent(0), sent(0)]), [["NONE", "NONE"]], [0], []),
        ("duplicate-later", world([sent(0)], [sent(0), sent(1)]), [["NONE"], ["NONE", "NONE"]], [0, 1], []),
        ("expired", world([sent(0, lives=-400)]), [["EXPIRED"]], [], []),
        ("just-expired", world([sent(0, lives=-200)]), [["NONE"]], [0], []),
        ("lives-too-long", world([sent(0, lives=month)]), [["MALFORMED"]], [], []),
        ("another-domain", world([sent(0, domain="third.example")]), [["UNKNOWN_DOMAIN"]], [], []),
        ("unknown-mailbox", world([sent(0, mailbox=bytes(32).hex())]), [["UNDELIVERABLE"]], [], []),
        ("wrong-capability", world([sent(0, capability=other)]), [["UNDELIVERABLE"]], [], []),
        (
            "full-in-envelopes",
            world([sent(0), sent(1)], limits={"mailbox_envelopes": 1}),
            [["NONE", "UNDELIVERABLE"]],
            [0],
            [],
        ),
        (
            "full-in-bytes",
            world([sent(0, size=2048), sent(1)], limits={"mailbox_bytes": 2600}),
            [["NONE", "UNDELIVERABLE"]],
            [0],
            [],
        ),
        ("peer-of-level-metadata", world([sent(0)], levels={"peer.example": "metadata"}), [["POLICY"]], [], []),
        ("selective-and-anybody", world([sent(0)], levels={"peer.example": "selective"}), [["NONE"]], [0], []),
        (
            "selective-and-not-named",
            world(
                [sent(0)],
                levels={"peer.example": "selective"},
                mailbox={"id": MAILBOX.hex(), "grants": [[CAPABILITY.hex(), ["other.example"]]]},
            ),
            [["UNDELIVERABLE"]],
            [],
            [],
        ),
        ("from-a-device-to-a-peer", world([sent(0, domain="peer.example")], **{"from": "device"}), [["NONE"]], [], [0]),
        ("from-a-device-to-a-mailbox-here", world([sent(0)], **{"from": "device"}), [["NONE"]], [0], []),
        (
            "from-a-device-to-nobody",
            world([sent(0, domain="bad.example")], levels={"bad.example": "none"}, **{"from": "device"}),
            [["POLICY"]],
            [],
            [],
        ),
        (
            "the-queue-is-full",
            world(
                [sent(n, domain="peer.example") for n in range(3)],
                limits={"queue_envelopes_per_peer": 2},
                **{"from": "device"},
            ),
            [["NONE", "NONE", "OVERLOADED"]],
            [],
            [0, 1],
        ),
    ]
    same = {"unknown-mailbox", "wrong-capability", "full-in-envelopes", "full-in-bytes", "selective-and-not-named"}
    cases = [
        case(
            name,
            given,
            flags=["one-answer"] if name in same else [],
            accept={
                "answers": answers,
                "holds": [expand(f"id {n}", 16).hex() for n in holds],
                "queued": [expand(f"id {n}", 16).hex() for n in queued],
            },
        )
        for name, given, answers, holds, queued in rows
    ]
    notes = {"one-answer": "who could tell these refusals apart could find mailboxes, capabilities, or who is away"}
    return vectors("relay", "intake-policy", "5 9 10 12 13 16 20 router-1 router-2 router-3 router-4", cases, notes)


ALL: dict[str, Callable[[], Vectors]] = {"envelope": envelopes, "intake": intake}


if __name__ == "__main__":
    for each, make in ALL.items():
        write("relay", each, make())
