"""A resolver that knows what it was told: literal endpoints and errors instead of DNS.

in: per domain an Endpoint, or the DiscoveryError to raise; out: the same, at once or when the test says so.
Never: touches the network. An unknown domain is proved absent.
"""

from collections.abc import Mapping

import trio

from volly_fed.daemon.dns.resolver import Resolver, Trace
from volly_fed.discovery.endpoint import Endpoint, Service
from volly_fed.errors import DiscoveryError, NoRecords
from volly_fed.names import DomainName

_NOWHERE = [("127.0.0.1", 1)]


class FakeResolver(Resolver):
    """`known` may be changed at any time; while `hold` is an Event, every answer waits for it."""

    def __init__(self, known: Mapping[DomainName, Endpoint | DiscoveryError]) -> None:
        super().__init__(_NOWHERE)
        self.known = known
        self.hold: trio.Event | None = None
        self.asked: list[DomainName] = []

    async def discover(
        self, domain: DomainName, *, service: Service = Service.FEDERATION, trace: Trace | None = None
    ) -> Endpoint:
        """As the resolver; raises what was put down for `domain`."""
        self.asked.append(domain)
        await trio.lowlevel.checkpoint()
        if self.hold is not None:
            await self.hold.wait()
        found = self.known.get(domain, NoRecords(f"{domain}: nothing is known\nnote: this is a fake resolver"))
        if isinstance(found, DiscoveryError):
            raise type(found)(*found.args)
        if service is not found.service:
            raise NoRecords(f"{domain}: another service is known\nnote: this is a fake resolver")
        if trace is not None:
            for step in found.steps:
                trace(step)
        return found
