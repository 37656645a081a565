"""A trio stream that speaks TLS 1.3 over any other trio stream.

in: a transport stream and a `TlsContext`; out: plain bytes both ways, `Negotiated`, exported keys.
Never: writes from the reading side, resumes a session, or takes the transport's end for the peer's goodbye.
Source: RFC 8446 §6.1 (close_notify), RFC 5705 (exporter). With `tls`, the only user of pyOpenSSL.

Why reading never writes: a reader that waits for the writer deadlocks as soon as both directions are full. What
OpenSSL wants to send while it reads (the answer to a key update, an alert) waits in a queue for the next send or
for aclose; TLS asks for no more (RFC 8446 §4.6.3). The server's session tickets, useless here, wait there too.
"""

import operator
import threading
from typing import Any

import attrs
import trio
from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from volly_fed import limits
from volly_fed.channel import Negotiated, check_negotiated
from volly_fed.daemon.handshake_pool import in_pool
from volly_fed.daemon.socket_stream import direct
from volly_fed.daemon.tls import NoCommonProtocol, TlsContext, error_text, queued_errors
from volly_fed.daemon.turn import Turn
from volly_fed.errors import ChannelError, LocalProtocolError


class _Scratch(threading.local):
    """One buffer for each thread, never in use across an await.

    Two event loops may run side by side, and calls into OpenSSL let the other one go on.
    """

    def __init__(self) -> None:
        memory = bytearray(limits.TLS_SCRATCH)
        self.view = memoryview(memory)
        self.pointer: Any = ffi.from_buffer(memory)


_scratch = _Scratch()
_NOTHING = memoryview(b"")
_SSL_ERROR_WANT_READ: int = lib.SSL_ERROR_WANT_READ
_SSL_ERROR_ZERO_RETURN: int = lib.SSL_ERROR_ZERO_RETURN


class PqStream(trio.abc.Stream):
    """TLS over `transport`. One task may send and one may receive at a time, as on every trio stream.

    Resource handling: takes over `transport`, also when the handshake fails; the caller closes this object.
    Weakness: a peer's alert may be lost when its connection is reset right behind it.
    """

    def __init__(self, transport: trio.abc.Stream, context: TlsContext, host: str = "") -> None:
        self._transport = direct(transport)
        self._context = context
        self._connection = context.connection(host)
        # Direct calls cost a third of pyOpenSSL's public ones, which allocate for every record.
        self._ssl: Any = self._connection._ssl  # noqa: SLF001 - see above
        self._from_peer: Any = self._connection._into_ssl  # noqa: SLF001 - see above
        self._to_peer: Any = self._connection._from_ssl  # noqa: SLF001 - see above
        self._queue: list[bytes] = []  # encrypted, to be sent
        self._arrived = _NOTHING  # encrypted, to be given to OpenSSL
        self._dry = False  # OpenSSL can decrypt nothing more before something arrives
        self._negotiated: Negotiated | None = None
        self._failure = ""  # why nothing can be sent or received any more
        self._send_failed = False  # what the peer sent before it broke off can still be read
        self._peer_done = False  # its close_notify has come
        self._closed = False
        self._sending = Turn("another task is sending on this TLS stream")
        self._receiving = Turn("another task is receiving from this TLS stream")

    # --- handshake ---

    async def handshake(self) -> Negotiated:
        """Shake hands and judge the outcome by the profile; to be called once, before anything else.

        Raises ChannelError when the peer refuses, is refused, disappears, or negotiated something else. The peer's
        key is not compared with anything yet: call `channel.check_tlsa`, or compare it with what was enrolled.
        """
        if self._negotiated or self._failure:
            raise LocalProtocolError("a TLS stream shakes hands once")
        self._failure = "the TLS handshake was not finished"
        try:
            with self._sending, self._receiving:
                await self._shake()
        except trio.BrokenResourceError as error:
            raise ChannelError("the connection broke during the TLS handshake") from error
        negotiated = self._context.negotiated(self._connection)
        check_negotiated(self._context.profile, negotiated)
        self._negotiated = negotiated
        self._failure = ""
        return negotiated

    async def _shake(self) -> None:
        try:
            finished = self._step()  # a client's first words, at a server nothing: not worth a thread
            while not finished:
                await self._send_drained()
                data = await self._transport.receive_some(limits.RECEIVE_BUFFER)
                if not data:
                    raise ChannelError("the peer ended the connection during the TLS handshake")
                self._arrived = memoryview(data)
                finished = await in_pool(self._step)
        except (SSL.Error, NoCommonProtocol) as error:
            with trio.move_on_after(limits.CLOSE):
                await self._send_drained()  # the alert that tells the peer why
            raise ChannelError(f"the TLS handshake failed: {error_text(error)}") from error
        self._drain()
        self._change_buffers()
        if not self._context.server:
            await self._flush()

    def _step(self) -> bool:
        """Go as far as the bytes lead that are here; whether that is the end. Runs in a thread of the pool."""
        while True:
            try:
                self._connection.do_handshake()
            except SSL.WantReadError:
                if not self._feed():
                    return False
            else:
                return True

    def _change_buffers(self) -> None:
        """Memory BIOs keep for good the size they once had, and a handshake's flights have 16 kB: 35 kB a channel."""
        count = lib.BIO_read(self._from_peer, _scratch.pointer, limits.TLS_SCRATCH)
        early = bytes(_scratch.view[: max(0, count)])  # came right behind the handshake
        self._arrived = memoryview(early + self._arrived)
        self._from_peer, self._to_peer = (lib.BIO_new(lib.BIO_s_mem()) for _ in range(2))
        lib.SSL_set_bio(self._ssl, self._from_peer, self._to_peer)  # which frees the old ones, and owns the new ones
        self._connection._into_ssl, self._connection._from_ssl = self._from_peer, self._to_peer  # noqa: SLF001 - freed

    async def _send_drained(self) -> None:
        self._drain()
        await self._flush()

    @property
    def negotiated(self) -> Negotiated:
        """What the handshake agreed on. Raises LocalProtocolError before it has finished."""
        if self._negotiated is None:
            raise LocalProtocolError("the TLS handshake has not finished")
        return self._negotiated

    def forget_certificate(self) -> Negotiated:
        """`negotiated` without the peer's certificate and key, once they are judged: 7 kB of each idle channel."""
        self._negotiated = attrs.evolve(self.negotiated, peer_certificate_der=b"", peer_spki=b"")
        return self._negotiated

    def export(self, label: bytes, size: int, context: bytes) -> bytes:
        """`size` bytes of keying material bound to this connection, the same at both ends (RFC 5705, RFC 8446 §7.5).

        Raises LocalProtocolError before the handshake has finished.
        """
        if self._negotiated is None:
            raise LocalProtocolError("the TLS handshake has not finished")
        return self._connection.export_keying_material(label, size, context)

    # --- sending ---

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send. When cancelled half-way, the stream is broken: a record may have been cut.

        Raises BrokenResourceError, ClosedResourceError, BusyResourceError as trio describes them.
        """
        with self._sending:
            self._check_send()
            size = len(data)
            if not size:
                await trio.lowlevel.checkpoint()
                return
            with ffi.from_buffer(data) as plain:
                for start in range(0, size, limits.TLS_RECORD_CHUNK):
                    self._encrypt(plain, start, min(start + limits.TLS_RECORD_CHUNK, size))
                    await self._flush()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the transport may take more; raises as `send_all` does."""
        with self._sending:
            self._check_send()
            await self._transport.wait_send_all_might_not_block()

    def _check_send(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this TLS stream was closed")
        if self._failure or self._send_failed:
            raise trio.BrokenResourceError(self._failure or "the peer takes no more data")
        if self._negotiated is None:
            raise LocalProtocolError("the TLS handshake comes first")

    def _encrypt(self, plain: Any, start: int, stop: int) -> None:
        lib.ERR_clear_error()
        while start < stop:
            written = lib.SSL_write(self._ssl, plain + start, stop - start)
            if written <= 0:
                self._failure = f"TLS cannot send: {queued_errors()}"
                raise trio.BrokenResourceError(self._failure)
            start += written
            self._drain()  # after each record: a memory BIO keeps for good the size it once had

    def _drain(self) -> None:
        """Queue what OpenSSL wants to send: at once and synchronously, so that records keep their order."""
        # [channel-26]
        count = limits.TLS_SCRATCH
        while count == limits.TLS_SCRATCH:
            count = lib.BIO_read(self._to_peer, _scratch.pointer, limits.TLS_SCRATCH)
            if count > 0:
                self._queue.append(bytes(_scratch.view[:count]))

    async def _flush(self) -> None:
        """Send the queue. Only the one sender, the handshake and aclose get here, never two at once."""
        if not self._queue:
            return
        data = self._queue[0] if len(self._queue) == 1 else b"".join(self._queue)
        self._queue.clear()
        try:
            await self._transport.send_all(data)
        except trio.BrokenResourceError:
            self._send_failed = True
            raise
        except BaseException:
            # half a record may be on its way: nothing that follows could be decrypted
            self._send_failed = True
            self._failure = self._failure or "sending was interrupted half-way"
            raise

    # --- receiving ---

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Up to `max_bytes` decrypted bytes, several records at once; b"" after the peer's close_notify.

        Raises BrokenResourceError when the transport ends without one: somebody cut the stream. Otherwise as trio
        describes it. Being cancelled loses nothing.
        """
        with self._receiving:
            limit = _receive_limit(max_bytes)
            self._check_receive()
            if not self._dry:
                await trio.lowlevel.checkpoint()
            while self._dry or (data := self._decrypt(limit)) is None:
                encrypted = await self._transport.receive_some(limits.RECEIVE_BUFFER)
                if encrypted:
                    self._arrived = memoryview(encrypted)
                    self._feed()  # before OpenSSL is asked, which would only say again that it is dry
                else:
                    self._failure = self._failure or "the transport ended without a TLS close_notify"  # [channel-24]
                self._dry = False
            return data

    def _check_receive(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this TLS stream was closed")
        if self._failure:
            raise trio.BrokenResourceError(self._failure)
        if self._negotiated is None:
            raise LocalProtocolError("the TLS handshake comes first")

    def _feed(self) -> bool:
        """Give OpenSSL the next piece of what has arrived; whether there was one.

        In pieces, because a memory BIO keeps for good the size it once had.
        """
        if not self._arrived:
            return False
        piece = self._arrived[: limits.TLS_RECORD]
        lib.BIO_write(self._from_peer, ffi.from_buffer(piece), len(piece))
        # an empty view would hold on to the bytes, too
        self._arrived = self._arrived[limits.TLS_RECORD :] if len(self._arrived) > limits.TLS_RECORD else _NOTHING
        return True

    def _decrypt(self, limit: int) -> bytes | None:
        """What can be decrypted from the bytes that are here, b"" at the peer's end, None if more must come."""
        self._check_receive()
        lib.ERR_clear_error()
        count = 0
        while count < limit:
            result = lib.SSL_read(self._ssl, _scratch.pointer + count, limit - count)
            if result > 0:
                count += result
            elif not self._may_go_on(lib.SSL_get_error(self._ssl, result)):
                break
        if count:
            return bytes(_scratch.view[:count])
        if self._failure:
            raise trio.BrokenResourceError(self._failure)
        return b"" if self._peer_done else None

    def _may_go_on(self, error: int) -> bool:
        """Whether there is more to read at once; if never again, remember why, and deliver what came before."""
        if error == _SSL_ERROR_WANT_READ:
            self._dry = not self._feed()
            return not self._dry
        if error == _SSL_ERROR_ZERO_RETURN:
            self._peer_done = True
        else:
            self._failure = f"TLS: {queued_errors()}"
            self._drain()  # the alert; aclose sends it
        return False

    # --- closing ---

    async def aclose(self) -> None:
        """Say goodbye (close_notify, or the alert that is due) within limits.CLOSE, and close the transport.

        When cancelled, the transport is closed at once. Closing again does nothing.
        """
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        self._closed = True
        try:
            if not self._send_failed and not self._sending.busy:
                if self._negotiated and not self._failure:
                    lib.SSL_shutdown(self._ssl)
                    lib.ERR_clear_error()
                    self._drain()
                with trio.move_on_after(limits.CLOSE):
                    await self._flush()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # nobody is there to say goodbye to
        finally:
            await trio.aclose_forcefully(self._transport)


def _receive_limit(max_bytes: int | None) -> int:
    if max_bytes is None:
        return limits.TLS_SCRATCH
    limit = operator.index(max_bytes)
    if limit < 1:
        raise ValueError("max_bytes must be at least 1")
    return min(limit, limits.TLS_SCRATCH)
