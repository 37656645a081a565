"""How many unproved claims are looked up: a flood of false callers must cost little and keep no true one out.

in: claimed domain, caller's address and TLS key digest, time; out: Admission with a reason. Bounded memory.
Never: looks anything up. Lookups for one domain are merged by the resolver; this bounds how often it is asked.
"""

# A claim costs a discovery, and is free for the caller until AUTH. Counting by domain alone would let anybody lock the
# true owner out by making false claims in its name. So there are three rules:
#
# 1. A caller is the pair (domain, address), IPv6 by /64. It has one claim at a time being looked up, and
#    limits.CLAIMS_PER_DOMAIN_PER_MINUTE unproved ones in a window; a proof wipes its count. Callers at other addresses
#    have counts of their own.
# 2. All callers together have limits.CLAIMS_PER_MINUTE unproved claims in a window: the bound on work, whatever names
#    and addresses a botnet brings.
# 3. A domain's TLS key with which it proved its identity before makes a *known* caller: counted by (domain, key), not
#    by address, and not under rule 2. TLS has checked that the caller holds the key, so nobody else spends this count:
#    not from the same address (a shared host, a NAT), and not by any flood.
#
# Left over: during a flood from very many addresses a domain that never proved itself here competes under rule 2 for
# its first contact, and behind one address with an attacker it competes under rule 1. Both get BUSY, which is no
# failure of theirs, and try again; and our own dialling to them is not touched. Whoever has many signed domains can
# push others out of the known callers (limits.KNOWN_CALLERS, oldest first): these fall back to rules 1 and 2. A claim
# under look-up is freed by `release`, and after limits.HANDSHAKE if that is forgotten.

import ipaddress
from collections import Counter, OrderedDict, deque

import attrs

from volly_fed import limits
from volly_fed.names import DomainName


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
    """Whether a claim is looked up, and why not. Hand it back: `release` in any case, `proved` on success."""

    allowed: bool
    reason: str
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
        self._strangers = 0
        self._flights: dict[_Caller, Admission] = {}
        self._known: OrderedDict[DomainName, tuple[bytes, ...]] = OrderedDict()

    def admit(self, domain: DomainName, *, address: str, spki_sha256: bytes, now: float) -> Admission:
        """Count one claim of `domain` from `address`, whose TLS key TLS has checked; `now` must not run backwards.

        A refused claim is to be answered BUSY; it is not counted and needs no release. Raises ValueError if `address`
        is not an IP address.
        """
        self._forget(now)
        known = spki_sha256 in self._known.get(domain, ())
        caller = _Caller(domain, spki_sha256 if known else source_of(address))
        reason = self._objection(caller)
        admission = Admission(not reason, reason or "within the limits", caller, spki_sha256, now)
        if admission.allowed:
            self._recent.append(admission)
            self._counts[caller] += 1
            self._strangers += not caller.known
            self._flights[caller] = admission
        return admission

    def release(self, admission: Admission) -> None:
        """The look-up is over, whatever came of it: the caller may claim again. Twice is once."""
        if self._flights.get(admission.caller) is admission:
            del self._flights[admission.caller]

    def proved(self, admission: Admission) -> None:
        """The claim was true (AUTH verified): wipe the caller's count and know its TLS key from now on."""
        self.release(admission)
        self._recent = deque(self._uncounted(admission.caller))
        self._remember(admission.caller.domain, admission.spki_sha256)

    def _objection(self, caller: _Caller) -> str:
        if caller in self._flights:
            return "a claim of this name from there is being looked up"
        if self._counts[caller] >= limits.CLAIMS_PER_DOMAIN_PER_MINUTE:
            return "too many unproved claims of this name from there"
        if not caller.known and self._strangers >= limits.CLAIMS_PER_MINUTE:
            return "too many unproved claims at the moment"
        return ""

    def _uncounted(self, caller: _Caller) -> list[Admission]:
        """The recent claims without those of `caller`, whose counts go."""
        rest = [a for a in self._recent if a.caller != caller]
        self._strangers -= (len(self._recent) - len(rest)) * (not caller.known)
        del self._counts[caller]
        return rest

    def _remember(self, domain: DomainName, spki_sha256: bytes) -> None:
        others = tuple(key for key in self._known.get(domain, ()) if key != spki_sha256)
        self._known[domain] = (*others, spki_sha256)[-limits.KEYS_PER_KNOWN_CALLER :]
        self._known.move_to_end(domain)
        if len(self._known) > limits.KNOWN_CALLERS:
            self._known.popitem(last=False)

    def _forget(self, now: float) -> None:
        while self._recent and self._recent[0].at <= now - limits.CLAIM_WINDOW:
            old = self._recent.popleft()
            self._strangers -= not old.caller.known
            self._counts[old.caller] -= 1
            if not self._counts[old.caller]:
                del self._counts[old.caller]
        for caller in [c for c, flight in self._flights.items() if flight.at <= now - limits.HANDSHAKE]:
            del self._flights[caller]
