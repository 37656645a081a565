"""What a fake does wrong is on the wire as the script has it, and is what is wrong: the honest twin passes."""

import attrs
import pytest

from interop.fake_dialogue import Mismatch
from interop.fake_hands import altered, damaged, halves
from interop.fake_socket import Frame, Opcode, Opening, close_frame, headers_of, masked_with
from interop.fake_spelling import NO_MAP, NO_TYPE, with_unknown_fields, wrong_spellings
from interop.fake_tls import TlsHabits, classical_identity
from tests.interop.fakes import A, B, both, persona, two
from volly_fed import limits
from volly_fed.codepoints import ErrorCode, Role
from volly_fed.crypto.signature import BadSignature
from volly_fed.errors import BadMessage, ChannelError
from volly_fed.wire import encode_message, parse_message
from volly_fed.wire.messages import Auth, Hello, Open, Ping

# --- TLS -------------------------------------------------------------------------------------------------------------

REFUSED_BY_AN_HONEST_LISTENER = {
    "classical group": TlsHabits(groups=("X25519",)),
    "TLS 1.2": TlsHabits(old=True),
    "another cipher suite": TlsHabits(ciphers=("TLS_AES_128_GCM_SHA256",)),
    "no certificate": TlsHabits(anonymous=True),
}


@pytest.mark.parametrize("habits", REFUSED_BY_AN_HONEST_LISTENER.values(), ids=REFUSED_BY_AN_HONEST_LISTENER.keys())
async def test_wrong_tls_is_refused_by_an_honest_end(habits: TlsHabits) -> None:
    async with two() as pair:

        async def listen() -> None:
            with pytest.raises(ChannelError):
                await pair.listener.secure()
            await pair.listener.socket.stream.aclose()
            await pair.listener.tcp.aclose()

        await both(lambda: pair.dialler.expect_no_tls(habits), listen)


async def test_habits_of_tls_are_what_is_negotiated() -> None:
    identity = classical_identity("fed.a.test")
    caller = TlsHabits(
        groups=("X25519",), alpn=(b"other", b"http/1.1"), identity=identity, signatures=("ed25519", "mldsa65")
    )
    called = TlsHabits(groups=("X25519",), alpn=(b"http/1.1",), signatures=("ed25519", "mldsa65"))
    async with two() as pair:

        async def call() -> None:
            with pytest.raises(ChannelError, match=r"ALPN agreed on 'http/1.1' instead of 'other'"):
                await pair.dialler.secure(caller)

        await both(call, lambda: pair.listener.secure(called))
        negotiated = pair.listener.negotiated
    assert negotiated is not None
    assert (negotiated.group.lower(), negotiated.alpn) == ("x25519", b"http/1.1")
    assert negotiated.peer_certificate_der == identity.certificate


async def test_no_alpn_at_all() -> None:
    async with two() as pair:
        await both(lambda: pair.dialler.secure(TlsHabits(alpn=())), lambda: pair.listener.secure(TlsHabits(alpn=())))
        assert pair.dialler.negotiated is not None
        assert pair.dialler.negotiated.alpn == b""


async def test_tls_that_should_be_refused_and_is_not() -> None:
    async with two() as pair:
        pair.dialler.patience = 0.2
        with pytest.raises(Mismatch, match="should not have come about"):
            await both(pair.dialler.expect_no_tls, pair.listener.secure)


# --- WebSocket -------------------------------------------------------------------------------------------------------


async def test_an_opening_as_it_was_asked_for() -> None:
    async with two() as pair:
        await pair.secure()
        extra = ("Sec-WebSocket-Extensions: permessage-deflate",)
        await pair.dialler.request(path="/other", subprotocol=None, extra=extra)
        head = await pair.listener.expect_head("GET")
    assert head.startswith("GET /other HTTP/1.1\r\n")
    assert "sec-websocket-protocol" not in headers_of(head)
    assert headers_of(head)["sec-websocket-extensions"] == "permessage-deflate"


async def test_an_answer_as_it_was_asked_for() -> None:
    async with two() as pair:
        await pair.secure()

        async def call() -> None:
            with pytest.raises(Mismatch, match="HTTP head with 101 was expected"):
                await pair.dialler.upgrade()

        await both(call, lambda: pair.listener.upgrade(status="302 Found", Location="/elsewhere"))
        assert pair.dialler.dialogue.lines[-1].endswith("<- HTTP/1.1 302 Found")


def test_the_key_of_an_opening_is_answered_as_the_rfc_has_it() -> None:
    opening = Opening(path="/", subprotocol=None, host="", key="dGhlIHNhbXBsZSBub25jZQ==")
    assert b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" in opening.encode()


FRAMES = {
    "unmasked": (Frame(payload=b"hello"), b"\x82\x05hello"),  # RFC 6455 §5.7
    "masked": (Frame(payload=b"Hello", opcode=1, mask=b"\x37\xfa\x21\x3d"), b"\x81\x857\xfa!=\x7f\x9fMQX"),
    "a fragment": (Frame(opcode=1, payload=b"Hel", fin=False), b"\x01\x03Hel"),
    "reserved bits": (Frame(payload=b"", reserved=4), b"\xc2\x00"),
    "medium": (Frame(payload=bytes(256)), b"\x82\x7e\x01\x00" + bytes(256)),
    "long": (Frame(payload=bytes(65536)), b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + bytes(65536)),
    "longer than it has to be": (Frame(payload=b"a", wide=True), b"\x82\x7f" + bytes(7) + b"\x01a"),
    "a length that is not the payload's": (Frame(length=126), b"\x82\x7e\x00\x7e"),
    "a close": (close_frame(1002, b"x"), b"\x88\x03\x03\xeax"),
    "a close without a code": (close_frame(None), b"\x88\x00"),
}


@pytest.mark.parametrize(("frame", "wire"), FRAMES.values(), ids=FRAMES.keys())
def test_frames_byte_by_byte(frame: Frame, wire: bytes) -> None:
    assert frame.encode() == wire


@pytest.mark.parametrize("opcode", Opcode)
async def test_frames_come_as_they_were_sent(opcode: Opcode) -> None:
    async with two() as pair:
        await pair.upgrade()
        sent = Frame(opcode=opcode, payload=b"abc", reserved=2, fin=opcode is not Opcode.TEXT, mask=b"1234")
        await pair.listener.send_frame(sent)
        assert await pair.dialler.socket.receive() == sent


async def test_a_client_masks_and_a_server_does_not() -> None:
    async with two() as pair:
        await pair.upgrade()
        await both(lambda: pair.dialler.send(b"\x01"), lambda: pair.listener.send(b"\x01"))
        assert (await pair.listener.socket.receive()).mask is not None
        assert (await pair.dialler.socket.receive()).mask is None
        assert masked_with(b"abcd", masked_with(b"abcd", b"some text")) == b"some text"


# --- messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [Ping(token=1), Open(stream=bytes(8))], ids=["one byte", "more"])
def test_each_wrong_spelling_is_one(message: Ping | Open) -> None:
    wrong = dict(wrong_spellings(encode_message(message)))
    assert len(set(wrong.values())) == len(wrong) > 30
    for name, data in wrong.items():
        with pytest.raises(BadMessage) as failure:
            parse_message(data)
        assert failure.value.code is ErrorCode.MALFORMED, name
    assert parse_message(with_unknown_fields(encode_message(message))) == message


def test_no_map_and_no_type() -> None:
    for table, code in ((NO_MAP, ErrorCode.MALFORMED), (NO_TYPE, ErrorCode.UNEXPECTED)):
        for name, data in table.items():
            with pytest.raises(BadMessage) as failure:
                parse_message(data)
            assert failure.value.code is code, name


def test_fields_by_number() -> None:
    ping = Ping(token=1)
    assert altered(ping, {}) == encode_message(ping)
    assert altered(ping, {1: None}) == b"\xa1\x00\x14"
    assert altered(ping, {1: b"x", 2: True}) == b"\xa3\x00\x14\x01\x41x\x02\xf5"


# --- handshake -------------------------------------------------------------------------------------------------------


async def test_an_altered_hello_is_what_came_and_what_is_signed() -> None:
    async with two() as pair:
        await pair.upgrade()
        near, far = pair.dialler, pair.listener
        changes = {"versions": (1, 9), "own": "c.test", "wanted": B, "raw": {99: b"unknown"}}
        far.other = ""  # type: ignore[assignment] # it takes any name
        await both(lambda: near.exchange_hellos(**changes), far.exchange_hellos)
        assert far.greeted is not None
        assert (far.greeted.versions, far.greeted.own) == ((1, 9), "c.test")
        assert far.hands.hellos == near.hands.hellos
        assert far.hands.hellos[Role.DIALLER].endswith(b"\x18\x63\x47unknown")
        far.hands.verify(near.hands.auth(), persona(A).identity.public)


async def test_each_wrong_proof_fails_and_the_right_one_does_not() -> None:
    async with two() as pair:
        await pair.upgrade()
        near, far = pair.dialler, pair.listener
        await both(near.exchange_hellos, far.exchange_hellos)
        hands, public = near.hands, persona(A).identity.public
        right = hands.auth()
        stranger = hands.auth(key=persona("x.test").identity)
        for wrong in (
            hands.auth(context=b"another"),
            hands.auth(signed=hands.signed(signer=Role.ACCEPTOR)),
            hands.auth(signed=hands.signed(exporter_dialler=bytes(64))),
            hands.auth(signed=hands.signed(alpn=b"volly-edge/1")),
            hands.auth(signed=hands.signed(group=b"X25519")),
            hands.auth(signed=hands.signed(ours=False)),
            halves(right, stranger),
            halves(stranger, right),
            damaged(right, 0),
            damaged(right, 3372),
        ):
            with pytest.raises(BadSignature):
                far.hands.verify(wrong, public)
        for good in (right, halves(hands.auth(), right), hands.auth()):
            far.hands.verify(good, public)


async def test_a_proof_that_is_told_again_is_the_same_bytes() -> None:
    recorded: list[Auth] = []
    for _ in range(2):
        async with two() as pair:
            await pair.upgrade()
            await both(pair.dialler.exchange_hellos, pair.listener.exchange_hellos)
            recorded.append(recorded[0] if recorded else pair.dialler.hands.auth())
            await pair.dialler.send(recorded[-1])
            if len(recorded) == 1:
                await pair.listener.expect_proof()
                continue
            with pytest.raises(Mismatch, match="signature is wrong"):
                await pair.listener.expect_proof()


async def test_an_oversize_hello_is_sent_whole() -> None:
    async with two() as pair:
        await pair.upgrade()
        near, far = pair.dialler, pair.listener
        near.hold_hands(), far.hold_hands()
        data = near.hands.hello(raw={99: bytes(limits.MAX_HANDSHAKE_MESSAGE)})
        await near.send(data)
        frame = await far.socket.receive()
    assert frame.payload == data
    assert isinstance(parse_message(data), Hello)
    assert attrs.evolve(frame, payload=b"").mask is not None


async def test_a_session_is_offered_and_not_taken_up_by_an_honest_listener() -> None:
    async with two() as pair:
        await pair.begin()
        resumable = pair.dialler.resumable
        assert resumable is not None
        assert not pair.dialler.resumed
    async with two() as pair:
        await both(lambda: pair.dialler.secure(TlsHabits(resume=resumable)), pair.listener.secure)
        assert not pair.dialler.resumed
