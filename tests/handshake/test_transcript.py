"""The facts of a channel: what cannot be one is our bug, and is found before anything is signed over it."""

from typing import Any

import attrs
import pytest

from tests.handshake.peers import connection

DIGESTS = ("own_spki_sha256", "peer_spki_sha256")
EXPORTERS = ("exporter_dialler", "exporter_acceptor")


@pytest.mark.parametrize("fact", DIGESTS + EXPORTERS)
@pytest.mark.parametrize("change", [lambda value: value[:-1], lambda value: value + b"\0", bytearray, lambda _: b""])
def test_a_fact_of_another_size_or_kind_is_refused(fact: str, change: Any) -> None:
    ours, _ = connection()
    with pytest.raises(ValueError, match=fact):
        attrs.evolve(ours, **{fact: change(getattr(ours, fact))})


def test_the_group_is_spelled_as_in_the_registry_whatever_the_library_says() -> None:
    spelled, _ = connection(group="x25519mlkem768")
    assert spelled == connection()[0]
    assert connection(group="x25519")[0].group == b"x25519"
