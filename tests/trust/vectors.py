"""The vectors of trust: a policy, a domain, and everything that follows."""

from typing import Any

import pytest

from volly_fed.cli.failure import explain
from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.config.policy import parse_policy_text
from volly_fed.edge.admission import REFUSAL, decide_admission
from volly_fed.edge.registration import make_registration
from volly_fed.errors import ConfigError
from volly_fed.names import DomainName
from volly_fed.router import Refused, Router
from volly_fed.trust import Passage, Policy, gates, passages

OWN = DomainName("home.example")
CAPABILITY = bytes(16)


def check_policy(given: dict[str, Any], expect: dict[str, Any]) -> None:
    """Kind `policy`."""
    if "reject" in expect:
        assert set(given) == {"policy"}
        _check_rejected(given["policy"], **{key.replace("class", "kind"): it for key, it in expect["reject"].items()})
    else:
        assert set(given) == {"policy", "domain"}
        policy = parse_policy_text(given["policy"], "trust.toml")
        _check_accepted(policy, DomainName(given["domain"]), **expect["accept"])


def spelled(passage: Passage) -> bool | str:
    """As it stands in the registry."""
    return passage.condition or passage.open


def _check_accepted(
    policy: Policy,
    domain: DomainName,
    *,
    level: str,
    decided_by: str,
    gates: dict[str, bool | str],
    envelopes: list[dict[str, Any]],
    presence: list[dict[str, Any]],
) -> None:
    found = policy.level_of(domain).level
    assert found == level
    assert policy.consider(domain)[-1].key == decided_by
    assert {passage.name: spelled(passage) for passage in passages(found)} == gates
    for envelope in envelopes:
        assert _fate(policy, domain, **envelope) is ErrorCode[envelope["code"]], envelope
    for wish in presence:
        assert _shown(policy, domain, wish["scope"]) is wish["open"], wish


def _fate(
    policy: Policy, domain: DomainName, *, direction: str, code: str, scope: list[str] | None = None
) -> ErrorCode:
    assert code in ErrorCode.__members__
    router, level = Router(OWN, policy), policy.level_of(domain).level
    route = router.from_device(domain) if direction == "out" else router.from_peer(domain, level, OWN)
    if isinstance(route, Refused):
        return route.code
    if direction == "out":
        assert scope is None
        return ErrorCode.NONE
    assert scope is not None
    registration = make_registration({CAPABILITY: tuple(scope)})
    decision = decide_admission(registration, CAPABILITY, domain, own=OWN, level=level)
    return ErrorCode.NONE if decision.allowed else REFUSAL[0]


def _shown(policy: Policy, domain: DomainName, scope: list[str]) -> bool:
    frozen: TrustLevel = policy.level_of(domain).level
    allowed = {gates.show(source, domain, scope).allowed for source in (policy, frozen)}
    assert len(allowed) == 1
    return allowed.pop()


def _check_rejected(text: str, *, kind: str, code: int, keys: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_policy_text(text, "trust.toml")
    assert type(caught.value).__name__ == kind
    problems = [problem.removeprefix("trust.toml: ") for problem in caught.value.problems]
    assert len(problems) == len(keys)
    for key in keys:
        assert any(problem.startswith(f"{key}: ") or f"(at {key}, " in problem for problem in problems), (key, problems)
    failure = explain(caught.value)
    assert failure is not None
    assert failure.note
    assert failure.code == code


CONSUMERS = {"policy": check_policy}
