"""One slow receiver among many, on real sockets: the others do not notice."""

import os
import socket
import time
from pathlib import Path

import trio

from tests.daemon.door import Deaf
from tests.daemon.edge_nodes import E1, E2, edge, edge_node, home, one
from tests.daemon.sites import A, B, envelope
from volly_fed import limits
from volly_fed.channel import DEVICE
from volly_fed.client import DeviceKeys
from volly_fed.client import receiver as r
from volly_fed.client.conversation import Welcomed
from volly_fed.client.receiver import Receiver
from volly_fed.crypto.kem import MailboxKey
from volly_fed.daemon.device.receiving import RawReceiving
from volly_fed.daemon.websocket import connect_websocket
from volly_fed.wire import Message
from volly_fed.wire.messages import Claimed, Deliver

OTHERS = 20
ROUNDS = 10
PATIENCE = 30
AT_WORST = 2.0
"""Seconds for one delivery on a busy machine; a slow one would hold up for limits.SEND."""


async def claim_and_go_deaf(way_port: int, keys: DeviceKeys, nursery: trio.Nursery) -> Deaf:
    """A device that holds its mailbox and then reads nothing any more, though its connection is open: to be closed."""
    tcp = await trio.open_tcp_stream("127.0.0.1", way_port)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # or the kernel takes a whole window
    ears = Deaf(tcp, until=1 << 30)
    websocket = await connect_websocket(nursery, ears, DEVICE, "edge.test")
    machine = Receiver(keys, trio.current_time())
    while True:
        machine.receive(await websocket.receive(), trio.current_time())
        for event in machine.events():
            match event:
                case Welcomed():
                    await websocket.send(machine.send(r.StartClaim()))
                case r.Challenged():
                    await websocket.send(machine.send(r.Prove(time.time())))
                case r.Holding():
                    ears.until = 0
                    return ears


async def test_a_device_that_reads_nothing_holds_up_no_other(tmp_path: Path) -> None:
    a = one(tmp_path)
    keys = [DeviceKeys.generate(A, os.urandom) for _ in range(OTHERS)]
    deaf = DeviceKeys.generate(A, os.urandom)
    got, changed = 0, trio.Event()

    async def take(items: list[r.Item]) -> None:
        nonlocal got, changed
        got += len(items)
        changed.set()
        changed = trio.Event()

    async with home(a, E1) as port, edge_node(port, E1) as node, trio.open_nursery() as nursery:
        with trio.fail_after(PATIENCE):
            ears = await claim_and_go_deaf(node.front.target[1], deaf, nursery)
            for key in keys:
                await nursery.start(RawReceiving(key, node.way, take).run)
        flood = [frame(deaf, 65536) for _ in range(100)]
        await a.relay(B, *flood)
        worst, sent = 0.0, 0
        for _ in range(ROUNDS):
            began = trio.current_time()
            await a.relay(B, *[frame(key) for key in keys], first=len(flood) + sent + 1)
            sent += OTHERS
            with trio.fail_after(PATIENCE):
                while got < sent:
                    await changed.wait()
            worst = max(worst, trio.current_time() - began)
        assert worst < AT_WORST
        assert len(node.node.registry) == OTHERS + 1
        assert node.node.door._pool.used > 0  # what the kernel did not take
        record = await a.store.mailbox(deaf.address.mailbox)
        assert record is not None
        assert record.envelopes == len(flood)
        await trio.aclose_forcefully(ears)
        nursery.cancel_scope.cancel()


async def test_an_edge_that_reads_nothing_holds_up_no_other_and_little_memory(tmp_path: Path) -> None:
    a = one(tmp_path)
    async with home(a, E1, E2) as port, edge(port, E1) as slow, edge(port, E2) as swift:
        boxes = []
        for request in range(1, 4):
            slow.key = MailboxKey.generate(os.urandom)
            assert isinstance(await slow.ask(request), Claimed)
            boxes.append(slow.mailbox)
        assert isinstance(await swift.ask(name=E2), Claimed)
        for number, box in enumerate(boxes):
            flood = [envelope(A, mailbox=box, body=65536) for _ in range(100)]
            assert await a.relay(B, *flood, first=1 + 100 * number) == ()
        worst = 0.0
        for number in range(ROUNDS):
            mine = envelope(A, mailbox=swift.mailbox)
            began = trio.current_time()
            await a.relay(B, mine, first=301 + number)
            with trio.fail_after(PATIENCE):
                assert await swift.hear() == Deliver(envelopes=[mine])
            worst = max(worst, trio.current_time() - began)
        assert worst < AT_WORST
        held = a.server.edges._claims._links[1].dispatch
        assert len(held) > 0
        assert held._bytes <= limits.EDGE_QUEUE_BYTES + limits.WINDOW_BYTES + limits.MAX_ENVELOPE
        assert len(a.server.edges) == 2


async def test_what_comes_while_an_edge_is_busy_leaves_together(tmp_path: Path) -> None:
    a = one(tmp_path)
    async with home(a, E1) as port, edge(port, E1) as busy:
        assert isinstance(await busy.ask(), Claimed)
        first = [envelope(A, mailbox=busy.mailbox, body=65536) for _ in range(40)]
        assert await a.relay(B, *first) == ()  # more than the sockets take
        singly = [envelope(A, mailbox=busy.mailbox) for _ in range(200)]
        for number, one_of_them in enumerate(singly):
            await a.relay(B, one_of_them, first=len(first) + 1 + number)
        heard: list[Message] = []
        with trio.fail_after(PATIENCE):
            while sum(len(m.envelopes) for m in heard if isinstance(m, Deliver)) < len(first) + len(singly):
                heard.append(await busy.hear())
        assert [frame for m in heard if isinstance(m, Deliver) for frame in m.envelopes] == first + singly
        assert len(heard) < 20


def frame(to: DeviceKeys, body: int = 1024) -> bytes:
    """An envelope that the device takes without opening it."""
    card = to.card()
    return envelope(A, mailbox=card.address.mailbox, capability=card.capability, body=body)
