"""Where a message goes: route (local mailbox, peer, or refused by the gate `relay`)."""

from volly_fed.router.route import Local, Peer, Refused, Route, Router, may_leave

__all__ = ["Local", "Peer", "Refused", "Route", "Router", "may_leave"]
