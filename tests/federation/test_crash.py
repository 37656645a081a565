"""SIGKILL in the middle of traffic: nothing is lost, and no application is given anything twice."""

from pathlib import Path

import pytest
import trio

from tests.federation.harness import (
    A,
    B,
    Federation,
    Heard,
    Outcomes,
    count_rows,
    federation,
    introduce,
    listening,
    submit_until_cut,
    submitting,
)
from volly_fed.testnet.devices import Device
from volly_fed.testnet.figures import seal_many

pytestmark = pytest.mark.real
MANY = 5000
SOME = 500
HELD_BACK = 200
"""Submitted after the kill, so that there is a middle even where the machine is slower at killing than at sending."""
Sealed = list[tuple[bytes, bytes]]


def check(sealed: Sealed, heard: Heard, outcomes: Outcomes) -> None:
    """Everything was accepted, nothing was refused, and each was given to the application once."""
    assert outcomes.refused == []
    assert outcomes.accepted == heard.counts.keys() == {envelope_id for envelope_id, _ in sealed}
    assert heard.twice == 0


async def test_the_receiving_homeserver_is_killed_in_the_middle_of_5000(tmp_path: Path) -> None:
    async with federation(tmp_path) as net:
        alice, bob = net.device(A, "alice"), net.device(B, "bob")
        await introduce(bob)
        sealed = await seal_many(alice, bob, MANY)
        heard, outcomes = Heard(), Outcomes()
        async with submitting(alice, outcomes) as connection, trio.open_nursery() as nursery:
            async with listening(bob, heard):
                nursery.start_soon(connection.submit, sealed[:-HELD_BACK])
                await heard.wait(200)
                await net.homeserver(B).kill()
            nursery.start_soon(connection.submit, sealed[-HELD_BACK:])
            assert 0 < count_rows(net.store(B), "seen") < MANY, "the kill did not come in the middle"
            await net.start_homeservers(B)
            async with listening(bob, heard):  # the device too starts again, with its store
                await heard.wait(MANY)
                await outcomes.wait(MANY)
        check(sealed, heard, outcomes)


async def test_the_receiving_homeserver_is_killed_again_and_again(tmp_path: Path) -> None:
    """The device stays connected to its edge meanwhile, and claims again by itself."""
    async with federation(tmp_path) as net:
        alice, bob = net.device(A, "alice"), net.device(B, "bob")
        sealed = await seal_many(alice, bob, SOME)
        heard, outcomes = Heard(), Outcomes()
        async with submitting(alice, outcomes) as connection, listening(bob, heard), trio.open_nursery() as nursery:
            nursery.start_soon(connection.submit, sealed[:-HELD_BACK])
            for share in (50, 200):
                await heard.wait(share)
                await net.homeserver(B).kill()
                await net.start_homeservers(B)
            await connection.submit(sealed[-HELD_BACK:])
            await heard.wait(SOME)
            await outcomes.wait(SOME)
        check(sealed, heard, outcomes)


async def test_the_sending_homeserver_is_killed_and_the_device_resubmits_what_was_not_answered(tmp_path: Path) -> None:
    async with federation(tmp_path) as net:
        alice, bob = net.device(A, "alice"), net.device(B, "bob")
        sealed = await seal_many(alice, bob, SOME)
        heard, outcomes = Heard(), Outcomes()
        async with listening(bob, heard):
            unanswered = await interrupted(net, alice, outcomes, sealed)
            assert len(unanswered) >= HELD_BACK
            assert count_rows(net.store(A), "outbound") <= SOME
            await net.start_homeservers(A)
            async with submitting(alice, outcomes) as connection:  # the edge, or a disk, may have some of it already
                await connection.submit(unanswered)
                await outcomes.wait(SOME)
                await heard.wait(SOME)
        check(sealed, heard, outcomes)


async def interrupted(net: Federation, sender: Device, outcomes: Outcomes, sealed: Sealed) -> Sealed:
    """Submit `sealed`, kill the sender's homeserver at the first answer, part; what was not answered.

    The last of them are handed over after the kill: they are certainly not.
    """
    async with submitting(sender, outcomes) as connection, trio.open_nursery() as nursery:
        nursery.start_soon(connection.submit, sealed[:-HELD_BACK])
        await outcomes.wait(1)
        await net.homeserver(A).kill()
        await connection.submit(sealed[-HELD_BACK:])
        nursery.cancel_scope.cancel()
    return [item for item in sealed if item[0] not in outcomes.accepted]


async def test_what_the_sending_homeserver_had_accepted_leaves_after_its_restart_by_itself(tmp_path: Path) -> None:
    async with federation(tmp_path) as net:
        alice, bob = net.device(A, "alice"), net.device(B, "bob")
        await introduce(bob)
        await net.homeserver(B).kill()
        sealed = await seal_many(alice, bob, HELD_BACK)
        heard, outcomes = Heard(), Outcomes()
        async with submitting(alice, outcomes) as connection:
            await connection.submit(sealed)
            await outcomes.wait(HELD_BACK)
            await net.homeserver(A).kill()
        assert count_rows(net.store(A), "outbound") == HELD_BACK
        await net.start_homeservers(A, B)  # nobody submits anything from here on
        async with listening(bob, heard):
            await heard.wait(HELD_BACK)
        check(sealed, heard, outcomes)


async def test_edges_are_killed_on_both_sides_and_the_devices_go_to_others(tmp_path: Path) -> None:
    async with federation(tmp_path, edges=2) as net:
        alice, bob = net.device(A, "alice"), net.device(B, "bob")
        sealed = await seal_many(alice, bob, SOME)
        heard, outcomes = Heard(), Outcomes()
        async with submitting(alice, outcomes) as connection, trio.open_nursery() as nursery:
            async with listening(bob, heard):
                nursery.start_soon(submit_until_cut, connection, sealed[:-HELD_BACK])
                await heard.wait(50)
                await net.edge(B).kill()
            async with listening(net.moved(bob, 2), heard):
                await heard.wait(150)
                await net.edge(A).kill()
                rest = [item for item in sealed if item[0] not in outcomes.accepted]
                async with submitting(net.moved(alice, 2), outcomes) as another:
                    await another.submit(rest)
                    await outcomes.wait(SOME)
                    await heard.wait(SOME)
            nursery.cancel_scope.cancel()
        check(sealed, heard, outcomes)
