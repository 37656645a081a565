"""What `volly-fed trust explain` says: the rules that were asked about a domain, and the gates that follow.

in: a domain, the policy and its file; out: one document, for programs and, as a table, for people.
Never: decides anything; `trust.policy` and `trust.levels` do.
"""

from pathlib import Path
from typing import Any

from volly_fed.codepoints import Gate
from volly_fed.names import DomainName
from volly_fed.trust.levels import RIGHTS, Direction, Passage, passages
from volly_fed.trust.policy import Policy

_QUESTIONS = {
    (Gate.DIAL, None): "we open links to it",
    (Gate.ACCEPT, None): "it may open links to us",
    (Gate.ESTABLISH, None): "a link becomes a session",
    (Gate.SHOW, None): "it learns who of us is online",
    (Gate.HEAR, None): "we take in who of it is online",
    (Gate.RELAY, Direction.OUT): "envelopes of our users to it",
    (Gate.RELAY, Direction.IN): "envelopes from it",
    (Gate.DELIVER, None): "they reach mailboxes here",
}


def explanation(domain: DomainName, file: Path, policy: Policy) -> dict[str, Any]:
    """Everything there is to say about `domain`, as JSON has it."""
    level, rule = policy.level_of(domain)
    rights, considered = RIGHTS[level], policy.consider(domain)
    return {
        "domain": domain,
        "level": str(level),
        "rule": rule,
        "file": str(file),
        "decided_by": considered[-1].key,
        "considered": [{"key": asked.key, "decides": asked.decides, "why": asked.why} for asked in considered],
        "gates": [_gate(passage) for passage in passages(level)],
        "link": rights.link,
        "relay_out": rights.relay_out,
        "relay_in": rights.relay_in,
        "deliver": str(rights.deliver),
    }


def print_explanation(found: dict[str, Any]) -> None:
    """`found` for people; `running` in it is what the running homeserver says."""
    print(f"{found['domain']} is `{found['level']}`, because {found['rule']}.")
    print(f"\nThe rules of {found['file']}, in the order in which they are asked:")
    width = max(len(asked["key"]) for asked in found["considered"])
    for asked in found["considered"]:
        print(f"  {asked['key']:<{width}}  {asked['why']}{'  <- decides' if asked['decides'] else ''}")
    print("\nWhat follows, gate by gate:")
    for gate in found["gates"]:
        verdict = "no" if not gate["open"] else f"yes: {gate['condition']}" if gate["condition"] else "yes"
        name = f"{gate['gate']} {gate['direction']}" if gate["direction"] else gate["gate"]
        print(f"  {name:<9}  {gate['question']:<30}  {verdict}")
    if not in_force(found):
        running = found["running"]
        print(f"\nwarning: the running homeserver still has it at `{running['level']}`, because {running['rule']}")
        print("note: `volly-fed reload` lets it read the file again")


def in_force(found: dict[str, Any]) -> bool:
    """Whether the running homeserver, if there is one, says the same."""
    return found["running"] in (None, {"level": found["level"], "rule": found["rule"]})


def _gate(passage: Passage) -> dict[str, Any]:
    return {
        "gate": str(passage.gate),
        "direction": passage.direction and str(passage.direction),
        "open": passage.open,
        "condition": passage.condition,
        "question": _QUESTIONS[passage.gate, passage.direction],
    }
