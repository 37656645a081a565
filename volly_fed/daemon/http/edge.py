"""What an edge node shows of itself over HTTP.

in: its present state; out: documents for programs, a page, metrics.
Never: tells anything of a device but how many there are.
"""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import trio

from volly_fed import __version__
from volly_fed.daemon.http.situation import Wrong, split
from volly_fed.daemon.wording import duration


@attrs.frozen(kw_only=True)
class EdgeState:
    """Of one edge node, now. Times are on trio's clock."""

    name: str
    domain: str
    homeserver: str
    identity: str
    linked_since: float | None
    down_since: float | None
    reason: str
    """Why it is down; "" where no attempt has failed yet."""
    devices: int
    unsettled: int


@attrs.frozen(kw_only=True)
class EdgeFace:
    """See `face.Face`."""

    state: Callable[[], EdgeState]
    since: float = attrs.field(factory=trio.current_time)

    async def status(self) -> dict[str, Any]:
        """Everything there is to say."""
        state = self.state()
        return {
            "edge": {
                "name": state.name,
                "domain": state.domain,
                "version": __version__,
                "up_s": _ago(self.since),
                "identity": state.identity,
                "homeserver": state.homeserver,
                "linked_s": _ago(state.linked_since),
                "devices": state.devices,
                "unsettled": state.unsettled,
            },
            "wrong": [attrs.asdict(wrong) for wrong in _wrongs(state)],
            "not_ready": await self.troubles(),
        }

    def page(self, status: dict[str, Any]) -> str:
        """The status page."""
        from volly_fed.daemon.http.page import edge_page

        return edge_page(status)

    async def troubles(self) -> Sequence[str]:
        """It is of use as long as it is linked with its homeserver."""
        state = self.state()
        return [] if state.linked_since is not None else [f"no link to the homeserver of {state.domain}: {_why(state)}"]

    async def metrics(self) -> bytes:
        """Of this process."""
        from volly_fed.daemon.http.metrics import edge_metrics

        return edge_metrics(await self.status())


def _wrongs(state: EdgeState) -> list[Wrong]:
    if state.linked_since is not None:
        return []
    reason, advice = split(_why(state))
    return [
        Wrong(
            serious=True,
            about=f"the homeserver of {state.domain}",
            what="is not linked: devices leave for other edge nodes, and claim nothing here",
            reason=reason,
            since_s=_ago(state.down_since),
            advice=advice or f"does it listen for edge nodes at {state.homeserver}? its log may say `edge_refused`",
        )
    ]


def _why(state: EdgeState) -> str:
    if state.reason:
        return state.reason
    return (
        "the first attempt is under way" if state.down_since is None else f"for {duration(_ago(state.down_since) or 0)}"
    )


def _ago(when: float | None) -> float | None:
    return None if when is None else round(trio.current_time() - when, 1)
