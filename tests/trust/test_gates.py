import pytest

from volly_fed import limits
from volly_fed.codepoints import TrustLevel
from volly_fed.names import DomainName, Fingerprint
from volly_fed.trust import Evidence, Policy, gates
from volly_fed.trust.levels import RIGHTS

PEER, OWN, OTHER = DomainName("peer.example"), DomainName("own.example"), DomainName("other.example")
OLD, NEW = (Fingerprint(bytes([n]) * 32) for n in (1, 2))
FULL, SELECTIVE, METADATA, NONE = TrustLevel.FULL, TrustLevel.SELECTIVE, TrustLevel.METADATA, TrustLevel.NONE

# level: link, relay out, relay in, deliver when named, deliver when not named
TABLE = {
    FULL: (True, True, True, True, True),
    SELECTIVE: (True, True, True, True, False),
    METADATA: (True, False, False, False, False),
    NONE: (False, False, False, False, False),
}


def policy(level: TrustLevel) -> Policy:
    return Policy(default=NONE, levels={PEER: level})


def evidence(**changes: object) -> Evidence:
    facts: dict[str, object] = {"domain": PEER, "identity": OLD, "identity_next": NEW, "ttl": 60, "obtained_at": 1000}
    return Evidence(**(facts | changes))  # type: ignore[arg-type] # a test's table of changes


def test_every_level_has_a_row() -> None:
    assert set(RIGHTS) == set(TrustLevel) == set(TABLE)


@pytest.mark.parametrize(("level", "row"), TABLE.items())
@pytest.mark.spec("router-9")
def test_the_table(level: TrustLevel, row: tuple[bool, ...]) -> None:
    link, out, into, named, unnamed = row
    asked = policy(level)
    shown = gates.establish(asked, PEER, evidence(), now=1000)
    assert (gates.dial(asked, PEER).allowed, gates.accept(asked, PEER).allowed, shown.allowed) == (link, link, link)
    for source in (asked, level):  # the policy, or the level frozen into a session
        assert gates.relay(source, PEER, "out").allowed is out
        assert gates.relay(source, PEER, "in").allowed is into
        assert gates.deliver(source, PEER, (OTHER, PEER)).allowed is named
        assert gates.deliver(source, PEER, ("*",)).allowed is named
        assert gates.deliver(source, PEER, (OTHER,)).allowed is unnamed
        assert gates.deliver(source, PEER, ()).allowed is unnamed


# level: shown to a peer that is named, to "*", to somebody else; heard
PRESENCE = {
    FULL: (True, True, False, True),
    SELECTIVE: (True, False, False, True),
    METADATA: (True, True, False, True),
    NONE: (False, False, False, False),
}


@pytest.mark.parametrize(("level", "row"), PRESENCE.items())
def test_the_table_of_presence(level: TrustLevel, row: tuple[bool, ...]) -> None:
    named, everybody, other, heard = row
    asked = policy(level)
    for source in (asked, level):
        assert gates.show(source, PEER, (OTHER, PEER)).allowed is named
        assert gates.show(source, PEER, ("*",)).allowed is everybody
        assert gates.show(source, PEER, (OTHER,)).allowed is other
        assert gates.show(source, PEER, ()).allowed is False
        assert gates.hear(source, PEER).allowed is heard


@pytest.mark.parametrize("level", TrustLevel)
def test_a_session_stays_where_a_new_one_would_be_made(level: TrustLevel) -> None:
    assert gates.stay(level, PEER).allowed is gates.establish(policy(level), PEER, evidence(), now=1000).allowed
    assert gates.stay(level, PEER).level is level


def test_reasons_name_the_domain_the_level_and_the_rule() -> None:
    assert gates.dial(policy(NONE), PEER).reason == (
        'peer.example may not be dialled: none (levels has "peer.example" = "none")'
    )
    assert gates.relay(METADATA, PEER, "out").reason == (
        "envelopes to peer.example are not relayed: metadata (as established)"
    )
    assert gates.deliver(SELECTIVE, PEER, ()).reason == (
        "peer.example reaches mailboxes that named this peer or *, and this one did not name it: "
        "selective (as established)"
    )


def test_reasons_of_presence() -> None:
    assert gates.show(SELECTIVE, PEER, ("*",)).reason == (
        "peer.example is shown users who named this peer, and this one does not belong to them: "
        "selective (as established)"
    )
    assert gates.show(policy(NONE), PEER, ("*",)).reason == (
        'peer.example is shown nobody: none (levels has "peer.example" = "none")'
    )
    assert gates.hear(NONE, PEER).reason == "presence of peer.example is not taken: none (as established)"
    assert gates.stay(NONE, PEER).reason == "the link to peer.example ends: none (reloaded)"


def test_local_delivery_needs_no_trust_and_no_scope() -> None:
    nobody = Policy(default=NONE, deny=frozenset({OWN}), allow=frozenset())
    assert gates.deliver(nobody, OWN, (), own=OWN).allowed
    assert not gates.deliver(nobody, PEER, ("*",), own=OWN).allowed


def test_ones_own_name_is_no_special_case_on_a_link() -> None:
    assert not gates.accept(Policy(default=FULL, allow=frozenset()), OWN).allowed


def test_an_unknown_direction_is_our_bug() -> None:
    with pytest.raises(ValueError, match="sideways"):
        gates.relay(FULL, PEER, "sideways")


@pytest.mark.spec("trust-4")
def test_establish_refuses_evidence_about_somebody_else() -> None:
    decision = gates.establish(policy(FULL), PEER, evidence(domain=OTHER), now=1000)
    assert not decision.allowed
    assert "other.example" in decision.reason


@pytest.mark.parametrize(
    ("ttl", "now", "allowed"),
    [(60, 1060, True), (60, 1060.5, False), (0, 1000 + limits.HANDSHAKE, True), (0, 1001 + limits.HANDSHAKE, False)],
)
@pytest.mark.spec("trust-4")
def test_establish_refuses_stale_evidence(ttl: float, now: float, allowed: bool) -> None:
    decision = gates.establish(policy(FULL), PEER, evidence(ttl=ttl), now=now)
    assert decision.allowed is allowed


def test_what_may_be_shown() -> None:
    assert evidence().expected == {OLD, NEW}
    assert evidence(identity_next=None).expected == {OLD}


def test_the_digest_is_about_identities_and_keys_only() -> None:
    first = evidence(spki_sha256=(b"a", b"b"))
    assert evidence(spki_sha256=(b"b", b"a"), ttl=7, obtained_at=5, text="x").digest() == first.digest()
    others = [
        evidence(spki_sha256=(b"ab",)),
        evidence(spki_sha256=(b"a",)),
        evidence(spki_sha256=(b"a", b"b"), identity_next=None),
        evidence(spki_sha256=(b"a", b"b"), identity=NEW),
        evidence(spki_sha256=(b"a", b"b"), domain=OTHER),
    ]
    assert len({each.digest() for each in (first, *others)}) == len(others) + 1
