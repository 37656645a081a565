"""The benchmark of the machines beside sockets and disk: each of its three ways still goes all the way."""

import os
from collections.abc import Callable
from functools import partial

import pytest

from bench.edge import HOME, Clock, edge_down, edge_up, homeserver
from volly_fed.client.mailbox import DeviceKeys

DEVICES = [DeviceKeys.generate(HOME, os.urandom) for _ in range(2)]


@pytest.mark.parametrize("size", [1, 64])
@pytest.mark.parametrize(
    "way",
    [
        partial(edge_down, devices=DEVICES),
        edge_up,
        partial(homeserver, mailboxes=[keys.address.mailbox for keys in DEVICES]),
    ],
    ids=["down", "up", "homeserver"],
)
def test_all_of_it_arrives(way: Callable[..., None], size: int) -> None:
    clock = Clock()
    way(clock, size=size, total=128)
    assert all(clock.steps.values())
