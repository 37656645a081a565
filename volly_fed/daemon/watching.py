"""What somebody sees who follows a running homeserver: the overview, again and again.

in: the overview; out: one document each second, less often where there are many peers to look at.
Never: looks while nobody follows.
"""

from collections.abc import Mapping

import attrs
import trio

from volly_fed import limits_admin
from volly_fed.daemon.admin.server import Arguments, Send, Stream
from volly_fed.daemon.overview import Overview


@attrs.frozen
class Watching:
    """Of one homeserver."""

    overview: Overview

    def streams(self) -> Mapping[str, Stream]:
        """By name."""
        return {"watch": self.follow}

    async def follow(self, _arguments: Arguments, send: Send) -> None:
        """Tell how everything is, until the client goes."""
        while True:
            peers = (await self.overview.list_peers({}))["peers"]
            await send({"status": await self.overview.status({}), "peers": peers})
            await trio.sleep(limits_admin.WATCH_EACH + limits_admin.WATCH_EACH_PEER * len(peers))
