"""The kinds of channel: what TLS and WebSocket must agree on for each.

in: code points; out: frozen profiles that `daemon.tls` sets up and `channel.verify` checks afterwards.
Never: touches OpenSSL or a socket. There is nothing to negotiate below a profile: a peer that lacks one of its
values is refused. Source: RFC 8446, RFC 7301 (ALPN), RFC 6455 §4, draft-ietf-tls-ecdhe-mlkem.
"""

import attrs

from volly_fed import codepoints


@attrs.frozen(kw_only=True)
class ChannelProfile:
    """The requirements of one kind of link. Names are OpenSSL's, which are the registries' own."""

    name: str
    alpn: bytes
    alpn_required: bool = True
    subprotocol: str
    path: str
    version: str = codepoints.TLS_VERSION
    groups: tuple[str, ...] = (codepoints.TLS_GROUP,)
    ciphers: tuple[str, ...] = codepoints.TLS_CIPHERS
    signatures: tuple[str, ...] = (codepoints.TLS_SIGNATURE,)
    mutual: bool = True
    """Both ends show an ML-DSA-65 certificate; otherwise the server alone shows one, an ordinary one."""

    @property
    def group(self) -> str:
        """The group this profile wants first."""
        return self.groups[0]

    @property
    def signature(self) -> str:
        """The signature algorithm this profile wants first."""
        return self.signatures[0]


FEDERATION = ChannelProfile(
    name="federation",
    alpn=codepoints.ALPN_FEDERATION,
    subprotocol=codepoints.SUBPROTOCOL_FEDERATION,
    path=codepoints.PATH_FEDERATION,
)
"""Homeserver to homeserver."""

EDGE = ChannelProfile(
    name="edge",
    alpn=codepoints.ALPN_EDGE,
    subprotocol=codepoints.SUBPROTOCOL_EDGE,
    path=codepoints.PATH_EDGE,
)
"""Edge node to homeserver."""

DEVICE = ChannelProfile(
    name="device",
    alpn=codepoints.ALPN_DEVICE,
    alpn_required=False,  # not every WebSocket client offers one; no other protocol lives on this port
    subprotocol=codepoints.SUBPROTOCOL_DEVICE,
    path=codepoints.PATH_DEVICE,
    signatures=codepoints.TLS_SIGNATURES_DEVICE,
    mutual=False,
)
"""Device to edge node: hybrid key exchange, an ordinary certificate that browsers know how to verify."""

DEVICE_CLASSICAL = attrs.evolve(DEVICE, groups=(codepoints.TLS_GROUP, codepoints.TLS_GROUP_CLASSICAL))
"""As DEVICE, for operators who let clients in whose traffic a later quantum computer can read."""
