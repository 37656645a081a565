"""The vectors in spec/vectors/presence: up to date, and what we make is what they say."""

import hashlib
import json
from typing import Any

import numpy as np
import pytest

from tests.presence.make_vectors import ALL, FOLDER, expand, text
from volly_fed.codepoints import FilterClass
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage
from volly_fed.presence import presence_tag
from volly_fed.presence.counters import Counters
from volly_fed.presence.delta import encode_delta, parse_delta
from volly_fed.presence.filter import Filter
from volly_fed.presence.placement import Placement, filter_bits, parse_class

Case = dict[str, Any]


def cases(name: str) -> list[Any]:
    read = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return [pytest.param(case["given"], case["expect"], id=case["id"]) for case in read["cases"]]


@pytest.mark.parametrize("name", ALL)
def test_the_files_are_what_is_generated(name: str) -> None:
    assert (FOLDER / f"{name}.json").read_text(encoding="utf-8") == text(name)


def test_every_file_is_consumed() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(ALL)


@pytest.mark.parametrize(("given", "expect"), cases("tag"))
def test_tag(given: Case, expect: Case) -> None:
    made = presence_tag(Secret(bytes.fromhex(given["key"])), int(given["epoch"]), given["scope"])
    assert made.hex() == expect["tag"]


@pytest.mark.parametrize(("given", "expect"), cases("placement"))
def test_placement(given: Case, expect: Case) -> None:
    place = Placement(Secret(bytes.fromhex(given["key"])), FilterClass(given["class"]))
    tag = bytes.fromhex(given["tag"])
    assert place.encrypt([tag]).hex() == expect["block"]
    assert place.in_slices(tag) == expect["positions"]


@pytest.mark.parametrize(("given", "expect"), cases("filter"))
def test_filter(given: Case, expect: Case) -> None:
    key = Secret(bytes.fromhex(given["key"]))
    if expect["result"] == "reject":
        with pytest.raises(BadMessage) as caught:
            Filter.from_bytes(Placement(key, parse_class(given["class"])), bytes.fromhex(given["byte"]) * given["size"])
        assert caught.value.code == expect["code"]
        return
    place = Placement(key, FilterClass(given["class"]))
    members = [expand(f"member {number}", 16) for number in range(given["members"])]
    made = Filter(place)
    made.add_all(members)
    data = made.to_bytes()
    assert data == Counters(place.size, place.encrypt(members)).bits()
    assert (len(data), made.ones, data[:32].hex()) == (expect["size"], expect["ones"], expect["first"])
    assert hashlib.sha256(data).hexdigest() == expect["sha256"]
    assert place.filter_id.hex() == expect["filter_id"]
    assert all(member in Filter.from_bytes(place, data) for member in members)


@pytest.mark.parametrize(("given", "expect"), cases("delta"))
def test_delta(given: Case, expect: Case) -> None:
    data, bits = bytes.fromhex(given["data"]), filter_bits(FilterClass(given["class"]))
    if expect["result"] == "reject":
        with pytest.raises(BadMessage) as caught:
            parse_delta(data, bits)
        assert caught.value.code == expect["code"]
        return
    assert parse_delta(data, bits).tolist() == expect["positions"]
    assert encode_delta(np.array(expect["positions"], dtype=np.int64), bits) == data
