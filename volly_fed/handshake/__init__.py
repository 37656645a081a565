"""Mutual proof of identity on an open channel: states, the two roles, the transcript, what comes out, claim limits."""

from volly_fed.handshake.claims import TOO_MANY_LINKS, Admission, ClaimGuard, source_of
from volly_fed.handshake.exchange import Party, refusal
from volly_fed.handshake.initiator import Initiator
from volly_fed.handshake.outcome import Claimed, Established, Event, Expired, Greeted, Outcome, Proved
from volly_fed.handshake.rates import Rates
from volly_fed.handshake.responder import Responder
from volly_fed.handshake.state import Accept, Command, Prove, Reject, Start
from volly_fed.handshake.transcript import ChannelBinding

__all__ = [
    "TOO_MANY_LINKS",
    "Accept",
    "Admission",
    "ChannelBinding",
    "ClaimGuard",
    "Claimed",
    "Command",
    "Established",
    "Event",
    "Expired",
    "Greeted",
    "Initiator",
    "Outcome",
    "Party",
    "Prove",
    "Proved",
    "Rates",
    "Reject",
    "Responder",
    "Start",
    "refusal",
    "source_of",
]
