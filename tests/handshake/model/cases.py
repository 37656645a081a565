"""What each signed field, and each check besides the signature, is for: the smallest setting in which it decides.

in: nothing; out: Case, FIELD_CASES, CHECK_CASES, NOT_MODELLED.
With the field (or check) in place the search finds no attack in that setting; without it, it finds one. And the setting
is as small as it can be: with any one of its powers taken away, or of what else is missing put back, there is none.
"""

from collections.abc import Iterable, Mapping

import attrs

from tests.handshake.model.agreement import ALL, Agreement
from tests.handshake.model.terms import FIELDS
from tests.handshake.model.world import Check, Power, Scenario, Setting


@attrs.frozen(kw_only=True)
class Case:
    """`field` or `check` is what the case is about; `with_fields` and `with_checks` are missing in any event.

    `expected`: what holds with it in place.
    """

    field: str | None = None
    check: Check | None = None
    powers: frozenset[Power] = frozenset()
    pinned: bool = False
    scenario: Scenario = Scenario.TWICE
    with_fields: frozenset[str] = frozenset()
    with_checks: frozenset[Check] = frozenset()
    expected: frozenset[Agreement] = ALL
    why: str

    @property
    def name(self) -> str:
        """For people."""
        return self.field or "" if self.check is None else self.check.value

    @property
    def kept(self) -> Setting:
        """The setting with the field or check in place."""
        return Setting(
            scenario=self.scenario,
            powers=self.powers,
            pinned=self.pinned,
            dropped=self.with_fields,
            skipped=self.with_checks,
        )

    @property
    def without(self) -> Setting:
        """The setting without it."""
        if self.check is None:
            assert self.field is not None
            return attrs.evolve(self.kept, dropped=self.with_fields | {self.field})
        return attrs.evolve(self.kept, skipped=self.with_checks | {self.check})

    @property
    def smaller(self) -> list[Setting]:
        """`without`, with one power less, or one thing more in place."""
        whole = self.without
        fields, checks = self.with_fields, self.with_checks
        return [
            *(attrs.evolve(whole, powers=whole.powers - {power}) for power in sorted(self.powers, key=str)),
            *(attrs.evolve(whole, dropped=whole.dropped - {field}) for field in sorted(fields)),
            *(attrs.evolve(whole, skipped=whole.skipped - {check}) for check in sorted(checks, key=str)),
        ]


def _case(
    field: str, *powers: Power, twin: str | Iterable[str] = (), why: str, scenario: Scenario = Scenario.TWICE
) -> Case:
    twins = frozenset({twin} if isinstance(twin, str) else twin)
    return Case(field=field, powers=frozenset(powers), with_fields=twins, scenario=scenario, why=why)


_MIDDLE = (Power.EXPORTER, Power.ML_DSA)
_ALL_BUT_CONNECTION = ALL - {Agreement.CONNECTION}
_TWICE = "the HELLOs say it twice, for the other names {}: either is enough"
_MIRROR = (
    "an end that dials its own name is sent its own proof back; {} stands for it, and so does the check of identities"
)

_CASES = (
    _case(
        "context",
        Power.OTHER_PROTOCOL,
        twin="label",
        why="a signature made for another purpose; the label stands for it",
    ),
    _case("label", Power.OTHER_PROTOCOL, twin="context", why="the same; the context stands for it"),
    attrs.evolve(
        _case("role", Power.TLS_A, twin="exporter context", why=_MIRROR.format("the exporter's context")),
        with_checks=frozenset({Check.OWN_IDENTITY}),
    ),
    attrs.evolve(
        _case("exporter context", Power.TLS_A, twin="role", why=_MIRROR.format("the role")),
        with_checks=frozenset({Check.OWN_IDENTITY}),
    ),
    _case(
        "exporter", Power.ML_DSA, why="a man in the middle, with certificates that pass TLSA, passes on every message"
    ),
    attrs.evolve(
        _case("alpn", *_MIDDLE, scenario=Scenario.MIXED, why="a link of a peer is passed on as one of an edge node"),
        expected=_ALL_BUT_CONNECTION,
    ),
    attrs.evolve(
        _case("group", *_MIDDLE, Power.CLASSICAL_GROUP, why="one leg of the man in the middle has the weaker exchange"),
        expected=_ALL_BUT_CONNECTION,
    ),
    _case(
        "signer SPKI",
        Power.KEY_EXCHANGE,
        scenario=Scenario.EDGE,
        why="the exporter ends before the dialler's certificate, so that another can take its place",
    ),
    _case(
        "other SPKI",
        Power.EXPORTER,
        Power.TLS_A,
        scenario=Scenario.EDGE,
        why="who answers is not who is meant: the signer says to which TLS key it talks",
    ),
    _case("dialler versions", Power.KEY_EXCHANGE, why="downgrade"),
    _case("dialler own", Power.KEY_EXCHANGE, twin="acceptor wanted", why=_TWICE.format("whom it answers")),
    _case("dialler wanted", Power.KEY_EXCHANGE, twin="acceptor own", why=_TWICE.format("who answers")),
    _case(
        "dialler identity",
        Power.KEY_EXCHANGE,
        Power.ZONE_A,
        why="b is made to believe in another identity of a, and a does not notice",
    ),
    attrs.evolve(
        _case("dialler nonce", *_MIDDLE, why="an answer serves a second time"),
        expected=_ALL_BUT_CONNECTION,
    ),
    _case("dialler extensions", Power.KEY_EXCHANGE, why="an offer is taken out"),
    _case("acceptor versions", Power.KEY_EXCHANGE, why="downgrade"),
    _case("acceptor own", Power.KEY_EXCHANGE, twin="dialler wanted", why=_TWICE.format("who is wanted")),
    _case("acceptor wanted", Power.KEY_EXCHANGE, twin="dialler own", why=_TWICE.format("who calls")),
    _case(
        "acceptor identity",
        Power.KEY_EXCHANGE,
        Power.ZONE_B,
        why="a is made to believe in another identity of b, and b does not notice",
    ),
    attrs.evolve(
        _case("acceptor nonce", *_MIDDLE, why="a call serves a second time: replay"),
        expected=_ALL_BUT_CONNECTION,
    ),
    _case("acceptor extensions", Power.KEY_EXCHANGE, why="an offer is taken out"),
)
FIELD_CASES: Mapping[str, Case] = {case.field: case for case in _CASES if case.field is not None}
assert tuple(FIELD_CASES) == FIELDS, "every field has its case"


def _check(check: Check, *powers: Power, why: str, scenario: Scenario = Scenario.TWICE, pinned: bool = False) -> Case:
    return Case(check=check, powers=frozenset(powers), scenario=scenario, pinned=pinned, why=why)


CHECK_CASES = (
    _check(Check.ML_DSA, Power.ED25519, scenario=Scenario.EDGE, why="Ed25519 alone is what a quantum computer breaks"),
    _check(Check.ED25519, Power.ML_DSA, why="ML-DSA-65 alone is what TLS rests on as well"),
    _check(Check.PUBLISHED_IDENTITY, Power.TLS_B, why="a stolen TLS key becomes an identity"),
    _check(Check.PUBLISHED_TLS_KEY, Power.IDENTITY_B, why="a stolen identity key is enough by itself"),
    _check(Check.PIN, Power.ZONE_B, pinned=True, why="a forged zone is enough by itself"),
    _check(Check.ANSWER_NAME, why="e, who is dialled, answers as b with an identity that the zone of e publishes"),
    attrs.evolve(
        _check(
            Check.WANTED_NAME,
            Power.KEY_EXCHANGE,
            why="a dials e and is passed on to b; the name that answers stands for it",
        ),
        with_fields=frozenset({"acceptor own"}),
    ),
    attrs.evolve(
        _check(Check.OWN_IDENTITY, Power.TLS_A, why="its own proof comes back; role and exporter context stand for it"),
        with_fields=frozenset({"role", "exporter context"}),
    ),
)

NOT_MODELLED: Mapping[str, str] = {
    "exporter label": "one label for all ends: it tells this use of the exporter from others, and there is no other",
    "hello label": "the hash is used in AUTH alone; the label follows the rule that every hash of ours begins with one",
    "lengths": "the model's terms cannot run into each other; test_lengths_are_part_of_what_is_signed has the bytes",
    "statement": "in AUTH and not signed by it: it has signatures of its own, and trust.pins decides",
}
"""Of what is signed or sent with it: what has no part in the model, and why."""
