"""What must not stand in the logs of homeservers and edges while networks and machines fail around them.

in: the text of a log in JSON; out: the lines that tell of something else than trouble from outside.
Never: believes that a line is harmless because it does not know it.
"""

import json
from collections.abc import Iterator

TROUBLE = frozenset(
    {
        "started",
        "stopping",
        "stopped",
        "link_up",
        "link_down",
        "dial_failed",
        "renewal_failed",
        "claim_refused",
        "discovered",
        "pinned",
        "edge_up",
        "edge_down",
        "homeserver_up",
        "homeserver_down",
        "self_checked",
        "expired",
        "device_refused",
    }
)
"""Events that tell of links, processes, clocks and resolvers that come and go."""


def unexpected(text: str, allowed: frozenset[str] = TROUBLE) -> Iterator[str]:
    """The lines of `text` that are not of `allowed` events: tracebacks, defects, refused proofs, failures of disks."""
    for line in text.splitlines():
        try:
            expected = json.loads(line)["event"] in allowed
        except (ValueError, KeyError, TypeError):
            expected = False
        if not expected:
            yield line
