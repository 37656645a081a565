"""Fakes against fakes: an honest run goes through, and what is not expected fails with the dialogue."""

import attrs
import pytest

from interop.fake_dialogue import Dialogue, Mismatch
from tests.interop.fakes import A, B, Two, both, persona, two
from volly_fed.codepoints import ErrorCode
from volly_fed.wire.messages import Ack, Batch, Close, Hello, Open, Ping, Pong, Refuse


async def test_an_honest_run_up_to_the_first_envelope() -> None:
    async with two() as pair:
        await pair.begin()
        near, far = pair.dialler, pair.listener
        assert near.tcp.socket.getsockname()[0] == "127.0.0.7"
        assert near.negotiated is not None
        assert (near.negotiated.group.lower(), near.negotiated.alpn) == ("x25519mlkem768", b"volly-fed/1")
        assert near.negotiated.peer_spki_sha256 == persona(B).tls_digest
        assert far.greeted is not None
        assert (far.greeted.own, far.greeted.wanted) == (A, B)
        await near.send(Batch(stream=near.stream, first=1, envelopes=[b"envelope"]))
        batch = await far.expect(Batch)
        assert (batch.stream, batch.envelopes) == (far.far_stream, [b"envelope"])
        await far.send(Ack(stream=far.far_stream, cursor=1), Close(code=ErrorCode.NONE, text=""))
        assert (await near.expect(Ack)).cursor == 1
        await both(near.hang_up, lambda: near_is_closed(pair))


async def near_is_closed(pair: Two) -> None:
    await pair.listener.expect_websocket_close(1000)


async def test_a_message_that_was_not_expected_fails_with_all_that_was_said() -> None:
    async with two() as pair:
        await pair.upgrade()
        await pair.dialler.send(Ping(token=7))
        with pytest.raises(Mismatch) as failure:
            await pair.listener.expect(Hello)
    lines = str(failure.value).splitlines()
    assert lines[0] == "Hello was expected, and Ping(token=7) came"
    assert lines[1] == "dialogue of b.test, which was called:"
    assert lines[-1].split()[0] == str(len(lines) - 2)
    assert lines[-1].endswith("<- Ping(token=7)")
    assert any("GET" in line for line in lines)


async def test_what_is_allowed_may_come_at_any_time() -> None:
    async with two() as pair:
        await pair.upgrade()
        near, far = pair.dialler, pair.listener
        far.allow_pings()
        far.allow(Open)
        await near.send(Ping(token=7), Open(stream=bytes(8)), Close(code=ErrorCode.NONE, text="x"))
        assert (await far.expect(Close)).text == "x"
        assert (await near.expect(Pong)).token == 7


async def test_nothing_at_all_fails_when_patience_ends() -> None:
    async with two() as pair:
        await pair.upgrade()
        pair.dialler.patience = 0.01
        with pytest.raises(Mismatch, match=r"Hello or Refuse did not come within 0.01 s"):
            await pair.dialler.expect(Hello, Refuse)


async def test_an_end_and_bytes_that_are_no_message_fail_too() -> None:
    async with two() as pair:
        await pair.upgrade()
        await pair.dialler.send(b"\xff\xff")
        with pytest.raises(Mismatch, match="2 bytes that are no message"):
            await pair.listener.expect(Hello)
        await pair.dialler.socket.stream.aclose()
        with pytest.raises(Mismatch, match="nothing more comes"):
            await pair.listener.expect(Hello)


@pytest.mark.parametrize(
    ("code", "websocket", "problem"),
    [
        (ErrorCode.BUSY, 1000, "the code was to be POLICY, and is BUSY"),
        (ErrorCode.POLICY, 1008, "a close frame with 1000 was expected"),
    ],
)
async def test_a_refusal_has_the_right_code_and_the_right_end(code: ErrorCode, websocket: int, problem: str) -> None:
    async with two() as pair:
        await pair.upgrade()

        async def refuse() -> None:
            await pair.listener.send(Refuse(code=code, text="no"))
            await pair.listener.hang_up(websocket)

        with pytest.raises(Mismatch, match=problem):
            await both(refuse, lambda: pair.dialler.expect_refuse(ErrorCode.POLICY))


async def test_a_refusal_as_it_should_be() -> None:
    async with two() as pair:
        await pair.upgrade()

        async def refuse() -> None:
            await pair.listener.send(Refuse(code=ErrorCode.POLICY, text="no"))
            await pair.listener.hang_up()

        await both(refuse, lambda: pair.dialler.expect_refuse(ErrorCode.POLICY))


async def test_quiet_means_that_no_message_comes() -> None:
    async with two() as pair:
        await pair.upgrade()
        await pair.dialler.expect_quiet(0.01)
        await pair.listener.send(Ping(token=1))
        with pytest.raises(Mismatch, match="nothing was expected"):
            await pair.dialler.expect_quiet(5.0)


async def test_a_wrong_proof_is_seen() -> None:
    async with two() as pair:
        await pair.upgrade()
        near, far = pair.dialler, pair.listener
        await both(near.exchange_hellos, far.exchange_hellos)
        auth = near.hands.auth()
        assert far.greeted is not None
        far.hands.verify(auth, far.greeted.identity)
        await near.send(attrs.evolve(auth, signature=auth.signature[:-1] + bytes([auth.signature[-1] ^ 1])))
        with pytest.raises(Mismatch, match="signature is wrong"):
            await far.expect_proof()


def test_a_dialogue_shows_no_whole_key() -> None:
    dialogue = Dialogue("of nobody", lambda: 0.0)
    assert str(dialogue).endswith("nothing was said")


async def test_a_batch_that_comes_before_the_answer_to_our_open_is_not_lost() -> None:
    async with two() as pair:
        await pair.shake()
        near, far = pair.dialler, pair.listener
        batch = Batch(stream=far.stream, first=1, envelopes=[b"early"])

        async def answer_late() -> None:
            await far.send(Open(stream=far.stream))
            opened = await far.expect(Open)
            assert (await far.expect(Ack)).stream == far.stream
            await far.send(batch, Ack(stream=opened.stream, cursor=3))

        async def begin() -> None:
            assert (await near.begin()).cursor == 3

        await both(answer_late, begin)
        assert await near.expect(Batch) == batch
