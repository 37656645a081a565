import pytest

from volly_fed import limits
from volly_fed.edge.visitors import Visitors

HERE, THERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def visitors(monkeypatch: pytest.MonkeyPatch) -> Visitors:
    monkeypatch.setattr(limits, "DEVICES_PER_ADDRESS", 2)
    monkeypatch.setattr(limits, "DEVICE_CONNECTIONS_PER_ADDRESS_PER_MINUTE", 3)
    monkeypatch.setattr(limits, "DEVICE_ADDRESSES", 4)
    return Visitors()


def test_an_address_has_so_many_devices_and_others_as_many(visitors: Visitors) -> None:
    assert [visitors.enter(HERE) for _ in range(3)] == [True, True, False]
    assert visitors.enter(THERE)
    visitors.leave(HERE)
    assert visitors.enter(HERE)
    assert not visitors.enter(HERE)


def test_a_host_with_a_whole_network_is_one_address(visitors: Visitors) -> None:
    assert [visitors.enter(f"2001:db8::{n}") for n in range(3)] == [True, True, False]
    assert visitors.enter("2001:db8:0:1::1")
    assert [visitors.enter(f"::ffff:{HERE}"), visitors.enter(HERE), visitors.enter(HERE)] == [True, True, False]


def test_new_connections_are_counted_over_a_minute(visitors: Visitors) -> None:
    assert [visitors.knock(HERE, 100.0) for _ in range(4)] == [True, True, True, False]
    assert visitors.knock(THERE, 100.0)
    assert [visitors.knock(HERE, now) for now in (119.9, 120.1, 120.1)] == [False, True, False]
    assert [visitors.knock(HERE, 181.0) for _ in range(4)] == [True, True, True, False]


def test_of_a_crowd_of_addresses_the_last_are_remembered(visitors: Visitors) -> None:
    for _ in range(4):
        visitors.knock(HERE, 1.0)
    for n in range(10, 20):
        assert visitors.knock(f"192.0.2.{n}", 1.0)
    assert len(visitors._recent) <= 4
    assert visitors.knock(HERE, 1.0)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1"])
def test_loopback_is_not_counted(visitors: Visitors, address: str) -> None:
    assert all(visitors.enter(address) and visitors.knock(address, 1.0) for _ in range(10))


def test_nobody_is_remembered(visitors: Visitors) -> None:
    for _ in range(2):
        visitors.enter(HERE)
    for _ in range(2):
        visitors.leave(HERE)
    assert not visitors._here
