"""One playbook per attack. Attackers here may own any TLS key and pass any certificate check: that is TLS broken."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import pytest

from tests.handshake.peers import A_NAME, B_NAME, EVIL, EVIL_NAME, A, B, connection, initiator, pair, prints, responder
from volly_fed.codepoints import ALPN_EDGE, ErrorCode, Label, Role
from volly_fed.crypto.signature import BadSignature, IdentityKey
from volly_fed.errors import RemoteError
from volly_fed.handshake import Accept, Initiator, Party, Prove, Responder, Start
from volly_fed.handshake.state import State
from volly_fed.handshake.transcript import hello_hash, signed_input
from volly_fed.names import DomainName
from volly_fed.testing.machine_pair import MachinePair
from volly_fed.wire import encode_message, parse_message
from volly_fed.wire.messages import IDENTITY_SIGNATURE_BYTES, Auth, Hello

ED25519_BYTES = 64


def refused(play: Callable[[], object]) -> ErrorCode:
    with pytest.raises(RemoteError) as caught:
        play()
    return caught.value.code


def changed_hello(hello: Hello, change: Mapping[str, Any]) -> bytes:
    return encode_message(attrs.evolve(hello, **change))


def up_to_auth(played: MachinePair) -> bytes:
    """Play to the dialler's AUTH, which is returned and not delivered."""
    played.responder.receive(played.initiator.send(Start()), 0)
    played.initiator.receive(played.responder.send(Accept(expected=played.expected)), 0)
    return played.initiator.send(Prove())


# --- names and identities ------------------------------------------------------------------------------------------


@pytest.mark.spec("handshake-7")
def test_an_acceptor_with_another_identity_than_published() -> None:
    ours, theirs = connection()
    impostor = attrs.evolve(EVIL, name=B_NAME)
    played = MachinePair(initiator(ours), responder(theirs, impostor), prints(A))
    assert refused(played.run) is ErrorCode.IDENTITY_MISMATCH
    assert played.initiator.state is State.CLOSED


@pytest.mark.spec("handshake-18")
def test_a_caller_with_another_identity_than_published() -> None:
    ours, theirs = connection()
    impostor = attrs.evolve(EVIL, name=A_NAME)
    played = MachinePair(initiator(ours, impostor), responder(theirs), prints(A))
    assert refused(played.run) is ErrorCode.IDENTITY_MISMATCH
    assert played.responder.state is State.CLOSED


def test_nothing_published_means_nobody() -> None:
    played = pair()
    played.expected = frozenset()
    assert refused(played.run) is ErrorCode.IDENTITY_MISMATCH


@pytest.mark.spec("handshake-6")
def test_another_name_answers() -> None:
    ours, theirs = connection()
    played = MachinePair(initiator(ours, A, B), responder(theirs, attrs.evolve(B, name=B_NAME)), prints(A))
    played.responder.receive(played.initiator.send(Start()), 0)
    answer = parse_message(played.responder.send(Accept(expected=prints(A))))
    assert isinstance(answer, Hello)
    renamed = encode_message(attrs.evolve(answer, own=EVIL_NAME))
    assert refused(lambda: played.initiator.receive(renamed, 0)) is ErrorCode.WRONG_NAME


@pytest.mark.spec("handshake-13")
def test_a_caller_who_wants_another_name() -> None:
    ours, theirs = connection()
    lost = initiator(ours, A, attrs.evolve(B, name=EVIL_NAME))
    assert refused(lambda: responder(theirs).receive(lost.send(Start()), 0)) is ErrorCode.WRONG_NAME


@pytest.mark.spec("handshake-6")
def test_an_answer_meant_for_somebody_else() -> None:
    played = pair()
    played.responder.receive(played.initiator.send(Start()), 0)
    answer = parse_message(played.responder.send(Accept(expected=prints(A))))
    assert isinstance(answer, Hello)
    for_evil = encode_message(attrs.evolve(answer, wanted=EVIL_NAME))
    assert refused(lambda: played.initiator.receive(for_evil, 0)) is ErrorCode.WRONG_NAME


@pytest.mark.parametrize("side", ["own", "wanted"])
@pytest.mark.parametrize("number", [0, 1])
def test_names_altered_on_the_way(number: int, side: str) -> None:
    def alter(n: int, data: bytes) -> bytes:
        message = parse_message(data)
        if n != number or not isinstance(message, Hello):
            return data
        return changed_hello(message, {side: EVIL_NAME})

    # a caller's altered name comes back in the answer, made out to somebody who did not ask
    assert refused(pair(alter).run) is ErrorCode.WRONG_NAME


# --- reflection and replay -----------------------------------------------------------------------------------------


def test_a_hello_sent_back_to_its_sender() -> None:
    machine = initiator(connection()[0])
    greeting = machine.send(Start())
    assert refused(lambda: machine.receive(greeting, 0)) is ErrorCode.WRONG_NAME


@pytest.mark.spec("handshake-14")
def test_our_own_identity_under_another_name() -> None:
    ours, theirs = connection()
    twin = attrs.evolve(B, name=A_NAME)
    play = MachinePair(initiator(ours, twin, B), responder(theirs, B), prints(twin))
    assert refused(play.run) is ErrorCode.IDENTITY_MISMATCH


def test_a_proof_sent_back_to_its_sender() -> None:
    """The mirror answers HELLO as B would, and returns A's own AUTH for B's."""
    played = pair()
    own_proof = up_to_auth(played)
    assert refused(lambda: played.initiator.receive(own_proof, 0)) is ErrorCode.BAD_SIGNATURE


def test_the_role_alone_stops_reflection() -> None:
    """One identity, one name and one TLS key on both ends, so that nothing but the role differs."""
    ours, theirs = connection(dialler="same", acceptor="same")
    hellos = hello_hash(b"same", b"same")
    assert ours.own_spki_sha256 == theirs.own_spki_sha256
    dialler = signed_input(Role.DIALLER, ours, hellos, ours=True)
    acceptor = signed_input(Role.ACCEPTOR, ours, hellos, ours=False)
    assert dialler != acceptor
    same_exporter = attrs.evolve(ours, exporter_acceptor=ours.exporter_dialler)
    assert dialler != signed_input(Role.ACCEPTOR, same_exporter, hellos, ours=False)


def test_a_whole_handshake_replayed_on_another_connection() -> None:
    line = pair().run().line
    machine = responder(connection("second")[1])
    machine.receive(line[0], 0)
    machine.send(Accept(expected=prints(A)))
    assert refused(lambda: machine.receive(line[2], 0)) is ErrorCode.BAD_SIGNATURE


def same_nonce(_: int) -> bytes:
    return bytes(32)


def fixed(name: str) -> MachinePair:
    """Both ends with a broken random source, so that connections differ in nothing but their exporter."""
    ours, theirs = connection(name)
    dialler = Initiator(own=A, wanted=B_NAME, expected=prints(B), binding=ours, random=same_nonce, deadline=15)
    acceptor = Responder(own=B, binding=theirs, random=same_nonce, deadline=15)
    return MachinePair(dialler, acceptor, prints(A))


def test_the_exporter_alone_stops_replay() -> None:
    first, again, second = fixed("first").run(), fixed("first"), fixed("second")
    assert up_to_auth(again) != first.line[2]  # signatures are hedged
    assert again.line == []
    again.responder.receive(first.line[2], 0)  # same connection, same HELLOs: it is the same handshake
    up_to_auth(second)
    assert refused(lambda: second.responder.receive(first.line[2], 0)) is ErrorCode.BAD_SIGNATURE


@pytest.mark.spec("handshake-1")
def test_the_nonce_alone_stops_replay_when_the_exporter_is_the_same() -> None:
    first, again = pair().run(), pair()
    up_to_auth(again)
    assert refused(lambda: again.responder.receive(first.line[2], 0)) is ErrorCode.BAD_SIGNATURE


# --- what the signature covers, piece by piece ---------------------------------------------------------------------


@pytest.mark.spec("handshake-11")
@pytest.mark.parametrize(
    "piece", ["exporter_dialler", "alpn", "group", "own_spki_sha256", "peer_spki_sha256", "exporter_acceptor"]
)
def test_the_ends_must_agree_on_every_fact_of_the_channel(piece: str) -> None:
    ours, theirs = connection()
    other = attrs.evolve(theirs, **{piece: bytes(b ^ 1 for b in getattr(theirs, piece))})
    played = MachinePair(initiator(ours), responder(other), prints(A))
    assert refused(played.run) is ErrorCode.BAD_SIGNATURE
    dialler_refuses = piece == "exporter_acceptor"  # the acceptor's proof is the only one that has it
    assert (played.accepted is not None) is dialler_refuses
    assert played.dialled is None


def test_a_link_of_another_kind() -> None:
    ours, _ = connection()
    _, theirs = connection(alpn=ALPN_EDGE)
    assert refused(MachinePair(initiator(ours), responder(theirs), prints(A)).run) is ErrorCode.BAD_SIGNATURE


def test_lengths_are_part_of_what_is_signed() -> None:
    """alpn and group cannot trade bytes with each other."""
    ours, _ = connection(alpn=b"ab", group="c")
    _, theirs = connection(alpn=b"a", group="bc")
    assert refused(MachinePair(initiator(ours), responder(theirs), prints(A)).run) is ErrorCode.BAD_SIGNATURE


@pytest.mark.spec("handshake-3")
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(
    "change", [{"versions": (1, 1)}, {"extensions": {}}, {"extensions": {1: b"on", 2: b""}}, {"nonce": bytes(32)}]
)
def test_an_altered_hello(number: int, change: dict[str, object]) -> None:
    """Downgrade: the version range or the extensions made smaller on the way, in either direction."""
    rich_a = attrs.evolve(A, versions=(1, 2), extensions={1: b"on"})
    rich_b = attrs.evolve(B, versions=(1, 2), extensions={1: b"on"})

    def alter(n: int, data: bytes) -> bytes:
        message = parse_message(data)
        return changed_hello(message, change) if n == number and isinstance(message, Hello) else data

    assert refused(pair(alter, dialler=rich_a, acceptor=rich_b).run) is ErrorCode.BAD_SIGNATURE
    pair(dialler=rich_a, acceptor=rich_b).run()


def test_an_identity_swapped_on_the_way() -> None:
    def alter(n: int, data: bytes) -> bytes:
        message = parse_message(data)
        return changed_hello(message, {"identity": EVIL.key.public}) if n == 0 and isinstance(message, Hello) else data

    played = pair(alter)
    played.expected = prints(A, EVIL)  # even if the name published both
    assert refused(played.run) is ErrorCode.BAD_SIGNATURE


# --- unknown key share ---------------------------------------------------------------------------------------------


def test_somebody_publishes_the_identity_of_another() -> None:
    """evil.example publishes A's identity in its own zone, and passes A's handshake on as its own."""
    a_side, evil_a = connection("a to evil", acceptor="tls-evil")
    evil_b, b_side = connection("evil to b", dialler="tls-evil")
    assert evil_a != evil_b
    evil_party = attrs.evolve(B, name=EVIL_NAME)  # what A believes to dial: evil.example, which publishes B's identity
    dialler = initiator(a_side, A, evil_party)
    greeting = parse_message(dialler.send(Start()))
    assert isinstance(greeting, Hello)
    acceptor = responder(b_side)
    claim = attrs.evolve(greeting, own=EVIL_NAME, wanted=B_NAME)
    acceptor.receive(encode_message(claim), 0)
    answer = parse_message(acceptor.send(Accept(expected=prints(A))))  # evil.example publishes A's fingerprint
    assert isinstance(answer, Hello)
    dialler.receive(encode_message(attrs.evolve(answer, own=EVIL_NAME, wanted=A_NAME)), 0)
    assert refused(lambda: acceptor.receive(dialler.send(Prove()), 0)) is ErrorCode.BAD_SIGNATURE


def test_the_names_alone_stop_it() -> None:
    """The same on one and the same channel, as if exporter and TLS keys did not help."""
    ours, theirs = connection()
    dialler = initiator(ours, A, attrs.evolve(B, name=EVIL_NAME))
    greeting = parse_message(dialler.send(Start()))
    assert isinstance(greeting, Hello)
    acceptor = responder(theirs)
    acceptor.receive(encode_message(attrs.evolve(greeting, own=EVIL_NAME, wanted=B_NAME)), 0)
    answer = parse_message(acceptor.send(Accept(expected=prints(A))))
    assert isinstance(answer, Hello)
    dialler.receive(encode_message(attrs.evolve(answer, own=EVIL_NAME, wanted=A_NAME)), 0)
    assert refused(lambda: acceptor.receive(dialler.send(Prove()), 0)) is ErrorCode.BAD_SIGNATURE


# --- the composite signature ---------------------------------------------------------------------------------------


def with_signature(change: Callable[[bytes], bytes], number: int) -> MachinePair:
    def alter(n: int, data: bytes) -> bytes:
        message = parse_message(data)
        if n != number or not isinstance(message, Auth):
            return data
        return encode_message(Auth(signature=change(message.signature)))

    return pair(alter)


@pytest.mark.spec("handshake-10")
@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("offset", [0, 100, IDENTITY_SIGNATURE_BYTES - 65, IDENTITY_SIGNATURE_BYTES - 64, -1])
def test_either_half_damaged(number: int, offset: int) -> None:
    def damage(signature: bytes) -> bytes:
        changed = bytearray(signature)
        changed[offset] ^= 1
        return bytes(changed)

    assert refused(with_signature(damage, number).run) is ErrorCode.BAD_SIGNATURE


def hybrid(post_quantum: Party, classical: Party) -> tuple[bytes, Callable[[bytes], bytes]]:
    """A forger who can sign with one scheme's key of A, and has only its own key for the other."""

    def sign(message: bytes) -> bytes:
        good = post_quantum.key.sign(message, Label.AUTH_CONTEXT)[:-ED25519_BYTES]
        return good + classical.key.sign(message, Label.AUTH_CONTEXT)[-ED25519_BYTES:]

    return A.key.public, sign


class Forger(Initiator):
    """A dialler that shows A's public identity and signs as well as it can."""

    forge: tuple[bytes, Callable[[bytes], bytes]]

    def _auth(self) -> bytes:
        return encode_message(Auth(signature=self.forge[1](self._transcript(self._role))))


@pytest.mark.spec("handshake-10")
@pytest.mark.parametrize(
    ("post_quantum", "classical"),
    [(A, EVIL), (EVIL, A), (EVIL, EVIL)],
    ids=["Ed25519 not broken", "ML-DSA not broken", "neither broken"],
)
def test_a_half_from_a_foreign_key(post_quantum: Party, classical: Party) -> None:
    ours, theirs = connection()
    forger = Forger(own=A, wanted=B_NAME, expected=prints(B), binding=ours, random=os.urandom, deadline=15)
    forger.forge = hybrid(post_quantum, classical)
    assert refused(MachinePair(forger, responder(theirs), prints(A)).run) is ErrorCode.BAD_SIGNATURE


def test_the_forger_with_both_keys_is_nobody_else_than_a() -> None:
    ours, theirs = connection()
    forger = Forger(own=A, wanted=B_NAME, expected=prints(B), binding=ours, random=os.urandom, deadline=15)
    forger.forge = hybrid(A, A)
    MachinePair(forger, responder(theirs), prints(A)).run()


def test_a_key_put_together_from_two_identities_has_another_fingerprint() -> None:
    class Mixed(Initiator):
        def _hello(self, wanted: DomainName) -> bytes:
            own = parse_message(super()._hello(wanted))
            assert isinstance(own, Hello)
            mixed = own.identity[:-32] + EVIL.key.public[-32:]
            return encode_message(attrs.evolve(own, identity=mixed))

    ours, theirs = connection()
    dialler = Mixed(own=A, wanted=B_NAME, expected=prints(B), binding=ours, random=os.urandom, deadline=15)
    assert refused(MachinePair(dialler, responder(theirs), prints(A)).run) is ErrorCode.IDENTITY_MISMATCH


def test_a_signature_made_for_another_purpose() -> None:
    ours, theirs = connection()
    forger = Forger(own=A, wanted=B_NAME, expected=prints(B), binding=ours, random=os.urandom, deadline=15)
    forger.forge = (A.key.public, lambda message: A.key.sign(message, Label.CONTENT_CONTEXT))
    assert refused(MachinePair(forger, responder(theirs), prints(A)).run) is ErrorCode.BAD_SIGNATURE


# --- man in the middle with certificates that both sides accept ----------------------------------------------------


def test_a_man_in_the_middle_who_can_forge_ml_dsa_certificates() -> None:
    """Two TLS legs with certificates that bear the right names and pass TLSA: he relays every message unchanged."""
    a_side, _ = connection("leg 1", dialler="tls-a", acceptor="tls-b")  # the forged certificate has B's key in it
    _, b_side = connection("leg 2", dialler="tls-a", acceptor="tls-b")
    played = MachinePair(initiator(a_side), responder(b_side), prints(A))
    assert refused(played.run) is ErrorCode.BAD_SIGNATURE
    assert played.accepted is None


def test_a_man_in_the_middle_with_tls_keys_of_his_own() -> None:
    """As if both legs had the same exporter: the TLS keys alone give him away, on either leg."""
    for dialler, acceptor in (("tls-a", "tls-m"), ("tls-m", "tls-b")):
        a_side, _ = connection(dialler="tls-a", acceptor=acceptor)
        _, b_side = connection(dialler=dialler, acceptor="tls-b")
        played = MachinePair(initiator(a_side), responder(b_side), prints(A))
        assert refused(played.run) is ErrorCode.BAD_SIGNATURE


def test_a_man_in_the_middle_who_breaks_ml_dsa_altogether() -> None:
    """He also forges the ML-DSA half of A's identity, and signs leg 2 with it: the Ed25519 half is missing."""
    _, b_side = connection("leg 2")
    m_side, _ = connection("leg 2")
    forger = Forger(own=A, wanted=B_NAME, expected=prints(B), binding=m_side, random=os.urandom, deadline=15)
    forger.forge = hybrid(A, attrs.evolve(EVIL, key=IdentityKey.generate(os.urandom)))
    with pytest.raises(BadSignature):
        MachinePair(forger, responder(b_side), prints(A)).run()
