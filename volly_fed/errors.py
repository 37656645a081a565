"""The error tree: its branches say whose fault it is.

LocalError: ours or the operator's; RemoteError: the other end's; DiscoveryError: what DNS says or fails to say.
Messages name the next step after "note:" and never hold payload, keys or mailboxes. Refusals by policy are values
(trust.Decision), not errors.
"""

from volly_fed.codepoints import ErrorCode


class VollyFedError(Exception):
    """Everything this project raises on purpose."""


class LocalError(VollyFedError):
    """This process, its configuration or its operator: fix it here."""


class ConfigError(LocalError):
    """The configuration cannot be used; `problems` lists every one that was found, each with its key."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StorageError(LocalError):
    """The store cannot take what it was given (disk full, read-only, damaged). Nothing was written."""


class LocalProtocolError(LocalError):
    """Our own code asked a machine for something its state does not allow: a bug here, not there."""


class RemoteError(VollyFedError):
    """The other end broke the protocol or failed to prove itself.

    `code` is what to answer it with; `spec` names the requirement that was broken, where there is one. `retry_after`:
    whole seconds before another attempt makes sense, said by whoever is BUSY; 0: nothing was said.
    """

    code = ErrorCode.UNEXPECTED

    def __init__(self, message: str, *, code: ErrorCode | None = None, spec: str = "", retry_after: int = 0) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.spec = spec
        self.retry_after = retry_after


class BadMessage(RemoteError):
    """Bytes that are not a message: the only error that may come out of a parser of outside bytes."""

    code = ErrorCode.MALFORMED


class Refused(RemoteError):
    """The other end refused us and said why (`code`, text)."""


class ChannelError(RemoteError):
    """The TLS or WebSocket layer is not what the protocol requires, or the transport broke."""

    code = ErrorCode.CHANNEL


class DiscoveryError(VollyFedError):
    """The DNS does not give a proved way to the peer; `retry` says whether asking again later can help."""

    retry = True


class NoRecords(DiscoveryError):
    """DNS proves that there is nothing: no such service, no TLSA record, no identity."""

    retry = False


class Insecure(DiscoveryError):
    """A record exists but nothing proves it: the zone, or one above it, is unsigned."""

    retry = False


class Bogus(DiscoveryError):
    """A signature that must be there is missing, wrong or out of date: an attack or a broken zone."""


class Indeterminate(DiscoveryError):
    """No usable answer: time-out, server failure, or a limit was reached."""


class NoMatch(DiscoveryError):
    """The key or identity shown is not the published one."""
