"""What stands before the name of a `volly-fed device` command: the device's folder, and the way to its edges.

in: options as click parsed them; out: Options.
"""

from pathlib import Path

import attrs

from volly_fed.cli.options import Parsed
from volly_fed.config.values import Server, read_resolver
from volly_fed.daemon.device.link import FoundEdge, Way, parse_edge
from volly_fed.daemon.files import read_text
from volly_fed.names import DomainName

RESOLVER: Parsed[Server] = Parsed("ADDRESS[:PORT][#NAME]", read_resolver)


@attrs.define
class Options:
    """What stands before the command's name."""

    home: Path
    edge: str | None = None
    resolvers: tuple[Server, ...] = ()
    anchors: Path | None = None
    roots: Path | None = None
    allow_private: bool = False

    def way(self, domain: DomainName) -> Way:
        """How to reach an edge of `domain`: the one that was named, or what DNS says. Raises LocalError."""
        if self.edge is not None:
            return parse_edge(self.edge, self.roots)
        # imported here: validating DNS is the heaviest thing a device may need, and only this way needs it
        from volly_fed.daemon.dns.resolver import Resolver, system_resolvers, trust_anchors

        anchors = trust_anchors(read_text(self.anchors, "trust anchors"), str(self.anchors)) if self.anchors else None
        servers = list(self.resolvers) or system_resolvers()
        return FoundEdge(domain, Resolver(servers, anchors, allow_private=self.allow_private), self.roots)
