"""Who is online, as devices have announced it, and what follows for each peer: the decisions of showing, all of them.

in: announcements (whose, epoch, scope -> tag) and their end; the scopes that reach a peer.
out: the tags that a peer is shown; and for each change, which tag goes and which comes for it, if any.
Never: looks at a clock, a link or a filter. The gate `show` is asked in `reach`, and nowhere else.

Several may announce the same tag: a user's devices, a device that moves to another edge, anybody with the same key.
Such a tag comes with the first and goes with the last who shows it to that peer, so they are counted, in constant time.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

import attrs

from volly_fed import limits_presence
from volly_fed.codepoints import TrustLevel
from volly_fed.names import DomainName
from volly_fed.trust import gates
from volly_fed.trust.gates import EVERYBODY

Tags: TypeAlias = Mapping[str, bytes]
"""Scope -> tag, of one announcer in one epoch."""
Who: TypeAlias = tuple[int, int]
"""An announcer: number of an edge's link, number of a connection there."""
Reach: TypeAlias = tuple[str, ...]
"""The scopes that reach a peer. Of a user who has several of them, it is shown the tag of the first."""
NO_TAGS: Final[Tags] = MappingProxyType({})


def reach(level: TrustLevel, domain: DomainName) -> Reach:
    """The scopes whose users the gate `show` lets `domain` see on `level`."""
    return tuple(s for s in (domain, EVERYBODY) if gates.show(level, domain, (s,)).allowed)  # [presence-14]


@attrs.frozen
class Change:
    """What one announcer's tags were in an epoch, and what they are now."""

    epoch: int
    before: Tags = attrs.field(repr=False)
    after: Tags = attrs.field(repr=False)

    @property
    def domains(self) -> set[str] | None:
        """The peers it may concern; None: all."""
        before, after = self.before, self.after
        scopes = {scope for scope in (*before, *after) if before.get(scope) != after.get(scope)}
        return None if EVERYBODY in scopes else scopes


class Roster:
    """Everybody, by epoch."""

    def __init__(self) -> None:
        self._epochs: dict[int, _Epoch] = {}
        self._links: dict[int, _Link] = {}
        self._announcers = 0

    def announce(self, who: Who, epoch: int, tags: Tags) -> Change | None:
        """`who` is online with `tags` in `epoch`, whatever it has announced for it before; None: there is no room."""
        link = self._links.setdefault(who[0], _Link())
        state = self._epochs.setdefault(epoch, _Epoch())
        before = state.announced.get(who, NO_TAGS)
        more = len(tags) - len(before)
        new = who[1] not in link.numbers
        if (more > 0 and link.tags + more > limits_presence.ANNOUNCED_TAGS_PER_EDGE) or (
            new and self._announcers >= limits_presence.ANNOUNCERS
        ):
            return None
        self._announcers += new
        link.numbers.add(who[1])
        link.tags += more
        state.put(who, tags)
        return Change(epoch, before, tags)

    def retract(self, who: Who) -> Iterator[Change]:
        """`who` is online no longer; each change is to be acted on before the next is asked for."""
        link = self._links.get(who[0])
        if link is None or who[1] not in link.numbers:
            return
        link.numbers.remove(who[1])
        self._announcers -= 1
        for number, epoch in self._epochs.items():
            if before := epoch.put(who, NO_TAGS):
                link.tags -= len(before)
                yield Change(number, before, NO_TAGS)

    def numbers(self, link: int) -> list[int]:
        """All who have announced something through this link and are still online."""
        return list(self._links[link].numbers) if link in self._links else []

    def forget_link(self, link: int) -> None:
        """Nobody comes through this link any more; whoever did has retracted."""
        self._links.pop(link, None)

    def expire(self, oldest: int) -> None:
        """Nobody is shown in an epoch before `oldest` any more."""
        for number in [number for number in self._epochs if number < oldest]:
            for (link, _), tags in self._epochs.pop(number).announced.items():
                self._links[link].tags -= len(tags)

    def tags(self, epoch: int, domain: DomainName, scopes: Reach) -> set[bytes]:
        """All that `domain`, which `scopes` reach, is shown in `epoch`, each once."""
        state = self._epochs.get(epoch)
        return set() if state is None else state.tags(domain, scopes)

    def difference(self, change: Change, domain: DomainName, scopes: Reach) -> tuple[bytes | None, bytes | None]:
        """(gone, come): what `change`, the last there was, means for `domain`, which `scopes` reach."""
        gone, come = _first(scopes, change.before), _first(scopes, change.after)
        if gone == come:
            return None, None
        showing = self._epochs[change.epoch].showing
        return (
            None if gone is None or showing(gone, domain, scopes) else gone,
            None if come is None or showing(come, domain, scopes) > 1 else come,
        )


@attrs.define
class _Link:
    """What has come through one edge's link."""

    numbers: set[int] = attrs.field(factory=set)
    tags: int = 0


class _Epoch:
    """Everybody's tags in one epoch."""

    def __init__(self) -> None:
        self.announced: dict[Who, Tags] = {}
        self._scopes: defaultdict[str, dict[Who, bytes]] = defaultdict(dict)
        self._uses: defaultdict[tuple[str, bytes], int] = defaultdict(int)
        """(scope, tag) -> how many have announced it."""
        self._hidden: defaultdict[tuple[str, bytes], int] = defaultdict(int)
        """(domain, tag) -> how many have announced it for "*", and show this domain another: the one of its own."""

    def put(self, who: Who, tags: Tags) -> Tags:
        """These are the tags of `who`; those before."""
        before = self.announced.pop(who, NO_TAGS)
        self._count(before, -1)
        self._count(tags, 1)
        for scope in before:
            del self._scopes[scope][who]
            if not self._scopes[scope]:
                del self._scopes[scope]
        for scope, tag in tags.items():
            self._scopes[scope][who] = tag
        if tags:
            self.announced[who] = tags
        return before

    def _count(self, tags: Tags, step: int) -> None:
        everybodys = tags.get(EVERYBODY)
        for scope, tag in tags.items():
            _add(self._uses, (scope, tag), step)
            if everybodys is not None and scope != EVERYBODY:
                _add(self._hidden, (scope, everybodys), step)

    def showing(self, tag: bytes, domain: DomainName, scopes: Reach) -> int:
        """How many show `tag` to `domain`."""
        count = sum(self._uses.get((scope, tag), 0) for scope in scopes)
        return count - self._hidden.get((domain, tag), 0) if domain in scopes and EVERYBODY in scopes else count

    def tags(self, domain: DomainName, scopes: Reach) -> set[bytes]:
        found: set[bytes] = set()
        named = self._scopes.get(domain, {}) if domain in scopes else {}
        for scope in scopes:
            announced = self._scopes.get(scope, {})
            others = (
                announced.values()
                if scope == domain or not named
                else (tag for who, tag in announced.items() if who not in named)
            )
            found.update(others)
        return found


def _first(scopes: Reach, tags: Tags) -> bytes | None:
    return next((tags[scope] for scope in scopes if scope in tags), None)


def _add(counts: defaultdict[tuple[str, bytes], int], key: tuple[str, bytes], step: int) -> None:
    counts[key] += step
    if not counts[key]:
        del counts[key]
