"""What every process of ours does when it starts: choose the cryptography, test it, and say when it is ready.

in: the [crypto] section, facts about what is ready; out: a Start, one ready line on standard output.
Never: lets a process go on whose OpenSSL cannot enforce the channel policy.
"""

import gc
import json
import sys
import time
from collections.abc import Mapping

import attrs

from volly_fed import __version__
from volly_fed.config.model import Crypto
from volly_fed.crypto.provider import Provider, choose_provider, use
from volly_fed.daemon.tls import self_test
from volly_fed.names import DomainName
from volly_fed.observe.log import Log

SWITCH_INTERVAL = 0.0005
GARBAGE_AFTER = 50_000
"""Containers made and not freed, before cycles are looked for: envelopes on their way are thousands of them, and none
is ever part of a cycle. With the default of 700 a tenth of a busy server's time went into looking."""


@attrs.frozen
class Start:
    """A process that is starting: since when (monotonic seconds), and with which provider."""

    began: float
    provider: Provider

    @classmethod
    def with_crypto(cls, crypto: Crypto, began: float) -> "Start":
        """Choose the provider for all keys of this process and see the channel policy at work; raises LocalError.

        Call it before any key is loaded, and before the event loop runs: it may block for seconds.
        """
        # the store's thread and the event loop hand the interpreter over to each other a thousand times a second: with
        # the default of 5 ms either may wait that long for it (10 % of an envelope's way, measured)
        sys.setswitchinterval(SWITCH_INTERVAL)
        provider = choose_provider(crypto.provider)
        use(provider)
        self_test()
        return cls(began, provider)

    def say_ready(self, log: Log, *, domain: DomainName, listen: str, facts: Mapping[str, object]) -> None:
        """One line of JSON on standard output, for whoever waits for it, and the same in the log.

        What was made until now stays: it is not looked through for garbage any more.
        """
        look_for_garbage_seldom()
        took = round((time.monotonic() - self.began) * 1000, 1)
        line = {"event": "ready", "domain": domain, **facts, "provider": self.provider.name, "took_ms": took}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        log.started(domain=domain, listen=listen, provider=self.provider.description, version=__version__, took_ms=took)


def look_for_garbage_seldom() -> None:
    """See GARBAGE_AFTER. What was made until now stays, and is not looked through any more."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER)
