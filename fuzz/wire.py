"""Target: the codec, and every message.

in: bytes; out: nothing. Never lets through: another error than BadMessage, a value with two spellings, a message that
is another one when it is encoded and parsed again.
"""

from fuzz import mutators
from fuzz.target import Target
from volly_fed.errors import BadMessage
from volly_fed.wire import codec, encode_message, parse_message


def run(data: bytes) -> None:
    """Decode, parse, and back."""
    try:
        value = codec.decode(data)
    except BadMessage:
        return
    assert codec.encode(value) == data, "a value with two spellings"
    try:
        message = parse_message(data)
    except BadMessage:
        return
    again = encode_message(message)
    assert parse_message(again) == message, "another message when it is parsed again"
    repr(message)


def seeds() -> list[bytes]:
    """One message of each type, as the tests have them."""
    from tests.wire.test_messages import SAMPLES, spell  # only to make a corpus

    return [spell(kind, fields) for kind, fields in SAMPLES.items()]


TARGET = Target(
    run=run,
    seeds=seeds,
    mutate=mutators.cbor,
    longest=8192,
)
