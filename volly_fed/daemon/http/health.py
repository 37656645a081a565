"""Whether a homeserver is ready for work: what happened to its store, its sockets and its own records.

in: events; out: reasons in words. Never: asks the network or the disk.
"""

from collections.abc import Sequence

import attrs
import trio

from volly_fed.daemon.upkeep.findings import Finding, Verdict
from volly_fed.errors import StorageError


@attrs.define
class Health:
    """Of one homeserver; `listening` is set by who listens."""

    listening: bool = False
    outage: StorageError | None = None
    outage_since: float | None = None
    """On trio's clock."""
    findings: Sequence[Finding] | None = None
    """Of the last self-check; None: there was none yet."""

    def note_outage(self, failure: StorageError | None) -> None:
        """The store takes nothing any more; None: it does again."""
        if (failure is None) is not (self.outage is None):
            self.outage_since = None if failure is None else trio.current_time()
        self.outage = failure

    def checked(self, findings: Sequence[Finding]) -> None:
        """The self-check has looked."""
        self.findings = findings

    @property
    def failed(self) -> list[Finding]:
        """What the self-check is sure is wrong: peers refuse us for it, or answers are not to be trusted."""
        return [finding for finding in self.findings or () if finding.verdict is Verdict.FAILED]

    def troubles(self) -> list[str]:
        """Why not, one line each; nothing: it is ready."""
        found = [] if self.listening else ["not listening: it is starting, or stopping"]
        if self.outage is not None:
            found.append(f"the store takes nothing: {str(self.outage).partition(chr(10))[0]}")
        return found + [f"{finding.subject}: {finding.reason}" for finding in self.failed]
