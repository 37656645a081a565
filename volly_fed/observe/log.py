"""The log: one typed function per event, nothing else writes lines.

in: what happened, as arguments; out: one line on the stream, for people on a terminal and JSON otherwise.
Never: takes free fields, a mailbox, a payload or a key; stops the process because the line could not be written.
"""

import secrets
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import structlog

from volly_fed.observe.events import Digest, allow

LEVELS: Mapping[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class _Stream:
    """A text stream whose errors are swallowed: a full disk or a closed pipe must not stop a homeserver."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            return 0

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            return


class Log:
    """The events of one process. `level` is debug, info, warning or error; `form` is auto, console or json.

    `stream` is standard error by default; `digest_key` is drawn anew in each process.
    """

    def __init__(
        self, level: str = "info", form: str = "auto", stream: TextIO | None = None, digest_key: bytes | None = None
    ) -> None:
        stream = stream or sys.stderr
        people = form == "console" or (form == "auto" and stream.isatty())
        self._digest = Digest(digest_key or secrets.token_bytes(32))
        self._log: Any = structlog.wrap_logger(
            structlog.WriteLogger(_Stream(stream)),  # type: ignore[arg-type]  # write and flush are all it uses
            processors=[allow, structlog.processors.add_log_level, _timestamp(people), _renderer(people, stream)],
            wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        )

    # --- the process ------------------------------------------------------------------------------------------------
    def started(self, *, domain: str, listen: str, provider: str, version: str, took_ms: float) -> None:
        """Everything is ready; `listen` names the sockets, `provider` who computes the post-quantum part."""
        self._log.info("started", domain=domain, listen=listen, provider=provider, version=version, took_ms=took_ms)

    def stopping(self, *, reason: str) -> None:
        """A signal or an operator asked for the end; links are drained now."""
        self._log.info("stopping", reason=reason)

    def stopped(self) -> None:
        """All is on disk and closed."""
        self._log.info("stopped")

    def draining(self) -> None:
        """The operator wants this homeserver empty: nothing new is taken, what waits is delivered."""
        self._log.warning("draining")

    def drained(self, *, verdict: str) -> None:
        """Nothing waits any more (`empty`), or things are taken again (`cancelled`)."""
        self._log.info("drained", verdict=verdict)

    def reloaded(self, *, count: int) -> None:
        """Policy, enrolments and keys were read again; `count` sessions ended."""
        self._log.info("reloaded", count=count)

    def reload_failed(self, *, reason: str) -> None:
        """One of the files has problems; nothing has changed, what was read before stays in force."""
        self._log.error("reload_failed", reason=reason)

    def level_changed(self, *, peer: str, before: str, trust: str) -> None:
        """A reload gave `peer` another level, which its link has at once, or ends by."""
        self._log.info("level_changed", peer=peer, before=before, trust=trust)

    def keys_changed(self, *, fingerprint: str) -> None:
        """A reload found another identity or TLS key: new links show these; `fingerprint` is the identity's."""
        self._log.info("keys_changed", fingerprint=fingerprint)

    def self_checked(self, *, subject: str, verdict: str, reason: str = "") -> None:
        """What this homeserver sees of its own records, its trust anchors and its resolver; `reason` has the note."""
        emit = self._log.debug if verdict in {"ok", "info"} else self._log.warning
        emit("self_checked", subject=subject, verdict=verdict, reason=reason or None)

    def self_tested(self, *, provider: str, group: str, signature: str, took_ms: float) -> None:
        """This machine can enforce the channel policy."""
        self._log.debug("self_tested", provider=provider, group=group, signature=signature, took_ms=took_ms)

    # --- links to other homeservers ---------------------------------------------------------------------------------
    def discovered(self, *, peer: str, verdict: str, took_ms: float, reason: str = "") -> None:
        """A look-up of `peer` ended; `verdict` is secure, insecure, bogus or indeterminate."""
        emit = self._log.debug if verdict == "secure" else self._log.warning
        emit("discovered", peer=peer, verdict=verdict, took_ms=took_ms, reason=reason or None)

    def link_up(
        self, *, peer: str, role: str, trust: str, fingerprint: str, group: str, signature: str, took_ms: float
    ) -> None:
        """`peer` has proved its identity; `took_ms` from dial or accept to here."""
        self._log.info(
            "link_up",
            peer=peer,
            role=role,
            trust=trust,
            fingerprint=fingerprint,
            group=group,
            signature=signature,
            took_ms=took_ms,
        )

    def link_down(self, *, peer: str, code: object, reason: str, retry_in_s: float | None = None) -> None:
        """An established link ended."""
        self._log.info("link_down", peer=peer, code=code, reason=reason, retry_in_s=retry_in_s)

    def dial_failed(self, *, peer: str, reason: str, retry_in_s: float) -> None:
        """No link came about; `retry_in_s` seconds until the next attempt."""
        self._log.warning("dial_failed", peer=peer, reason=reason, retry_in_s=retry_in_s)

    def renewal_failed(self, *, peer: str, reason: str) -> None:
        """No new link came about in the place of the present one, which stays; it will be tried again."""
        self._log.warning("renewal_failed", peer=peer, reason=reason)

    def target_skipped(self, *, peer: str, subject: str, code: object, reason: str) -> None:
        """Who answers at this host and port of `peer` is not who its records say; its other targets are tried."""
        self._log.warning("target_skipped", peer=peer, subject=subject, code=code, reason=reason)

    def peer_slowed(self, *, peer: str, wait_s: float) -> None:
        """A peer has handed over more than it may in a second; more is taken in `wait_s` seconds."""
        self._log.warning("peer_slowed", peer=peer, wait_s=wait_s)

    def claim_refused(self, *, peer: str | None, code: object, reason: str, count: int = 1) -> None:
        """A caller was turned away. `peer` is what it claimed to be, unproved; None before it claimed anything.

        `count` callers, where it is more than one: since the last such line, for similar reasons.
        """
        self._log.warning("claim_refused", peer=peer, code=code, reason=reason, count=_several(count))

    def decided(
        self, *, peer: str, gate: str, verdict: str, reason: str, direction: str | None = None, count: int = 1
    ) -> None:
        """A trust gate refused, or allowed at level debug. `count`: as in `claim_refused`."""
        emit = self._log.debug if verdict == "allowed" else self._log.info
        emit(
            "decided",
            peer=peer,
            gate=gate,
            verdict=verdict,
            reason=reason,
            direction=direction,
            count=_several(count),
        )

    def pinned(self, *, peer: str, fingerprint: str) -> None:
        """First contact: this identity is remembered from now on."""
        self._log.info("pinned", peer=peer, fingerprint=fingerprint)

    def identity_changed(self, *, peer: str, fingerprint: str, previous: str, reason: str) -> None:
        """`peer` shows another identity than the pinned one; it waits in quarantine for the operator."""
        self._log.error("identity_changed", peer=peer, fingerprint=fingerprint, previous=previous, reason=reason)

    def identity_announced(self, *, peer: str, fingerprint: str, previous: str, how: str, ready_in_s: float) -> None:
        """DNS and a statement of `peer` name a new identity: accepted in `ready_in_s` seconds unless withdrawn.

        `how`: it still showed the old one (announced), or the new one already (switched).
        """
        self._log.warning(
            "identity_announced",
            peer=peer,
            fingerprint=fingerprint,
            previous=previous,
            verdict=how,
            ready_in_s=ready_in_s,
        )

    def identity_withdrawn(self, *, peer: str, fingerprint: str, reason: str) -> None:
        """The announced identity `fingerprint` will not be accepted: the old one was shown again, or time ran out."""
        self._log.warning("identity_withdrawn", peer=peer, fingerprint=fingerprint, reason=reason)

    def identity_replaced(self, *, peer: str, fingerprint: str, previous: str | None, how: str) -> None:
        """`peer` is held to a new identity, by its statement after the cool-off or by the operator's decision."""
        self._log.warning("identity_replaced", peer=peer, fingerprint=fingerprint, previous=previous, verdict=how)

    # --- envelopes --------------------------------------------------------------------------------------------------
    def envelope_refused(self, *, code: object, size: int, age_s: float, peer: str | None = None) -> None:
        """One envelope was not taken; size in bytes, age in seconds since it arrived here. Never its address."""
        self._log.info("envelope_refused", peer=peer, code=code, size=size, age_s=age_s)

    def queue_state(self, *, peer: str, count: int, size: int, age_s: float) -> None:
        """What waits for `peer`: envelopes, bytes, and the age of the oldest."""
        self._log.debug("queue_state", peer=peer, count=count, bytes=size, age_s=age_s)

    def queue_held(self, *, peer: str) -> None:
        """The operator holds `peer`: nothing is sent to it, what is for it waits."""
        self._log.info("queue_held", peer=peer)

    def queue_released(self, *, peer: str) -> None:
        """The operator holds `peer` no longer."""
        self._log.info("queue_released", peer=peer)

    def queue_dropped(self, *, peer: str, count: int, size: int) -> None:
        """The operator has dropped `count` envelopes for `peer`, of so many bytes in all."""
        self._log.warning("queue_dropped", peer=peer, count=count, bytes=size)

    def expired(self, *, count: int) -> None:
        """Envelopes whose time ran out were deleted."""
        self._log.info("expired", count=count)

    def storage_failed(self, *, reason: str) -> None:
        """The store took nothing and nothing was acknowledged."""
        self._log.error("storage_failed", reason=reason)

    def storage_recovered(self) -> None:
        """The store works again."""
        self._log.info("storage_recovered")

    # --- edges and devices ------------------------------------------------------------------------------------------
    def edge_up(self, *, edge: str) -> None:
        """An enrolled edge is connected; its name is written as a digest."""
        self._log.info("edge_up", edge=self._digest("edge", edge))

    def edge_down(self, *, edge: str, code: object, reason: str) -> None:
        """An edge link ended."""
        self._log.info("edge_down", edge=self._digest("edge", edge), code=code, reason=reason)

    def edge_refused(self, *, edge: str, code: object, reason: str) -> None:
        """Something that claimed to be an edge was turned away."""
        self._log.warning("edge_refused", edge=self._digest("edge", edge), code=code, reason=reason)

    def homeserver_up(self, *, domain: str, took_ms: float) -> None:
        """On an edge: the homeserver has proved its identity."""
        self._log.info("homeserver_up", domain=domain, took_ms=took_ms)

    def homeserver_down(self, *, domain: str, reason: str, retry_in_s: float) -> None:
        """On an edge: the link to the homeserver is gone or did not come about."""
        self._log.warning("homeserver_down", domain=domain, reason=reason, retry_in_s=retry_in_s)

    def device_up(self, *, address: str) -> None:
        """On an edge: a device connected; its address is written as a digest, and only at level debug."""
        self._log.debug("device_up", device=self._digest("address", address))

    def device_down(self, *, address: str, code: object) -> None:
        """On an edge: a device's connection ended."""
        self._log.debug("device_down", device=self._digest("address", address), code=code)

    def device_refused(self, *, address: str, code: object) -> None:
        """On an edge: a device broke the protocol or a limit."""
        self._log.info("device_refused", device=self._digest("address", address), code=code)

    # --- ourselves --------------------------------------------------------------------------------------------------
    def http_failed(self, *, subject: str, reason: str) -> None:
        """A bug of ours in what the operator is shown at `subject`, a path; everything else goes on."""
        self._log.error("http_failed", subject=subject, reason=reason)

    def defect(self, *, reason: str) -> None:
        """A bug of ours, about to end the process."""
        self._log.error("defect", reason=reason)


def _several(count: int) -> int | None:
    return count if count > 1 else None


def _timestamp(people: bool) -> structlog.processors.TimeStamper:
    form = "%H:%M:%S.%f" if people else "iso"
    return structlog.processors.TimeStamper(fmt=form, utc=not people, key="time" if not people else "timestamp")


def _renderer(people: bool, stream: TextIO) -> structlog.typing.Processor:
    if people:
        return structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=18)
    return structlog.processors.JSONRenderer(ensure_ascii=False)
