"""What a post-quantum TLS WebSocket must be: profile (the requirements), verify (what was negotiated, judged)."""

from volly_fed.channel.profile import DEVICE, DEVICE_CLASSICAL, EDGE, FEDERATION, ChannelProfile
from volly_fed.channel.verify import Negotiated, check_negotiated, check_tlsa

__all__ = [
    "DEVICE",
    "DEVICE_CLASSICAL",
    "EDGE",
    "FEDERATION",
    "ChannelProfile",
    "Negotiated",
    "check_negotiated",
    "check_tlsa",
]
