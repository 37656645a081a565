"""What a curious peer learns from a day of presence, attack by attack; exit 1 if it is more than it may.

python -m bench.presence_privacy [--quick] [--seed N] [--users N] [--json FILE] [--plot FILE]
                                [--markdown FILE]

The peer keeps every filter and every change of a simulated day, knows all names, everybody's habits, the program, and
the presence keys of one user in ten. Of all others every figure is an advantage over guessing (0: it may as well guess;
of two alternatives 0.5 is certainty) or a correlation with the truth, with a confidence interval. The same attacks are
made on unkeyed pybloom_live filters of names, where they must succeed. Seeded: the same seed gives the same figures.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import attrs
import numpy as np

from bench.presence_privacy import moments, names, numbers, plain, report
from bench.presence_privacy.report import Figure, Goal
from bench.presence_privacy.seen import Peer, play
from bench.presence_privacy.world import World, make_world
from volly_fed.presence import Pace

SEED = 20260
TICK, PROMPT = "`tick`: changes leave every 2 s", "`prompt`: they leave at once"
UNKEYED, CONTACTS = "unkeyed filter of names, every 2 s", "its own contacts"
FEW = 0.8
"""The bound of a correlation over 48 epochs, whose interval is wide."""


@attrs.frozen(kw_only=True)
class Options:
    """How much is simulated."""

    seed: int = SEED
    users: int = 1000
    epochs: range = range(48)
    filters: int = 3000
    crowds: int = 24
    loose: float = 1.0
    """What intervals may be wider in a quick run."""


QUICK = Options(users=300, epochs=range(14, 24), filters=300, crowds=6, loose=10.0)


def measure(options: Options) -> list[Figure]:
    """All attacks."""
    world, other = (make_world(options.seed + n, options.users, options.epochs) for n in (0, 1))
    figures = against_plain(world)
    for pace, group in ((Pace.TICK, TICK), (Pace.PROMPT, PROMPT)):
        chance = np.random.default_rng([options.seed, 2, pace is Pace.TICK])
        days = [play(each, pace, chance) for each in (world, other)]
        if pace is Pace.TICK:
            figures += about_contacts(world, days[0])
            figures += about_crowds(options, chance)
        figures += against(world, days[0], other, days[1], pace, group, chance)
        if pace is Pace.TICK:
            gone = numbers.after_absence(world, play(world, pace, chance, absent=True))
            figures.append(Figure(group, "how many came and went while it stayed away", gone, Goal.NOTHING, FEW))
    return [attrs.evolve(figure, bound=figure.bound * options.loose) for figure in figures]


def against_plain(world: World) -> list[Figure]:
    """Filters of names."""
    found = plain.attack(world)
    return [
        Figure(UNKEYED, "users online who are found by name", found.online, Goal.EVERYBODY),
        Figure(UNKEYED, "others who are taken for online", found.false, Goal.SAID),
        Figure(UNKEYED, "joiners who are named, every 2 s", found.joiners, Goal.SUCCESS),
        Figure(UNKEYED, "joiners who are recognised in a later epoch", found.linked, Goal.SUCCESS),
        Figure(UNKEYED, "how many are online, from a filter's bits", found.population, Goal.SUCCESS),
    ]


def about_contacts(world: World, peer: Peer) -> list[Figure]:
    """It has their keys: that is what contacts are for."""
    there, dated = names.contacts(world, peer)
    return [
        Figure(CONTACTS, "contacts of whom it knows whether they are online", there, Goal.SAID),
        Figure(CONTACTS, "contacts' comings and goings known within 2 s", dated, Goal.SAID),
    ]


def about_crowds(options: Options, chance: np.random.Generator) -> list[Figure]:
    """Any number of users that a class may have."""
    known, crowds = numbers.crowds(options.crowds, chance), numbers.crowds(options.crowds, chance)
    return [
        Figure(
            TICK, "how many are online, from a filter's bits", numbers.popcounts(options.filters, chance), Goal.NOTHING
        ),
        Figure(
            TICK,
            "how many are online, from an epoch in which nobody moves",
            numbers.population(*crowds, *known),
            Goal.NOTHING,
            1,
        ),
    ]


def against(
    world: World, peer: Peer, other: World, known: Peer, pace: Pace, group: str, chance: np.random.Generator
) -> list[Figure]:
    """Our filters. What may not be known though changes leave at once: who; what then shows: that something happens."""
    timing = Goal.NOTHING if pace is Pace.TICK else Goal.SAID
    learnt = moments.learn(other, known)
    seen, other_seen = (moments.evidence(each, learnt, pace) for each in (peer, known))
    counted = moments.counted(world, peer, seen, other, known, other_seen, chance)
    online, others = names.dictionary(world, peer)
    by_bits, by_stay = names.linked(world, peer, moments.weigh(peer, learnt), chance)
    crowd = numbers.population(
        numbers.online_at_first(world), peer.epochs, numbers.online_at_first(other), known.epochs
    )
    night = moments.who_came(world, seen, chance, night=True)
    figures = [
        Figure(group, "how many are online, from all epochs of the day", crowd, timing, FEW),
        Figure(group, "users online who are found by name", online, Goal.NOTHING, 0.01),
        Figure(group, "others who are taken for online", others, Goal.NOTHING, 0.01),
        Figure(
            group, "which of two has joined, by the bits of a delta", names.named(world, peer, chance), Goal.NOTHING
        ),
        Figure(group, "which of two joined in an earlier epoch, by the bits", by_bits, Goal.NOTHING),
        Figure(group, "which of two joined in an earlier epoch, by their stay", by_stay, timing),
        Figure(group, "visits within an epoch found and dated", moments.found_visits(world, seen, chance), timing),
        Figure(group, "how many come and go in five minutes", counted, Goal.SAID),
        Figure(group, "which of two came, their habits being known", moments.who_came(world, seen, chance), timing),
    ]
    if night.samples:
        figures.append(Figure(group, "which of two came before six in the morning", night, timing, 0.5))
    return figures


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m bench.presence_privacy", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="a smoke test: fewer users, a morning")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--users", type=int)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="SVG; needs the extra `bench`")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="put the figures into it: README.md")
    chosen = parser.parse_args()
    options = attrs.evolve(QUICK if chosen.quick else Options(), seed=chosen.seed)
    options = attrs.evolve(options, users=chosen.users or options.users)
    began = time.monotonic()
    figures = measure(options)
    settings = {"seed": options.seed, "users": options.users, "epochs": len(options.epochs), "quick": chosen.quick}
    print(f"seed {options.seed}: {options.users} users, {len(options.epochs)} epochs of 30 minutes\n")
    print(report.table(figures))
    if chosen.json:
        chosen.json.write_text(json.dumps(report.as_json(figures, settings), indent=2) + "\n")
    if chosen.plot:
        from bench.presence_privacy import plot  # the only one that needs the extra

        plot.draw(figures, chosen.plot)
    if chosen.markdown:
        command = f"python -m bench.presence_privacy --seed {options.seed}"
        report.put_markdown(chosen.markdown, report.markdown(figures, command))
    missed = [figure for figure in figures if not figure.met]
    judged = sum(figure.goal is not Goal.SAID for figure in figures)
    print(f"{len(missed)} of {judged} goals missed; {time.monotonic() - began:.0f} s", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
