"""The gates: each question about a domain, answered by a Decision with its reason. Each has exactly one call site.

in: the policy, or the level that a session has; the domain; what the question needs beside it.
out: Decision. Refusal is a value here, never an error.
Never: looks anything up.
"""

from collections.abc import Collection

import attrs

from volly_fed.codepoints import TrustLevel
from volly_fed.names import DomainName
from volly_fed.trust.evidence import Evidence
from volly_fed.trust.levels import RIGHTS, Audience, Direction, Reach
from volly_fed.trust.policy import Policy, Ruling

EVERYBODY = "*"
"""In a scope, a capability's or a user's presence: any peer."""


@attrs.frozen
class Decision:
    """Whether something is allowed, why, and the level it was decided on."""

    allowed: bool
    reason: str
    level: TrustLevel


def dial(policy: Policy, domain: DomainName) -> Decision:
    """Whether we may open a link to `domain`."""
    return _link(policy, domain, "dialled")


def accept(policy: Policy, domain: DomainName) -> Decision:
    """Whether a caller who claims to be `domain` is worth looking up."""
    return _link(policy, domain, "accepted")


def establish(policy: Policy, domain: DomainName, evidence: Evidence, *, now: float) -> Decision:
    """Whether a peer that proved its identity becomes an established session, with which level.

    `now` is on the clock of `evidence.obtained_at`. What the identity itself is worth, `pins.judge_identity` says of
    the same evidence; both have to agree.
    """
    linked = _link(policy, domain, "established")
    if not linked.allowed:
        return linked
    if evidence.domain != domain:
        return Decision(False, f"the evidence is about {evidence.domain}, not {domain}", linked.level)
    if not evidence.fresh(now):  # [trust-4]
        return Decision(False, f"the evidence about {domain} is out of date", linked.level)
    return linked


def stay(level: TrustLevel, domain: DomainName) -> Decision:
    """The gate `establish` again, after a reload: whether a session that came about may go on on `level`.

    Evidence and identity were judged when it came about; no level asks for more of them than another.
    """
    allowed = RIGHTS[level].link
    return Decision(allowed, f"the link to {domain} {'stays' if allowed else 'ends'}: {level} (reloaded)", level)


def show(policy: Policy | TrustLevel, domain: DomainName, scope: Collection[str]) -> Decision:
    """Whether `domain` may learn that a user of ours is online who wishes to be seen by `scope`.

    `scope`: domains, or "*" for every peer that the policy lets see it; empty means nobody.
    """
    level, rule = _ruling(policy, domain)
    audience = RIGHTS[level].show
    named = domain in scope
    allowed = audience is not Audience.NOBODY and (named or (audience is Audience.WILLING and EVERYBODY in scope))
    detail = "" if audience is Audience.NOBODY or allowed else ", and this one does not belong to them"
    return Decision(allowed, f"{domain} is shown {audience.value}{detail}: {level} ({rule})", level)


def hear(policy: Policy | TrustLevel, domain: DomainName) -> Decision:
    """Whether what `domain` tells of its users' presence is taken."""
    level, rule = _ruling(policy, domain)
    allowed = RIGHTS[level].hear
    return Decision(allowed, f"presence of {domain} is {'taken' if allowed else 'not taken'}: {level} ({rule})", level)


def relay(policy: Policy | TrustLevel, domain: DomainName, direction: Direction | str) -> Decision:
    """Whether envelopes may go from our users to `domain` ("out"), or come in from it ("in")."""
    level, rule = _ruling(policy, domain)
    rights = RIGHTS[level]
    outward = Direction(direction) is Direction.OUT
    allowed = rights.relay_out if outward else rights.relay_in
    what = f"envelopes {'to' if outward else 'from'} {domain}"
    return Decision(allowed, f"{what} are {'relayed' if allowed else 'not relayed'}: {level} ({rule})", level)


def deliver(
    policy: Policy | TrustLevel, domain: DomainName, scope: Collection[str], *, own: DomainName | None = None
) -> Decision:
    """Whether an envelope from `domain` may be put in a mailbox, its capability being right.

    `scope`: the domains the capability was registered for, or "*"; empty means nobody. `own` is this server's domain:
    delivery from it is local and needs no trust.
    """
    if own is not None and domain == own:
        return Decision(True, f"{domain} is this server: local delivery", TrustLevel.FULL)
    level, rule = _ruling(policy, domain)
    reach = RIGHTS[level].deliver
    named = domain in scope or EVERYBODY in scope
    allowed = reach is Reach.ANY or (reach is Reach.NAMED and named)
    detail = f", and this one did {'' if named else 'not '}name it" if reach is Reach.NAMED else ""
    return Decision(allowed, f"{domain} reaches {reach.value}{detail}: {level} ({rule})", level)


def _ruling(policy: Policy | TrustLevel, domain: DomainName) -> Ruling:
    if isinstance(policy, TrustLevel):
        return Ruling(policy, "as established")
    return policy.level_of(domain)


def _link(policy: Policy, domain: DomainName, what: str) -> Decision:
    level, rule = policy.level_of(domain)
    allowed = RIGHTS[level].link
    return Decision(allowed, f"{domain} may {'' if allowed else 'not '}be {what}: {level} ({rule})", level)
