"""How far edges' streams were settled by this process, and what of the last window was refused. In memory only.

in: batches of an edge's stream, settled in order; out: where the next link of that edge goes on.
Never: written to the disk: an edge that outlives this process begins a fresh stream, and ids tell what came twice.
"""

from collections import OrderedDict

import attrs

from volly_fed import limits
from volly_fed.daemon.link import Resumption
from volly_fed.session import Received
from volly_fed.wire.messages import Refusal


@attrs.define
class EdgeStreams:
    """One per homeserver; of the streams of edges that were restarted, the oldest is forgotten."""

    _streams: OrderedDict[bytes, Resumption] = attrs.field(factory=OrderedDict, init=False)

    def resumption(self, stream: bytes) -> Resumption:
        """Where `stream` stands; (0, ()): unknown."""
        return self._streams.get(stream, (0, ()))

    def settled(self, batch: Received, refusals: tuple[Refusal, ...]) -> None:
        """`batch` is durable, but for `refusals`. A former link may say so after the one that replaced it."""
        cursor, refused = self._streams.pop(batch.stream, (0, ()))
        reached = max(cursor, batch.last)
        kept = [
            refusal
            for refusal in refused
            if refusal[0] > reached - limits.WINDOW_ENVELOPES and not batch.first <= refusal[0] <= batch.last
        ]
        self._streams[batch.stream] = (reached, (*kept, *refusals))
        while len(self._streams) > limits.EDGE_STREAMS:
            self._streams.popitem(last=False)
