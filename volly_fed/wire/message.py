"""What all message classes share.

in: nothing; out: the class that each message class is made of (wire.messages has them all).
"""

from typing import ClassVar

import attrs

from volly_fed.codepoints import MessageType


@attrs.frozen
class Message:
    """What all message classes share."""

    TYPE: ClassVar[MessageType]
