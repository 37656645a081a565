"""Fake peers that a homeserver calls: each listens on a port of its own, takes what comes and acknowledges it at once.

in: the peers' seeds; out: Arrivals, except of the first peer, whose link is there to be broken.
"""

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from bench.relay.arrivals import Arrivals
from bench.relay.link import Line, confirmed
from bench.relay.peer_keys import PeerSeed
from volly_fed.channel import FEDERATION, Negotiated
from volly_fed.daemon.connection import Accepted, Connection, accept
from volly_fed.daemon.tls import make_context
from volly_fed.errors import VollyFedError
from volly_fed.handshake import Claimed
from volly_fed.names import Fingerprint
from volly_fed.testnet.sites import LOOPBACK
from volly_fed.wire.messages import STREAM_BYTES, Ack, Batch, Open


class Acceptors(Arrivals):
    """See worker.Generator."""

    def __init__(self, peers: list[PeerSeed], caller: Fingerprint, key: bytes) -> None:
        super().__init__(key)
        self._peers = peers
        self._caller = caller

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Listen."""
        async with trio.open_nursery() as nursery:
            for peer in self._peers:
                serve = partial(trio.serve_tcp, self._handler(peer), peer.listens, host=LOOPBACK)
                await nursery.start(serve)
            task_status.started()

    def _handler(self, peer: PeerSeed) -> Callable[[trio.SocketStream], Awaitable[None]]:
        keys = peer.keys()
        plan = Accepted(
            context=make_context(FEDERATION, server=True, identity=keys.tls_identity()),
            party=keys.party,
            admit=self._admit,
            confirm=confirmed,
            use=partial(self._use, noted=peer is not self._peers[0]),
        )

        async def handle(stream: trio.SocketStream) -> None:
            try:
                await accept(stream, plan, proved=lambda: None)
            except (VollyFedError, OSError):
                return

        return handle

    async def _admit(self, claimed: Claimed, negotiated: Negotiated) -> frozenset[Fingerprint]:  # noqa: ARG002
        return frozenset({self._caller})

    async def _use(self, connection: Connection, *, noted: bool) -> None:
        line = Line(connection.socket)
        await line.say(Open(stream=bytes(STREAM_BYTES)))
        async for message in line.messages():
            if isinstance(message, Batch):
                if noted:
                    self.note(message.envelopes)
                cursor = message.first + len(message.envelopes) - 1
                await line.say(Ack(stream=message.stream, cursor=cursor))
