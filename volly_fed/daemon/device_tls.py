"""The certificate that devices are shown: read again when one of its files has changed.

in: the files that edge.toml names; out: TLS settings for the next connection.
Never: shows half of a changed pair; what cannot be used is complained about, and the former one stays.
"""

from collections.abc import Callable
from pathlib import Path

import attrs

from volly_fed.channel import DEVICE, DEVICE_CLASSICAL, ChannelProfile
from volly_fed.config.model import Devices
from volly_fed.daemon.tls import TlsContext, TlsFiles, make_context
from volly_fed.errors import LocalError


@attrs.define
class DeviceTls:
    """The certificate for devices; made anew when one of its files has changed."""

    files: TlsFiles
    classical: bool
    complain: Callable[[str], None]
    """Told why a changed certificate cannot be used; the former one stays."""
    _context: TlsContext | None = attrs.field(default=None, init=False)
    _stamp: tuple[tuple[int, ...], ...] = attrs.field(default=(), init=False)

    @classmethod
    def of(cls, devices: Devices, complain: Callable[[str], None]) -> "DeviceTls | None":
        """As configured; None for plain WebSockets on loopback. Raises LocalError for files that cannot be used."""
        if devices.tls_certificate is None or devices.tls_key is None:
            return None
        tls = cls(TlsFiles(certificate=devices.tls_certificate, key=devices.tls_key), devices.allow_classical, complain)
        tls.context()
        return tls

    @property
    def profile(self) -> ChannelProfile:
        """What a device's channel must be."""
        return DEVICE_CLASSICAL if self.classical else DEVICE

    def context(self) -> TlsContext:
        """The settings for the next connection; those of the last certificate that could be used."""
        stamp = tuple(_stamp(path) for path in (self.files.certificate, self.files.key))
        if self._context is None or stamp != self._stamp:
            self._stamp = stamp
            try:
                self._context = make_context(self.profile, server=True, identity=self.files)
            except LocalError as error:
                if self._context is None:
                    raise
                self.complain(str(error))
        return self._context


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes when the file does; the time alone stands still for milliseconds."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino
