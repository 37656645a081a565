"""What discovery hands on: where a domain's service is, which keys prove it, and how that was found out.

in: nothing; out: frozen values. Never: a record that DNSSEC did not prove secure (Endpoint.targets and identity).
Words are those of RFC 4035 §4.3 and RFC 7671.
"""

import enum
from typing import Final

import attrs

from volly_fed.codepoints import SERVICE_DEVICE, SERVICE_FEDERATION
from volly_fed.discovery.dane import TlsaRecord
from volly_fed.discovery.proof import Proof, proof_lines
from volly_fed.names import DomainName, Fingerprint

NO_IDENTITY: Final = Fingerprint(b"")
"""Equal to no key's fingerprint: those have 32 bytes."""


class Status(enum.Enum):
    """What DNSSEC says of one answer (RFC 4035 §4.3)."""

    SECURE = "secure"
    """A chain of signatures leads from a trust anchor to this answer."""
    INSECURE = "insecure"
    """A secure zone proves that the answer is below an unsigned delegation."""
    BOGUS = "bogus"
    """It should be provable and is not: an attack, or a broken zone."""
    INDETERMINATE = "indeterminate"
    """Nobody could be asked, or a limit was reached."""


class Service(enum.Enum):
    """The SRV owner labels below a domain, by what is looked for."""

    FEDERATION = SERVICE_FEDERATION
    DEVICE = SERVICE_DEVICE


@attrs.frozen(kw_only=True)
class Step:
    """One question of a discovery and what came of it, for people who ask why."""

    name: str
    rrtype: str
    status: Status
    reason: str
    milliseconds: float


@attrs.frozen(kw_only=True)
class Target:
    """One SRV target: in `Endpoint.targets` all of it is secure; in `Endpoint.rejected` `reason` says why not."""

    host: str
    """The TLSA base domain (RFC 7671 §7), without the final dot: also the name for TLS and HTTP."""
    port: int
    priority: int = 0
    """Of its SRV record: the lowest is tried first (RFC 2782)."""
    addresses: tuple[str, ...] = ()
    """Literals, IPv6 first; never empty in `Endpoint.targets`."""
    tlsa: tuple[TlsaRecord, ...] = ()
    """Usable records only; never empty for FEDERATION, maybe empty for DEVICE (proved absent)."""
    status: Status = Status.SECURE
    reason: str = ""


@attrs.frozen(kw_only=True)
class Endpoint:
    """A domain's service, proved by DNSSEC as of now."""

    domain: DomainName
    service: Service
    targets: tuple[Target, ...]
    """In the order to try them (RFC 2782); never empty."""
    rejected: tuple[Target, ...] = ()
    identity: Fingerprint = NO_IDENTITY
    """The published fingerprint; NO_IDENTITY for DEVICE, which has none."""
    identity_next: Fingerprint | None = None
    expires: float
    """Seconds since 1970: until then every answer in it may be used without asking again."""
    steps: tuple[Step, ...] = ()
    proved: Proof = attrs.field(default=(), eq=False, repr=False)
    """What was verified for it here; empty where another validator was believed."""

    @property
    def proof(self) -> tuple[str, ...]:
        """The verified RRsets of all answers, each followed by the RRSIG that held, as zone-file lines.

        From the anchor down, no line twice, at most limits.DNS_PROOF_BYTES. The text is made at every call.
        """
        return proof_lines(self.proved)

    @property
    def evidence(self) -> str:
        """The steps as lines of text: what was asked, the verdict, and why."""
        lines = (f"{step.name} {step.rrtype}: {step.status.value} {step.reason}" for step in self.steps)
        return "\n".join(line.rstrip() for line in lines)

    @property
    def tlsa(self) -> tuple[TlsaRecord, ...]:
        """The usable TLSA records of all targets: what an acceptor compares a caller's TLS key with."""
        return tuple(dict.fromkeys(record for target in self.targets for record in target.tlsa))
