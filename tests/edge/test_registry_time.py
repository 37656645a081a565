"""What ends by itself at an edge: connections that ask for nothing, claims that nobody proves."""

import os

import pytest

from tests.edge.net import HOME, WALL, edge_fingerprint
from tests.edge.test_registry import claim_at, claimed, downstream, frame, upstream
from volly_fed import limits
from volly_fed.client import DeviceKeys
from volly_fed.codepoints import ErrorCode
from volly_fed.edge.registry import HangUp, Registry
from volly_fed.wire.messages import Claim, NotClaimed, Ping, Proof, Submit


@pytest.fixture
def registry() -> Registry:
    fresh = Registry(domain=HOME, edge=edge_fingerprint("e1"))
    fresh.link_up()
    fresh.connect(1)
    return fresh


def test_a_connection_that_asks_for_nothing_ends(registry: Registry) -> None:
    assert registry.tick(0.0) == []
    registry.receive_device(1, Ping(token=1), WALL)  # a sign of life is no reason to be here
    assert registry.tick(limits.DEVICE_IDLE - 1) == []
    (end,) = registry.tick(limits.DEVICE_IDLE)
    assert isinstance(end, HangUp)
    assert (end.connection, end.code) == (1, ErrorCode.TIMEOUT)


def test_one_that_has_submitted_or_holds_a_mailbox_stays(registry: Registry, bob: DeviceKeys) -> None:
    registry.connect(2)
    registry.receive_device(1, Submit(envelopes=[frame(1)]), WALL)
    claimed(registry, claim_at(registry, 2, bob), bob)
    for now in (0.0, limits.DEVICE_IDLE, 10 * limits.DEVICE_IDLE):
        assert registry.tick(now) == []


def test_one_that_has_lost_its_mailbox_may_claim_again(registry: Registry, bob: DeviceKeys) -> None:
    number = claim_at(registry, 1, bob)
    claimed(registry, number, bob)
    registry.tick(0.0)
    registry.receive_homeserver(NotClaimed(request=number, code=ErrorCode.REPLACED, text=""))
    assert registry.tick(1000.0) == []
    claimed(registry, claim_at(registry, 1, bob, request=2), bob)
    assert registry.tick(1000.0 + limits.DEVICE_IDLE) == []


def test_a_claim_that_nobody_proves_ends_and_makes_room(
    registry: Registry, bob: DeviceKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PENDING_CLAIMS_PER_LINK", 1)
    registry.connect(2)
    registry.receive_device(1, Claim(request=1, key=bob.mailbox.public), WALL)
    ((_, refusal),) = downstream(registry.receive_device(2, Claim(request=1, key=bob.mailbox.public), WALL))
    assert isinstance(refusal, NotClaimed)
    assert refusal.code is ErrorCode.BUSY
    assert registry.tick(0.0) == []
    ((connection, told),) = downstream(registry.tick(limits.CLAIM_PROOF))
    assert isinstance(told, NotClaimed)
    assert (connection, told.request, told.code) == (1, 1, ErrorCode.TIMEOUT)
    assert registry.receive_device(1, Proof(request=1, mac=bytes(32), registration=b""), WALL) == []  # too late
    assert len(upstream(registry.receive_device(2, Claim(request=2, key=bob.mailbox.public), WALL))) == 1


def test_a_claim_that_was_proved_is_the_homeservers_to_answer(registry: Registry, bob: DeviceKeys) -> None:
    number = claim_at(registry, 1, bob)
    registry.tick(0.0)
    assert registry.tick(10 * limits.CLAIM_PROOF) == []
    claimed(registry, number, bob)
    assert registry.mailboxes == 1


def test_one_connection_does_not_use_up_the_claims_of_all(registry: Registry) -> None:
    keys = [DeviceKeys.generate(HOME, os.urandom) for _ in range(limits.PENDING_CLAIMS_PER_DEVICE + 1)]
    for request, key in enumerate(keys, 1):
        actions = registry.receive_device(1, Claim(request=request, key=key.mailbox.public), WALL)
    ((_, refusal),) = downstream(actions)
    assert isinstance(refusal, NotClaimed)
    assert refusal.code is ErrorCode.BUSY
    registry.connect(2)
    assert len(upstream(registry.receive_device(2, Claim(request=1, key=keys[0].mailbox.public), WALL))) == 1
