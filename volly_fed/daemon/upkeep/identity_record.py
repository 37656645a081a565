"""Which identities a domain publishes at the moment, for who is about to use one of them.

in: a resolver and a domain; out: the identities its validated record names, or why there is no telling.
Never: says "none" where it was not proved.
"""

import attrs

from volly_fed.codepoints import IDENTITY_OWNER
from volly_fed.daemon.dns.resolver import Resolver
from volly_fed.discovery.endpoint import Status
from volly_fed.discovery.records import choose_identity, txt_strings
from volly_fed.errors import BadMessage
from volly_fed.names import DomainName, Fingerprint


@attrs.frozen
class Published:
    """The identities that DNS proves, current and next; empty: there is no usable record, and `problem` says why.

    `known` is False where nobody could be asked.
    """

    identities: tuple[Fingerprint, ...] = ()
    problem: str = ""
    known: bool = True


async def published(resolver: Resolver, domain: DomainName) -> Published:
    """What the identity record of `domain` says."""
    answer = await resolver.lookup(f"{IDENTITY_OWNER}.{domain}", "TXT")
    if answer.status is Status.INDETERMINATE:
        return Published(problem=answer.reason, known=False)
    if not answer.found:
        return Published(problem=answer.reason or "there is no identity record")
    try:
        record = choose_identity(txt_strings(answer.rdatas))
    except BadMessage as error:
        return Published(problem=str(error))
    return Published(tuple(each for each in (record.current, record.next) if each is not None))
