"""Who may be linked with: the gates, the limits on claims, discovery and pins, asked in the right order.

in: claimed and proved identities of peers; out: the identities a claim may prove, or an error that refuses it.
The gates `dial`, `accept` and `establish` are asked here and nowhere else.
Never: lets a discovery that is not secure, or an identity that differs from its pin, pass.
"""

import time

import attrs
import trio

from volly_fed.channel import Negotiated
from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.daemon.dns import Resolver
from volly_fed.daemon.store import Store
from volly_fed.discovery import dane
from volly_fed.discovery.endpoint import Endpoint
from volly_fed.errors import RemoteError
from volly_fed.handshake import Admission, Claimed, ClaimGuard, Outcome
from volly_fed.names import DomainName, fingerprint_text
from volly_fed.observe.log import Log
from volly_fed.trust import gates
from volly_fed.trust.evidence import Evidence
from volly_fed.trust.pins import Pin
from volly_fed.trust.policy import Policy

# What strangers are told: the rule that decided is in our log, and nobody else's business.
_NOT_LINKED = "the policy here does not allow this link; note: ask the operator of this server"
_CHANGED = "this identity is not the one that is pinned here; note: ask the operator of this server to accept it"


@attrs.define
class Claim:
    """One caller whose claim was looked up and is not proved yet."""

    evidence: Evidence
    admission: Admission


@attrs.define(kw_only=True)
class Judge:
    """One per homeserver; `policy` is replaced when it is reloaded."""

    domain: DomainName
    policy: Policy
    resolver: Resolver
    store: Store
    log: Log
    _guard: ClaimGuard = attrs.field(factory=ClaimGuard, init=False)

    def may_dial(self, peer: DomainName) -> gates.Decision:
        """Gate `dial`."""
        decision = gates.dial(self.policy, peer)
        if not decision.allowed:
            self._log_refusal(peer, "dial", decision)
        return decision

    async def look_up(self, peer: DomainName) -> tuple[Endpoint, Evidence]:
        """Discover `peer`. Raises DiscoveryError: anything but secure."""
        began = trio.current_time()
        endpoint = await self.resolver.discover(peer)
        self.log.discovered(peer=peer, verdict="secure", took_ms=round((trio.current_time() - began) * 1000, 1))
        return endpoint, _evidence(endpoint)

    async def admit(self, claimed: Claimed, negotiated: Negotiated, address: str) -> Claim:
        """Judge a caller's claim, cheapest question first: gate `accept`, limits, discovery, TLS key.

        Raises RemoteError (POLICY, BUSY), DiscoveryError, NoMatch-coded RemoteError (KEY_MISMATCH).
        """
        peer = claimed.domain
        decision = gates.accept(self.policy, peer)
        if not decision.allowed:
            self._log_refusal(peer, "accept", decision)
            raise RemoteError(_NOT_LINKED, code=ErrorCode.POLICY)
        admission = self._guard.admit(
            peer, address=address, spki_sha256=negotiated.peer_spki_sha256, now=trio.current_time()
        )
        if not admission.allowed:
            raise RemoteError(admission.reason, code=ErrorCode.BUSY)
        try:
            endpoint, evidence = await self.look_up(peer)
            _check_caller(endpoint, negotiated)
        finally:
            self._guard.release(admission)
        return Claim(evidence, admission)

    def proved(self, claim: Claim) -> None:
        """The caller's claim was true."""
        self._guard.proved(claim.admission)

    async def establish(self, outcome: Outcome, evidence: Evidence) -> TrustLevel:
        """Gate `establish`, then pin: the trust level that is frozen into the session.

        Raises RemoteError (POLICY, IDENTITY_MISMATCH).
        """
        pin = await self.store.pin(outcome.peer)
        now = time.time()
        decision = gates.establish(self.policy, outcome.peer, evidence, shown=outcome.fingerprint, pin=pin, now=now)
        if not decision.allowed:
            self._log_refusal(outcome.peer, "establish", decision)
            if pin is not None and pin.fingerprint != outcome.fingerprint:
                self.log.identity_changed(
                    peer=outcome.peer,
                    fingerprint=fingerprint_text(outcome.fingerprint),
                    previous=fingerprint_text(pin.fingerprint),
                )
                raise RemoteError(_CHANGED, code=ErrorCode.IDENTITY_MISMATCH)
            raise RemoteError(_NOT_LINKED, code=ErrorCode.POLICY)
        if pin is None:
            self.log.pinned(peer=outcome.peer, fingerprint=fingerprint_text(outcome.fingerprint))
            pin = Pin(domain=outcome.peer, fingerprint=outcome.fingerprint, first_seen=now, last_seen=now)
        await self.store.put_pin(pin.seen(now))
        return decision.level

    def _log_refusal(self, peer: DomainName, gate: str, decision: gates.Decision) -> None:
        self.log.decided(peer=peer, gate=gate, verdict="refused", reason=decision.reason)


def _check_caller(endpoint: Endpoint, negotiated: Negotiated) -> None:
    """The caller's TLS key is in the TLSA records of any of its domain's targets, or RemoteError KEY_MISMATCH."""
    if not dane.match(endpoint.tlsa, spki=negotiated.peer_spki, certificate=negotiated.peer_certificate_der):
        raise RemoteError(
            f"the TLS key you show is in no TLSA record of {endpoint.domain}; "
            "note: compare them with `volly-fed dns print`",
            code=ErrorCode.KEY_MISMATCH,
        )


def _evidence(endpoint: Endpoint) -> Evidence:
    now = time.time()
    return Evidence(
        domain=endpoint.domain,
        identity=endpoint.identity,
        identity_next=endpoint.identity_next,
        spki_sha256=tuple(record.data for record in endpoint.tlsa),
        ttl=max(0.0, endpoint.expires - now),
        obtained_at=now,
        text=endpoint.evidence,
    )
