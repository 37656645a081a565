"""An established link: machine (Session), outbound and inbound (its two streams), keepalive, state (tables), events."""

from volly_fed.session.events import (
    Acknowledge,
    Closing,
    Command,
    Drain,
    Event,
    Extra,
    Finished,
    Grant,
    Lost,
    Next,
    Other,
    Received,
    Settled,
    StreamOpened,
)
from volly_fed.session.machine import Session, closing
from volly_fed.session.outbound import Outbound

__all__ = [
    "Acknowledge",
    "Closing",
    "Command",
    "Drain",
    "Event",
    "Extra",
    "Finished",
    "Grant",
    "Lost",
    "Next",
    "Other",
    "Outbound",
    "Received",
    "Session",
    "Settled",
    "StreamOpened",
    "closing",
]
