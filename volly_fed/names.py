"""Validated names: what may stand where a domain, a mailbox or an address is expected.

in: text or bytes from configuration, DNS or a peer; out: values that need no further checking.
Never: looks anything up, or accepts a name in two spellings. Source: RFC 1123 §2.1, RFC 5890 (A-labels only).
"""

import base64
import re
from typing import NamedTuple, NewType

DomainName = NewType("DomainName", str)
"""A domain in canonical form: lower-case LDH labels joined by dots, no final dot, at most 253 bytes."""

MailboxId = NewType("MailboxId", bytes)
"""32 bytes: a hash of the mailbox's X-Wing public key (crypto.kem says which hash)."""

Fingerprint = NewType("Fingerprint", bytes)
"""32 bytes: SHA-256 over a composite identity public key, with its domain-separating label."""

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MAX_NAME = 253
_MAILBOX_BYTES = 32
_MAILBOX_CHARS = 52  # base32 of 32 bytes without padding
_FINGERPRINT_CHARS = 43  # base64url of 32 bytes without padding


class BadName(ValueError):
    """The text is not a name of the wanted kind; the message says why and shows no more than the kind."""


class Address(NamedTuple):
    """`mailbox@domain`: where an envelope goes."""

    mailbox: MailboxId
    domain: DomainName

    def __str__(self) -> str:
        return f"{mailbox_text(self.mailbox)}@{self.domain}"


def parse_domain(text: str) -> DomainName:
    """A domain name from `text`, folded to lower case; one final dot is dropped.

    Single labels are names too: edge nodes are called by one.
    Raises BadName for anything else, internationalised names included: they are written as A-labels (xn--…).
    """
    name = text.lower().removesuffix(".")
    if not text.isascii() or not name or len(name) > _MAX_NAME:  # U+212A folds to an ASCII k
        raise BadName("a domain name has 1 to 253 ASCII characters (write xn--… for others)")
    for label in name.split("."):
        if not _LABEL.fullmatch(label):
            raise BadName(
                "a domain name is made of labels of letters, digits and inner hyphens (write xn--… for others)"
            )
    return DomainName(name)


def mailbox_text(mailbox: MailboxId) -> str:
    """The 52 characters of lower-case base32 that stand for `mailbox` in addresses and cards."""
    return base64.b32encode(mailbox).decode("ascii").rstrip("=").lower()


def parse_mailbox(text: str) -> MailboxId:
    """The inverse of `mailbox_text`; raises BadName for any other spelling."""
    if len(text) != _MAILBOX_CHARS or text != text.lower():
        raise BadName("a mailbox is 52 characters of lower-case base32")
    try:
        raw = base64.b32decode(text.upper() + "====")
    except ValueError as error:
        raise BadName("a mailbox is 52 characters of lower-case base32") from error
    mailbox = mailbox_from_bytes(raw)
    if mailbox_text(mailbox) != text:
        raise BadName("the last character of the mailbox has bits that must be zero")
    return mailbox


def mailbox_from_bytes(raw: bytes) -> MailboxId:
    """`raw` as a mailbox id; raises BadName unless it has 32 bytes."""
    if len(raw) != _MAILBOX_BYTES:
        raise BadName("a mailbox id has 32 bytes")
    return MailboxId(raw)


def parse_address(text: str) -> Address:
    """`mailbox@domain` as an Address; raises BadName."""
    mailbox, at, domain = text.partition("@")
    if not at:
        raise BadName("an address is written mailbox@domain")
    return Address(parse_mailbox(mailbox), parse_domain(domain))


def fingerprint_text(fingerprint: Fingerprint) -> str:
    """The 43 characters of base64url without padding that stand in the identity TXT record."""
    return base64.urlsafe_b64encode(fingerprint).decode("ascii").rstrip("=")


def parse_fingerprint(text: str) -> Fingerprint:
    """The inverse of `fingerprint_text`; raises BadName for any other spelling."""
    if len(text) != _FINGERPRINT_CHARS:
        raise BadName("a fingerprint is 43 characters of base64url")
    try:
        raw = base64.b64decode(text + "=", altchars=b"-_", validate=True)
    except ValueError as error:
        raise BadName("a fingerprint is 43 characters of base64url") from error
    fingerprint = Fingerprint(raw)
    if fingerprint_text(fingerprint) != text:
        raise BadName("the last character of the fingerprint has bits that must be zero")
    return fingerprint
