"""The trust policy: which level a domain has, and by which rule.

in: the tables of trust.toml as plain values; out: a frozen Policy, or ConfigError with every problem and its key.
Order: deny, allow (where there is such a list), exact name, longest *.suffix, default.
Never: reads a file, or treats a name of ours differently from others.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import attrs

from volly_fed.codepoints import TrustLevel
from volly_fed.errors import ConfigError
from volly_fed.names import BadName, DomainName, parse_domain

EXAMPLE = """\
# Whom this server trusts, and how far. `volly-fed reload` reads it again; a file with mistakes is
# refused and the old one stays.
#
#   full       envelopes both ways; presence both ways
#   selective  as full, but only to mailboxes (and of users) that named the peer, or everybody ("*")
#   metadata   presence only: no envelopes in either direction
#   none       no link at all
#
# The first that applies decides: deny, allow, the exact name, the longest *.suffix, default.
# "*.example.org" stands for every name below example.org, not for example.org itself.

default = "selective"

# These are `none`, whatever else is said about them.
deny = []

# With this list, everybody who is not in it is `none`; an empty list means nobody.
# allow = ["friend.example", "*.corp.example"]

# When a peer hears that somebody has come or gone: at once ("prompt"), by which it learns when, or
# every two seconds, whether anybody has or not ("tick").
# Unless it is named here, or below a suffix, "prompt" where its level is full, else "tick".
[presence]
# "friend.example" = "tick"

[levels]
# "friend.example" = "full"
# "*.corp.example" = "metadata"
"""

_KEYS = ("default", "deny", "allow", "levels", "presence")
PACES = ("prompt", "tick")
_LEVELS = ", ".join(f'"{level}"' for level in TrustLevel)


T = TypeVar("T")


class Ruling(NamedTuple):
    """A domain's level, and the rule of the policy that decided, in words."""

    level: TrustLevel
    rule: str


class Consideration(NamedTuple):
    """One rule that was asked about a domain: its key in trust.toml, whether it decided, and why or why not."""

    key: str
    decides: bool
    why: str


def _read_only(levels: Mapping[str, TrustLevel]) -> Mapping[str, TrustLevel]:
    return MappingProxyType(dict(levels))


def _read_only_paces(paces: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(paces))


@attrs.frozen(kw_only=True)
class Policy:
    """Who is trusted how far. Patterns are canonical: a domain name, or `*.` and a domain name."""

    default: TrustLevel = TrustLevel.SELECTIVE
    deny: frozenset[str] = frozenset()
    allow: frozenset[str] | None = None
    levels: Mapping[str, TrustLevel] = attrs.field(factory=dict, converter=_read_only)
    presence: Mapping[str, str] = attrs.field(factory=dict, converter=_read_only_paces)
    """Pattern -> one of PACES."""

    def level_of(self, domain: DomainName) -> Ruling:
        """The level of `domain` and the rule it follows from. Every domain has one; nothing is raised."""
        matching = tuple(_patterns_for(domain))
        for pattern in matching:
            if pattern in self.deny:
                return Ruling(TrustLevel.NONE, f'deny has "{pattern}"')
        if self.allow is not None and self.allow.isdisjoint(matching):  # [trust-8]
            return Ruling(TrustLevel.NONE, "allow is empty" if not self.allow else f'allow does not have "{domain}"')
        for pattern in matching:
            if pattern in self.levels:
                return Ruling(self.levels[pattern], f'levels has "{pattern}" = "{self.levels[pattern]}"')
        return Ruling(self.default, f'default = "{self.default}"')

    def consider(self, domain: DomainName) -> tuple[Consideration, ...]:
        """Every rule that is asked about `domain`, in order; the last decides, as `level_of` has it."""
        asked: list[Consideration] = []
        for rule in self._rules(domain):
            asked.append(rule)
            if rule.decides:
                break
        return tuple(asked)

    def _rules(self, domain: DomainName) -> Iterator[Consideration]:
        matching = tuple(_patterns_for(domain))
        denied = next((pattern for pattern in matching if pattern in self.deny), None)
        yield Consideration("deny", denied is not None, f'has "{denied}"' if denied else _no_entry(self.deny))
        if self.allow is None:
            yield Consideration("allow", False, "there is no such list, so it excludes nobody")
        else:
            allowed = next((pattern for pattern in matching if pattern in self.allow), None)
            yield Consideration("allow", allowed is None, f'has "{allowed}"' if allowed else _no_entry(self.allow))
        for pattern in matching:
            level = self.levels.get(pattern)
            why = "there is no such entry" if level is None else f'= "{level}"'
            yield Consideration(f'levels."{pattern}"', level is not None, why)
        yield Consideration("default", True, f'= "{self.default}"')

    def pace_of(self, domain: DomainName) -> str:
        """When `domain` is told who has come or gone, one of PACES: by exact name, longest suffix, or level."""
        named = next((self.presence[pattern] for pattern in _patterns_for(domain) if pattern in self.presence), None)
        return named or ("prompt" if self.level_of(domain).level is TrustLevel.FULL else "tick")


def parse_pattern(text: str) -> str:
    """`text` as a canonical pattern: a domain name, or `*.` and a domain name. Raises BadName."""
    if text == "*":
        raise BadName('"*" alone is not a pattern; write default = … for everybody')
    if text.startswith("*."):
        return "*." + parse_domain(text[2:])
    return parse_domain(text)


def parse_policy(tables: Mapping[str, object]) -> Policy:
    """The policy that `tables`, the content of trust.toml, spells.

    Raises ConfigError with all problems, each beginning with its key. An absent key takes its default; an absent
    `allow` allows everybody, an empty one nobody.
    """
    problems = [f"{key}: there is no such key (known: {', '.join(_KEYS)})" for key in tables if key not in _KEYS]
    policy = Policy(
        default=_level("default", tables.get("default", TrustLevel.SELECTIVE), problems),
        deny=_names("deny", tables.get("deny", []), problems),
        allow=_names("allow", tables["allow"], problems) if "allow" in tables else None,
        levels=_table("levels", tables.get("levels", {}), _level, problems),
        presence=_table("presence", tables.get("presence", {}), _pace, problems),
    )
    if problems:
        raise ConfigError(problems)  # [trust-10]
    return policy


def policy_toml(policy: Policy) -> str:
    """`policy` as the text of a trust.toml, without comments; `parse_policy` reads it back."""
    lines = [f'default = "{policy.default}"', f"deny = {_toml_list(policy.deny)}"]
    if policy.allow is not None:
        lines.append(f"allow = {_toml_list(policy.allow)}")
    for key, table in (("levels", policy.levels), ("presence", policy.presence)):
        lines += ["", f"[{key}]", *(f'"{name}" = "{value}"' for name, value in sorted(table.items()))]
    return "\n".join(lines) + "\n"


def _patterns_for(domain: DomainName) -> Iterator[str]:
    """Every pattern that covers `domain`, the most specific first."""
    yield domain
    rest: str = domain
    while "." in rest:
        rest = rest.partition(".")[2]
        yield f"*.{rest}"


def _no_entry(names: frozenset[str]) -> str:
    return "has no entry that covers it" if names else "is empty"


def _toml_list(names: frozenset[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in sorted(names)) + "]"


def _level(key: str, value: object, problems: list[str]) -> TrustLevel:
    try:
        return TrustLevel(value)  # type: ignore[arg-type] # any value may stand there; unknown ones raise ValueError
    except ValueError:
        unquoted = "; a name with dots stands in quotes" if isinstance(value, Mapping) else ""
        problems.append(f"{key}: a level is one of {_LEVELS}{unquoted}")
        return TrustLevel.NONE


def _pattern(key: str, text: object, problems: list[str]) -> str | None:
    if not isinstance(text, str):
        problems.append(f'{key}: names are texts, such as "friend.example"')
        return None
    try:
        return parse_pattern(text)
    except BadName as error:
        problems.append(f"{key}: {error}")
        return None


def _names(key: str, value: object, problems: list[str]) -> frozenset[str]:
    if not isinstance(value, list):
        problems.append(f'{key}: a list of names is wanted, such as ["friend.example"]')
        return frozenset()
    found = (_pattern(f"{key}[{index}]", text, problems) for index, text in enumerate(value))
    return frozenset(pattern for pattern in found if pattern is not None)


def _pace(key: str, value: object, problems: list[str]) -> str:
    if value not in PACES:
        problems.append(f'{key}: when presence is told is "prompt" or "tick"')
    return str(value)


def _table(name: str, value: object, parse: Callable[[str, object, list[str]], T], problems: list[str]) -> dict[str, T]:
    if not isinstance(value, Mapping):
        problems.append(f'{name}: a table is wanted, with lines such as "friend.example" = …')
        return {}
    table: dict[str, T] = {}
    for text, item in value.items():
        key = f'{name}."{text}"'
        pattern = _pattern(key, text, problems)
        if pattern in table:  # [trust-9]
            problems.append(f"{key}: this name stands here twice, in different spellings")
        elif pattern is not None:
            table[pattern] = parse(key, item, problems)
    return table
