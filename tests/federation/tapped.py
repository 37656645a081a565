"""Runs volly-fed as it is, and writes down every WebSocket message that it has in the clear.

Usage: python tapped.py FOLDER ARGUMENTS… One file per process; each record is a line (subprotocol, direction, size) and
the bytes. The product knows nothing of this: the two methods of Socket are wrapped before it starts.
"""

import os
import sys
from pathlib import Path
from typing import BinaryIO

from volly_fed.cli import main
from volly_fed.daemon.websocket import Socket


def install(tap: BinaryIO) -> None:
    """Let `tap` have what every Socket of this process sends and receives."""
    send, receive = Socket.send, Socket.receive

    def record(socket: Socket, direction: str, message: bytes) -> None:
        protocol = socket._protocol.subprotocol
        tap.write(f"{protocol} {direction} {len(message)}\n".encode() + message)

    async def tapped_send(self: Socket, message: bytes) -> None:
        record(self, "sent", message)
        await send(self, message)

    async def tapped_receive(self: Socket) -> bytes:
        message = await receive(self)
        record(self, "received", message)
        return message

    Socket.send = tapped_send  # type: ignore[method-assign]  # this is the tap
    Socket.receive = tapped_receive  # type: ignore[method-assign]  # the same


if __name__ == "__main__":
    folder, arguments = Path(sys.argv[1]), sys.argv[2:]
    name = Path(arguments[-1]).parent.relative_to(folder.parent / "net")
    path = folder / f"{str(name).replace('/', ' ')} {os.getpid()}"
    install(path.open("wb", buffering=0))
    sys.argv[1:] = arguments
    main()
