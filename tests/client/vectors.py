"""The vectors of client: cards as text, and sealed contents."""

import os
from typing import Any

import attrs
import pytest

from volly_fed.client.by_hand import open_by_hand
from volly_fed.client.card import card_bytes, encode_card, parse_card
from volly_fed.client.inbox import message_key
from volly_fed.client.mailbox import DeviceKeys
from volly_fed.client.seal import Opened, open_envelope
from volly_fed.codepoints import ErrorCode
from volly_fed.crypto.kem import MailboxKey
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage, RemoteError
from volly_fed.names import DomainName
from volly_fed.relay.envelope import parse_envelope

Case = dict[str, Any]


def check_card(given: Case, expect: Case) -> None:
    """Kind `card-codec`."""
    if "reject" in expect:
        with pytest.raises(BadMessage) as caught:
            parse_card(given["text"])
        assert caught.value.code is ErrorCode[expect["reject"]["code"]]
        return
    card = parse_card(given["text"])
    assert encode_card(card) == given["text"].strip()
    assert expect["accept"] == {
        "domain": card.domain,
        "mailbox": card.address.mailbox.hex(),
        "capability": card.capability.hex(),
        "identity": card.identity.hex(),
        "name": card.name,
    }


def check_content(given: Case, expect: Case) -> None:
    """Kind `sealed-content`."""
    envelope = parse_envelope(bytes.fromhex(given["envelope"]))
    key, domain = MailboxKey.from_seed(Secret(bytes.fromhex(given["seed"]))), DomainName(given["domain"])
    if "reject" in expect:
        with pytest.raises(RemoteError) as caught:
            open_envelope(envelope, key, domain)
        assert type(caught.value).__name__ == expect["reject"]["class"]
        assert caught.value.code is ErrorCode[expect["reject"]["code"]]
        return
    assert expect["accept"] == _spelled(open_envelope(envelope, key, domain))


def check_by_hand(given: Case, expect: Case) -> None:
    """Kind `sealed-by-hand`."""
    keys = attrs.evolve(
        DeviceKeys.generate(DomainName(given["domain"]), os.urandom),
        mailbox=MailboxKey.from_seed(Secret(bytes.fromhex(given["seed"]))),
    )
    if "reject" in expect:
        with pytest.raises(RemoteError) as caught:
            open_by_hand(keys, given["text"], given["now"])
        assert type(caught.value).__name__ == expect["reject"]["class"]
        assert caught.value.code is ErrorCode[expect["reject"]["code"]]
        return
    message = open_by_hand(keys, given["text"], given["now"])
    handed = message.content.presence
    assert handed is not None
    presence = {"serial": handed.serial, "key": handed.key.reveal().hex(), "wants": handed.wants}
    assert expect["accept"] == {"sender": message.sender.hex(), "presence": presence}


def _spelled(opened: Opened) -> Case:
    content = opened.content
    found: Case = {
        "sender": opened.sender.hex(),
        "sent_at": content.sent_at,
        "reply": card_bytes(content.reply).hex() if content.reply else "",
        "id": opened.id.hex(),
        "key": message_key(opened.sender, opened.id).hex(),
    }
    if content.presence is not None:
        handed = content.presence
        presence = {"serial": handed.serial, "key": handed.key.reveal().hex(), "wants": handed.wants}
        return found | {"presence": presence}
    return found | ({"data": content.data.hex()} if content.text is None else {"text": content.text})


CONSUMERS = {"card-codec": check_card, "sealed-content": check_content, "sealed-by-hand": check_by_hand}
