"""Continuity statements: the old and the new identity of a domain say together that one follows the other.

in: both keys, or bytes from a peer; out: the statement's bytes, or a checked Statement.
Wire: CBOR [body, signature by the old key, signature by the new key]; body = CBOR {0: version, 1: domain, 2: sequence,
3: not before, 4: not after, 5: old public key, 6: new public key}. Each key signs the body under a label of its own,
so that neither signature can stand in the other's place.
Never: decides. A right statement is one of two conditions: DNS has to name the new identity too, and then comes the
cool-off (trust.pins). Source: docs/architecture.md layer 4.
"""

# Both keys are inside, not only fingerprints: a peer that announces its next identity shows the old key and a peer that
# has switched shows the new one, and either statement must be provable by itself, also years later as evidence.
# The new key signs as well, so that nobody can announce a key that somebody else holds.

import attrs

from volly_fed import limits
from volly_fed.codepoints import CONTINUITY_VERSION, Label
from volly_fed.crypto.signature import BadSignature, IdentityKey, fingerprint, verify_identity
from volly_fed.crypto.sizes import IDENTITY_PUBLIC, IDENTITY_SIGNATURE
from volly_fed.errors import BadMessage, LocalError
from volly_fed.names import DomainName, Fingerprint
from volly_fed.wire import codec
from volly_fed.wire.fields import bstr, domain, record, uint

_VERSION, _DOMAIN, _SEQUENCE, _NOT_BEFORE, _NOT_AFTER, _OLD, _NEW = range(7)
_signature = bstr(size=IDENTITY_SIGNATURE)
_outer = record(bstr(limit=limits.MAX_CONTINUITY), _signature, _signature)
_key = bstr(size=IDENTITY_PUBLIC)


@attrs.frozen(kw_only=True)
class Statement:
    """`domain` goes from the identity `old` to `new`. Both signatures were right when `parse_statement` made it.

    Times are seconds since 1970. `sequence` is greater in every later statement of the domain; the time of making is
    the sequence to take, and one that lies in the future does not count (see `check`).
    """

    domain: DomainName
    sequence: int
    not_before: int
    not_after: int
    old: Fingerprint
    new: Fingerprint

    def check(
        self, *, domain: DomainName, pinned: Fingerprint, new: Fingerprint, last_sequence: int, now: float
    ) -> str:
        """Why this does not prove that `domain`, pinned to `pinned`, goes on as `new`; an empty text: it does."""
        if self.domain != domain:  # [handshake-35]
            return f"the continuity statement is about {self.domain}"
        if self.old != pinned:
            return "the continuity statement begins at another identity than the pinned one"
        if self.new != new:
            return "the continuity statement leads to another identity than the published one"
        if now < self.not_before - limits.CLOCK_SKEW:
            return "the continuity statement is not valid yet"
        if now > self.not_after + limits.CLOCK_SKEW:
            return "the continuity statement has expired"
        if self.sequence <= last_sequence:
            return f"the continuity statement is an old one (sequence {self.sequence}, {last_sequence} was accepted)"
        # Who has stolen a key could otherwise use up all numbers for whoever comes after him.
        if self.sequence > now + limits.CLOCK_SKEW:
            return "the continuity statement's sequence lies in the future; a sequence is at most the Unix time"
        return ""


def make_statement(
    *, domain: DomainName, sequence: int, not_before: int, not_after: int, old: IdentityKey, new: IdentityKey
) -> bytes:
    """The statement that `domain` goes from `old` to `new`, valid between two Unix times; at most MAX_CONTINUITY bytes.

    `sequence` is to be the Unix time of making, or a number below it that is greater than any before.
    Raises LocalError: no change of identity, or a validity that nobody would accept.
    """
    if old.public == new.public:
        raise LocalError("the new identity is the old one; note: generate a new identity key first")
    problem = _validity_problem(not_before, not_after)
    if problem:
        raise LocalError(f"{problem}; note: choose another validity")
    body = codec.encode(
        {
            _VERSION: CONTINUITY_VERSION,
            _DOMAIN: domain,
            _SEQUENCE: sequence,
            _NOT_BEFORE: not_before,
            _NOT_AFTER: not_after,
            _OLD: old.public,
            _NEW: new.public,
        }
    )
    by_old = old.sign(Label.CONTINUITY_OLD + body, Label.CONTINUITY_CONTEXT)
    by_new = new.sign(Label.CONTINUITY_NEW + body, Label.CONTINUITY_CONTEXT)
    return codec.encode([body, by_old, by_new])


def parse_statement(data: bytes) -> Statement:
    """The statement `data` spells, with both signatures checked (four verifications, about half a millisecond).

    Raises BadMessage and nothing else: not of this form, of another version, wrongly signed.
    Unknown fields in the body are not an error; they are signed.
    """
    body, by_old, by_new = _outer(codec.decode(data, limit=limits.MAX_CONTINUITY))  # [handshake-33]
    fields = codec.decode(body, limit=limits.MAX_CONTINUITY)
    if type(fields) is not dict:
        raise BadMessage("a continuity statement is a map")
    if uint(fields.get(_VERSION)) != CONTINUITY_VERSION:
        raise BadMessage("a continuity statement of another version")
    old, new = _key(fields.get(_OLD)), _key(fields.get(_NEW))
    statement = Statement(
        domain=domain(fields.get(_DOMAIN)),
        sequence=uint(fields.get(_SEQUENCE)),
        not_before=uint(fields.get(_NOT_BEFORE)),
        not_after=uint(fields.get(_NOT_AFTER)),
        old=fingerprint(old),
        new=fingerprint(new),
    )
    problem = _validity_problem(statement.not_before, statement.not_after)
    if old == new or problem:
        raise BadMessage(problem or "a continuity statement without a change")
    try:
        verify_identity(old, by_old, Label.CONTINUITY_OLD + body, Label.CONTINUITY_CONTEXT)
        verify_identity(new, by_new, Label.CONTINUITY_NEW + body, Label.CONTINUITY_CONTEXT)
    except BadSignature:
        raise BadMessage("a signature of the continuity statement is wrong") from None
    return statement


def _validity_problem(not_before: int, not_after: int) -> str:
    if not_before >= not_after:
        return "the validity of a continuity statement must end after it begins"
    if not_after - not_before > limits.CONTINUITY_VALIDITY:
        return f"a continuity statement is valid for {limits.CONTINUITY_VALIDITY // 86400} days at most"
    return ""
