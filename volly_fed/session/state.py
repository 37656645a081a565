"""The two halves of a session as tables: what we send to the peer, and what the peer sends to us.

Triggers are message classes that cross the wire, and Acknowledge, the command that says "this is durable now".
Ping, Pong and the messages of edge links are allowed in every state and change none.
"""

import enum
from typing import Final

from volly_fed.machine import Transitions
from volly_fed.session.events import Acknowledge
from volly_fed.wire.messages import Ack, Batch, Close, Open


class Sending(enum.Enum):
    """Our own stream on this link."""

    IDLE = enum.auto()
    """Nothing was said yet; we do not know what the peer has of our stream."""
    OPENED = enum.auto()
    """OPEN is out; the peer's cursor is awaited."""
    STREAMING = enum.auto()
    """The peer has told its cursor; batches go out."""
    CLOSED = enum.auto()
    """CLOSE is out; only acknowledgements are awaited."""


class Receiving(enum.Enum):
    """The peer's stream on this link."""

    SILENT = enum.auto()
    """The peer has not named its stream."""
    ASKED = enum.auto()
    """The peer has named its stream and waits for the cursor stored for it."""
    STREAMING = enum.auto()
    """The cursor is told; batches come in."""
    CLOSED = enum.auto()
    """The peer sends no more batches; it still waits for acknowledgements."""


SENDING: Final = Transitions(
    {
        Sending.IDLE: {Open: Sending.OPENED, Close: Sending.CLOSED},
        Sending.OPENED: {Ack: Sending.STREAMING, Close: Sending.CLOSED},
        Sending.STREAMING: {
            Batch: Sending.STREAMING,
            Ack: Sending.STREAMING,
            Open: Sending.OPENED,
            Close: Sending.CLOSED,
        },
        Sending.CLOSED: {Ack: Sending.CLOSED},
    }
)
"""OPEN while streaming begins a fresh stream: the peer has lost its cursor of the old one."""

RECEIVING: Final = Transitions(
    {
        Receiving.SILENT: {Open: Receiving.ASKED, Close: Receiving.CLOSED},
        Receiving.ASKED: {Acknowledge: Receiving.STREAMING, Close: Receiving.CLOSED},
        Receiving.STREAMING: {
            Batch: Receiving.STREAMING,
            Acknowledge: Receiving.STREAMING,
            Open: Receiving.ASKED,
            Close: Receiving.CLOSED,
        },
        Receiving.CLOSED: {Acknowledge: Receiving.CLOSED},
    }
)
