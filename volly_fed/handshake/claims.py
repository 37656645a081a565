"""How many unproved claims are looked up: a flood of false callers must cost little and keep no true one out.

in: claimed domain, caller's address and TLS key digest, time; out: Admission with a reason. Bounded memory.
Never: looks anything up. Lookups for one domain are merged by the resolver; this bounds how often it is asked.
"""

# A claim costs a discovery, and is free for the caller until AUTH. Counting by domain alone would let anybody lock the
# true owner out by making false claims in its name. So there are four rules:
#
# 1. A caller is the pair (domain, address), IPv6 by /64. It has one claim at a time being looked up, and
#    limits.CLAIMS_PER_DOMAIN_PER_MINUTE unproved ones in a window; a proof wipes its count. Callers at other addresses
#    have counts of their own. Whatever names it brings, an address has limits.CLAIMS_PER_ADDRESS_PER_MINUTE.
# 2. All callers together have limits.CLAIMS_PER_MINUTE unproved claims in a window: the bound on work, whatever names
#    and addresses a botnet brings.
# 3. A domain's TLS key with which it proved its identity before makes a *known* caller: counted by (domain, key), not
#    by address, and not under rule 2. TLS has checked that the caller holds the key, so nobody else spends this count:
#    not from the same address (a shared host, a NAT), and not by any flood.
# 4. A domain has limits.LINKS_PER_DOMAIN_PER_MINUTE proofs, whatever keys and addresses it has: who connects and
#    disconnects in a loop is true and costly all the same. Only proofs count, so nobody else spends these either.
#
# Left over: during a flood from very many addresses a domain that never proved itself here competes under rule 2 for
# its first contact, and behind one address with an attacker it competes under rule 1. Both get BUSY, which is no
# failure of theirs, and try again; and our own dialling to them is not touched. Whoever has many signed domains can
# push others out of the known callers (limits.KNOWN_CALLERS, oldest first): these fall back to rules 1 and 2. A claim
# under look-up is freed by `release`, and after limits.HANDSHAKE if that is forgotten.

import ipaddress
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Final, TypeVar

import attrs

from volly_fed import limits
from volly_fed.handshake.rates import Rates
from volly_fed.names import DomainName

K = TypeVar("K", bound=Hashable)

TOO_MANY_LINKS: Final = "this name has had too many links in the last minute"


@attrs.frozen
class _Caller:
    domain: DomainName
    mark: str | bytes
    """Address of a stranger, TLS key digest of a known caller."""

    @property
    def known(self) -> bool:
        return isinstance(self.mark, bytes)


@attrs.frozen(eq=False)
class Admission:
    """Whether a claim is looked up, and why not. Hand it back: `release` in any case, `proved` on success.

    `retry_after`: seconds before another claim of the caller's would be, as things stand.
    """

    allowed: bool
    reason: str
    retry_after: int
    caller: _Caller
    spki_sha256: bytes
    at: float


def source_of(address: str) -> str:
    """What an IP address counts as: IPv4 itself, IPv6 its /64. Raises ValueError if it is no address."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(ipaddress.ip_network((int(parsed), 64), strict=False))
        parsed = parsed.ipv4_mapped
    return str(parsed)


class ClaimGuard:
    """The counts of one listener (or of several that share it)."""

    def __init__(self) -> None:
        self._recent: deque[Admission] = deque()
        self._counts: Counter[_Caller] = Counter()
        self._addresses: Counter[str | bytes] = Counter()
        self._strangers = 0
        self._flights: dict[_Caller, Admission] = {}
        self._known: OrderedDict[DomainName, tuple[bytes, ...]] = OrderedDict()
        links = limits.LINKS_PER_DOMAIN_PER_MINUTE
        self._links: Rates[DomainName] = Rates(burst=links, per_second=links / 60, size=limits.KNOWN_CALLERS)

    def admit(self, domain: DomainName, *, address: str, spki_sha256: bytes, now: float) -> Admission:
        """Count one claim of `domain` from `address`, whose TLS key TLS has checked; `now` must not run backwards.

        A refused claim is to be answered BUSY; it is not counted and needs no release. Raises ValueError if `address`
        is not an IP address.
        """
        self._forget(now)
        known = spki_sha256 in self._known.get(domain, ())
        caller = _Caller(domain, spki_sha256 if known else source_of(address))  # [handshake-37]
        reason, wait = self._objection(caller, now)
        retry_after = math.ceil(wait)
        admission = Admission(not reason, reason or "within the limits", retry_after, caller, spki_sha256, now)
        if admission.allowed:
            self._recent.append(admission)
            self._count(caller, 1)
            self._flights[caller] = admission
        return admission

    def release(self, admission: Admission) -> None:
        """The look-up is over, whatever came of it: the caller may claim again. Twice is once."""
        if self._flights.get(admission.caller) is admission:
            del self._flights[admission.caller]

    def proved(self, admission: Admission, now: float) -> int:
        """The claim was true (AUTH verified): wipe the caller's count and know its TLS key from now on.

        Other than 0: it has had too many links, and is to be answered BUSY with that many seconds.
        """
        self.release(admission)
        caller = admission.caller
        rest = deque(a for a in self._recent if a.caller != caller)
        self._count(caller, len(rest) - len(self._recent))
        self._recent = rest
        self._remember(caller.domain, admission.spki_sha256)
        wait = math.ceil(self._links.wait(caller.domain, now))
        self._links.take(caller.domain, now)
        return wait

    def _objection(self, caller: _Caller, now: float) -> tuple[str, float]:
        """Why not, and for how long."""
        if caller in self._flights:
            return "a claim of this name from there is being looked up", limits.CLAIM_RETRY_AFTER
        if wait := self._links.wait(caller.domain, now):
            return TOO_MANY_LINKS, wait
        if self._counts[caller] >= limits.CLAIMS_PER_DOMAIN_PER_MINUTE:  # [handshake-36]
            wait = self._until_less(lambda other: other == caller, now)
            return "too many unproved claims of this name from there", wait
        if caller.known:
            return "", 0
        if self._addresses[caller.mark] >= limits.CLAIMS_PER_ADDRESS_PER_MINUTE:
            wait = self._until_less(lambda other: other.mark == caller.mark, now)
            return "too many unproved claims from there", wait
        if self._strangers >= limits.CLAIMS_PER_MINUTE:
            return "too many unproved claims at the moment", self._until_less(lambda other: not other.known, now)
        return "", 0

    def _until_less(self, counted: Callable[[_Caller], bool], now: float) -> float:
        """Seconds until the first of those that are counted is forgotten."""
        first = next(a for a in self._recent if counted(a.caller))
        return first.at + limits.CLAIM_WINDOW - now

    def _count(self, caller: _Caller, number: int) -> None:
        """So many more, or fewer, of the recent claims are `caller`'s."""
        _add(self._counts, caller, number)
        if not caller.known:
            _add(self._addresses, caller.mark, number)
            self._strangers += number

    def _remember(self, domain: DomainName, spki_sha256: bytes) -> None:
        others = tuple(key for key in self._known.get(domain, ()) if key != spki_sha256)
        self._known[domain] = (*others, spki_sha256)[-limits.KEYS_PER_KNOWN_CALLER :]
        self._known.move_to_end(domain)
        if len(self._known) > limits.KNOWN_CALLERS:
            self._known.popitem(last=False)

    def _forget(self, now: float) -> None:
        while self._recent and self._recent[0].at <= now - limits.CLAIM_WINDOW:
            self._count(self._recent.popleft().caller, -1)
        for caller in [c for c, flight in self._flights.items() if flight.at <= now - limits.HANDSHAKE]:
            del self._flights[caller]


def _add(counts: Counter[K], key: K, number: int) -> None:
    counts[key] += number
    if not counts[key]:
        del counts[key]
