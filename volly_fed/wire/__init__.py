"""Bytes <-> frozen messages: codec (deterministic CBOR), fields (kinds of value), messages (the classes)."""

from volly_fed.wire.messages import Message, encode_message, parse_message

__all__ = ["Message", "encode_message", "parse_message"]
