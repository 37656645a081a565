"""Two servers, an attacker and TLS connections between them, as plain facts."""

import hashlib
import os

from volly_fed import limits
from volly_fed.codepoints import ALPN_FEDERATION, TLS_GROUP
from volly_fed.crypto.signature import IdentityKey, fingerprint
from volly_fed.handshake import ChannelBinding, Initiator, Party, Responder
from volly_fed.names import DomainName, Fingerprint
from volly_fed.testing.machine_pair import Alter, MachinePair, unchanged

A_NAME, B_NAME, EVIL_NAME = DomainName("a.example"), DomainName("b.example"), DomainName("evil.example")
A = Party(name=A_NAME, key=IdentityKey.generate(os.urandom))
B = Party(name=B_NAME, key=IdentityKey.generate(os.urandom))
EVIL = Party(name=EVIL_NAME, key=IdentityKey.generate(os.urandom))


def prints(*parties: Party) -> frozenset[Fingerprint]:
    """The fingerprints of the parties' identities."""
    return frozenset(fingerprint(party.key.public) for party in parties)


def spki(tls_key: str) -> bytes:
    """The digest that stands for a TLS key."""
    return hashlib.sha256(tls_key.encode()).digest()


def connection(
    name: str = "first",
    *,
    dialler: str = "tls-a",
    acceptor: str = "tls-b",
    alpn: bytes = ALPN_FEDERATION,
    group: str = TLS_GROUP,
) -> tuple[ChannelBinding, ChannelBinding]:
    """One TLS connection as its two ends see it; `name` decides the exporter."""

    def export(label: bytes, size: int, context: bytes) -> bytes:
        return hashlib.shake_256(b"\0".join((label, context, name.encode()))).digest(size)

    def end(own: str, peer: str) -> ChannelBinding:
        return ChannelBinding.of(export, alpn=alpn, group=group, own_spki_sha256=spki(own), peer_spki_sha256=spki(peer))

    return end(dialler, acceptor), end(acceptor, dialler)


def initiator(binding: ChannelBinding, own: Party = A, peer: Party = B) -> Initiator:
    """`own` dialling `peer`, which publishes the identity it has."""
    return Initiator(
        own=own,
        wanted=peer.name,
        expected=prints(peer),
        binding=binding,
        random=os.urandom,
        deadline=limits.HANDSHAKE,
    )


def responder(binding: ChannelBinding, own: Party = B) -> Responder:
    """`own` being dialled."""
    return Responder(own=own, binding=binding, random=os.urandom, deadline=limits.HANDSHAKE)


def pair(alter: Alter = unchanged, *, dialler: Party = A, acceptor: Party = B) -> MachinePair:
    """An honest dialler and acceptor on one connection, with `alter` on the line."""
    ours, theirs = connection()
    return MachinePair(initiator(ours, dialler, acceptor), responder(theirs, acceptor), prints(dialler), alter)
