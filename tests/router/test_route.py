"""Routes: here, to a peer, or nowhere; and the gate `relay` in both directions."""

import pytest

from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.names import parse_domain
from volly_fed.router import Local, Peer, Refused, Route, Router
from volly_fed.trust.policy import parse_policy

OWN, FRIEND, THIRD = (parse_domain(name) for name in ("own.test", "friend.test", "third.test"))
ROUTER = Router(
    OWN,
    parse_policy(
        {"default": "selective", "deny": ["*.bad.test"], "levels": {"friend.test": "full", "m.test": "metadata"}}
    ),
)


@pytest.mark.parametrize(
    ("domain", "route"),
    [("own.test", Local()), ("friend.test", Peer(FRIEND)), ("third.test", Peer(THIRD))],
)
def test_from_a_device(domain: str, route: Route) -> None:
    assert ROUTER.from_device(parse_domain(domain)) == route


@pytest.mark.parametrize("domain", ["a.bad.test", "m.test"])
@pytest.mark.spec("trust-6")
def test_from_a_device_to_where_nothing_is_relayed(domain: str) -> None:
    route = ROUTER.from_device(parse_domain(domain))
    assert isinstance(route, Refused)
    assert route.code is ErrorCode.POLICY
    assert domain in route.reason


def test_one_does_not_need_to_trust_oneself() -> None:
    nobody = Router(OWN, parse_policy({"default": "none", "allow": []}))
    assert nobody.from_device(OWN) == Local()
    assert isinstance(nobody.from_device(FRIEND), Refused)


@pytest.mark.parametrize(
    ("level", "code"),
    [
        (TrustLevel.FULL, None),
        (TrustLevel.SELECTIVE, None),
        (TrustLevel.METADATA, ErrorCode.POLICY),
        (TrustLevel.NONE, ErrorCode.POLICY),
    ],
)
@pytest.mark.spec("trust-6")
def test_from_a_peer_by_the_level_of_its_session(level: TrustLevel, code: ErrorCode | None) -> None:
    route = ROUTER.from_peer(FRIEND, level, OWN)
    assert route == Local() if code is None else isinstance(route, Refused) and route.code is code


@pytest.mark.spec("router-2")
def test_nothing_is_passed_from_peer_to_peer() -> None:
    route = ROUTER.from_peer(FRIEND, TrustLevel.FULL, THIRD)
    assert isinstance(route, Refused)
    assert route.code is ErrorCode.UNKNOWN_DOMAIN
