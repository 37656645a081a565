"""Proofs that go wrong, whoever dials: each part of what is signed, each half, and what comes in the place of AUTH."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from interop.fake_dialogue import Mismatch
from interop.fake_hands import Hands, altered, damaged, halves
from interop.fake_peer import Peer, Persona
from interop.fake_socket import Frame
from interop.rogue import Depth, Play, Rogue, play_called, play_calling
from interop.scenario import check, scenario
from interop.stage import Stage
from volly_fed import limits
from volly_fed.codepoints import ErrorCode, Label, Role
from volly_fed.wire import codec, encode_message
from volly_fed.wire.messages import Auth, Open, Ping, Refuse

Row = tuple[str, Play]
MOST: Final = limits.MAX_HANDSHAKE_MESSAGE
_STRANGER: Final = Persona.create("somebody-else.test")

# --- AUTH ------------------------------------------------------------------------------------------------------------

Forge = Callable[[Hands], Auth]


def _swapped(hands: Hands) -> Auth:
    binding = hands.binding
    other: dict[str, Any] = {
        "exporter_dialler": binding.exporter_acceptor,
        "exporter_acceptor": binding.exporter_dialler,
    }
    return hands.auth(signed=hands.signed(**other))


def _without(part: bytes) -> Forge:
    return lambda hands: hands.auth(signed=hands.signed().replace(part, b""))


def _signed(**changes: Any) -> Forge:
    return lambda hands: hands.auth(signed=hands.signed(**changes))


def _other_hellos(change: Callable[[Hands], dict[Role, bytes]]) -> Forge:
    def forge(hands: Hands) -> Auth:
        right, hands.hellos = hands.hellos, {**hands.hellos, **change(hands)}
        try:
            return hands.auth()
        finally:
            hands.hellos = right

    return forge


_FORGED: Final[dict[str, Forge]] = {
    "all zeros": lambda _: Auth(signature=bytes(3373)),
    "by another key": lambda hands: hands.auth(key=_STRANGER.identity),
    "the ML-DSA half by another key": lambda hands: halves(hands.auth(key=_STRANGER.identity), hands.auth()),
    "the Ed25519 half by another key": lambda hands: halves(hands.auth(), hands.auth(key=_STRANGER.identity)),
    "one bit of the ML-DSA half": lambda hands: damaged(hands.auth(), 17),
    "the last byte of the ML-DSA half": lambda hands: damaged(hands.auth(), 3308),
    "the first byte of the Ed25519 half": lambda hands: damaged(hands.auth(), 3309),
    "the last byte of the Ed25519 half": lambda hands: damaged(hands.auth(), 3372),
    "the ML-DSA half over something else": lambda hands: halves(hands.auth(signed=b"x"), hands.auth()),
    "the Ed25519 half over something else": lambda hands: halves(hands.auth(), hands.auth(signed=b"x")),
    "under another context": lambda hands: hands.auth(context=Label.CONTINUITY_CONTEXT),
    "for the other role": lambda hands: hands.auth(signed=hands.signed(signer=hands.far)),
    "for the other role, keys as they are": lambda hands: hands.auth(signed=hands.signed(signer=hands.far, ours=True)),
    "with the other role's exporter": _swapped,
    "with an exporter of zeros": _signed(exporter_dialler=bytes(64), exporter_acceptor=bytes(64)),
    "with another protocol": _signed(alpn=b"volly-edge/1"),
    "with a classical group": _signed(group=b"X25519"),
    "with the group in lower case": _signed(group=b"x25519mlkem768"),
    "with the TLS keys exchanged": _signed(ours=False),
    "with another TLS key of one's own": _signed(own_spki_sha256=bytes(32)),
    "with another TLS key of the other end": _signed(peer_spki_sha256=bytes(32)),
    "without the label": _without(Label.AUTH),
    "over another HELLO of one's own": _other_hellos(lambda hands: {hands.role: hands.hellos[hands.role] + b"\0"}),
    "over another HELLO of the other end": _other_hellos(lambda hands: {hands.far: hands.hellos[hands.far] + b"\0"}),
    "over the HELLOs exchanged": _other_hellos(
        lambda hands: {hands.role: hands.hellos[hands.far], hands.far: hands.hellos[hands.role]}
    ),
}


async def _forged(forge: Forge, reach: str, rogue: Rogue) -> None:
    async with getattr(rogue, reach)(Depth.HELLOS) as peer:
        if peer.role is Role.ACCEPTOR:
            await peer.expect_proof()
        await peer.send(forge(peer.hands))
        await peer.expect_refuse(ErrorCode.BAD_SIGNATURE)


async def _sent_back(rogue: Rogue) -> None:
    """Reflection: the dialler's own proof is the answer to it."""
    async with rogue.called(Depth.HELLOS) as peer:
        await peer.send(await peer.expect_proof())
        await peer.expect_refuse(ErrorCode.BAD_SIGNATURE)


async def _replayed(reach: str, rogue: Rogue) -> None:
    """Both of our messages of an earlier handshake, word for word."""
    async with getattr(rogue, reach)(Depth.HELLOS) as peer:
        if peer.role is Role.ACCEPTOR:
            await peer.expect_proof()
        auth, hello = peer.hands.auth(), peer.hands.hellos[peer.role]
        await peer.send(auth)
        if peer.role is Role.DIALLER:
            await peer.expect_proof()
    async with getattr(rogue, reach)(Depth.OPEN) as peer:
        peer.hands.hellos[peer.role] = hello
        if peer.role is Role.DIALLER:
            await peer.send(hello)
            await peer.expect_hello()
        else:
            await peer.expect_hello()
            await peer.send(hello)
            await peer.expect_proof()
        await peer.send(auth)
        await peer.expect_refuse(ErrorCode.BAD_SIGNATURE)


def _forgeries(reach: str) -> list[Row]:
    rows: list[Row] = [(name, partial(_forged, forge, reach)) for name, forge in _FORGED.items()]
    return [*rows, ("an earlier proof again", partial(_replayed, reach))]


@scenario("handshake/proof-of-the-caller", servers=1, covers=("handshake-10", "handshake-11", "handshake-19"))
async def proof_of_caller(stage: Stage) -> None:
    """Each part of what a caller signs, wrong by itself, and each half of the signature: BAD_SIGNATURE, and no AUTH."""
    await play_calling(stage, _forgeries("calling"), strangers=4)


@scenario(
    "handshake/proof-of-the-one-called", servers=1, covers=("handshake-10", "handshake-11", "handshake-12"), seconds=40
)
async def proof_of_called(stage: Stage) -> None:
    """The server has called and proved itself; the answer is a wrong proof, or its own: BAD_SIGNATURE, no session."""
    await play_called(stage, [*_forgeries("called"), ("the server's proof sent back", _sent_back)])


# --- AUTH of another form, and other messages in its place -----------------------------------------------------------


def _in_its_place() -> dict[str, tuple[Callable[[Peer], bytes], ErrorCode]]:
    def fields(**_: Any) -> Callable[[dict[int, Any]], Callable[[Peer], bytes]]:
        return lambda raw: lambda peer: altered(peer.hands.auth(), raw)

    alter = fields()
    return {
        "AUTH without a signature": (alter({1: None}), ErrorCode.MALFORMED),
        "a signature of one half": (alter({1: bytes(3309)}), ErrorCode.MALFORMED),
        "a signature and a byte": (alter({1: bytes(3374)}), ErrorCode.MALFORMED),
        "a signature that is a text": (alter({1: "a" * 3373}), ErrorCode.MALFORMED),
        "a statement of 12289 bytes": (alter({2: bytes(limits.MAX_CONTINUITY + 1)}), ErrorCode.MALFORMED),
        "a statement that is a text": (alter({2: "statement"}), ErrorCode.MALFORMED),
        "AUTH of 16385 bytes": (alter({99: bytes(MOST - 3384)}), ErrorCode.MALFORMED),
        "AUTH with a byte too many": (lambda p: encode_message(p.hands.auth()) + b"\0", ErrorCode.MALFORMED),
        "a second HELLO": (lambda p: p.hands.hellos[p.role], ErrorCode.UNEXPECTED),
        "OPEN before AUTH": (lambda p: encode_message(Open(stream=p.stream)), ErrorCode.UNEXPECTED),
        "PING before AUTH": (lambda _: encode_message(Ping(token=1)), ErrorCode.UNEXPECTED),
        "a type that nobody knows": (lambda _: codec.encode({0: 0x0F}), ErrorCode.UNEXPECTED),
    }


async def _instead(make: Callable[[Peer], bytes], code: ErrorCode, reach: str, rogue: Rogue) -> None:
    async with getattr(rogue, reach)(Depth.HELLOS) as peer:
        if peer.role is Role.ACCEPTOR:
            await peer.expect_proof()
        data = make(peer)
        if data[:3] == b"\xa2\x00\x02":
            check(len(data) <= MOST or code is ErrorCode.MALFORMED, "the row itself")
        await peer.send(data)
        await peer.expect_refuse(code)


async def _two_at_once(rogue: Rogue) -> None:
    """The listener looks the first claim up, and has its HELLO out or not when it sees the second."""
    async with rogue.calling(Depth.OPEN) as peer:
        data = peer.hands.hello()
        await peer.send_raw(Frame(payload=data, mask=bytes(4)).encode() * 2, "two HELLOs at once")
        try:
            await peer.expect_hello()
        except Mismatch:
            check("UNEXPECTED" in peer.dialogue.lines[-1], "HELLO, or REFUSE with UNEXPECTED at once")
            return
        await peer.expect_refuse(ErrorCode.UNEXPECTED)


async def _patient(rogue: Rogue) -> None:
    """A listener that is told nothing signs nothing."""
    async with rogue.calling(Depth.HELLOS) as peer:
        await peer.expect_quiet(0.3)


async def _refuse(code: ErrorCode, depth: Depth, reach: str, rogue: Rogue) -> None:
    """The other end's REFUSE is not answered; the WebSocket is closed."""
    async with getattr(rogue, reach)(depth) as peer:
        if peer.role is Role.ACCEPTOR and depth is Depth.OPEN:
            await peer.expect_hello()
        elif peer.role is Role.ACCEPTOR:
            await peer.expect_proof()
        await peer.send(Refuse(code=code, text="no"))
        await peer.expect_websocket_close(1000)


def _others(reach: str) -> list[Row]:
    rows: list[Row] = [(name, partial(_instead, make, code, reach)) for name, (make, code) in _in_its_place().items()]
    depths = [Depth.HELLOS] if reach == "calling" else [Depth.OPEN, Depth.HELLOS]
    codes = (ErrorCode.POLICY, ErrorCode.NONE, ErrorCode.MALFORMED)
    rows += [
        (f"our REFUSE {code.name} after {depth.name}", partial(_refuse, code, depth, reach))
        for depth in depths
        for code in codes
    ]
    return rows


@scenario(
    "handshake/instead-of-the-callers-proof",
    servers=1,
    covers=("handshake-4", "handshake-5", "handshake-19", "handshake-23", "wire-27"),
)
async def instead_calling(stage: Stage) -> None:
    """What a caller says in the place of AUTH, or as AUTH in another form; and its own REFUSE, which has no answer."""
    rows = _others("calling")
    rows += [("two HELLOs at once", _two_at_once), ("the listener says nothing more", _patient)]
    await play_calling(stage, rows)


@scenario(
    "handshake/instead-of-the-answering-proof",
    servers=1,
    covers=("handshake-4", "handshake-5", "handshake-12", "handshake-23", "handshake-25", "wire-27"),
    seconds=40,
)
async def instead_called(stage: Stage) -> None:
    """The same to a server that has called: it comes again after each of them."""
    await play_called(stage, _others("called"))
