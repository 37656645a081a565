"""The identities that other domains are held to, for the operator: seen, decided about, with what was proved.

in: the store, a way to discover a domain; out: values for people and programs, an operator's decision carried out.
Works on the running homeserver's store (through the admin socket, `handlers`) and on one that is not running.
Never: accepts an identity that DNS does not name and that nobody proved to hold.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import attrs
import trio

from volly_fed import limits
from volly_fed.daemon.store.rows import EvidenceRow
from volly_fed.daemon.store.store import Store
from volly_fed.discovery.endpoint import Endpoint
from volly_fed.errors import DiscoveryError, LocalError
from volly_fed.names import BadName, DomainName, Fingerprint, fingerprint_text, parse_domain, parse_fingerprint
from volly_fed.observe.log import Log
from volly_fed.trust.evidence import Evidence
from volly_fed.trust.pins import Change, Quarantine, Standing, accept_identity

Handler = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""Answers one command of the admin socket."""


@attrs.frozen(kw_only=True)
class Acceptance:
    """An operator's decision: `domain` is held to `accepted` instead of `previous`. `done`: it was carried out.

    `published`: whether DNS names it; None: DNS did not answer. `shown`: whether the domain proved to hold it.
    """

    domain: DomainName
    previous: Fingerprint | None
    accepted: Fingerprint
    published: bool | None
    shown: bool
    done: bool


@attrs.frozen(kw_only=True)
class Known:
    """One domain and what is remembered of its identity."""

    domain: DomainName
    standing: Standing

    @property
    def state(self) -> str:
        """In a word: pinned, quarantined, or how a change stands (announced, switched)."""
        if self.standing.quarantine is not None:
            return "quarantined"
        return "pinned" if self.standing.change is None else self.standing.change.how.value


@attrs.frozen(kw_only=True)
class Identities:
    """What an operator may see and decide; `accepted` is told of every decision."""

    store: Store
    discover: Callable[[DomainName], Awaitable[Endpoint]]
    log: Log
    clock: Callable[[], float] = time.time
    accepted: Callable[[DomainName, Fingerprint], None] = lambda *_: None

    async def known(self) -> list[Known]:
        """The domains, those that want attention first; at most limits.IDENTITIES_SHOWN."""
        found = await self.store.standings(limits.IDENTITIES_SHOWN)
        return [Known(domain=domain, standing=standing) for domain, standing in found]

    async def evidence(self, domain: DomainName) -> list[EvidenceRow]:
        """What was proved about `domain`, the newest first."""
        return await self.store.evidence(domain)

    async def accept(
        self, domain: DomainName, fingerprint: Fingerprint | None, *, only_ask: bool = False
    ) -> Acceptance:
        """Hold `domain` to `fingerprint` from now on; None: the one that waits for a decision, else the published one.

        With `only_ask` nothing is changed. Raises LocalError: nothing to decide, or an identity that DNS does not name
        and the domain never showed.
        """
        now = self.clock()
        standing = await self.store.standing(domain)
        evidence, problem = await self._look_up(domain)
        candidate = _choose(domain, standing, evidence, fingerprint, problem)
        acceptance = Acceptance(
            domain=domain,
            previous=None if standing.pin is None else standing.pin.fingerprint,
            accepted=candidate,
            published=None if evidence is None else candidate in evidence.expected,
            shown=candidate in _shown(standing),
            done=not only_ask,
        )
        if not only_ask:
            decide = partial(_accepting, domain=domain, fingerprint=candidate, now=now)
            with trio.CancelScope(shield=True):  # what is written is told, whether anybody still waits for the answer
                await self.store.decide_standing(domain, decide, evidence)
                self._report(acceptance)
                self.accepted(domain, candidate)
                await self.store.put_backoff(domain, None)
        return acceptance

    async def _look_up(self, domain: DomainName) -> tuple[Evidence | None, str]:
        try:
            return evidence_of(await self.discover(domain), self.clock()), ""
        except DiscoveryError as error:
            return None, str(error).partition("\n")[0]

    def _report(self, acceptance: Acceptance) -> None:
        previous = acceptance.previous
        self.log.identity_replaced(
            peer=acceptance.domain,
            fingerprint=fingerprint_text(acceptance.accepted),
            previous=None if previous is None else fingerprint_text(previous),
            how="operator",
        )


@attrs.frozen
class _Accepted:
    standing: Standing


def _accepting(standing: Standing, *, domain: DomainName, fingerprint: Fingerprint, now: float) -> _Accepted:
    return _Accepted(accept_identity(standing, domain, fingerprint, now))


def _shown(standing: Standing) -> tuple[Fingerprint, ...]:
    """What the domain proved to hold and is not held to; the new key of a change has signed its statement."""
    waiting = (standing.quarantine, standing.change)
    return tuple(dict.fromkeys(each.fingerprint for each in waiting if each is not None))


def _choose(
    domain: DomainName, standing: Standing, evidence: Evidence | None, wanted: Fingerprint | None, problem: str
) -> Fingerprint:
    shown = _shown(standing)
    published = () if evidence is None else (evidence.identity, evidence.identity_next)
    if wanted is not None:
        if wanted in (*shown, *published):  # [trust-19]
            return wanted
        raise LocalError(
            f"{domain} does not publish this identity, and never showed it{f' ({problem})' if problem else ''}\n"
            f"note: `volly-fed trust identities` lists what was shown, `volly-fed probe {domain}` what is published"
        )
    # What was shown and DNS no longer names can be accepted too, but not by default.
    waiting = tuple(each for each in shown if evidence is None or each in published)
    if len(waiting) > 1:
        choices = " or ".join(f"--fingerprint={fingerprint_text(each)}" for each in waiting)
        raise LocalError(f"{domain} has shown two other identities\nnote: say which one you mean: {choices}")
    if not waiting and evidence is None:
        raise LocalError(f"nothing of {domain} waits for a decision, and DNS does not help: {problem}\nnote: try later")
    candidate = waiting[0] if evidence is None or waiting else evidence.identity
    if standing.pin is not None and candidate == standing.pin.fingerprint:
        raise LocalError(f"{domain} is held to what it publishes already\nnote: there is nothing to accept")
    return candidate


def evidence_of(endpoint: Endpoint, now: float) -> Evidence:
    """What discovery proved, in the terms of `trust`; `now` is Unix seconds."""
    return Evidence(
        domain=endpoint.domain,
        identity=endpoint.identity,
        identity_next=endpoint.identity_next,
        spki_sha256=tuple(record.data for record in endpoint.tlsa),
        ttl=max(0.0, endpoint.expires - now),
        obtained_at=now,
        text=endpoint.evidence,
        proof=lambda: endpoint.proof,
    )


# --- for programs --------------------------------------------------------------------------------------------------


def handlers(identities: Identities) -> Mapping[str, Handler]:
    """The commands of the admin socket: `accept-key`, `identities`, `evidence`.

    They raise VollyFedError for what cannot be done, arguments of the wrong form included.
    """

    async def accept_key(arguments: Mapping[str, Any]) -> dict[str, Any]:
        text = arguments.get("fingerprint")
        try:
            fingerprint = None if text is None else parse_fingerprint(str(text))
        except BadName as error:
            raise LocalError(f"{error}\nnote: copy it from `volly-fed trust identities`") from error
        accepted = await identities.accept(_domain(arguments), fingerprint, only_ask=arguments.get("only_ask") is True)
        return acceptance_document(accepted)

    async def list_identities(_: Mapping[str, Any]) -> dict[str, Any]:
        known = await identities.known()
        complete = len(known) < limits.IDENTITIES_SHOWN
        return {"identities": [identity_document(each) for each in known], "complete": complete}

    async def list_evidence(arguments: Mapping[str, Any]) -> dict[str, Any]:
        domain = _domain(arguments)
        return {"domain": domain, "evidence": [evidence_document(row) for row in await identities.evidence(domain)]}

    return {"accept-key": accept_key, "identities": list_identities, "evidence": list_evidence}


def _domain(arguments: Mapping[str, Any]) -> DomainName:
    try:
        return parse_domain(str(arguments.get("domain", "")))
    except BadName as error:
        raise LocalError(f"{error}\nnote: name a domain such as friend.example") from error


def acceptance_document(acceptance: Acceptance) -> dict[str, Any]:
    """`acceptance` as JSON has it."""
    return {
        "domain": acceptance.domain,
        "previous": _text(acceptance.previous),
        "accepted": fingerprint_text(acceptance.accepted),
        "published": acceptance.published,
        "shown": acceptance.shown,
        "done": acceptance.done,
    }


def identity_document(known: Known) -> dict[str, Any]:
    """`known` as JSON has it; times are in UTC."""
    pin = known.standing.pin
    return {
        "domain": known.domain,
        "state": known.state,
        "identity": None if pin is None else fingerprint_text(pin.fingerprint),
        "first_seen": None if pin is None else _time(pin.first_seen),
        "last_seen": None if pin is None else _time(pin.last_seen),
        "change": _change_document(known.standing.change),
        "quarantine": _quarantine_document(known.standing.quarantine),
    }


def _change_document(change: Change | None) -> dict[str, Any] | None:
    if change is None:
        return None
    return {
        "identity": fingerprint_text(change.fingerprint),
        "how": change.how.value,
        "since": _time(change.since),
        "ready_at": _time(change.ready_at),
        "sequence": change.sequence,
    }


def _quarantine_document(quarantine: Quarantine | None) -> dict[str, Any] | None:
    if quarantine is None:
        return None
    return {
        "identity": fingerprint_text(quarantine.fingerprint),
        "since": _time(quarantine.since),
        "reason": quarantine.reason,
    }


def evidence_document(row: EvidenceRow) -> dict[str, Any]:
    """`row` as JSON has it; `proof` is a list of zone-file lines."""
    return {
        "obtained_at": _time(row.obtained_at),
        "identity": fingerprint_text(row.identity),
        "identity_next": _text(row.identity_next),
        "proof": row.proof.splitlines(),
    }


def _text(fingerprint: Fingerprint | None) -> str | None:
    return None if fingerprint is None else fingerprint_text(fingerprint)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
