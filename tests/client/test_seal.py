import contextlib
import os

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from volly_fed import limits
from volly_fed.client import Content, DeviceKeys, open_envelope, seal
from volly_fed.client.seal import encode_content, parse_content
from volly_fed.codepoints import EnvelopeClass, Label
from volly_fed.crypto.kdf import framed
from volly_fed.crypto.kem import hpke_open, hpke_seal
from volly_fed.crypto.signature import BadSignature
from volly_fed.errors import BadMessage, LocalError, RemoteError
from volly_fed.names import DomainName
from volly_fed.relay.envelope import Envelope, encode_envelope, parse_envelope
from volly_fed.wire import codec

SECRET = "the planted text that must never be seen outside"
NOW = 1_800_000_000


def sealed(sender: DeviceKeys, to: DeviceKeys, content: Content | None = None) -> Envelope:
    return seal(
        content or Content(sent_at=NOW, text=SECRET, reply=sender.card()),
        identity=sender.identity,
        to=to.card(),
        envelope_id=os.urandom(16),
        expiry=NOW + 60,
    )


def test_what_is_sealed_is_opened_with_who_signed_it(alice: DeviceKeys, bob: DeviceKeys) -> None:
    envelope = parse_envelope(encode_envelope(sealed(alice, bob)))
    opened = open_envelope(envelope, bob.mailbox, bob.domain)
    assert opened.sender == alice.fingerprint
    assert opened.id == envelope.id
    assert opened.content == Content(sent_at=NOW, text=SECRET, reply=alice.card())
    assert (envelope.mailbox, envelope.domain) == bob.address
    assert envelope.capability == bob.card().capability


def test_neither_plaintext_nor_names_nor_identities_are_in_the_bytes(alice: DeviceKeys, bob: DeviceKeys) -> None:
    data = encode_envelope(sealed(alice, bob))
    planted: list[bytes] = [
        SECRET.encode(),
        b"Alice",
        b"Bob",
        alice.domain.encode(),
        alice.identity.public[:64],
        alice.identity.public[-32:],
        alice.fingerprint,
        bob.fingerprint,
        bob.identity.public[:64],
        bob.mailbox.public[:64],
        bob.mailbox.public[-32:],
        alice.mailbox.public[:64],
        alice.address.mailbox,
        alice.card().capability,
    ]
    assert not [secret for secret in planted if secret in data]
    assert bytes(bob.address.mailbox) in data  # the search works


@pytest.mark.parametrize("length", [0, 1, 300, 1000, 3000, 10_000, 30_000, limits.MAX_CONTENT])
@pytest.mark.parametrize("reply", [True, False])
def test_bodies_have_one_of_the_agreed_sizes(alice: DeviceKeys, bob: DeviceKeys, length: int, reply: bool) -> None:
    content = Content(sent_at=NOW, data=os.urandom(length), reply=alice.card() if reply else None)
    envelope = sealed(alice, bob, content)
    assert len(envelope.body) in limits.BODY_CLASSES
    assert open_envelope(envelope, bob.mailbox, bob.domain).content == content


def test_the_size_tells_only_the_class(alice: DeviceKeys, bob: DeviceKeys) -> None:
    sizes = {len(sealed(alice, bob, Content(sent_at=NOW, text="x" * n)).body) for n in (0, 1, 50, 500, 1500)}
    assert sizes == {8192}


def test_too_much_is_refused_here(alice: DeviceKeys, bob: DeviceKeys) -> None:
    with pytest.raises(LocalError):
        sealed(alice, bob, Content(sent_at=NOW, data=bytes(limits.MAX_CONTENT + 1)))


def test_a_card_with_an_unusable_key_is_a_bad_message(alice: DeviceKeys, bob: DeviceKeys) -> None:
    card = attrs.evolve(bob.card(), key=b"\xff" * 1216)
    with pytest.raises(BadMessage):
        seal(Content(sent_at=1), identity=alice.identity, to=card, envelope_id=bytes(16), expiry=1)


def test_an_altered_envelope_does_not_open(alice: DeviceKeys, bob: DeviceKeys) -> None:
    envelope = sealed(alice, bob)
    for at in (0, 1, 600, 1119, 1130, 2000, len(envelope.body) - 1):
        body = bytearray(envelope.body)
        body[at] ^= 1
        with pytest.raises(BadMessage):
            open_envelope(attrs.evolve(envelope, body=bytes(body)), bob.mailbox, bob.domain)
    with pytest.raises(BadMessage):
        open_envelope(attrs.evolve(envelope, id=os.urandom(16)), bob.mailbox, bob.domain)


def test_an_envelope_for_another_mailbox_or_domain_does_not_open(alice: DeviceKeys, bob: DeviceKeys) -> None:
    envelope = sealed(alice, bob)
    with pytest.raises(BadMessage):
        open_envelope(envelope, alice.mailbox, bob.domain)
    other = DomainName("other.test")
    with pytest.raises(BadMessage):
        open_envelope(attrs.evolve(envelope, domain=other), bob.mailbox, other)
    moved = attrs.evolve(envelope, mailbox=alice.address.mailbox, domain=alice.domain)
    with pytest.raises(BadMessage):
        open_envelope(moved, alice.mailbox, alice.domain)


def _resealed(envelope: Envelope, owner: DeviceKeys, to: DeviceKeys, change: dict[int, bytes]) -> Envelope:
    """What a recipient can do with what it opened: change the parts and seal them for somebody."""
    bound = framed(envelope.mailbox, envelope.domain.encode(), envelope.id)
    plain = hpke_open(owner.mailbox, envelope.body[1:], Label.ROOT, bound)
    size = int.from_bytes(plain[:4], "big")
    parts = codec.decode(plain[4 : 4 + size])
    assert isinstance(parts, list)
    for index, value in change.items():
        parts[index] = value
    inner = codec.encode(parts)
    mailbox, domain = to.address
    body = (len(inner).to_bytes(4, "big") + inner).ljust(len(plain), b"\0")
    sealed_body = b"\x01" + hpke_seal(
        to.mailbox.public, body, Label.ROOT, framed(mailbox, domain.encode(), envelope.id)
    )
    return attrs.evolve(envelope, mailbox=mailbox, domain=domain, body=sealed_body)


def test_a_recipient_cannot_pass_content_on_as_meant_for_another(alice: DeviceKeys, bob: DeviceKeys) -> None:
    carol = DeviceKeys.generate(DomainName("c.test"), os.urandom)
    envelope = sealed(alice, bob)
    assert open_envelope(_resealed(envelope, bob, bob, {}), bob.mailbox, bob.domain).sender == alice.fingerprint
    neighbour = DeviceKeys.generate(bob.domain, os.urandom)
    for other in (carol, neighbour):
        with pytest.raises(BadSignature):
            open_envelope(_resealed(envelope, bob, other, {}), other.mailbox, other.domain)


def test_content_is_by_who_signed_it_or_refused(alice: DeviceKeys, bob: DeviceKeys) -> None:
    mallory = DeviceKeys.generate(DomainName("m.test"), os.urandom)
    envelope = sealed(alice, bob)
    changes: list[dict[int, bytes]] = [
        {0: mallory.identity.public},
        {1: bytes(3373)},
        {2: encode_content(Content(sent_at=NOW, text="something else"))},
        {0: mallory.identity.public[:1952] + alice.identity.public[1952:]},
    ]
    for change in changes:
        with pytest.raises(BadSignature):
            open_envelope(_resealed(envelope, bob, bob, change), bob.mailbox, bob.domain)


def test_nobody_encloses_anothers_card_as_their_own(alice: DeviceKeys, bob: DeviceKeys) -> None:
    """Mallory signs properly, and encloses Alice's card, so that the answer and the name look like Alice's."""
    mallory = DeviceKeys.generate(DomainName("m.test"), os.urandom)
    envelope = sealed(mallory, bob, Content(sent_at=NOW, text="it is me", reply=alice.card()))
    with pytest.raises(BadSignature):
        open_envelope(envelope, bob.mailbox, bob.domain)


@pytest.mark.spec("client-9")
def test_padding_is_zeros(alice: DeviceKeys, bob: DeviceKeys) -> None:
    envelope = sealed(alice, bob)
    bound = framed(envelope.mailbox, envelope.domain.encode(), envelope.id)
    plain = bytearray(hpke_open(bob.mailbox, envelope.body[1:], Label.ROOT, bound))
    plain[-1] = 1
    body = b"\x01" + hpke_seal(bob.mailbox.public, bytes(plain), Label.ROOT, bound)
    with pytest.raises(BadMessage, match="padding"):
        open_envelope(attrs.evolve(envelope, body=body), bob.mailbox, bob.domain)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.binary(max_size=7000))
def test_whatever_is_sealed_for_us_raises_remote_errors_only(bob: DeviceKeys, inner: bytes) -> None:
    mailbox, domain = bob.address
    bound = framed(mailbox, domain.encode(), bytes(16))
    body = b"\x01" + hpke_seal(bob.mailbox.public, inner, Label.ROOT, bound)
    envelope = Envelope(mailbox, domain, bytes(16), NOW, EnvelopeClass.BULK, bytes(16), body)
    with pytest.raises(RemoteError):
        open_envelope(envelope, bob.mailbox, bob.domain)


contents = st.builds(
    Content, sent_at=st.integers(0, 2**63), text=st.text(max_size=100) | st.none(), data=st.just(b"")
) | st.builds(Content, sent_at=st.integers(0, 2**63), data=st.binary(max_size=100))


@given(contents)
def test_content_survives(content: Content) -> None:
    assert parse_content(encode_content(content)) == content


@given(st.binary(max_size=400))
def test_other_content_is_a_bad_message(data: bytes) -> None:
    with pytest.raises(BadMessage):
        parse_content(data)


@given(contents, st.integers(0), st.integers(1, 255))
def test_damaged_content_is_a_bad_message_or_other_content(content: Content, at: int, flip: int) -> None:
    raw = bytearray(encode_content(content))
    raw[at % len(raw)] ^= flip
    with contextlib.suppress(BadMessage):
        assert parse_content(bytes(raw)) != content


def test_content_does_not_show(alice: DeviceKeys, bob: DeviceKeys) -> None:
    envelope = sealed(alice, bob)
    assert SECRET not in repr(Content(sent_at=1, text=SECRET, data=SECRET.encode()))
    assert SECRET not in repr(open_envelope(envelope, bob.mailbox, bob.domain))
