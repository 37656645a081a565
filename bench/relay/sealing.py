"""What devices spend, not homeservers: sealing and opening a content of 1 KiB, on one core."""

import os
import time
from collections.abc import Callable

from bench.relay.figure import Result
from bench.relay.options import Options
from bench.relay.setting import B
from volly_fed.client.mailbox import DeviceKeys
from volly_fed.client.seal import Content, open_envelope, seal
from volly_fed.relay.envelope import encode_envelope

CONTENT_BYTES = 1024
_BATCH = 20


async def sealing(options: Options) -> Result:
    """Contents sealed and opened per second of processor time; what such an envelope is large."""
    result = Result("sealing")
    sender, recipient = DeviceKeys.generate(B, os.urandom), DeviceKeys.generate(B, os.urandom)
    now = int(time.time())
    content = Content(sent_at=now, data=os.urandom(CONTENT_BYTES))
    card = recipient.card()

    def make() -> object:
        return seal(content, identity=sender.identity, to=card, envelope_id=os.urandom(16), expiry=now + 3600)

    envelope = seal(content, identity=sender.identity, to=card, envelope_id=os.urandom(16), expiry=now + 3600)
    result.add("sealed", _per_second(make, options.seconds), "contents/s a core")
    opened = _per_second(lambda: open_envelope(envelope, recipient.mailbox, B), options.seconds)
    result.add("opened", opened, "contents/s a core")
    result.add("an envelope with 1 KiB of content", len(encode_envelope(envelope)), "bytes")
    return result


def _per_second(work: Callable[[], object], seconds: float) -> float:
    """How often `work` goes into a second of this thread's processor time: the most of several tries."""
    best, until = 0.0, time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.thread_time()
        for _ in range(_BATCH):
            work()
        best = max(best, _BATCH / (time.thread_time() - began))
    return best
