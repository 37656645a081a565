"""The vectors of wire: items of the encoding, and messages."""

from typing import Any

import attrs
import pytest

from tests.wire.make_vectors import as_json
from volly_fed.errors import BadMessage
from volly_fed.wire import codec, encode_message, parse_message

Case = dict[str, Any]


def check_encoding(given: Case, expect: Case) -> None:
    """Kind `wire-encoding`."""
    data = bytes.fromhex(given["data"])
    if "reject" in expect:
        with pytest.raises(BadMessage) as caught:
            codec.decode(data)
        _check_rejected(caught.value, expect)
        return
    item = codec.decode(data)
    assert as_json(item) == expect["accept"]["item"]
    assert codec.encode(item) == data


def check_message(given: Case, expect: Case) -> None:
    """Kind `wire-message`."""
    data = bytes.fromhex(given["data"])
    if "reject" in expect:
        with pytest.raises(BadMessage) as caught:
            parse_message(data, limit=given["limit"])
        _check_rejected(caught.value, expect)
        return
    message = parse_message(data, limit=given["limit"])
    fields = {field.metadata["number"]: getattr(message, field.name) for field in attrs.fields(type(message))}
    assert {"type": message.TYPE.name, "fields": as_json(fields)} == expect["accept"]
    assert parse_message(encode_message(message)) == message
    assert len(encode_message(message)) <= len(data)


def _check_rejected(error: BadMessage, expect: Case) -> None:
    assert expect == {"reject": {"class": type(error).__name__, "code": error.code.name}}


CONSUMERS = {"wire-encoding": check_encoding, "wire-message": check_message}
