"""The resolver that a configuration asks for, for the homeserver and for the commands that look for themselves.

in: the [dns] section, the files it names; out: a Resolver.
Never: asks anything. Where validation is left to others, `Resolver.require` must agree before the first question.
"""

import time

from volly_fed.config.model import HomeserverConfig
from volly_fed.daemon import material
from volly_fed.daemon.dns.probe import ProbeNames
from volly_fed.daemon.dns.resolver import Resolver, system_resolvers, trust_anchors
from volly_fed.discovery.anchors import read_anchors


def make_resolver(config: HomeserverConfig) -> Resolver:
    """The resolver that `config` asks for; raises LocalError, ConfigError."""
    options, found = config.dns, material.load_anchors(config)
    return Resolver(
        list(options.resolvers) or system_resolvers(),
        trust_anchors() if found is None else read_anchors(found[0], str(found[1]), now=time.time()),
        validate=options.validate,
        allow_private=options.allow_private_addresses,
        require_mldsa44=options.require_mldsa44,
        probe_names=ProbeNames(secure=options.probe_secure, bogus=options.probe_bogus, unsigned=options.probe_unsigned),
        tls_ca_file=options.tls_ca_file,
    )
