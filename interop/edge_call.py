"""The edge link's beginning: channel and handshake, as an enrolled edge has them, or one that is not.

in: keys, a name, the homeserver's address and identity; out: a connection on which both have proved themselves.
Never: speaks a session: that is whose `use` is called.
"""

import attrs
import trio

from interop.site import Address, Keys
from volly_fed.channel import EDGE, Negotiated
from volly_fed.daemon.connection import Connection, Dialled, Use, dial
from volly_fed.daemon.tls import make_context
from volly_fed.errors import ChannelError
from volly_fed.handshake import Outcome, Party
from volly_fed.names import DomainName, Fingerprint
from volly_fed.wire import Message, encode_message, parse_message
from volly_fed.wire import messages as wire


@attrs.frozen(kw_only=True)
class EdgeCall:
    """Who calls whom: an edge named `name` calls the homeserver of `domain`, which is to show `expected`."""

    name: DomainName
    keys: Keys
    domain: DomainName
    expected: Fingerprint
    address: Address
    source: str

    async def dial(self, use: Use) -> None:
        """Call, prove, and `use` the connection. Raises as `daemon.connection.dial`: Refused with the code."""

        async def confirm(_: Outcome) -> None:
            """The handshake has compared the identity with the expected one."""

        plan = Dialled(
            context=make_context(EDGE, server=False, identity=self.keys.shown),
            party=Party(name=self.name, key=self.keys.identity),
            host=self.domain,
            wanted=self.domain,
            expected=frozenset({self.expected}),
            check_key=_any_key,
            confirm=confirm,
            use=use,
        )
        stream = await trio.open_tcp_stream(*self.address, local_address=self.source)
        await dial(stream, plan)


def _any_key(_: Negotiated) -> None:
    """The identity proves it, on this very channel."""


@attrs.define(eq=False)
class RawEdge:
    """An edge link without a session: a scenario says and hears every message itself."""

    call: EdgeCall
    _connection: Connection = attrs.field(init=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Call; started when both have proved themselves. Ends when it is cancelled."""

        async def use(connection: Connection) -> None:
            self._connection = connection
            task_status.started()
            await trio.sleep_forever()

        await self.call.dial(use)

    async def say(self, *messages: Message | bytes) -> None:
        """Send these, one WebSocket message each. What is still said when the homeserver has closed is lost."""
        for message in messages:
            try:
                await self._connection.socket.send(message if isinstance(message, bytes) else encode_message(message))
            except ChannelError:
                return

    async def hear(self) -> Message:
        """The next message. Raises trio.EndOfChannel or ChannelError when there is none any more."""
        return parse_message(await self._connection.socket.receive())

    async def closed(self) -> wire.Close | None:
        """Pass over all that comes until the homeserver has closed: its CLOSE, if it has said one."""
        last: wire.Close | None = None
        try:
            while True:
                message = await self.hear()
                if isinstance(message, wire.Close):
                    last = message
        except (trio.EndOfChannel, ChannelError):
            return last
