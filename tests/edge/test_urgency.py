"""What is more urgent overtakes a backlog on its way to a device; what is of one class keeps its order."""

import pytest

from tests.edge.net import Device, Net
from tests.edge.test_claims import WINDOW, light
from volly_fed import limits
from volly_fed.client import DeviceKeys
from volly_fed.client.receiver import Confirm
from volly_fed.codepoints import EnvelopeClass

RING, SIGNAL, BULK = EnvelopeClass
ALL = limits.DELIVERY_WINDOW


def numbers(device: Device) -> list[int]:
    return [int.from_bytes(item.envelope.id, "big") for item in device.raw]


def acknowledge(net: Net, device: Device, count: int) -> None:
    """The oldest `count` that were not acknowledged yet."""
    items = [item for item in device.raw if any(row.id == item.envelope.id for _, row in net.rows)][:count]
    device.say(Confirm(claim=1, items=items))
    net.run()


def test_a_call_is_delivered_at_once_while_a_backlog_waits_for_the_device(bob: DeviceKeys) -> None:
    net = Net()
    device = net.connect(bob, acknowledging=False)
    net.store(*(light(bob, n) for n in range(3 * WINDOW)))
    net.store(light(bob, 9999, RING))
    assert numbers(device) == [*range(WINDOW), 9999]


def test_a_call_is_delivered_at_once_while_the_backlog_is_being_read(bob: DeviceKeys) -> None:
    net = Net()
    device = net.connect(bob, acknowledging=False)
    net.store(*(light(bob, n) for n in range(WINDOW + 5)))
    net._running = True  # what follows moves nothing by itself
    device.say(Confirm(claim=1, items=device.raw[:5]))
    read = net.claims.next_read(1)
    assert read is not None
    assert read.lane.urgency is SIGNAL
    net.store(light(bob, 9999, RING))
    message = net.claims.next_delivery(1)
    assert message is not None
    assert len(message.envelopes) == 1


@pytest.mark.spec("edge-25")
def test_what_was_stored_before_the_claim_comes_by_class(bob: DeviceKeys) -> None:
    net = Net()
    for n in range(4):
        net.store(light(bob, n, BULK), light(bob, 100 + n, SIGNAL), light(bob, 200 + n, RING))
    device = net.connect(bob)
    assert numbers(device) == [*range(200, 204), *range(100, 104), *range(4)]
    assert net.rows == []


def test_of_what_waits_for_the_writer_the_most_urgent_leaves_first(bob: DeviceKeys) -> None:
    net = Net()
    device = net.connect(bob)
    net.store(light(bob, 1, BULK), light(bob, 2, SIGNAL), light(bob, 3, RING), light(bob, 4, SIGNAL))
    assert numbers(device) == [3, 2, 4, 1]


@pytest.mark.parametrize("urgency", EnvelopeClass)
def test_more_of_one_class_than_fits_comes_in_its_order_and_whole(bob: DeviceKeys, urgency: EnvelopeClass) -> None:
    """Some of it straight from the batch, some read back, some while the other classes are behind too."""
    net = Net()
    device = net.connect(bob, acknowledging=False)
    total, step = 2 * ALL, 97
    for first in range(0, total, step):
        net.store(*(light(bob, n, urgency) for n in range(first, min(first + step, total))))
        net.store(light(bob, 10_000 + first, RING), light(bob, 20_000 + first, BULK))
        acknowledge(net, device, 50)
    while net.rows:
        acknowledge(net, device, 100)
    of_class = [n for n in numbers(device) if n < 10_000]
    assert of_class == [*range(total)]
    for least in (10_000, 20_000):
        others = [n for n in numbers(device) if least <= n < least + 10_000]
        assert others == [*range(least, least + total, step)]
    assert net.rejected == []


def test_calls_beyond_the_window_are_read_when_there_is_room(bob: DeviceKeys) -> None:
    net = Net()
    device = net.connect(bob, acknowledging=False)
    net.store(*(light(bob, n) for n in range(WINDOW + 10)))
    net.store(*(light(bob, 5000 + n, RING) for n in range(ALL)))
    assert numbers(device)[WINDOW:] == [*range(5000, 5000 + ALL - WINDOW)]
    net.store(light(bob, 9000, RING))  # not before those that wait on the disk
    acknowledge(net, device, WINDOW + 1)
    assert numbers(device)[ALL:] == [*range(5000 + ALL - WINDOW, 5000 + ALL), 9000]
