"""Who gets a connection at all: the refusals, the self-test, and the device profile."""

from pathlib import Path

import attrs
import pytest
import trio
from OpenSSL import SSL

from tests.daemon.channel_helpers import (
    connected,
    context,
    device_client,
    ed25519_identity,
    evolved,
    identity,
    memory_pair,
    outcomes,
    shake,
    tcp_pair,
    tls_key,
    wrap,
    write_files,
)
from volly_fed.channel import DEVICE, DEVICE_CLASSICAL, EDGE, FEDERATION, check_tlsa
from volly_fed.crypto.secret import Secret
from volly_fed.daemon import tls
from volly_fed.daemon.tls import PeerTrust, TlsContext, TlsFiles, TlsIdentity, make_context, self_test
from volly_fed.discovery.dane import TlsaRecord
from volly_fed.errors import ChannelError, LocalError, NoMatch

SIGNATURES = ("ed25519", "mldsa65")


@pytest.mark.spec("channel-1", "channel-6")
async def test_both_ends_negotiate_what_the_profile_says() -> None:
    client, server = await connected(tcp_pair)
    for end, own, peer in ((client, "client.test", "server.test"), (server, "server.test", "client.test")):
        agreed = end.negotiated
        assert (agreed.version, agreed.group, agreed.alpn) == ("TLSv1.3", "X25519MLKEM768", b"volly-fed/1")
        assert agreed.cipher == "TLS_AES_256_GCM_SHA384"
        assert agreed.peer_certificate_der == identity(peer).certificate
        assert agreed.peer_spki == tls_key(peer).spki
        assert agreed.peer_spki_sha256 == tls_key(peer).spki_sha256
        assert agreed.own_spki_sha256 == tls_key(own).spki_sha256
    assert server._connection.get_servername() == b"server.test"
    await trio.aclose_forcefully(client)
    await trio.aclose_forcefully(server)


async def test_edge_links_negotiate_their_own_protocol() -> None:
    client, _ = await connected(client=context(server=False, profile=EDGE), server=context(server=True, profile=EDGE))
    assert client.negotiated.alpn == b"volly-edge/1"


@pytest.mark.spec("channel-2")
@pytest.mark.parametrize("group", ["X25519", "P-256", "MLKEM768", "X448", "SecP256r1MLKEM768"])
async def test_a_client_without_the_hybrid_is_refused(group: str) -> None:
    client, server = await outcomes(client=evolved(groups=(group,)))
    assert isinstance(server, ChannelError)
    assert isinstance(client, ChannelError)


@pytest.mark.parametrize("group", ["X25519", "MLKEM768"])
async def test_a_server_without_the_hybrid_is_refused(group: str) -> None:
    client, server = await outcomes(server=evolved(server=True, groups=(group,)))
    assert isinstance(client, ChannelError)
    assert isinstance(server, ChannelError)


def old(server: bool) -> TlsContext:
    made = make_context(FEDERATION, server=server, identity=identity("old.test"))
    made.openssl.set_min_proto_version(SSL.TLS1_2_VERSION)
    made.openssl.set_max_proto_version(SSL.TLS1_2_VERSION)
    return made


@pytest.mark.spec("channel-2")
async def test_tls_1_2_is_refused_at_either_end() -> None:
    for raised in (await outcomes(client=old(server=False)), await outcomes(server=old(server=True))):
        assert all(isinstance(error, ChannelError) for error in raised)


@pytest.mark.spec("channel-7")
async def test_a_client_without_a_certificate_is_refused() -> None:
    bare = make_context(attrs.evolve(FEDERATION, mutual=False), server=False)
    client, server = await outcomes(client=bare)
    assert isinstance(server, ChannelError)
    assert "did not return a certificate" in str(server)
    assert isinstance(client, trio.BrokenResourceError)
    assert "certificate required" in str(client)  # a TLS 1.3 client learns it with its first receive


@pytest.mark.spec("channel-7")
async def test_an_ed25519_certificate_is_refused_at_either_end() -> None:
    profile = attrs.evolve(FEDERATION, signatures=SIGNATURES)
    bad_server = make_context(profile, server=True, identity=ed25519_identity())
    bad_client = make_context(profile, server=False, identity=ed25519_identity())
    client, server = await outcomes(server=bad_server)
    assert isinstance(client, ChannelError)
    client, server = await outcomes(client=bad_client)
    assert isinstance(server, ChannelError)
    # and if a library let it through, the check after the handshake does not
    lax = attrs.evolve(FEDERATION, signatures=SIGNATURES)
    client, _ = await outcomes(client=context(server=False, profile=lax), server=bad_server)
    assert isinstance(client, ChannelError)
    assert "ML-DSA-65" in str(client)
    _, server = await outcomes(client=bad_client, server=context(server=True, profile=lax))
    assert isinstance(server, ChannelError)
    assert "ML-DSA-65" in str(server)


@pytest.mark.spec("channel-4")
async def test_wrong_or_missing_alpn_is_refused_at_either_end() -> None:
    client, server = await outcomes(client=evolved(alpn=b"h2"))
    assert isinstance(client, ChannelError)
    assert isinstance(server, ChannelError)
    assert "no common application protocol (ALPN)" in str(server)
    _, server = await outcomes(client=without_alpn(server=False))
    assert isinstance(server, ChannelError)
    assert "ALPN" in str(server)
    client, _ = await outcomes(server=without_alpn(server=True))
    assert isinstance(client, ChannelError)
    assert "ALPN" in str(client)


def without_alpn(*, server: bool) -> TlsContext:
    """An end that does not know ALPN and does not mind."""
    made = context(server=server)
    bare = SSL.Context(SSL.TLS_METHOD)
    profile = attrs.evolve(FEDERATION, alpn_required=False, alpn=b"")
    tls._set_policy(bare, profile)
    tls._load(bare, identity("client.test"))
    tls._set_verification(bare, profile, server=server, trust=PeerTrust.KEY, roots=None)
    return attrs.evolve(made, openssl=bare, profile=profile)


async def test_a_key_that_is_not_published_is_refused_at_either_end() -> None:
    client, server = await connected()
    right = {
        end: TlsaRecord(usage=3, selector=1, matching=1, data=tls_key(end).spki_sha256)
        for end in ("server.test", "client.test")
    }
    check_tlsa([right["server.test"]], client.negotiated)
    check_tlsa([right["client.test"]], server.negotiated)
    with pytest.raises(NoMatch):
        check_tlsa([right["client.test"]], client.negotiated)
    with pytest.raises(NoMatch):
        check_tlsa([right["server.test"]], server.negotiated)


def test_the_self_test_passes_on_this_machine() -> None:
    self_test()


@pytest.mark.parametrize(
    ("groups", "text"),
    [
        (("X25519",), "handshake with ourselves"),
        (("MLKEM768",), "handshake with ourselves"),
        (("X25519MLKEM768", "X25519"), "nothing but X25519 was not refused"),
        (("X25519MLKEM768", "P-256"), "nothing but P-256 was not refused"),
        (("NoSuchGroup",), "key exchange groups"),
    ],
)
def test_the_self_test_fails_where_the_policy_does_not_hold(groups: tuple[str, ...], text: str) -> None:
    with pytest.raises(LocalError, match="note: install") as caught:
        self_test(attrs.evolve(FEDERATION, groups=groups))
    assert text in str(caught.value)


def test_the_self_test_sees_another_protocol_version_or_cipher() -> None:
    with pytest.raises(LocalError, match="cipher"):
        self_test(attrs.evolve(FEDERATION, ciphers=("TLS_AES_128_GCM_SHA256",)))
    with pytest.raises(LocalError, match="signature algorithms"):
        self_test(attrs.evolve(FEDERATION, signatures=("no-such-algorithm",)))


def test_an_identity_that_cannot_be_used_is_our_fault_and_says_so(tmp_path: Path) -> None:
    mixed = TlsIdentity(certificate=identity("a.test").certificate, key=identity("b.test").key)
    broken = TlsIdentity(certificate=b"no", key=Secret(b"no"))
    for bad in (mixed, broken, TlsFiles(certificate=tmp_path / "none.pem", key=tmp_path / "none.key")):
        with pytest.raises(LocalError, match="note: it must be readable"):
            make_context(FEDERATION, server=True, identity=bad)
    ours, theirs = write_files(tmp_path), write_files(tmp_path, name="other.test")
    with pytest.raises(LocalError, match="belong together"):
        make_context(DEVICE, server=True, identity=attrs.evolve(ours, key=theirs.key))
    with pytest.raises(LocalError, match="needs a TLS certificate"):
        make_context(DEVICE, server=True)
    with pytest.raises(LocalError, match="needs a TLS certificate"):
        make_context(FEDERATION, server=False)
    with pytest.raises(LocalError, match="roots"):
        make_context(DEVICE, server=False, trust=PeerTrust.ROOTS, roots=tmp_path / "none.pem")


def test_the_private_key_is_in_no_text() -> None:
    ours = identity("server.test")
    for text in (repr(ours), str(ours), repr(context(server=True))):
        assert repr(ours.key.reveal())[2:-1] not in text
        assert ours.key.reveal().hex() not in text


# --- devices -------------------------------------------------------------------------------------------------------


@pytest.mark.spec("channel-10")
@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
async def test_a_device_verifies_an_ordinary_certificate_by_roots_and_name(tmp_path: Path, kind: str) -> None:
    files = write_files(tmp_path, kind)
    server = make_context(DEVICE, server=True, identity=files)
    client = device_client(roots=files.certificate)
    pair = await connected(client=client, server=server)
    assert pair[0].negotiated.group == "X25519MLKEM768"
    assert pair[0].negotiated.peer_spki_sha256 == pair[1].negotiated.own_spki_sha256
    assert pair[1].negotiated.peer_certificate_der == b""

    raised, _ = await outcomes(client, server, host="other.test")
    assert isinstance(raised, ChannelError)
    assert "verify failed" in str(raised)
    raised, _ = await outcomes(client, server, host="127.0.0.1")
    assert isinstance(raised, ChannelError)
    stranger = write_files(tmp_path, kind, name="stranger.test")
    raised, _ = await outcomes(device_client(roots=stranger.certificate), server)
    assert isinstance(raised, ChannelError)
    with pytest.raises(LocalError, match="host name"):
        client.connection("")


@pytest.mark.spec("channel-10")
async def test_a_device_may_believe_tlsa_records_instead(tmp_path: Path) -> None:
    server = make_context(DEVICE, server=True, identity=write_files(tmp_path))
    client, _ = await shake(wrap(await memory_pair(), device_client(), server, host="anything.test"))
    check_tlsa([TlsaRecord(usage=3, selector=1, matching=1, data=server.own_spki_sha256)], client.negotiated)
    with pytest.raises(NoMatch):
        check_tlsa([TlsaRecord(usage=3, selector=1, matching=1, data=bytes(32))], client.negotiated)


async def test_classical_devices_need_the_operators_word(tmp_path: Path) -> None:
    files = write_files(tmp_path)
    classical = device_client(attrs.evolve(DEVICE, groups=("X25519",)))
    strict = make_context(DEVICE, server=True, identity=files)
    client, server = await outcomes(classical, strict)
    assert isinstance(client, ChannelError)
    assert isinstance(server, ChannelError)
    lax = make_context(DEVICE_CLASSICAL, server=True, identity=files)
    pair = await connected(client=classical, server=lax)
    assert pair[1].negotiated.group.lower() == "x25519"
    pair = await connected(client=device_client(DEVICE_CLASSICAL), server=lax)
    assert pair[1].negotiated.group == "X25519MLKEM768"  # who can, does


async def test_tls_1_2_devices_are_refused_although_their_kind_of_certificate_could(tmp_path: Path) -> None:
    old_device = device_client()
    old_device.openssl.set_min_proto_version(SSL.TLS1_2_VERSION)
    old_device.openssl.set_max_proto_version(SSL.TLS1_2_VERSION)
    client, _ = await outcomes(old_device, make_context(DEVICE, server=True, identity=write_files(tmp_path)))
    assert isinstance(client, ChannelError)
    assert "protocol version" in str(client)


@pytest.mark.spec("channel-27")
async def test_a_new_certificate_is_a_new_context_and_old_connections_go_on(tmp_path: Path) -> None:
    files = write_files(tmp_path)
    before = make_context(DEVICE, server=True, identity=files)
    first = await connected(client=device_client(), server=before)
    write_files(tmp_path)  # the same names, other content
    after = make_context(DEVICE, server=True, identity=files)
    second = await connected(client=device_client(), server=after)
    assert first[0].negotiated.peer_spki != second[0].negotiated.peer_spki
    assert second[0].negotiated.peer_spki_sha256 == after.own_spki_sha256
    await first[0].send_all(b"still here")
    assert await first[1].receive_some() == b"still here"


async def test_devices_without_alpn_are_let_in_and_others_are_not_mistaken(tmp_path: Path) -> None:
    server = make_context(DEVICE, server=True, identity=write_files(tmp_path))
    pair = await connected(client=device_client(), server=server)
    assert pair[1].negotiated.alpn == b"http/1.1"
    pair = await connected(client=device_client(attrs.evolve(DEVICE, alpn=b"h2")), server=server)
    assert pair[1].negotiated.alpn == b""
    client, _ = await outcomes(context(server=False), server)  # a homeserver that dials the wrong port
    assert isinstance(client, ChannelError)
