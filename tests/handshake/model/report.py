"""What the whole run finds, as rows; and the rows as tables for the document.

in: nothing but the model; out: Finding, attackers, fields, checks, markdown, BEGIN, END.
"""

from collections.abc import Iterator

import attrs

from tests.handshake.model.attackers import ATTACKERS, Attacker
from tests.handshake.model.cases import CHECK_CASES, FIELD_CASES, NOT_MODELLED, Case
from tests.handshake.model.search import Attack, search
from tests.handshake.model.terms import FIELDS
from tests.handshake.model.world import Power, Scenario

BEGIN, END = "<!-- handshake-model: begin -->", "<!-- handshake-model: end -->"
_ENDS = 4
"""All of them can be done where nobody disturbs."""


@attrs.frozen(kw_only=True)
class Finding:
    """One row: what was searched, and whether it came out as expected.

    `states` were visited in all of its searches. `attack` is the one found without the field or check; of an attacker,
    the one by which an agreement falls. `against`: the attackers of the main kind who find one without the field.
    """

    subject: str
    met: bool
    states: int
    attack: Attack | None = None
    against: tuple[str, ...] = ()


def attackers() -> Iterator[Finding]:
    """The whole protocol against each attacker: what must hold does, what is said to fall does."""
    for attacker in ATTACKERS:
        yield _against(attacker)


def _against(attacker: Attacker) -> Finding:
    states, met, shown = 0, True, None
    for scenario in Scenario:
        setting, holds = attacker.setting(scenario), attacker.holds(scenario)
        if holds:
            whole = search(setting, holds)
            states += whole.states
            met = met and whole.attack is None and whole.done == _ENDS
        if scenario in attacker.falls or scenario in attacker.deceived:
            lost = search(setting, excuse=scenario not in attacker.deceived)
            states += lost.states
            met = met and lost.attack is not None
            shown = shown or lost.attack
    return Finding(subject=attacker.name, met=met, states=states, attack=shown)


def fields() -> Iterator[Finding]:
    """Each field left out: against every attacker of the main kind, and in its case."""
    for field in FIELDS:
        states, against = 0, []
        for attacker in (a for a in ATTACKERS if a.main):
            for scenario in (s for s in Scenario if attacker.holds(s)):
                setting = attrs.evolve(attacker.setting(scenario), dropped=frozenset({field}))
                result = search(setting, attacker.holds(scenario))
                states += result.states
                if result.attack is not None and attacker.name not in against:
                    against.append(attacker.name)
        case = _case(FIELD_CASES[field])
        yield attrs.evolve(case, states=case.states + states, against=tuple(against))


def checks() -> Iterator[Finding]:
    """Each check left out, in its case."""
    for case in CHECK_CASES:
        yield _case(case)


def _case(case: Case) -> Finding:
    """An attack without it, none with it, and none in a setting that is any smaller."""
    kept, without = search(case.kept, case.expected), search(case.without, case.expected)
    smaller = [search(setting, case.expected) for setting in case.smaller]
    met = kept.attack is None and without.attack is not None and all(each.attack is None for each in smaller)
    states = kept.states + without.states + sum(each.states for each in smaller)
    return Finding(subject=case.name, met=met, states=states, attack=without.attack)


def markdown(found: tuple[list[Finding], list[Finding], list[Finding]]) -> str:
    """The tables of docs/handshake-model.md."""
    whole, without_field, without_check = found
    lines = ["| attacker, beside the network | what holds | why |", "|---|---|---|"]
    lines += [f"| {a.name} | {_holds(a)} | {a.why} |" for a in ATTACKERS]
    lines += ["", "| signed field | decides where | attack without it | why |", "|---|---|---|---|"]
    for finding in without_field:
        case = FIELD_CASES[finding.subject]
        where = "**main attackers**: " + ", ".join(finding.against) if finding.against else _where(case)
        lines.append(f"| {finding.subject} | {where} | {_broken(finding)} | {case.why} |")
    lines += [f"| {name} | not in the model | | {why} |" for name, why in NOT_MODELLED.items()]
    lines += ["", "| without this check | decides where | attack | why |", "|---|---|---|---|"]
    for finding, case in zip(without_check, CHECK_CASES, strict=True):
        lines.append(f"| {case.name} | {_where(case)} | {_broken(finding)} | {case.why} |")
    states = sum(finding.states for findings in found for finding in findings)
    return "\n".join([*lines, "", f"{len(whole)} attackers, {len(FIELDS)} fields: {states} states visited.", ""])


def _holds(attacker: Attacker) -> str:
    if not attacker.falls and not attacker.deceived:
        return "everything"
    if attacker.deceived:
        return "everything, except for who has not pinned the true identity: **deceived**"
    where = [s.name.lower() for s in Scenario if s in attacker.falls]
    lost = {what for each in attacker.falls.values() for what in each}
    what = ", ".join(sorted(each.name.lower() for each in lost))
    return f"**falls** ({what})" + ("" if len(where) == len(Scenario) else f" in {', '.join(where)}; else everything")


def _where(case: Case) -> str:
    powers = [power.value.partition(":")[0].partition(" (")[0] for power in Power if power in case.powers]
    missing = [f"{field} not signed" for field in sorted(case.with_fields)]
    missing += [check.value for check in sorted(case.with_checks, key=str)]
    kind = [f"{case.scenario.name.lower()} links"] if case.scenario is not Scenario.TWICE else []
    return "; ".join((*powers, *missing, *kind)) or "anywhere"


def _broken(finding: Finding) -> str:
    return "" if finding.attack is None else ", ".join(w.name.lower().replace("_", " ") for w in finding.attack.broken)
