"""What must not stand in the logs of homeservers and edges while networks and machines fail around them.

in: the text of a log in JSON; out: the lines that tell of something else than trouble from outside.
Never: believes that a line is harmless because it does not know it.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

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


_OUT_OF_DATE: Final = "is out of date"


def unexpected(text: str, allowed: frozenset[str] = TROUBLE) -> Iterator[str]:
    """The lines of `text` that are not of `allowed` events: tracebacks, defects, refused proofs, failures of disks."""
    for line in text.splitlines():
        try:
            fields = json.loads(line)
            expected = fields["event"] in allowed or _clock_jumped(fields)
        except (ValueError, KeyError, TypeError):
            expected = False
        if not expected:
            yield line


def _clock_jumped(fields: dict[str, Any]) -> bool:
    """Between the look-up of a peer and its proof the clock was set forward by more than the records' TTL."""
    kind = fields["event"], fields["gate"]
    return kind == ("decided", "establish") and str(fields["reason"]).endswith(_OUT_OF_DATE)
