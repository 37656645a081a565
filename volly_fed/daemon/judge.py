"""Who may be linked with: the gates, the limits on claims, discovery and pins, asked in the right order.

in: claimed and proved identities of peers; out: the identities a claim may prove, or an error that refuses it.
The gates `dial`, `accept` and `establish` are asked here and nowhere else.
Never: lets a discovery that is not secure pass, or an identity that differs from its pin without statement, DNS and
cool-off, or the operator's decision.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial

import attrs
import trio

from volly_fed import limits
from volly_fed.channel import Negotiated
from volly_fed.codepoints import ErrorCode, Role, TrustLevel
from volly_fed.daemon.dns.resolver import Resolver
from volly_fed.daemon.identities import Identities, evidence_of
from volly_fed.daemon.refusals import Refusals
from volly_fed.daemon.store.store import Store
from volly_fed.discovery import dane
from volly_fed.discovery.endpoint import Endpoint
from volly_fed.errors import (
    BadMessage,
    Bogus,
    DiscoveryError,
    Insecure,
    NoMatch,
    NoRecords,
    RemoteError,
    StorageError,
)
from volly_fed.handshake import TOO_MANY_LINKS, Admission, Claimed, ClaimGuard, Outcome
from volly_fed.names import DomainName, Fingerprint, fingerprint_text
from volly_fed.observe.log import Log
from volly_fed.observe.tally import Tally
from volly_fed.trust import gates
from volly_fed.trust.continuity import parse_statement
from volly_fed.trust.evidence import Evidence
from volly_fed.trust.pins import Change, IdentityVerdict, Judgement, Quarantine, Shown, Standing, judge_identity, utc
from volly_fed.trust.policy import Policy

# What strangers are told: the rule that decided is in our log, and nobody else's business.
_NOT_LINKED = "the policy here does not allow this link; note: ask the operator of this server"  # [trust-5]
# Both fit into a line of the other end's log (300 characters), unless the names are very long.
_CHANGED = (
    "{own} has pinned another identity of yours ({problem}); note: go back to it and use `volly-fed keys rotate`; if "
    "its key is lost, ask the operator of {own} by another way for `volly-fed trust accept-key {peer}`"
)
_COOLING = (
    "{own} knows your new identity and accepts it from {ready} on; note: leave DNS and statement as they are, "
    "envelopes wait; `volly-fed trust accept-key {peer}` at {own} ends the wait"
)
_VERDICTS: Mapping[type[DiscoveryError], str] = {
    NoRecords: "no_records",
    Insecure: "insecure",
    Bogus: "bogus",
    NoMatch: "no_match",
}


@attrs.define
class Claim:
    """One caller whose claim was looked up and is not proved yet."""

    evidence: Evidence
    admission: Admission


@attrs.define(kw_only=True)
class Judge:
    """One per homeserver; `policy` is replaced when it is reloaded.

    `cool_off` is in seconds. `accepted` is told when the operator has accepted an identity: the domain may be dialled
    again at once, and links on another identity end.
    """

    domain: DomainName
    policy: Policy
    resolver: Resolver
    store: Store
    log: Log
    cool_off: float = limits.COOL_OFF
    refusals: Refusals = attrs.field(factory=Refusals)
    clock: Callable[[], float] = time.time
    tally: Tally = attrs.field(factory=Tally)
    accepted: Callable[[DomainName, Fingerprint], None] = lambda *_: None
    _guard: ClaimGuard = attrs.field(factory=ClaimGuard, init=False)

    def may_dial(self, peer: DomainName) -> gates.Decision:
        """Gate `dial`."""
        decision = gates.dial(self.policy, peer)  # [trust-2]
        if not decision.allowed:
            self._log_refusal(peer, "dial", decision)
        return decision

    async def look_up(self, peer: DomainName) -> tuple[Endpoint, Evidence]:
        """Discover `peer`. Raises DiscoveryError: anything but secure."""
        began, verdict = trio.current_time(), "secure"
        try:
            endpoint = await self.resolver.discover(peer)
        except DiscoveryError as error:
            verdict = _VERDICTS.get(type(error), "indeterminate")
            raise
        finally:
            took = trio.current_time() - began
            self.tally.discovered(verdict, took)
        self.log.discovered(peer=peer, verdict="secure", took_ms=round(took * 1000, 1))
        return endpoint, evidence_of(endpoint, self.clock())

    async def admit(self, claimed: Claimed, negotiated: Negotiated, address: str) -> Claim:
        """Judge a caller's claim, cheapest question first: gate `accept`, limits, discovery, TLS key.

        Raises RemoteError (POLICY, BUSY), DiscoveryError, NoMatch-coded RemoteError (KEY_MISMATCH).
        """
        peer = claimed.domain
        decision = gates.accept(self.policy, peer)  # [trust-3]
        if not decision.allowed:
            # [handshake-15]
            self.refusals.note("accept", lambda count: self._log_refusal(peer, "accept", decision, count))
            raise RemoteError(_NOT_LINKED, code=ErrorCode.POLICY)
        admission = self._guard.admit(
            peer, address=address, spki_sha256=negotiated.peer_spki_sha256, now=trio.current_time()
        )
        if not admission.allowed:
            raise RemoteError(admission.reason, code=ErrorCode.BUSY, retry_after=admission.retry_after)
        try:
            endpoint, evidence = await self.look_up(peer)
            _check_caller(endpoint, negotiated)
        finally:
            self._guard.release(admission)
        return Claim(evidence, admission)

    def proved(self, claim: Claim) -> None:
        """The caller's claim was true. Raises RemoteError BUSY: too many of that domain's were, of late."""
        if wait := self._guard.proved(claim.admission, trio.current_time()):
            raise RemoteError(TOO_MANY_LINKS, code=ErrorCode.BUSY, retry_after=wait)

    async def establish(self, outcome: Outcome, evidence: Evidence) -> TrustLevel:
        """Gate `establish`, then the identity against what is remembered: the trust level frozen into the session.

        What was proved is kept, also about an identity that is refused. Raises RemoteError (POLICY, IDENTITY_MISMATCH).
        """
        peer, now = outcome.peer, self.clock()
        decision = gates.establish(self.policy, peer, evidence, now=now)
        if not decision.allowed:
            self._log_refusal(peer, "establish", decision)
            raise RemoteError(_NOT_LINKED, code=ErrorCode.POLICY)
        judge = partial(
            judge_identity,
            _shown(outcome, evidence),
            now=now,
            cool_off=self.cool_off,
            dialled=outcome.role is Role.DIALLER,
        )
        before, judgement = await self._remember(peer, judge, evidence)  # [trust-16]
        news = self._report(peer, before, judgement, now)
        if not judgement.verdict.trusted:
            if news:
                self._log_refusal(peer, "establish", attrs.evolve(decision, reason=f"{peer}: {judgement.reason}"))
            raise RemoteError(self._answer(peer, judgement), code=ErrorCode.IDENTITY_MISMATCH)  # [handshake-20]
        return decision.level

    async def _remember(
        self, peer: DomainName, judge: Callable[[Standing], Judgement], evidence: Evidence
    ) -> tuple[Standing, Judgement]:
        """The standing before, and what follows from it, which is written down.

        While the disk takes nothing, what is known and stays as it is needs no writing down: else no envelope that is
        there could leave. Raises StorageError for anything new: what is not remembered can be denied later.
        """
        try:
            return await self.store.decide_standing(peer, judge, evidence)
        except StorageError:
            before, judgement = await self.store.judge_standing(peer, judge)
            if not _unchanged(before, judgement.standing):
                raise
            return before, judgement

    # --- for the operator ------------------------------------------------------------------------------------------

    @property
    def register(self) -> Identities:
        """What the operator may see of other domains' identities, and decide about them."""
        return Identities(
            store=self.store, discover=self.resolver.discover, log=self.log, clock=self.clock, accepted=self.accepted
        )

    # --- words -----------------------------------------------------------------------------------------------------

    def _answer(self, peer: DomainName, judgement: Judgement) -> str:
        """What the other operator is told, and can do."""
        change, quarantine = judgement.standing.change, judgement.standing.quarantine
        if judgement.verdict is IdentityVerdict.COOLING and change is not None:
            return _COOLING.format(own=self.domain, peer=peer, ready=utc(change.ready_at))
        problem = "it is not published" if quarantine is None else quarantine.reason
        return _CHANGED.format(own=self.domain, peer=peer, problem=problem)

    def _report(self, peer: DomainName, before: Standing, judgement: Judgement, now: float) -> bool:
        """One event for each thing that has changed; whether anything has."""
        after = judgement.standing
        old, new = before.pin, after.pin
        if new is None:
            return before != after
        if old is None:
            self.log.pinned(peer=peer, fingerprint=fingerprint_text(new.fingerprint))
        elif old.fingerprint != new.fingerprint:
            texts = fingerprint_text(new.fingerprint), fingerprint_text(old.fingerprint)
            self.log.identity_replaced(peer=peer, fingerprint=texts[0], previous=texts[1], how="statement")
            return True
        return self._report_change(peer, before, judgement, fingerprint_text(new.fingerprint), now)

    def _report_change(self, peer: DomainName, before: Standing, judgement: Judgement, pinned: str, now: float) -> bool:
        after, news = judgement.standing, False
        if before.change is not None and _other(before.change, after.change):
            gone = fingerprint_text(before.change.fingerprint)
            self.log.identity_withdrawn(peer=peer, fingerprint=gone, reason=judgement.reason)
        if after.change is not None and _other(after.change, before.change):
            news = True
            self.log.identity_announced(
                peer=peer,
                fingerprint=fingerprint_text(after.change.fingerprint),
                previous=pinned,
                how=after.change.how.value,
                ready_in_s=after.change.ready_at - now,
            )
        if after.quarantine is not None and _other(after.quarantine, before.quarantine):
            news = True
            self.log.identity_changed(
                peer=peer,
                fingerprint=fingerprint_text(after.quarantine.fingerprint),
                previous=pinned,
                reason=f"{after.quarantine.reason}; note: ask its operator by another way than this link, then "
                f"`volly-fed trust accept-key {peer}`",
            )
        return news

    def _log_refusal(self, peer: DomainName, gate: str, decision: gates.Decision, count: int = 1) -> None:
        self.log.decided(peer=peer, gate=gate, verdict="refused", reason=decision.reason, count=count)


def _check_caller(endpoint: Endpoint, negotiated: Negotiated) -> None:
    """The caller's TLS key is in the TLSA records of any of its domain's targets, or RemoteError KEY_MISMATCH."""
    if not dane.match(endpoint.tlsa, spki=negotiated.peer_spki, certificate=negotiated.peer_certificate_der):
        raise RemoteError(
            f"the TLS key you show is in no TLSA record of {endpoint.domain}; "
            "note: compare them with `volly-fed dns print`",
            code=ErrorCode.KEY_MISMATCH,  # [handshake-17]
        )


def _unchanged(before: Standing, after: Standing) -> bool:
    """Whether they say the same but for when the pin was met last, and whether we had dialled."""
    if before.pin is None or after.pin is None:
        return before == after
    met = attrs.evolve(before.pin, last_seen=after.pin.last_seen, known=after.pin.known)
    return attrs.evolve(before, pin=met) == after


def _other(this: Change | Quarantine, that: Change | Quarantine | None) -> bool:
    return that is None or this.fingerprint != that.fingerprint


def _shown(outcome: Outcome, evidence: Evidence) -> Shown:
    shown = Shown(domain=outcome.peer, fingerprint=outcome.fingerprint, published=evidence.published)
    if not outcome.statement:
        return shown
    try:
        return attrs.evolve(shown, statement=parse_statement(outcome.statement))  # [trust-21]
    except BadMessage as error:
        return attrs.evolve(shown, statement_problem=str(error))  # [handshake-34]
