"""Timers between this process and what supervises it, in seconds."""

from typing import Final

NOTIFY: Final = 0.2
"""For one message to the supervisor, whose queue may be full: the event loop stands still so long, at most."""
ALIVE_SHARE: Final = 0.4
"""Of the watchdog's time, between two signs of life: the rest is for the store to answer, and for a busy machine."""
