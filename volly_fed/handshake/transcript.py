"""What the identity keys sign: one channel, one direction, one pair of HELLOs.

in: the facts of the TLS connection and both HELLOs as they were on the wire; out: the bytes to sign or verify.
T = label | role | exporter(64, context = role) | v16(ALPN) | v16(group) | SHA-256(signer's SPKI)
    | SHA-256(other's SPKI) | SHA-256(hello label | v32(dialler's HELLO) | v32(acceptor's HELLO))
v16 and v32 are big-endian length prefixes.
Never: re-encodes a HELLO: unknown fields are signed as they came. Source: RFC 8446 §7.5, docs/architecture.md layer 4.
"""

# Each piece answers one attack. Role (also the exporter's context): a signature sent back to its signer. Exporter: a
# replay on another connection, and a man in the middle with accepted certificates, who has two connections. Both SPKIs:
# the TLS 1.3 exporter ends at the server's Finished, so the client's certificate is not in it. ALPN and group: a link
# of another kind or strength passed off as this one. HELLO hash: other names, keys, versions or extensions than sent.

import hashlib
from collections.abc import Callable

import attrs

from volly_fed.codepoints import TLS_GROUP, Label, Role

EXPORTER_BYTES = 64
_DIGEST_BYTES = 32


def _sized(size: int) -> Callable[[object, "attrs.Attribute[bytes]", bytes], None]:
    def check(_: object, attribute: "attrs.Attribute[bytes]", value: bytes) -> None:
        if type(value) is not bytes or len(value) != size:
            raise ValueError(f"{attribute.name}: {size} bytes are wanted")

    return check


@attrs.frozen(kw_only=True)
class ChannelBinding:
    """The facts of one TLS connection, seen from this end. Wrong sizes raise ValueError: they are our bug.

    `exporter_dialler` and `exporter_acceptor`: 64 bytes each, exported under Label.EXPORTER, context = role byte.
    """

    exporter_dialler: bytes = attrs.field(repr=False, validator=_sized(EXPORTER_BYTES))
    exporter_acceptor: bytes = attrs.field(repr=False, validator=_sized(EXPORTER_BYTES))
    alpn: bytes
    group: bytes
    own_spki_sha256: bytes = attrs.field(validator=_sized(_DIGEST_BYTES))
    peer_spki_sha256: bytes = attrs.field(validator=_sized(_DIGEST_BYTES))

    @classmethod
    def of(
        cls,
        export: Callable[[bytes, int, bytes], bytes],
        *,
        alpn: bytes,
        group: str,
        own_spki_sha256: bytes,
        peer_spki_sha256: bytes,
    ) -> "ChannelBinding":
        """The binding of the connection whose exporter is `export(label, size, context)`; it is called twice."""
        return cls(
            exporter_dialler=export(Label.EXPORTER, EXPORTER_BYTES, bytes([Role.DIALLER])),  # [handshake-11]
            exporter_acceptor=export(Label.EXPORTER, EXPORTER_BYTES, bytes([Role.ACCEPTOR])),
            alpn=alpn,
            group=_registry_name(group),
            own_spki_sha256=own_spki_sha256,
            peer_spki_sha256=peer_spki_sha256,
        )


def _registry_name(group: str) -> bytes:
    """OpenSSL writes a group's name in lower case in some versions; what is signed is IANA's spelling."""
    return (TLS_GROUP if group.lower() == TLS_GROUP.lower() else group).encode("ascii")


def hello_hash(dialler: bytes, acceptor: bytes) -> bytes:
    """32 bytes over both HELLO messages, exactly as they were sent."""
    return hashlib.sha256(Label.HELLO_HASH + _v32(dialler) + _v32(acceptor)).digest()


def signed_input(signer: Role, binding: ChannelBinding, hellos: bytes, *, ours: bool) -> bytes:
    """The transcript that `signer` signs; `ours` says whether that is this end, `hellos` is the `hello_hash`."""
    own, peer = binding.own_spki_sha256, binding.peer_spki_sha256
    exporter = binding.exporter_dialler if signer is Role.DIALLER else binding.exporter_acceptor
    keys = own + peer if ours else peer + own  # [handshake-9]
    return Label.AUTH + bytes([signer]) + exporter + _v16(binding.alpn) + _v16(binding.group) + keys + hellos


def _v16(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


def _v32(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value
