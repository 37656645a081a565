"""What the cases of a session have in common: names, and how a link begins."""

from tests.session.spelling import Step, ack, durable, into, opened, opens, out

Cases = dict[str, list[Step]]

OURS, FRESH, THEIRS = b"ourstr01", b"ourstr02", b"theirs01"
E = [bytes([0xE0 + n]) * 4 for n in range(8)]
"""Envelopes: to a session they are byte strings and nothing more."""
NONE, UNEXPECTED, SHUTTING_DOWN, UNDELIVERABLE, OVERLOADED = 0, 2, 12, 32, 34

BESIDE = into({0: 0x54})["in"]
"""A message of a type that passes beside the streams."""

START = [out(opens(OURS)), into(ack(OURS, 0))]
"""Our stream is open at 0."""
HEARD = [into(opens(THEIRS)), opened(THEIRS), durable(THEIRS, 0), out(ack(THEIRS, 0))]
"""And theirs."""
