"""What TLS negotiated, judged against the profile and against the peer's published keys.

in: a `Negotiated` read off a finished TLS handshake, a profile, TLSA records that were proved secure.
out: nothing, or the error that says which requirement was broken.
Never: trusts that TLS refused what its configuration forbids: each value is looked at again here, because a
certificate callback, an ALPN miss and a changed library all fail open. Source: RFC 7671 §5.1, RFC 7301 §3.2.
"""

from collections.abc import Sequence

import attrs

from volly_fed.channel.profile import ChannelProfile
from volly_fed.crypto.certificate import is_mldsa65
from volly_fed.discovery import dane
from volly_fed.errors import ChannelError, NoMatch


@attrs.frozen(kw_only=True)
class Negotiated:
    """What both ends of one TLS connection agreed on, and the keys they showed (empty where none was)."""

    version: str
    group: str
    alpn: bytes
    cipher: str
    peer_certificate_der: bytes = attrs.field(repr=False)
    peer_spki: bytes = attrs.field(repr=False)
    peer_spki_sha256: bytes
    own_spki_sha256: bytes


def check_negotiated(profile: ChannelProfile, negotiated: Negotiated) -> None:
    """Compare every negotiated value with `profile`.

    Raises ChannelError naming the first that differs, or the certificate that is missing or not ML-DSA-65 where
    the profile is mutual. Whose key it is, is not judged here: see `check_tlsa` and the enrolled fingerprints.
    """
    if negotiated.version != profile.version:  # [channel-3]
        raise ChannelError(f"TLS version {negotiated.version} instead of {profile.version}")
    if negotiated.group.lower() not in {group.lower() for group in profile.groups}:
        raise ChannelError(f"key exchange {negotiated.group or 'unknown'} instead of {profile.group}")
    if negotiated.cipher not in profile.ciphers:
        raise ChannelError(f"cipher {negotiated.cipher} is not one of {', '.join(profile.ciphers)}")
    _check_alpn(profile, negotiated.alpn)
    if profile.mutual:
        _check_certificate(negotiated.peer_certificate_der)


def _check_alpn(profile: ChannelProfile, alpn: bytes) -> None:
    if alpn == profile.alpn or (not alpn and not profile.alpn_required):
        return
    shown = alpn.decode("ascii", "replace") or "nothing"
    raise ChannelError(
        f"ALPN agreed on {shown!r} instead of {profile.alpn.decode('ascii')!r}; "
        "note: the other end may be another service, or a different version of this one"
    )


def _check_certificate(certificate: bytes) -> None:
    if not certificate:
        raise ChannelError("the peer showed no certificate")
    if not is_mldsa65(certificate):  # [channel-7]
        raise ChannelError("the peer's certificate does not hold an ML-DSA-65 key")


def check_tlsa(records: Sequence[dane.TlsaRecord], negotiated: Negotiated) -> None:
    """Compare the peer's key with the TLSA `records` published for it (usable and proved secure ones only).

    One matching record is enough; name and dates of the certificate are not looked at (RFC 7671 §5.1).
    Raises NoMatch if none matches; no records at all match nothing.
    """
    spki, certificate = negotiated.peer_spki, negotiated.peer_certificate_der
    if spki and certificate and dane.match(tuple(records), spki=spki, certificate=certificate):
        return
    raise NoMatch(
        f"the TLS key the peer shows (SHA-256 {negotiated.peer_spki_sha256.hex() or 'none'}) is in none of its "
        f"{len(records)} usable TLSA records; note: its operator runs `volly-fed dns check` to compare the two"
    )
