"""Handshakes that go wrong, whoever dials: each check of both roles, its code, the end, and that others get through."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import attrs

from interop.fake_peer import Peer, Persona
from interop.fake_spelling import NO_MAP, NO_TYPE, with_unknown_fields, wrong_spellings
from interop.rogue import Depth, Play, Rogue, play_called, play_calling
from interop.scenario import scenario
from interop.stage import Stage
from volly_fed import limits
from volly_fed.codepoints import ErrorCode, Role
from volly_fed.wire import encode_message
from volly_fed.wire.messages import Auth, Close, Open, Ping, PresenceRequest, Welcome

Row = tuple[str, Play]
Changes = dict[str, Any]
MOST: Final = limits.MAX_HANDSHAKE_MESSAGE
GREASE: Final = 0x3A3A
_STRANGER: Final = Persona.create("somebody-else.test")
_KEY_BYTES: Final = len(_STRANGER.identity.public)


def of_size(size: int, **changes: Any) -> Callable[[Peer], bytes]:
    """A HELLO with an unknown field that makes it as long as that."""

    def make(peer: Peer) -> bytes:
        short = len(peer.hands.hello(raw={99: bytes(MOST // 2)}, **changes)) - MOST // 2
        data = peer.hands.hello(raw={99: bytes(size - short)}, **changes)
        assert len(data) == size
        return data

    return make


# --- HELLO -----------------------------------------------------------------------------------------------------------

_FORMS: Final[dict[str, Changes]] = {
    "a version range upside down": {"versions": (2, 1)},
    "a version range of one number": {"raw": {1: [1]}},
    "a version range of three numbers": {"raw": {1: [1, 1, 1]}},
    "versions that are texts": {"raw": {1: ["1", "1"]}},
    "versions that are a number": {"raw": {1: 1}},
    "a domain in capitals": {"raw": {2: "ROGUE.test"}},
    "a domain with a final dot": {"raw": {2: "rogue.test."}},
    "a domain of no length": {"raw": {2: ""}},
    "a domain with an underscore": {"raw": {2: "ro_gue.test"}},
    "a domain with a label of 64": {"raw": {2: "a" * 64 + ".test"}},
    "a domain of 254 bytes": {"raw": {2: ".".join(["a" * 49] * 5) + ".test"}},
    "a domain that is bytes": {"raw": {2: b"rogue.test"}},
    "a wanted domain in capitals": {"raw": {3: "A.TEST"}},
    "a wanted domain that is a number": {"raw": {3: 1}},
    "an identity that is too short": {"raw": {4: bytes(_KEY_BYTES - 1)}},
    "an identity that is too long": {"raw": {4: bytes(_KEY_BYTES + 1)}},
    "an identity that is a text": {"raw": {4: "a" * _KEY_BYTES}},
    "a nonce that is too short": {"raw": {5: bytes(31)}},
    "a nonce that is too long": {"raw": {5: bytes(33)}},
    "extensions that are a list": {"raw": {6: []}},
    "too many extensions": {"extensions": dict.fromkeys(range(100, 117), b"")},
    "an extension that is too long": {"extensions": {100: bytes(1025)}},
    "an extension that is a text": {"raw": {6: {100: "a"}}},
    **{f"field {number} missing": {"raw": {number: None}} for number in range(1, 7)},
}


@attrs.frozen
class Say:
    """In the place of HELLO: what a row says, and the code that it is refused with."""

    make: Callable[[Peer], bytes]
    code: ErrorCode

    async def calling(self, rogue: Rogue) -> None:
        """The rogue has called."""
        async with rogue.calling(Depth.OPEN) as peer:
            await peer.send(self.make(peer))
            await peer.expect_refuse(self.code)

    async def called(self, rogue: Rogue) -> None:
        """The rogue was called: the server's HELLO has come."""
        async with rogue.called(Depth.OPEN) as peer:
            await peer.expect_hello()
            await peer.send(self.make(peer))
            await peer.expect_refuse(self.code)


def _hello(changes: Changes) -> Callable[[Peer], bytes]:
    return lambda peer: peer.hands.hello(**changes)


def forms() -> Iterator[tuple[str, Say]]:
    """HELLOs that are none."""
    for name, changes in _FORMS.items():
        yield name, Say(_hello(changes), ErrorCode.MALFORMED)
    yield "a HELLO of 16385 bytes", Say(of_size(MOST + 1), ErrorCode.MALFORMED)
    yield "a long HELLO for another domain", Say(of_size(MOST, wanted="x.test"), ErrorCode.WRONG_NAME)


def spellings() -> Iterator[tuple[str, Say]]:
    """HELLOs in another spelling, and what is no HELLO at all."""
    names = [name for name, _ in wrong_spellings(encode_message(Ping(token=1)))]
    for name in names:
        yield name, Say(partial(_misspelt, name), ErrorCode.MALFORMED)
    for name, data in NO_MAP.items():
        yield name, Say(partial(_constant, data), ErrorCode.MALFORMED)
    for name, data in NO_TYPE.items():
        yield name, Say(partial(_constant, data), ErrorCode.UNEXPECTED)


def _misspelt(name: str, peer: Peer) -> bytes:
    return dict(wrong_spellings(peer.hands.hello()))[name]


def _constant(data: bytes, _: Peer) -> bytes:
    return data


def unexpected() -> Iterator[tuple[str, Say]]:
    """Other messages in the place of HELLO."""
    auth = Auth(signature=bytes(3373))
    for message in (auth, Open(stream=bytes(8)), Ping(token=1), PresenceRequest(), Close(code=ErrorCode.NONE, text="")):
        yield f"{type(message).__name__} first", Say(partial(_constant, encode_message(message)), ErrorCode.UNEXPECTED)
    welcome = encode_message(Welcome(domain=_STRANGER.domain, edge=bytes(32)))
    yield "Welcome first", Say(partial(_constant, welcome), ErrorCode.UNEXPECTED)


def names_and_versions() -> Iterator[tuple[str, Say]]:
    """HELLOs in the right form that name the wrong things."""
    wrong, other, old = ErrorCode.WRONG_NAME, ErrorCode.IDENTITY_MISMATCH, ErrorCode.UNSUPPORTED_VERSION
    yield "for another domain", Say(_hello({"wanted": "x.test"}), wrong)
    yield "for the rogue itself", Say(lambda peer: peer.hands.hello(wanted=peer.persona.domain), wrong)
    yield "for a name below", Say(lambda peer: peer.hands.hello(wanted=f"fed.{peer.other}"), wrong)
    yield "no common version: later ones", Say(_hello({"versions": (2, 9)}), old)
    yield "no common version: the earliest", Say(_hello({"versions": (0, 0)}), old)
    yield "no common version: the latest", Say(_hello({"versions": (2**64 - 1, 2**64 - 1)}), old)
    yield "another domain before versions", Say(_hello({"wanted": "x.test", "versions": (2, 9)}), wrong)
    yield "another identity", Say(_hello({"identity": _STRANGER.identity.public}), other)
    yield "half of another identity", Say(_mixed_identity, other)


def _mixed_identity(peer: Peer) -> bytes:
    own, strange = peer.persona.identity.public, _STRANGER.identity.public
    return peer.hands.hello(identity=own[:1952] + strange[1952:])


def _of_server(rogue: Rogue) -> bytes:
    return rogue.server.site.keys.identity.public


async def _own_identity_calling(rogue: Rogue) -> None:
    changes: list[Changes] = [{}, {"versions": (2, 9)}]
    for more in changes:
        async with rogue.calling(Depth.OPEN) as peer:
            await peer.send(peer.hands.hello(identity=_of_server(rogue), **more))
            await peer.expect_refuse(ErrorCode.IDENTITY_MISMATCH)


async def _own_identity_called(rogue: Rogue) -> None:
    async with rogue.called(Depth.OPEN) as peer:
        await peer.expect_hello()
        await peer.send(peer.hands.hello(identity=_of_server(rogue), versions=(2, 9)))
        await peer.expect_refuse(ErrorCode.IDENTITY_MISMATCH)


async def _hello_sent_back(rogue: Rogue) -> None:
    """It names the rogue as the wanted one, and shows the server's own key."""
    async with rogue.called(Depth.OPEN) as peer:
        await peer.expect_hello()
        await peer.send(peer.hands.hellos[Role.DIALLER])
        await peer.expect_refuse(ErrorCode.WRONG_NAME)


async def _another_name_answers(rogue: Rogue) -> None:
    async with rogue.called(Depth.OPEN) as peer:
        await peer.expect_hello()
        await peer.send(peer.hands.hello(own="x.test"))
        await peer.expect_refuse(ErrorCode.WRONG_NAME)


def _rows(role: str, *tables: Iterator[tuple[str, Say]]) -> list[Row]:
    return [(name, getattr(say, role)) for table in tables for name, say in table]


@scenario(
    "handshake/hello-malformed",
    servers=1,
    covers=("handshake-2", "handshake-4", "handshake-22", "wire-8", "wire-12", "wire-13", "wire-18", "wire-25"),
)
async def malformed(stage: Stage) -> None:
    """A caller's HELLO lacks a field or has one of another form: REFUSE with MALFORMED, close 1000, the end."""
    await play_calling(stage, _rows("calling", forms()))


@scenario("handshake/hello-misspelt", servers=1, covers=("wire-7", "wire-8", "wire-9", "wire-10", "wire-11", "wire-28"))
async def misspelt(stage: Stage) -> None:
    """A caller's first message is not of the one spelling, or no map, or of no known type."""
    await play_calling(stage, _rows("calling", spellings()))


@scenario(
    "handshake/hello-refused",
    servers=1,
    covers=("handshake-5", "handshake-13", "handshake-14", "handshake-18", "handshake-21"),
)
async def refused(stage: Stage) -> None:
    """A caller's first message is another one, or is a HELLO for somebody else, of no common version, or of another."""
    rows = _rows("calling", unexpected(), names_and_versions())
    await play_calling(stage, [*rows, ("the server's own identity", _own_identity_calling)])


@scenario(
    "handshake/answer-refused",
    servers=1,
    covers=("handshake-2", "handshake-4", "handshake-5", "handshake-6", "handshake-7", "handshake-8", "handshake-21"),
    seconds=40,
)
async def answer_refused(stage: Stage) -> None:
    """The server calls, and what answers its HELLO is refused, without AUTH: no form, another message, another name."""
    some = [*forms()][::4] + [*spellings()][::12] + [*unexpected()][:3]
    rows = _rows("called", iter(some), names_and_versions())
    more: Sequence[Row] = [
        ("the server's own identity", _own_identity_called),
        ("the server's HELLO sent back", _hello_sent_back),
        ("another name answers", _another_name_answers),
    ]
    await play_called(stage, [*rows, *more])


# --- what is to be ignored -------------------------------------------------------------------------------------------

_TAKEN: Final[dict[str, Changes]] = {
    "later versions too": {"versions": (1, 9)},
    "all versions that there are": {"versions": (0, 2**64 - 1)},
    "sixteen unknown extensions, the longest too": {
        "extensions": {**{GREASE + n: bytes([n]) for n in range(15)}, 2**64 - 1: bytes(1024)}
    },
    "unknown fields of every kind": {"raw": {99: [{1: True}, "x"], 2**63: b"", 77: 7}},
    "as long as a HELLO may be": {"raw": {99: bytes(MOST - 2060 - 5)}},
}


async def _taken(changes: Changes, rogue: Rogue) -> None:
    for reach in (rogue.calling, rogue.called):
        async with reach(Depth.HELLOS, **changes) as peer:
            await _prove(peer, peer.hands.auth(statement=b"no statement at all"), alter=True)
            await peer.begin()
            await rogue.take_all(peer)
            await peer.hang_up()


async def _prove(peer: Peer, auth: Auth, *, alter: bool = False) -> None:
    data = with_unknown_fields(encode_message(auth)) if alter else encode_message(auth)
    if peer.role is Role.DIALLER:
        await peer.send(data)
        await peer.expect_proof()
    else:
        await peer.expect_proof()
        await peer.send(data)


@scenario(
    "handshake/ignores-what-it-does-not-know",
    servers=1,
    covers=("handshake-3", "handshake-9", "handshake-21", "handshake-33", "handshake-34", "wire-14", "versioning-4"),
)
async def ignores(stage: Stage) -> None:
    """Versions, extensions, fields and a statement from the future: the link comes about, and all of it was signed."""
    rows = [(name, partial(_taken, changes)) for name, changes in _TAKEN.items()]
    await play_called(stage, rows, strangers=3)
