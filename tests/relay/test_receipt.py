"""Receipts: in messages of bounded size. And the duplicate rule's horizon."""

import attrs

from tests.relay.test_envelope import NOW, SAMPLE
from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.relay import check_lifetime
from volly_fed.relay.receipt import UNDELIVERABLE, receipts
from volly_fed.relay.replay import forget_before
from volly_fed.wire import encode_message, parse_message


def test_receipts_are_cut_to_size() -> None:
    refused = [(n.to_bytes(16, "big"), *UNDELIVERABLE) for n in range(limits.REFUSALS_PER_ACK + 1)]
    messages = receipts(refused)
    assert [len(message.refused) for message in messages] == [limits.REFUSALS_PER_ACK, 1]
    assert [parse_message(encode_message(message)) for message in messages] == messages
    assert receipts([]) == []


def test_what_is_forgotten_would_be_refused_as_expired() -> None:
    for now in (NOW, NOW + 0.9):
        forgotten, kept = forget_before(now) - 1, forget_before(now)
        assert check_lifetime(attrs.evolve(SAMPLE, expiry=forgotten), now) is ErrorCode.EXPIRED
        if now == NOW:
            assert check_lifetime(attrs.evolve(SAMPLE, expiry=kept), now) is ErrorCode.NONE
