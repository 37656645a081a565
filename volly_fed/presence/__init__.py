"""Who is online, told to peers without naming anybody: Bloom filters of tags that only contacts can compute.

tags       a tag, an epoch                              roster    who is online, and what each peer sees of it
placement  where a tag's bits are                       delta     the bits that change, as bytes
filter     a filter as its reader has it                snapshot  a filter in pieces
counters   how many tags want each bit                  shown     the filter one peer is shown: tags and dummies
show       the showing side's machine                   view      the viewing side's machine
dummies    which come and go with users                 bounds    sizes, maxima and timers
state      both as tables, and the viewing events
"""

from volly_fed.presence.show import Show
from volly_fed.presence.state import Appeared, Changed, Gone, Pace
from volly_fed.presence.tags import epoch_of, presence_tag
from volly_fed.presence.view import View

__all__ = [
    "Appeared",
    "Changed",
    "Gone",
    "Pace",
    "Show",
    "View",
    "epoch_of",
    "presence_tag",
]
