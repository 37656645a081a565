"""How far each domain is trusted: levels, evidence, policy, pins, gates. Asked by every stage, asks nobody."""

from volly_fed.trust.evidence import Evidence
from volly_fed.trust.gates import Decision
from volly_fed.trust.levels import RIGHTS, Direction, Rights
from volly_fed.trust.pins import IdentityVerdict, Pin, judge_identity
from volly_fed.trust.policy import Policy, Ruling, parse_policy

__all__ = [
    "RIGHTS",
    "Decision",
    "Direction",
    "Evidence",
    "IdentityVerdict",
    "Pin",
    "Policy",
    "Rights",
    "Ruling",
    "judge_identity",
    "parse_policy",
]
