"""The contract of the protocol machines: sans-IO, driven by bytes, commands and time that others bring.

in: received bytes, commands, `now` (seconds, any epoch that does not run backwards); out: bytes to send and events.
Machines read no clock, no randomness and no log: those are arguments and events.
"""

import enum
from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar

import attrs

from volly_fed.errors import LocalProtocolError, RemoteError

E = TypeVar("E")
C_contra = TypeVar("C_contra", contravariant=True)
S = TypeVar("S", bound=enum.Enum)


class RandomSource(Protocol):
    """Where machines get unpredictable bytes; `os.urandom` in the daemon, a recorded source in vectors."""

    def __call__(self, size: int, /) -> bytes:
        """`size` unpredictable bytes."""
        ...


class Machine(Protocol[E, C_contra]):
    """The five verbs every machine has."""

    @property
    def deadline(self) -> float | None:
        """When `tick` wants to be called at the latest, or None."""
        ...

    def receive(self, data: bytes, now: float) -> None:
        """Take one whole message from the other end. Raises RemoteError when it breaks the protocol."""
        ...

    def events(self) -> list[E]:
        """What has happened since the last call, in order; the list is the caller's."""
        ...

    def send(self, command: C_contra) -> bytes:
        """Do what `command` says; the bytes are one whole message for the other end.

        Raises LocalProtocolError when the state does not allow it.
        """
        ...

    def tick(self, now: float) -> None:
        """Let time pass; what came of it is in `events`."""
        ...


@attrs.frozen
class Transitions(Generic[S]):
    """A state machine as one table: state -> trigger -> next state. A missing entry is a protocol error.

    Triggers are message or command classes. The table does not know which role plays it.
    """

    table: Mapping[S, Mapping[type, S]]

    def after(self, state: S, trigger: type, *, remote: bool) -> S:
        """The state after `trigger`.

        Raises RemoteError (code UNEXPECTED) where `remote` says the other end caused it, else LocalProtocolError.
        """
        try:
            return self.table[state][trigger]
        except KeyError:
            text = f"{trigger.__name__} is not allowed in state {state.name}"
            raise (RemoteError(text) if remote else LocalProtocolError(text)) from None
