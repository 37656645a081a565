"""What an honest end does: which HELLOs it takes, what it sees then, what it signs and what it wants signed.

in: a Setting, an End; out: sent, choices, Choice. Mirrors volly_fed/handshake/exchange.py and daemon/judge.py.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple

from tests.handshake.model.network import End, Network
from tests.handshake.model.terms import ACCEPTOR, DIALLER, Hello, Transcript, View
from tests.handshake.model.world import HONEST, Check, E, Power, Setting, identity_of, tls_key_of

VERSIONS, FEWER_VERSIONS = 2, 1
EXTENSIONS, NO_EXTENSIONS = "x", "none"
ATTACKERS_NONCE = "nonce e"
Signature = tuple[str, Transcript]
"""Whose, over what."""


class Choice(NamedTuple):
    """A HELLO that an end can be sent, and what follows: its own AUTH, and the one that it wants.

    `forgeable`: the attacker can make the AUTH that it wants. `concerns_us`: there is something to hold, for an honest
    domain is named, or an identity is shown that only such a one has (nobody's proof serves under another's name).
    """

    heard: Hello
    view: View
    signs: Signature
    wants: Signature
    forgeable: bool
    concerns_us: bool


def sent(end: End) -> Hello:
    """The HELLO of an honest end."""
    return Hello(VERSIONS, end.own, end.peer, identity_of(end.own), f"nonce {end.number + 1}", EXTENSIONS)


def choices(
    setting: Setting, network: Network, end: End, transcript: Callable[[View, str], Transcript]
) -> list[Choice]:
    """Every HELLO that `end` takes: its partner's as it was sent, or, where the connection is open, any."""
    partner = None if end.partner is None else network[end.partner]
    heard = _anything(setting, network, end) if partner is None or end.open else [sent(partner)]
    return [_choice(setting, end, hello, transcript) for hello in heard if _takes(setting, end, hello)]


def _anything(setting: Setting, network: Network, end: End) -> Iterator[Hello]:
    """Every HELLO made of what the attacker knows: all names, keys and nonces. (What is refused anyhow left out.)"""
    names = (*HONEST, E)
    own = (end.peer,) if _looks_at_name(setting, end) else names
    wanted = names if Check.WANTED_NAME in setting.skipped else (end.own,)
    identities = setting.identities_of(end.kind, end.peer)
    nonces = (ATTACKERS_NONCE, *(sent(other).nonce for other in network if other is not None))
    fields = ((VERSIONS, FEWER_VERSIONS), own, wanted, identities, nonces, (EXTENSIONS, NO_EXTENSIONS))
    return (Hello(*values) for values in product(*fields))


def _looks_at_name(setting: Setting, end: End) -> bool:
    """An acceptor's `peer` is whatever HELLO claims."""
    return end.role == ACCEPTOR or Check.ANSWER_NAME not in setting.skipped


def _takes(setting: Setting, end: End, hello: Hello) -> bool:
    if hello.wanted != end.own and Check.WANTED_NAME not in setting.skipped:
        return False
    if hello.own != end.peer and _looks_at_name(setting, end):
        return False
    if hello.identity == identity_of(end.own) and Check.OWN_IDENTITY not in setting.skipped:
        return False
    return hello.identity in setting.identities_of(end.kind, end.peer)


def _choice(setting: Setting, end: End, hello: Hello, transcript: Callable[[View, str], Transcript]) -> Choice:
    exporter = "always the same" if Power.EXPORTER in setting.powers else end.connection
    own_key, other_key = tls_key_of(end.own), end.shown_key
    if end.role == DIALLER:
        keys, hellos, other = (own_key, other_key), (sent(end), hello), ACCEPTOR
    else:
        keys, hellos, other = (other_key, own_key), (hello, sent(end)), DIALLER
    view = View(exporter, end.kind, end.group, *keys, *hellos)
    signs = identity_of(end.own), transcript(view, end.role)
    wants = hello.identity, transcript(view, other)
    theirs = {identity_of(d) for d in HONEST if not setting.stolen(d)}
    concerns_us = hello.own in HONEST or hello.identity in theirs
    return Choice(hello, view, signs, wants, end.open and hello.identity in setting.signable, concerns_us)
