"""The ports of a test network: its processes listen on them only seconds after they were chosen."""

import socket

import pytest

from volly_fed.errors import LocalError
from volly_fed.testnet import sites
from volly_fed.testnet.sites import LOOPBACK, free_ports


def test_they_are_free_and_different_and_none_that_the_system_gives_to_whoever_asks() -> None:
    ports = free_ports(40)
    assert len(set(ports)) == 40
    assert min(ports) >= 10_000
    assert max(ports) < 32_768
    for port in ports:
        with socket.socket() as listener:
            listener.bind((LOOPBACK, port))


def test_one_that_is_taken_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = free_ports(3)
    monkeypatch.setattr(sites, "_PORTS", range(first, third + 1))
    with socket.socket() as taken:
        taken.bind((LOOPBACK, second))
        assert sorted(free_ports(2)) == [first, third]
        with pytest.raises(LocalError, match="fewer than 3"):
            free_ports(3)
