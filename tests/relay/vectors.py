"""The vectors of relay: envelopes read, and what becomes of batches of them."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trio

from volly_fed.codepoints import EnvelopeClass, ErrorCode, TrustLevel
from volly_fed.config.model import Limits
from volly_fed.daemon.intake import Intake
from volly_fed.daemon.store.store import Store
from volly_fed.edge.registration import encode_registration, make_registration
from volly_fed.errors import BadMessage
from volly_fed.names import DomainName, MailboxId
from volly_fed.relay.envelope import Envelope, encode_envelope, parse_envelope, read_head
from volly_fed.relay.receipt import UNDELIVERABLE
from volly_fed.session import Received
from volly_fed.trust.policy import Policy
from volly_fed.wire.messages import Refusal

Case = dict[str, Any]


def check_envelope(given: Case, expect: Case) -> None:
    """Kind `envelope-codec`."""
    data = bytes.fromhex(given["head"]) + bytes(given["zeros"])
    if "reject" in expect:
        for read in (parse_envelope, read_head):
            with pytest.raises(BadMessage) as caught:
                read(data)
            assert caught.value.code is ErrorCode[expect["reject"]["code"]]
        return
    read_back = parse_envelope(data)
    assert encode_envelope(read_back) == data
    assert expect["accept"] == {
        "mailbox": read_back.mailbox.hex(),
        "domain": read_back.domain,
        "id": read_back.id.hex(),
        "expiry": str(read_back.expiry),
        "class": read_back.urgency,
        "capability": read_back.capability.hex(),
        "body": len(read_back.body),
    }


def check_intake(given: Case, expect: Case) -> None:
    """Kind `intake-policy`."""
    assert expect == {"accept": trio.run(_play, given)}


async def _play(given: Case) -> Case:
    with TemporaryDirectory() as folder:
        async with Store.open(Path(folder) / "store.db") as store:
            return await _take_in(store, given)


async def _take_in(store: Store, given: Case) -> Case:
    now, own = int(time.time()), DomainName(given["own"])
    levels = {name: TrustLevel(level) for name, level in given["levels"].items()}
    mailbox = MailboxId(bytes.fromhex(given["mailbox"]["id"]))
    grants = {bytes.fromhex(capability): tuple(scopes) for capability, scopes in given["mailbox"]["grants"]}
    await store.put_mailbox(mailbox, encode_registration(make_registration(grants)), now)
    queued: list[str] = []
    values: Case = given["limits"]
    intake = Intake(
        domain=own,
        store=store,
        policy=Policy(default=TrustLevel.NONE, levels=levels),
        limits=Limits(**values),
        may_queue=lambda _: True,
        on_outbound=lambda _, __, rows: queued.extend(row.id.hex() for row in rows),
        on_inbound=lambda _: None,
        note_submission=lambda _, __, ___: None,
    )
    answers, first = [], 1
    for batch in given["batches"]:
        received = Received(stream=bytes(8), first=first, envelopes=[_encoded(fields, now) for fields in batch])
        refusals = await _handed_over(intake, given, levels, received)
        codes = {number: code for number, code, _ in refusals}
        assert all((code, text) == UNDELIVERABLE for _, code, text in refusals if code is ErrorCode.UNDELIVERABLE)
        answers.append([codes.get(n, ErrorCode.NONE).name for n in range(first, received.last + 1)])
        first = received.last + 1
    held = [row.id.hex() for row in await store.read_mailbox(mailbox)]
    return {"answers": answers, "holds": held, "queued": queued}


async def _handed_over(
    intake: Intake, given: Case, levels: dict[str, TrustLevel], batch: Received
) -> tuple[Refusal, ...]:
    if given["from"] == "device":
        return await (await intake.from_edge(1, batch))()
    peer = DomainName(given["from"])
    return await (await intake.from_peer(peer, lambda: levels[peer], batch))()


def _encoded(fields: Case, now: int) -> bytes:
    return encode_envelope(
        Envelope(
            mailbox=MailboxId(bytes.fromhex(fields["mailbox"])),
            domain=DomainName(fields["domain"]),
            id=bytes.fromhex(fields["id"]),
            expiry=now + fields["lives"],
            urgency=EnvelopeClass(fields["class"]),
            capability=bytes.fromhex(fields["capability"]),
            body=bytes(fields["size"]),
        )
    )


CONSUMERS = {"envelope-codec": check_envelope, "intake-policy": check_intake}
