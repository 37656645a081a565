"""What a homeserver shows of itself over HTTP.

in: its overview, its counters, its health; out: documents for programs, the page, metrics.
Never: names a mailbox or a user.
"""

from collections.abc import Sequence
from typing import Any

import attrs

from volly_fed.daemon.http.health import Health
from volly_fed.daemon.http.situation import wrongs
from volly_fed.daemon.overview import Overview
from volly_fed.daemon.upkeep.findings import plain
from volly_fed.observe.tally import Tally


@attrs.frozen(kw_only=True)
class HomeserverFace:
    """See `face.Face`."""

    overview: Overview
    tally: Tally
    health: Health

    async def status(self) -> dict[str, Any]:
        """What the admin socket tells with `status` and `peers`, what is wrong, and whether it is ready."""
        homeserver = await self.overview.status({})
        peers = (await self.overview.list_peers({}))["peers"]
        return {
            "homeserver": homeserver,
            "peers": peers,
            "wrong": [attrs.asdict(wrong) for wrong in wrongs(homeserver, peers, self.health)],
            "store_outage": self.health.outage is not None,
            "not_ready": self.health.troubles(),
            "self_check": None if self.health.findings is None else plain(self.health.findings),
        }

    def page(self, status: dict[str, Any]) -> str:
        """The status page."""
        from volly_fed.daemon.http.page import homeserver_page

        return homeserver_page(status)

    async def troubles(self) -> Sequence[str]:
        """Why it is not ready."""
        return self.health.troubles()

    async def metrics(self) -> bytes:
        """Of this process."""
        from volly_fed.daemon.http.metrics import homeserver_metrics

        return homeserver_metrics(await self.status(), self.tally)
