"""How far each domain is trusted: levels, evidence, policy, pins, continuity, gates. Asked by all, asks nobody."""

from volly_fed.trust.continuity import Statement, make_statement, parse_statement
from volly_fed.trust.evidence import Evidence
from volly_fed.trust.gates import Decision
from volly_fed.trust.levels import RIGHTS, Direction, Passage, Rights, passages
from volly_fed.trust.pins import IdentityVerdict, Pin, Shown, Standing, accept_identity, judge_identity
from volly_fed.trust.policy import Consideration, Policy, Ruling, parse_policy

__all__ = [
    "RIGHTS",
    "Consideration",
    "Decision",
    "Direction",
    "Evidence",
    "IdentityVerdict",
    "Passage",
    "Pin",
    "Policy",
    "Rights",
    "Ruling",
    "Shown",
    "Standing",
    "Statement",
    "accept_identity",
    "judge_identity",
    "make_statement",
    "parse_policy",
    "parse_statement",
    "passages",
]
