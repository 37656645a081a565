import pytest

from volly_fed.codepoints import ErrorCode
from volly_fed.errors import (
    BadMessage,
    Bogus,
    ChannelError,
    ConfigError,
    DiscoveryError,
    Indeterminate,
    Insecure,
    LocalError,
    LocalProtocolError,
    NoMatch,
    NoRecords,
    Refused,
    RemoteError,
    StorageError,
    VollyFedError,
)


@pytest.mark.parametrize(
    ("branch", "leaves"),
    [
        (LocalError, [ConfigError, StorageError, LocalProtocolError]),
        (RemoteError, [BadMessage, Refused, ChannelError]),
        (DiscoveryError, [NoRecords, Insecure, Bogus, Indeterminate, NoMatch]),
    ],
)
def test_the_branches_say_whose_fault_it_is(branch: type[Exception], leaves: list[type[Exception]]) -> None:
    assert issubclass(branch, VollyFedError)
    for leaf in leaves:
        owners = [b for b in (LocalError, RemoteError, DiscoveryError) if issubclass(leaf, b)]
        assert owners == [branch]


def test_remote_errors_carry_a_code() -> None:
    assert RemoteError("x").code is ErrorCode.UNEXPECTED
    assert BadMessage("x").code is ErrorCode.MALFORMED
    assert ChannelError("x").code is ErrorCode.CHANNEL
    assert BadMessage("x", code=ErrorCode.BUSY).code is ErrorCode.BUSY
    assert BadMessage("y").code is ErrorCode.MALFORMED  # one error's code is not the class's
    assert RemoteError("x", spec="handshake-3").spec == "handshake-3"


def test_config_errors_hold_every_problem() -> None:
    error = ConfigError(["server.domain: missing", "dns.resolvers: empty"])
    assert str(error) == "server.domain: missing\ndns.resolvers: empty"
    assert error.problems == ["server.domain: missing", "dns.resolvers: empty"]


def test_what_asking_again_can_help() -> None:
    assert {e for e in (NoRecords, Insecure, Bogus, Indeterminate, NoMatch) if e.retry} == {
        Bogus,
        Indeterminate,
        NoMatch,
    }
