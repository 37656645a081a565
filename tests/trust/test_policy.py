import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volly_fed.codepoints import TrustLevel
from volly_fed.errors import ConfigError
from volly_fed.names import BadName, DomainName, parse_domain
from volly_fed.trust import policy as policy_module
from volly_fed.trust.policy import EXAMPLE, Policy, parse_pattern, parse_policy, policy_toml

FULL, SELECTIVE, METADATA, NONE = TrustLevel.FULL, TrustLevel.SELECTIVE, TrustLevel.METADATA, TrustLevel.NONE

POLICY = parse_policy(
    tomllib.loads("""
        default = "metadata"
        deny = ["bad.example", "*.spam.example", "loved.corp.example"]
        [levels]
        "friend.example" = "full"
        "Friend2.Example." = "full"
        "*.corp.example" = "selective"
        "*.deep.corp.example" = "full"
        "x.deep.corp.example" = "none"
        "loved.corp.example" = "full"
        "a.spam.example" = "full"
    """)
)


@pytest.mark.parametrize(
    ("domain", "level", "rule"),
    [
        ("friend.example", FULL, 'levels has "friend.example" = "full"'),
        ("friend2.example", FULL, 'levels has "friend2.example" = "full"'),
        ("sub.friend.example", METADATA, 'default = "metadata"'),
        ("corp.example", METADATA, 'default = "metadata"'),  # *.corp.example is what lies below it
        ("a.corp.example", SELECTIVE, 'levels has "*.corp.example" = "selective"'),
        ("a.b.corp.example", SELECTIVE, 'levels has "*.corp.example" = "selective"'),
        ("notcorp.example", METADATA, 'default = "metadata"'),  # a suffix is whole labels
        ("y.deep.corp.example", FULL, 'levels has "*.deep.corp.example" = "full"'),  # the longest suffix
        ("x.deep.corp.example", NONE, 'levels has "x.deep.corp.example" = "none"'),  # exact before suffix
        ("bad.example", NONE, 'deny has "bad.example"'),
        ("sub.bad.example", METADATA, 'default = "metadata"'),
        ("loved.corp.example", NONE, 'deny has "loved.corp.example"'),  # deny before exact
        ("a.spam.example", NONE, 'deny has "*.spam.example"'),  # a denied suffix before an exact level
    ],
)
@pytest.mark.spec("trust-8")
def test_the_rule_that_decides(domain: str, level: TrustLevel, rule: str) -> None:
    assert POLICY.level_of(DomainName(domain)) == (level, rule)


def test_an_empty_allow_list_means_nobody() -> None:
    policy = parse_policy({"default": "full", "allow": [], "levels": {"friend.example": "full"}})
    for domain in ("friend.example", "other.example"):
        assert policy.level_of(DomainName(domain)) == (NONE, "allow is empty")


def test_an_absent_allow_list_means_everybody() -> None:
    assert parse_policy({"default": "full"}).level_of(DomainName("x.example")).level is FULL


def test_an_allow_list_admits_and_deny_comes_first() -> None:
    policy = parse_policy(
        {"default": "full", "allow": ["*.corp.example", "friend.example"], "deny": ["bad.corp.example"]}
    )
    assert policy.level_of(DomainName("a.corp.example")).level is FULL
    assert policy.level_of(DomainName("friend.example")).level is FULL
    assert policy.level_of(DomainName("x.example")) == (NONE, 'allow does not have "x.example"')
    assert policy.level_of(DomainName("bad.corp.example")) == (NONE, 'deny has "bad.corp.example"')


def test_an_allow_list_grants_no_level_by_itself() -> None:
    policy = parse_policy({"default": "none", "allow": ["friend.example"]})
    assert policy.level_of(DomainName("friend.example")) == (NONE, 'default = "none"')


def test_an_empty_file_is_selective_for_everybody() -> None:
    assert parse_policy({}) == Policy(default=SELECTIVE)


def test_the_example_is_a_policy() -> None:
    assert parse_policy(tomllib.loads(EXAMPLE)) == Policy(default=SELECTIVE)


def test_the_example_with_its_samples_switched_on_is_one_too() -> None:
    text = EXAMPLE.replace("# allow", "allow").replace('# "', '"').replace('"*.example.org" stands', "# stands")
    policy = parse_policy(tomllib.loads(text))
    assert policy.allow == frozenset({"friend.example", "*.corp.example"})
    assert policy.levels == {"friend.example": FULL, "*.corp.example": METADATA}


@pytest.mark.spec("trust-9")
def test_all_problems_at_once_each_with_its_key() -> None:
    tables = {
        "default": "ful",
        "deny": ["ok.example", "-bad-", 7],
        "allow": "friend.example",
        "levels": {"*": "full", "a.example": "most", "b.example": 3, "*.c.example": "full", "*.C.example": "none"},
        "blocklist": [],
    }
    with pytest.raises(ConfigError) as caught:
        parse_policy(tables)
    keys = [problem.split(": ")[0] for problem in caught.value.problems]
    assert sorted(keys) == sorted(
        [
            "blocklist",
            "default",
            "deny[1]",
            "deny[2]",
            "allow",
            'levels."*"',
            'levels."a.example"',
            'levels."b.example"',
            'levels."*.C.example"',
        ]
    )


@pytest.mark.parametrize("tables", [{"levels": []}, {"deny": {}}, {"default": ["full"]}, {"allow": None}])
def test_values_of_the_wrong_kind_are_problems(tables: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        parse_policy(tables)


@pytest.mark.parametrize("text", ["*", "*.", "**.a", "a.*", "*a.example", "", "a b"])
def test_what_is_not_a_pattern(text: str) -> None:
    with pytest.raises(BadName):
        parse_pattern(text)


def test_a_policy_does_not_change_with_the_table_it_was_made_from() -> None:
    levels = {"a.example": FULL}
    policy = Policy(levels=levels)
    levels["a.example"] = NONE
    assert policy.level_of(DomainName("a.example")).level is FULL


_label = st.text("abz09", min_size=1, max_size=3)
_name = st.lists(_label, min_size=1, max_size=4).map(lambda labels: parse_domain(".".join(labels)))
_some_pattern = st.one_of(_name, _name.map(lambda name: f"*.{name}"))
_policies = st.builds(
    Policy,
    default=st.sampled_from(TrustLevel),
    deny=st.frozensets(_some_pattern, max_size=3),
    allow=st.none() | st.frozensets(_some_pattern, max_size=3),
    levels=st.dictionaries(_some_pattern, st.sampled_from(TrustLevel), max_size=4),
)


@settings(deadline=None)
@given(_policies)
def test_a_written_policy_reads_back(policy: Policy) -> None:
    assert parse_policy(tomllib.loads(policy_toml(policy))) == policy


@settings(deadline=None)
@given(_policies, _name)
@pytest.mark.spec("trust-8")
def test_deny_wins_and_every_domain_has_a_level(policy: Policy, domain: DomainName) -> None:
    level, rule = policy.level_of(domain)
    assert rule
    if any(p in policy.deny for p in policy_module._patterns_for(domain)):
        assert level is NONE


@settings(deadline=None)
@given(_policies, _name)
def test_the_last_rule_that_is_asked_is_the_one_that_decides(policy: Policy, domain: DomainName) -> None:
    asked = policy.consider(domain)
    assert [rule.decides for rule in asked] == [False] * (len(asked) - 1) + [True]
    level, rule = policy.level_of(domain)
    key, _, why = asked[-1]
    if key in ("deny", "allow"):
        assert level is NONE
        assert rule.startswith(key)
    else:
        assert why == f'= "{level}"'
        assert rule == (f"default {why}" if key == "default" else f"levels has {key.removeprefix('levels.')} {why}")
    keys = [rule.key for rule in asked]
    patterns = [f'levels."{pattern}"' for pattern in policy_module._patterns_for(domain)]
    assert keys == ["deny", "allow", *patterns, "default"][: len(keys)]


@pytest.mark.parametrize(
    ("domain", "pace"),
    [
        ("friend.example", "prompt"),  # by its level
        ("other.example", "tick"),
        ("a.corp.example", "prompt"),  # by the suffix, which says more than the level
        ("x.corp.example", "tick"),  # by its name
        ("shy.example", "tick"),
        ("bad.example", "tick"),
    ],
)
def test_when_a_peer_is_told_who_is_online(domain: str, pace: str) -> None:
    policy = parse_policy(
        {
            "deny": ["bad.example"],
            "levels": {"friend.example": "full", "shy.example": "full", "bad.example": "full"},
            "presence": {"Shy.example.": "tick", "*.corp.example": "prompt", "x.corp.example": "tick"},
        }
    )
    assert policy.pace_of(DomainName(domain)) == pace
    assert parse_policy(tomllib.loads(policy_toml(policy))) == policy


def test_mistakes_about_presence_are_all_told_with_their_keys() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_policy({"presence": {"a.example": "soon", "b.example": 2, "*": "tick", "A.example": "tick"}})
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        'presence."a.example"',
        'presence."b.example"',
        'presence."*"',
        'presence."A.example"',
    ]
    with pytest.raises(ConfigError, match="presence: a table"):
        parse_policy({"presence": "prompt"})
