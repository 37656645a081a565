"""What is expected to hold against whom. The search confirms both: what holds, and what does not.

in: nothing; out: Attacker, ATTACKERS.
"""

from collections.abc import Mapping

import attrs

from tests.handshake.model.agreement import ALL, Agreement
from tests.handshake.model.world import Power, Scenario, Setting

_NOTHING: Mapping[Scenario, frozenset[Agreement]] = {}
_EDGES = frozenset({Scenario.EDGE, Scenario.MIXED})
_DNS = frozenset({Scenario.TWICE, Scenario.CROSSED, Scenario.MIXED})
_PEER, _CONNECTION = frozenset({Agreement.PEER}), frozenset({Agreement.CONNECTION})


@attrs.frozen(kw_only=True)
class Attacker:
    """Beside the network, and a domain and a zone of his own, he has `powers`.

    `falls`: which agreements are lost in which scenarios; all else holds, except that nothing is said of a peer that he
    can impersonate. `deceived`: where an end may be wrong about
    a peer whose true identity it has not pinned; that is excused, and must be so.
    `main`: one of those whom the protocol is made against; else an assumption about others' work fails.
    """

    name: str
    powers: frozenset[Power] = frozenset()
    pinned: bool = False
    main: bool = True
    falls: Mapping[Scenario, frozenset[Agreement]] = _NOTHING
    deceived: frozenset[Scenario] = frozenset()
    why: str

    def setting(self, scenario: Scenario) -> Setting:
        """The whole protocol against him."""
        return Setting(scenario=scenario, powers=self.powers, pinned=self.pinned)

    def holds(self, scenario: Scenario) -> frozenset[Agreement]:
        """What must hold against him."""
        lost = self.falls.get(scenario, frozenset())
        return frozenset() if Agreement.PEER in lost else ALL - lost


ATTACKERS = (
    Attacker(name="relay", why="all he has are proofs made for other connections and other HELLOs"),
    Attacker(
        name="ML-DSA-65 broken",
        powers=frozenset({Power.ML_DSA}),
        why="TLS proves nothing to him, so he is in the middle of any connection; the Ed25519 half signs the exporter "
        "of the end's own connection",
    ),
    Attacker(
        name="Ed25519 broken",
        powers=frozenset({Power.ED25519}),
        why="the ML-DSA-65 half of the identity holds, and so does TLS",
    ),
    Attacker(
        name="TLS key of a stolen",
        powers=frozenset({Power.TLS_A}),
        why="he passes TLSA as a; the identity, which he has not, signs the exporter of his connection for nobody",
    ),
    Attacker(name="TLS key of b stolen", powers=frozenset({Power.TLS_B}), why="the same, answering as b"),
    Attacker(
        name="identity key of b stolen",
        powers=frozenset({Power.IDENTITY_B}),
        falls=dict.fromkeys(_EDGES, _PEER),
        why="he has no TLS key that TLSA names; edge links have no TLSA, there it takes an enrolment anew",
    ),
    Attacker(
        name="both zones forged, known to each other",
        powers=frozenset({Power.ZONE_A, Power.ZONE_B}),
        pinned=True,
        why="his identity is published and proved, but not the pinned one: quarantine",
    ),
    Attacker(
        name="zone of b forged, first contact",
        powers=frozenset({Power.ZONE_B}),
        deceived=_DNS,
        why="first contact is as strong as DNSSEC: a takes his identity for that of b, and pins it. What b knows of a "
        "is true, and so is everything that ends agree on who have met before",
    ),
    Attacker(
        name="zone of a forged, first contact",
        powers=frozenset({Power.ZONE_A}),
        deceived=_DNS,
        why="the same, the other way round",
    ),
    Attacker(
        name="Ed25519 broken, both zones forged, known to each other",
        powers=frozenset({Power.ED25519, Power.ZONE_A, Power.ZONE_B}),
        pinned=True,
        why="a quantum computer: DNSSEC and Ed25519 are gone, pins and ML-DSA-65 are not",
    ),
    Attacker(
        name="ML-DSA-65 and Ed25519 broken",
        powers=frozenset({Power.ML_DSA, Power.ED25519}),
        main=False,
        falls=dict.fromkeys(Scenario, _PEER),
        why="nothing is left",
    ),
    Attacker(
        name="identity and TLS key of b stolen",
        powers=frozenset({Power.IDENTITY_B, Power.TLS_B}),
        main=False,
        falls=dict.fromkeys(Scenario, _PEER),
        why="he is b",
    ),
    Attacker(
        name="key exchange broken",
        powers=frozenset({Power.KEY_EXCHANGE}),
        main=False,
        why="he can rewrite HELLOs and the dialler's certificate; AUTH signs them, so the link that comes about is the "
        "one that both mean. Afterwards he reads and writes on it",
    ),
    Attacker(
        name="one exporter for all",
        powers=frozenset({Power.EXPORTER}),
        main=False,
        why="to be in the middle he needs certificates, and the TLS keys are signed too",
    ),
    Attacker(
        name="one exporter for all, ML-DSA-65 broken",
        powers=frozenset({Power.EXPORTER, Power.ML_DSA}),
        main=False,
        falls=dict.fromkeys(Scenario, _CONNECTION),
        why="he is in the middle and is not noticed, but changes nothing of what HELLOs say, and uses no proof twice",
    ),
    Attacker(
        name="identity keys used elsewhere",
        powers=frozenset({Power.OTHER_PROTOCOL}),
        main=False,
        why="label and context tell our signatures from all others",
    ),
)
