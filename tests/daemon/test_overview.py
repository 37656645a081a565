"""What an operator is told of a running homeserver: peers, queues, attempts, edge nodes, what is wrong."""

from pathlib import Path
from typing import Any

import pytest
import trio

from tests.daemon.sites import BOX, A, B, C, Site, endpoint, envelope, material, sites, some_limits
from volly_fed import limits
from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.daemon.backoff import cause_of
from volly_fed.errors import (
    BadMessage,
    Bogus,
    ChannelError,
    Indeterminate,
    Insecure,
    LocalError,
    NoMatch,
    Refused,
    RemoteError,
    StorageError,
)
from volly_fed.names import fingerprint_text
from volly_fed.trust.policy import Policy

POLICY = Policy(default=TrustLevel.NONE, levels={B: TrustLevel.SELECTIVE, C: TrustLevel.FULL})


async def ask(site: Site, command: str, **arguments: object) -> dict[str, Any]:
    return await site.server._admin(site.server._overview(site.store)).handlers[command](arguments)


async def test_a_linked_peer_is_described(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    a.policy = POLICY
    async with a.running(), b.running():
        await b.register()
        await a.submit(envelope(B))
        await b.until(lambda: len(b.arrived) == 1)
        await a.until(lambda: len(a.settled) == 1)
        await a.store.settle_outbound([])
        (peer,) = (await ask(a, "peers"))["peers"]
        assert (peer["domain"], peer["state"], peer["dialled_by"]) == (B, "linked", "us")
        assert (peer["level"], peer["rule"]) == ("selective", f'levels has "{B}" = "selective"')
        assert peer["identity"] == fingerprint_text(material(B).fingerprint)
        assert peer["group"] == "X25519MLKEM768"
        assert peer["linked_s"] >= 0
        assert (peer["failures"], peer["next_attempt_s"], peer["last_error"]) == (0, None, "")
        assert (peer["last_cause"], peer["last_error_s"], peer["held_s"]) == ("", None, None)
        assert 3500 < peer["records_s"] <= 3600, "what DNS proved lasts for an hour"
        assert "pinned" not in peer
        (peer,) = (await ask(a, "peers", domain=B))["peers"]
        assert peer["pinned"] == fingerprint_text(material(B).fingerprint)
        assert peer["queue"] == {"envelopes": 0, "bytes": 0, "oldest_s": 0}
        assert peer["presence"]["watching_edges"] == 0
        (other,) = (await ask(b, "peers"))["peers"]
        assert (other["domain"], other["dialled_by"]) == (A, "them")
        assert 3500 < other["records_s"] <= 3600, "of who dialled, too"

        status = await ask(a, "status")
        assert status["peers"] == {"known": 1, "linked": 1}
        assert status["identity"] == fingerprint_text(material(A).fingerprint)
        assert status["tls_spki_sha256"] == material(A).tls.key.spki_sha256.hex()
        assert status["edges"] == []


async def test_a_peer_that_cannot_be_reached_is_a_problem_that_is_named(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A, limits=some_limits(backoff_cap=3600.0))
    frame = envelope(B)
    async with a.running(listening=False):
        await a.submit(frame, envelope(B))
        await a.log.wait("dial_failed", peer=B)
        (peer,) = (await ask(a, "peers", domain=B))["peers"]
        assert (peer["domain"], peer["state"], peer["linked_s"], peer["identity"]) == (B, "waiting", None, None)
        assert peer["failures"] == 1
        assert (peer["last_cause"], peer["pinned"], peer["records_s"]) == ("DNS: no records", None, None)
        assert 0 <= peer["last_error_s"] < 60
        assert 0 < peer["next_attempt_s"] <= 3600
        assert peer["queue"]["envelopes"] == 2
        assert peer["queue"]["bytes"] == 2 * len(frame)
        assert (await ask(a, "peers", domain=C))["peers"] == []

        status = await ask(a, "status")
        assert status["queue"]["envelopes"] == 2
        reason = peer["last_error"].partition("\n")[0]
        assert f"2 envelopes for {B}, which cannot be reached: {reason}" in status["problems"]
        assert any("no edge node is connected" in problem for problem in status["problems"])
        assert BOX.hex() not in str(status)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (Refused("busy", code=ErrorCode.BUSY), "refused by the peer: BUSY"),
        (NoMatch("another key"), "the keys it shows"),
        (Bogus("no signature"), "DNS: bogus"),
        (Insecure("unsigned"), "DNS: insecure"),
        (Indeterminate("nobody answers"), "DNS: no answer"),
        (RemoteError("level none", code=ErrorCode.POLICY), "our policy"),
        (ChannelError("closed"), "the link: CHANNEL"),
        (StorageError("full"), "our disk"),
        (ConnectionRefusedError("no"), "the network"),
    ],
)
def test_an_error_has_a_cause_in_a_word(error: Exception, cause: str) -> None:
    assert cause_of(error) == cause


async def test_what_is_known_of_a_peer_outlives_its_link(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running():
        async with b.running():
            await b.register()
            await a.submit(envelope(B))
            await a.until(lambda: len(a.settled) == 1)
        await a.log.wait("link_down", peer=B)
        (peer,) = (await ask(a, "peers", domain=B))["peers"]
        assert (peer["identity"], peer["linked_s"]) == (None, None)
        assert peer["pinned"] == fingerprint_text(material(B).fingerprint)
        assert peer["records_s"] > 3500


async def test_a_first_attempt_that_is_under_way_is_no_problem(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")  # takes connections, and never answers
    a.resolver.known = {B: endpoint(B, listeners[0].socket.getsockname()[1])}
    async with a.running(listening=False):
        await a.submit(envelope(B))
        async with await listeners[0].accept():
            (peer,) = (await ask(a, "peers"))["peers"]
            assert (peer["state"], peer["queue"]["envelopes"], peer["last_error"]) == ("dialling", 1, "")
            assert not any(B in problem for problem in (await ask(a, "status"))["problems"])
    await listeners[0].aclose()


async def test_a_retry_does_not_wait_for_the_pause(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A, limits=some_limits(backoff_cap=3600.0))
    async with a.running(listening=False):
        await a.submit(envelope(B))
        await a.log.wait("dial_failed", peer=B)
        waits = a.server.peers.attempts.due_in(a.server.peers.known()[0].standing)
        assert waits >= limits.BACKOFF_FIRST / 2
        with trio.fail_after(waits / 2):  # a pause that is waited for would take longer
            assert await ask(a, "retry", domain=B) == {"domain": B, "state": "waiting"}
            await a.log.wait("dial_failed", peer=B, count=2)
        with pytest.raises(LocalError, match=r"nothing waits for c\.test\nnote: `volly-fed peers`"):
            await ask(a, "retry", domain=C)
        with pytest.raises((LocalError, BadMessage, ValueError)):
            await ask(a, "retry")


async def test_a_store_that_takes_nothing_is_a_problem_until_it_recovers(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A)
    said = "the store takes nothing: the disk is full; nothing was written"
    async with a.running(listening=False):
        a.server.note_outage(StorageError("the disk is full; nothing was written\nnote: free space"))
        assert said in (await ask(a, "status"))["problems"]
        a.server.note_outage(None)
        assert said not in (await ask(a, "status"))["problems"]
