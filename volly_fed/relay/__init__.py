"""Opaque, durable forwarding: envelope (wire form), queue (accounting), rate, replay (duplicates), receipt."""

from volly_fed.relay.envelope import Envelope, check_lifetime, encode_envelope, parse_envelope

__all__ = ["Envelope", "check_lifetime", "encode_envelope", "parse_envelope"]
