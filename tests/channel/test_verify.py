import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from volly_fed.channel import DEVICE, DEVICE_CLASSICAL, EDGE, FEDERATION, Negotiated, check_negotiated, check_tlsa
from volly_fed.codepoints import ErrorCode
from volly_fed.crypto.certificate import TlsKey
from volly_fed.discovery.dane import TlsaRecord
from volly_fed.errors import ChannelError, NoMatch

KEY = TlsKey.generate()
CERTIFICATE = KEY.self_signed("a.test", datetime.now(UTC), timedelta(days=1))
GOOD = Negotiated(
    version="TLSv1.3",
    group="X25519MLKEM768",
    alpn=b"volly-fed/1",
    cipher="TLS_AES_256_GCM_SHA384",
    peer_certificate_der=CERTIFICATE,
    peer_spki=KEY.spki,
    peer_spki_sha256=KEY.spki_sha256,
    own_spki_sha256=b"",
)


def test_what_the_profile_wants_passes() -> None:
    check_negotiated(FEDERATION, GOOD)
    check_negotiated(EDGE, attrs.evolve(GOOD, alpn=b"volly-edge/1"))


@pytest.mark.spec("channel-3")
@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"version": "TLSv1.2"}, "version"),
        ({"group": "x25519"}, "key exchange"),
        ({"group": "MLKEM768"}, "key exchange"),
        ({"group": ""}, "key exchange unknown"),
        ({"cipher": "TLS_AES_128_GCM_SHA256"}, "cipher"),
        ({"alpn": b""}, "ALPN"),
        ({"alpn": b"volly-edge/1"}, "ALPN"),
        ({"alpn": b"h2"}, "ALPN"),
        ({"peer_certificate_der": b""}, "no certificate"),
        ({"peer_certificate_der": b"\x30\x03\x02\x01\x01"}, "ML-DSA-65"),
    ],
)
def test_any_difference_is_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ChannelError, match=text) as caught:
        check_negotiated(FEDERATION, attrs.evolve(GOOD, **changes))
    assert caught.value.code is ErrorCode.CHANNEL


def test_devices_may_leave_out_alpn_and_certificate_but_not_the_hybrid() -> None:
    bare = attrs.evolve(GOOD, alpn=b"", peer_certificate_der=b"", peer_spki=b"", peer_spki_sha256=b"")
    check_negotiated(DEVICE, bare)
    check_negotiated(DEVICE, attrs.evolve(bare, alpn=b"http/1.1"))
    with pytest.raises(ChannelError, match="ALPN"):
        check_negotiated(DEVICE, attrs.evolve(bare, alpn=b"h2"))
    classical = attrs.evolve(bare, group="x25519")
    with pytest.raises(ChannelError, match="key exchange"):
        check_negotiated(DEVICE, classical)
    check_negotiated(DEVICE_CLASSICAL, classical)


def record(data: bytes, selector: int = 1, matching: int = 1, usage: int = 3) -> TlsaRecord:
    return TlsaRecord(usage=usage, selector=selector, matching=matching, data=data)


@pytest.mark.spec("discovery-13")
def test_one_matching_record_is_enough() -> None:
    check_tlsa([record(bytes(32)), record(KEY.spki_sha256)], GOOD)
    check_tlsa([record(hashlib.sha512(KEY.spki).digest(), matching=2)], GOOD)
    check_tlsa([record(hashlib.sha256(CERTIFICATE).digest(), selector=0)], GOOD)


@pytest.mark.parametrize(
    "records",
    [[], [record(bytes(32))], [record(KEY.spki_sha256, selector=0)], [record(KEY.spki_sha256, usage=1)]],
)
def test_no_match_is_refused_with_a_next_step(records: list[TlsaRecord]) -> None:
    with pytest.raises(NoMatch, match="note: ") as caught:
        check_tlsa(records, GOOD)
    assert KEY.spki_sha256.hex() in str(caught.value)


def test_a_peer_without_a_key_matches_nothing() -> None:
    bare = attrs.evolve(GOOD, peer_certificate_der=b"", peer_spki=b"", peer_spki_sha256=b"")
    with pytest.raises(NoMatch):
        check_tlsa([record(hashlib.sha256(b"").digest())], bare)


def test_profiles_name_their_first_choice() -> None:
    assert (FEDERATION.group, FEDERATION.signature) == ("X25519MLKEM768", "mldsa65")
    assert DEVICE_CLASSICAL.group == "X25519MLKEM768"
