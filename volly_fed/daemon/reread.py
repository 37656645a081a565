"""What a running homeserver reads again from its files when it is told to.

in: the configuration; out: policy, enrolments, credentials and resolvers as the files have them now, all or none.
Never: changes anything, or reads the configuration itself again.
"""

import time

import attrs

from volly_fed.config.model import HomeserverConfig
from volly_fed.config.values import Server
from volly_fed.daemon import material
from volly_fed.daemon.credentials import Credentials
from volly_fed.daemon.dns.resolver import system_resolvers
from volly_fed.names import DomainName, Fingerprint
from volly_fed.trust.policy import Policy


@attrs.frozen(kw_only=True)
class Reread:
    """All that a reload may change."""

    policy: Policy
    enrolled: list[tuple[DomainName, Fingerprint]]
    credentials: Credentials
    resolvers: tuple[Server, ...]

    @classmethod
    def of(cls, config: HomeserverConfig) -> "Reread":
        """Read the files of `config`. Raises LocalError for the first that cannot be used; blocks."""
        server = config.server
        return cls(
            policy=material.load_policy(config),
            enrolled=enrolled(config),
            credentials=Credentials.load(server.domain, server.data_dir, time.time()),
            resolvers=config.dns.resolvers or tuple(system_resolvers()),
        )


def enrolled(config: HomeserverConfig) -> list[tuple[DomainName, Fingerprint]]:
    """The edge nodes that may connect; blocks."""
    return [(name, edge.fingerprint) for name, edge in material.load_edges(config).items()]
