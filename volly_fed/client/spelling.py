"""What people hand each other as text: a scheme, then base64url without padding (RFC 4648, section 5), spelled one way.

in: a scheme, bytes or text, a limit; out: the text, or the bytes.
"""

import base64

from volly_fed.errors import BadMessage


def spell(scheme: str, raw: bytes) -> str:
    """`raw` as one line."""
    return scheme + base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def read_spelled(scheme: str, text: str, limit: int, what: str) -> bytes:
    """The bytes that `text`, of at most `limit` characters, spells; white space around it does not matter.

    `what` is its name in errors. Raises BadMessage, and nothing else, for anything but what `spell` makes.
    """
    spelled = text.strip()
    if not spelled.startswith(scheme) or len(spelled) > limit or not spelled.isascii():
        raise BadMessage(f"a {what} begins with {scheme} and is one long line; note: copy all of it")
    encoded = spelled.removeprefix(scheme)
    try:
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raw = None
    if raw is None or spell(scheme, raw) != spelled:
        raise BadMessage(f"this {what} is damaged; note: copy all of it")
    return raw
