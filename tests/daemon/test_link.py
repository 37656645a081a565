"""An established link: what is acknowledged when, how links end, and what a hostile end can reach."""

import itertools

import pytest
import trio
import trio.testing

from tests.daemon.links import Hand, Keeper, Side, against_hand, ended, linked, sockets
from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.daemon.link import End
from volly_fed.errors import RemoteError, StorageError
from volly_fed.wire import Message
from volly_fed.wire.messages import Ack, Batch, Close, Open, Ping, Pong, Refuse, Release

STREAM = b"theirs-1"
RELEASE = Release(mailbox=bytes(32))


def disk_full() -> None:
    raise StorageError("the disk is full")


async def disk_full_later() -> None:
    disk_full()


def broken() -> None:
    raise RemoteError("not like this", code=ErrorCode.POLICY)


async def test_envelopes_go_both_ways_and_are_settled() -> None:
    near, far = Side(), Side()
    async with linked(near, far):
        near.offer(b"one", b"two")
        far.offer(b"three")
        await near.keeper.until(lambda: near.keeper.done == [1, 2])
        await far.keeper.until(lambda: far.keeper.done == [1])
    assert far.keeper.disk == [b"one", b"two"]
    assert near.keeper.disk == [b"three"]


async def test_nothing_is_acknowledged_before_it_is_durable(autojump_clock: trio.testing.MockClock) -> None:
    committed = trio.Event()
    near, far = Side(), Side(Keeper(before_commit=committed.wait))
    async with linked(near, far):
        near.offer(b"one")
        await trio.sleep(5)
        assert near.keeper.done == []
        committed.set()
        await near.keeper.until(lambda: near.keeper.done == [1])


async def test_what_was_not_acknowledged_is_sent_again_on_the_next_link_and_stored_once() -> None:
    committed = trio.Event()
    near, far = Side(), Side(Keeper(before_commit=committed.wait))
    async with linked(near, far):
        near.offer(b"one", b"two")
        await trio.testing.wait_all_tasks_blocked()
    assert near.keeper.done == []
    committed.set()
    async with linked(near, far):
        near.offer(b"three")
        await near.keeper.until(lambda: near.keeper.done == [1, 2, 3])
    assert far.keeper.disk == [b"one", b"two", b"three"]
    async with linked(near, far):
        near.offer(b"four")
        await near.keeper.until(lambda: near.keeper.done == [1, 2, 3, 4])
    assert far.keeper.disk == [b"one", b"two", b"three", b"four"]


async def test_overloaded_envelopes_come_back_to_be_offered_again() -> None:
    near, far = Side(), Side()
    far.keeper.judge = lambda batch: ((batch.first, ErrorCode.OVERLOADED, "full"),)
    async with linked(near, far):
        near.offer(b"one")
        await near.keeper.until(lambda: near.keeper.later == [(1, b"one")])
    assert near.keeper.done == []


async def test_refusals_whose_acknowledgement_was_lost_are_told_on_the_next_link() -> None:
    side = Side()
    side.keeper.judge = lambda batch: ((batch.first, ErrorCode.UNDELIVERABLE, "no"),)
    async with against_hand(side) as hand:
        await hand.hear()
        await hand.say(Open(stream=STREAM))
        assert await hand.hear() == Ack(stream=STREAM, cursor=0)
        await hand.say(Batch(stream=STREAM, first=1, envelopes=[b"one", b"two"]))
        await side.keeper.until(lambda: side.keeper.cursors == {STREAM: 2})
    async with against_hand(side) as hand:
        await hand.hear()
        await hand.say(Open(stream=STREAM))
        assert await hand.hear() == Ack(stream=STREAM, cursor=2, refusals=((1, ErrorCode.UNDELIVERABLE, "no"),))


@pytest.mark.parametrize("keeper", [Keeper(on_opened=disk_full), Keeper(before_commit=disk_full_later)])
async def test_a_storage_error_closes_the_link_as_busy_and_nothing_else(keeper: Keeper) -> None:
    side = Side(keeper)
    async with against_hand(side) as hand:
        assert isinstance(await hand.hear(), Open)
        await hand.say(Open(stream=STREAM))
        if keeper.before_commit is disk_full_later:
            assert isinstance(await hand.hear(), Ack)
            await hand.say(Batch(stream=STREAM, first=1, envelopes=[b"one"]))
        close = await hand.hear()
        await ended(side)
    assert close == Close(code=ErrorCode.BUSY, text="not at the moment", retry_after=limits.BUSY_RETRY)
    assert side.end == End(ErrorCode.BUSY, "the disk is full", limits.BUSY_RETRY)
    assert keeper.disk == []


async def test_an_error_of_the_handler_is_told_to_the_other_end() -> None:
    near, far = Side(), Side(Keeper(on_other=broken))
    async with linked(near, far):
        assert near.link is not None
        assert near.link.send(RELEASE)
        assert (await ended(near)).code is (await ended(far)).code is ErrorCode.POLICY
        assert not near.link.send(RELEASE)


async def test_a_stream_that_is_opened_again_while_its_batch_is_under_way() -> None:
    """The late acknowledgement is neither taken for the answer to OPEN, nor for that of a batch of the new life."""
    committed = trio.Event()
    side = Side(Keeper(before_commit=committed.wait))
    async with against_hand(side) as hand:
        await hand.hear()
        await hand.say(Open(stream=STREAM))
        assert await hand.hear() == Ack(stream=STREAM, cursor=0)
        await hand.say(Batch(stream=STREAM, first=1, envelopes=[b"one"]), Open(stream=b"theirs-2"))
        assert await hand.hear() == Ack(stream=b"theirs-2", cursor=0)
        await hand.say(Open(stream=STREAM))
        assert await hand.hear() == Ack(stream=STREAM, cursor=0)
        committed.set()
        await hand.say(Batch(stream=STREAM, first=1, envelopes=[b"one again"]))
        assert await hand.hear() == Ack(stream=STREAM, cursor=1)
        assert side.end is None


BAD: list[tuple[str, list[Message | bytes], ErrorCode]] = [
    ("garbage", [b"\xff\x00"], ErrorCode.MALFORMED),
    ("a handshake message", [Refuse(code=ErrorCode.BUSY, text="no")], ErrorCode.UNEXPECTED),
    ("a batch of no stream", [Batch(stream=STREAM, first=1, envelopes=[b"x"])], ErrorCode.UNEXPECTED),
    ("a gap", [Open(stream=STREAM), Batch(stream=STREAM, first=3, envelopes=[b"x"])], ErrorCode.UNEXPECTED),
    ("sequence number 0", [Open(stream=STREAM), Batch(stream=STREAM, first=0, envelopes=[b"x"])], ErrorCode.MALFORMED),
    ("the same stream twice", [Open(stream=STREAM), Open(stream=STREAM)], ErrorCode.UNEXPECTED),
    ("a settled stranger", [Ack(stream=b"nobodys!", cursor=1)], ErrorCode.UNEXPECTED),
    ("a pong to no ping", [Pong(token=7)], ErrorCode.UNEXPECTED),
]


@pytest.mark.spec("wire-25")
@pytest.mark.parametrize(("messages", "code"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
async def test_a_broken_protocol_ends_the_link_with_its_code(messages: list[Message | bytes], code: ErrorCode) -> None:
    side = Side()
    async with against_hand(side) as hand:
        await hand.hear()
        for message in messages:
            await (hand.socket.send(message) if isinstance(message, bytes) else hand.say(message))
        heard = await hand.hear()
        while not (isinstance(heard, Close) and heard.code is code):
            heard = await hand.hear()
        assert (await ended(side)).code is code


async def test_a_cursor_beyond_what_was_sent_ends_the_link_and_settles_nothing() -> None:
    side = Side()
    side.offer(b"one")
    async with against_hand(side) as hand:
        opened = await hand.hear()
        assert isinstance(opened, Open)
        await hand.say(Ack(stream=opened.stream, cursor=1))
        assert isinstance(await hand.hear(), Close)
    assert side.keeper.done == []


async def test_a_silent_end_is_lost(autojump_clock: trio.testing.MockClock) -> None:
    side = Side()
    began = trio.current_time()
    async with against_hand(side):
        await side.over.wait()
    assert side.end is not None
    assert side.end.code is ErrorCode.TIMEOUT
    assert trio.current_time() - began < limits.PING_AFTER + limits.PONG_WITHIN + limits.CLOSE + 2


class Stuck(trio.abc.Stream):
    """A stream that, from some moment on, takes nothing: the other end has closed its window."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.open = trio.Event()
        self.stuck = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.stuck:
            await self.open.wait()
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.stream.aclose()


async def _chatter(hand: Hand) -> None:
    for token in itertools.count(1):
        await trio.sleep(1)
        await hand.say(Ping(token=token))


async def _until_over(side: Side, hand: Hand, *, chatty: bool) -> float:
    began = trio.current_time()
    if chatty:
        with trio.CancelScope() as talking:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_chatter, hand)
                await side.over.wait()
                talking.cancel()
    await side.over.wait()
    return trio.current_time() - began


@pytest.mark.parametrize("chatty", [False, True])
@pytest.mark.spec("session-32")
async def test_an_end_that_never_reads_is_given_up(autojump_clock: trio.testing.MockClock, *, chatty: bool) -> None:
    """Nor does it help it to send: the writer is stuck, and whoever waits for room would wait for ever."""
    near, far = trio.testing.memory_stream_pair()
    wire = Stuck(far)
    side = Side()
    async with against_hand(side, (near, wire)) as hand:
        await hand.hear()
        wire.stuck = True
        await hand.say(Open(stream=STREAM))
        took = await _until_over(side, hand, chatty=chatty)
        assert side.link is not None
        with trio.fail_after(1):
            await side.link.wait_extra_room(limits.EXTRA_MESSAGES)
    assert side.end is not None
    assert side.end.code is ErrorCode.TIMEOUT
    assert took == pytest.approx(limits.SEND + limits.CLOSE, abs=0.5)


@pytest.mark.parametrize("stuck", [False, True])
async def test_draining_is_bounded(autojump_clock: trio.testing.MockClock, *, stuck: bool) -> None:
    near, far = trio.testing.memory_stream_pair()
    wire = Stuck(far)
    side = Side()
    side.offer(b"never acknowledged")
    async with against_hand(side, (near, wire)) as hand:
        opened = await hand.hear()
        assert isinstance(opened, Open)
        await hand.say(Ack(stream=opened.stream, cursor=0))
        assert isinstance(await hand.hear(), Batch)
        wire.stuck = stuck
        assert side.link is not None
        side.link.drain(ErrorCode.SHUTTING_DOWN, "bye")
        took = await _until_over(side, hand, chatty=False)
    assert took <= limits.DRAIN + limits.CLOSE + 1
    assert side.end is not None
    assert side.end.code is ErrorCode.NONE


async def test_a_peer_that_says_close_and_nothing_more_is_waited_for_as_long_as_draining_lasts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    side = Side()
    side.offer(b"never acknowledged")
    async with against_hand(side) as hand:
        opened = await hand.hear()
        assert isinstance(opened, Open)
        await hand.say(Ack(stream=opened.stream, cursor=0))
        assert isinstance(await hand.hear(), Batch)
        await hand.say(Close(code=ErrorCode.SHUTTING_DOWN, text="bye"))
        took = await _until_over(side, hand, chatty=False)
    assert took <= limits.DRAIN + limits.CLOSE + 1
    assert side.end == End(ErrorCode.SHUTTING_DOWN, "bye")


async def test_draining_lets_what_is_under_way_be_acknowledged() -> None:
    committed = trio.Event()
    near, far = Side(), Side(Keeper(before_commit=committed.wait))
    async with linked(near, far):
        near.offer(b"one")
        await trio.testing.wait_all_tasks_blocked()
        assert near.link is not None
        near.link.drain(ErrorCode.SHUTTING_DOWN, "bye")
        await trio.testing.wait_all_tasks_blocked()
        near.offer(b"two")
        committed.set()
        await near.keeper.until(lambda: near.keeper.done == [1])
        await ended(near)
        await ended(far)
    assert far.end == End(ErrorCode.SHUTTING_DOWN, "bye")
    assert far.keeper.disk == [b"one"]


async def test_messages_beside_the_stream_are_bounded_and_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    wire = Stuck(far)
    side = Side()
    async with against_hand(side, (near, wire)) as hand:
        await hand.hear()
        wire.stuck = True
        assert side.link is not None
        sent = 0
        while side.link.send(RELEASE):
            sent += 1
        assert limits.EXTRA_MESSAGES <= sent <= limits.EXTRA_MESSAGES + 1
        await trio.testing.wait_all_tasks_blocked()
        while side.link.send(RELEASE):
            sent += 1
        with trio.move_on_after(1) as impatient:
            await side.link.wait_extra_room()
        assert impatient.cancelled_caught
        wire.open.set()
        with trio.fail_after(1):
            await side.link.wait_extra_room()
            await side.link.wait_extra_room(limits.EXTRA_MESSAGES - 1)
        for _ in range(sent):
            assert await hand.hear() == RELEASE


async def test_a_cut_connection_ends_the_link() -> None:
    side = Side()
    async with sockets() as (client, server), trio.open_nursery() as nursery:
        side.begin(server)
        nursery.start_soon(side.run)
        await client.aclose()
    assert side.end is not None
    assert side.link is not None
    assert not side.link.send(RELEASE)
