"""Envelopes for load, as cheap to make as a copy: they differ in mailbox and id only, and the id is a ticket.

in: mailboxes, a body's size, when each envelope is due; out: what stands in a batch; and back, from ids to tickets.
A ticket is (number, due in nanoseconds), encrypted, so that ids look as random to the homeservers' indexes as those
of devices do, while the receiving generator reads from each how long it was under way.
"""

import os
import time
from array import array
from collections.abc import Sequence

import attrs
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from volly_fed.codepoints import EnvelopeClass
from volly_fed.names import DomainName, MailboxId
from volly_fed.relay.envelope import ID_BYTES, Envelope, encode_envelope
from volly_fed.wire import codec
from volly_fed.wire.messages import Batch, encode_message

LIFETIME = 86400
RUN_SHIFT = 40
"""A ticket's number holds the number of the run above these bits."""


@attrs.frozen(kw_only=True)
class Target:
    """A mailbox and what opens it."""

    mailbox: bytes = attrs.field(repr=False)
    domain: DomainName
    capability: bytes = attrs.field(repr=False)


class Tickets:
    """Tickets <-> ids, many at once. One key for a whole benchmark."""

    def __init__(self, key: bytes) -> None:
        cipher = Cipher(AES(key), ECB())
        self._encrypt, self._decrypt = cipher.encryptor(), cipher.decryptor()

    def seal(self, first: int, due: Sequence[int]) -> list[bytes]:
        """The ids of the envelopes `first` and following."""
        pairs = array("Q", bytes(ID_BYTES * len(due)))
        pairs[0::2] = array("Q", range(first, first + len(due)))
        pairs[1::2] = array("Q", due)
        blob = self._encrypt.update(pairs.tobytes())
        return [blob[at : at + ID_BYTES] for at in range(0, len(blob), ID_BYTES)]

    def open(self, ids: Sequence[bytes]) -> "tuple[array[int], array[int]]":
        """(numbers, when due) of `ids`."""
        pairs = array("Q", self._decrypt.update(b"".join(ids)))
        return pairs[0::2], pairs[1::2]


class Press:
    """Makes batches for `targets` in turn. What changes from envelope to envelope is joined with what does not."""

    def __init__(self, targets: Sequence[Target], body_bytes: int, tickets: Tickets) -> None:
        self._targets = targets
        self._body = os.urandom(body_bytes)
        self._tickets = tickets
        self._turn = 0
        self._urgency = EnvelopeClass.SIGNAL
        self._make_stencils()

    def change(self, urgency: EnvelopeClass) -> None:
        """Make envelopes of this class from now on."""
        self._urgency = urgency
        self._make_stencils()

    def _make_stencils(self) -> None:
        """What stands before, between and behind the ids; anew each second, so that expiries advance."""
        self._made_at = int(time.time())
        marker = os.urandom(ID_BYTES)
        ends: list[tuple[bytes, bytes]] = []
        for target in self._targets:
            envelope = Envelope(
                mailbox=MailboxId(target.mailbox),
                domain=target.domain,
                id=marker,
                expiry=self._made_at + LIFETIME,
                urgency=self._urgency,
                capability=target.capability,
                body=self._body,
            )
            before, after = codec.encode(encode_envelope(envelope)).split(marker)
            ends.append((before, after))
        self._before = [before for before, _ in ends]
        self._after = [after for _, after in ends]
        count = len(ends)
        self._between = [self._after[i] + self._before[(i + 1) % count] for i in range(count)]
        self.frame_bytes = len(encode_envelope(envelope))

    def batch(self, stream: bytes, first: int, number: int, due: Sequence[int]) -> bytes:
        """The message that carries envelopes with these tickets as `first` and following of `stream`."""
        if int(time.time()) != self._made_at:
            self._make_stencils()
        count, turn = len(due), self._turn
        self._turn = (turn + count) % len(self._targets)
        parts = [b""] * (2 * count + 1)
        parts[1::2] = self._tickets.seal(number, due)
        between = self._between[turn:] + self._between * (count // len(self._between) + 1)
        parts[2:-1:2] = between[: count - 1]
        parts[0] = _empty(stream, first) + _array_head(count) + self._before[turn]
        parts[-1] = self._after[(turn + count - 1) % len(self._after)]
        return b"".join(parts)


def _empty(stream: bytes, first: int) -> bytes:
    """A batch up to the head of its array of envelopes, which is its last field."""
    return encode_message(Batch(stream=stream, first=first, envelopes=[]))[:-1]


def _array_head(count: int) -> bytes:
    return codec.encode([0] * count)[:-count]
