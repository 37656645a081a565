"""A device whose claim is lost again and again, as while the homeserver behind its edge is away."""

import os
from typing import cast

import trio
import trio.testing

from volly_fed import limits
from volly_fed.client import DeviceKeys
from volly_fed.client import receiver as r
from volly_fed.codepoints import ErrorCode
from volly_fed.daemon.device.link import PlainEdge
from volly_fed.daemon.device.receiving import RawReceiving
from volly_fed.daemon.websocket import Socket
from volly_fed.names import DomainName

LOST = r.Lost(code=ErrorCode.BUSY, text="the homeserver is not reachable")


class Asked:
    """Stands for the socket and for the machine: notes when the mailbox is claimed."""

    def __init__(self) -> None:
        self.at: list[float] = []

    async def send(self, _message: bytes) -> None:
        self.at.append(trio.current_time())


class Machine:
    """Makes a message of anything."""

    def send(self, command: object) -> bytes:
        return repr(command).encode()


async def test_a_claim_is_repeated_within_seconds_however_often_it_failed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def take(_items: list[r.Item]) -> None:
        raise AssertionError("nothing was brought")

    keys = DeviceKeys.generate(DomainName("home.test"), os.urandom)
    receiving, asked = RawReceiving(keys, PlainEdge("127.0.0.1", 1), take), Asked()
    for _ in range(20):
        before = trio.current_time()
        await receiving._follow(cast("Socket", asked), cast("r.Receiver", Machine()), LOST)
        assert 0.5 < asked.at[-1] - before <= limits.CLAIM_RETRY_CAP * limits.BACKOFF_JITTER[1]
    assert asked.at[-1] - asked.at[-2] > limits.CLAIM_RETRY * limits.BACKOFF_JITTER[1], (
        "it grows, or edges are hammered"
    )
