"""The vectors of presence: tags, placement, filters, the coding of changes; tests.presence.machines has the others."""

import hashlib
from typing import Any

import numpy as np
import pytest

from tests.presence import machines
from tests.presence.plain import expand
from volly_fed.codepoints import ErrorCode, FilterClass
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage
from volly_fed.presence import presence_tag
from volly_fed.presence.counters import Counters
from volly_fed.presence.delta import encode_delta, parse_delta
from volly_fed.presence.filter import Filter
from volly_fed.presence.placement import Placement, filter_bits, parse_class

Case = dict[str, Any]


def check_tag(given: Case, expect: Case) -> None:
    """Kind `presence-tag`."""
    made = presence_tag(Secret(bytes.fromhex(given["key"])), int(given["epoch"]), given["scope"])
    assert expect == {"accept": {"tag": made.hex()}}


def check_placement(given: Case, expect: Case) -> None:
    """Kind `presence-placement`."""
    place = Placement(Secret(bytes.fromhex(given["key"])), FilterClass(given["class"]))
    tag = bytes.fromhex(given["tag"])
    assert expect == {"accept": {"block": place.encrypt([tag]).hex(), "positions": place.in_slices(tag)}}


def check_filter(given: Case, expect: Case) -> None:
    """Kind `presence-filter`."""
    key = Secret(bytes.fromhex(given["key"]))
    if "reject" in expect:
        with pytest.raises(BadMessage) as caught:
            Filter.from_bytes(Placement(key, parse_class(given["class"])), bytes.fromhex(given["byte"]) * given["size"])
        assert caught.value.code is ErrorCode[expect["reject"]["code"]]
        return
    wanted, place = expect["accept"], Placement(key, FilterClass(given["class"]))
    members = [expand(f"member {number}", 16) for number in range(given["members"])]
    made = Filter(place)
    made.add_all(members)
    data = made.to_bytes()
    assert data == Counters(place.size, place.encrypt(members)).bits()
    assert (len(data), made.ones, data[:32].hex()) == (wanted["size"], wanted["ones"], wanted["first"])
    assert hashlib.sha256(data).hexdigest() == wanted["sha256"]
    assert place.filter_id.hex() == wanted["filter_id"]
    assert all(member in Filter.from_bytes(place, data) for member in members)


def check_delta(given: Case, expect: Case) -> None:
    """Kind `presence-delta`."""
    data, bits = bytes.fromhex(given["data"]), filter_bits(FilterClass(given["class"]))
    if "reject" in expect:
        with pytest.raises(BadMessage) as caught:
            parse_delta(data, bits)
        assert caught.value.code is ErrorCode[expect["reject"]["code"]]
        return
    positions = expect["accept"]["positions"]
    assert parse_delta(data, bits).tolist() == positions
    assert encode_delta(np.array(positions, dtype=np.int64), bits) == data


CONSUMERS = {
    "presence-tag": check_tag,
    "presence-placement": check_placement,
    "presence-filter": check_filter,
    "presence-delta": check_delta,
} | machines.CONSUMERS
