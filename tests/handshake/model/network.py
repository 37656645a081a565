"""Who is connected with whom: every way in which the attacker can arrange the four sessions.

in: a Setting; out: End, Network, networks.
A connection is between two honest ends, or the attacker terminates it and shows a TLS key that he can use. Whoever
looks at a TLS key in TLSA has done so here: other connections are refused and lead nowhere.
"""

# Connecting needs nothing that a session does later, so it comes first in every run: an arrangement is chosen, and then
# searched. A session that the attacker leaves alone is one that he connects and sends nothing to.

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from tests.handshake.model.terms import ACCEPTOR, DIALLER
from tests.handshake.model.world import HONEST, B, Check, E, Group, Kind, Power, Setting, tls_key_of


class End(NamedTuple):
    """One honest end of a connection. `peer` is whom it dials, or who claims to call; `partner` the other honest end.

    `open`: the attacker reads and writes inside the connection, because he terminates it or broke its key exchange.
    """

    number: int
    own: str
    kind: Kind
    role: str
    peer: str
    connection: str
    partner: int | None
    open: bool
    shown_key: str
    group: str


Network = tuple[End | None, ...]
_DIALLERS, _ACCEPTORS = (0, 1), (2, 3)


def networks(setting: Setting) -> Iterator[Network]:
    """Every arrangement, once; None stands for a session that can be connected with nobody."""
    for pairs in _matchings(setting):
        free = [n for n in (*_DIALLERS, *_ACCEPTORS) if all(n not in pair for pair in pairs)]
        arranged = [list(_between(setting, *pair)) for pair in pairs]
        arranged += [[(leg,) for leg in _with_attacker(setting, n)] or [()] for n in free]
        for chosen in product(*arranged):
            ends = {end.number: end for some in chosen for end in some}
            network = tuple(ends.get(n) for n in (*_DIALLERS, *_ACCEPTORS))
            if not (_is_symmetric(setting) and _is_a_mirror_image(network, pairs)):
                yield network


def _numbers(setting: Setting, acceptors: bool) -> tuple[int, ...]:
    """The sessions that take place."""
    return (_ACCEPTORS if acceptors else _DIALLERS)[: setting.sessions[acceptors]]


def _matchings(setting: Setting) -> list[tuple[tuple[int, int], ...]]:
    """Which diallers are connected with which acceptors."""
    sessions = setting.scenario.value
    may = [
        (i, j)
        for i, j in product(_numbers(setting, False), _numbers(setting, True))
        if sessions[i][1] is sessions[j][1]  # otherwise TLS finds no common ALPN
        and (sessions[i][0] != sessions[j][0] or Check.OWN_IDENTITY in setting.skipped)
    ]
    two = [(x, y) for x in may for y in may if x < y and x[0] != y[0] and x[1] != y[1]]
    if _is_symmetric(setting):
        return [(), ((0, 2),), ((0, 2), (1, 3))][: min(setting.sessions) + 1]
    return [(), *((pair,) for pair in may), *two]


def _is_symmetric(setting: Setting) -> bool:
    """Whether the two diallers, and the two acceptors, can be exchanged for one another."""
    one, other = setting.scenario.value[:2]
    return one == other and setting.sessions == (2, 2)


def _is_a_mirror_image(ends: Network, pairs: tuple[tuple[int, int], ...]) -> bool:
    """Whether the same arrangement, with the two diallers or the two acceptors exchanged, comes first."""
    if len(pairs) == 1:
        return False
    first, second, third, fourth = (_looks(end) for end in ends)
    if pairs:
        return (first, third) > (second, fourth)
    return first > second or third > fourth


def _looks(end: End | None) -> tuple[str, str, str]:
    return ("", "", "") if end is None else (end.peer, end.shown_key, end.group)


def _peers(setting: Setting, number: int) -> list[str]:
    """Whom a session may dial, or who may claim to call it."""
    own, kind = setting.scenario.value[number]
    if kind is Kind.EDGE and number in _DIALLERS:
        return [B]  # the only homeserver it is configured for
    return [d for d in (*HONEST, E) if d != own or Check.OWN_IDENTITY in setting.skipped]


def _between(setting: Setting, i: int, j: int) -> Iterator[tuple[End, ...]]:
    """The connections of the honest dialler `i` with the honest acceptor `j`."""
    (dialler, kind), (acceptor, _) = setting.scenario.value[i], setting.scenario.value[j]
    inside = Power.KEY_EXCHANGE in setting.powers
    connection = f"{i + 1}-{j + 1}"
    for wanted in _peers(setting, i):
        if not setting.may_show_tls_key(kind, wanted, tls_key_of(acceptor)):
            continue
        first = End(i, dialler, kind, DIALLER, wanted, connection, j, inside, tls_key_of(acceptor), Group.HYBRID)
        # The dialler's certificate comes after all that the exporter covers: who broke the key exchange can replace it.
        # The acceptor's comes before, and its signature covers the whole exchange, ALPN and group included.
        claims = _peers(setting, j) if inside else [dialler]
        keys = {tls_key_of(dialler), *(setting.usable_tls_keys if inside else ())}
        for claimed, key in product(claims, sorted(keys)):
            if setting.may_show_tls_key(kind, claimed, key):
                yield first, End(j, acceptor, kind, ACCEPTOR, claimed, connection, i, inside, key, Group.HYBRID)


def _with_attacker(setting: Setting, number: int) -> Iterator[End]:
    """The connections of session `number` that the attacker terminates."""
    if number not in _numbers(setting, number in _ACCEPTORS):
        return
    own, kind = setting.scenario.value[number]
    role = DIALLER if number in _DIALLERS else ACCEPTOR
    connection = f"{number + 1}-e"
    lax = Power.CLASSICAL_GROUP in setting.powers and own == B
    for peer, key, group in product(_peers(setting, number), setting.usable_tls_keys, Group):
        if setting.may_show_tls_key(kind, peer, key) and (group is Group.HYBRID or lax):
            yield End(number, own, kind, role, peer, connection, None, True, key, group)
