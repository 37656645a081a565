"""The matrix: named cases of right and wrong DNS, each with the verdict that the RFCs ask for and the reason given.

`build()` is the world that all cases share, signed as of the real time, so that others can judge it too.
"""

from tests.discovery.matrix_case import Case as Case
from tests.discovery.matrix_case import Change as Change
from tests.discovery.matrix_case import Found as Found
from tests.discovery.matrix_case import Verdict as Verdict
from tests.discovery.matrix_case import build as build
from tests.discovery.matrix_case import verdict as verdict
from volly_fed.discovery.anchors import IANA_ROOT
from volly_fed.discovery.endpoint import Status
from volly_fed.testing.world import World

DAY = 86400.0
_NONE = "no such record|does not exist"


def _secure(name: str, owner: str, rdtype: str = "A", reason: str = r"^$", **more: object) -> Case:
    return _case(name, owner, rdtype, Status.SECURE, reason, found=Found.RECORDS, **more)


def _absent(name: str, owner: str, rdtype: str = "A", reason: str = _NONE, **more: object) -> Case:
    return _case(name, owner, rdtype, Status.SECURE, reason, found=Found.NOTHING, **more)


def _insecure(name: str, owner: str, rdtype: str = "A", reason: str = "unsigned delegation", **more: object) -> Case:
    return _case(name, owner, rdtype, Status.INSECURE, reason, **more)


def _bogus(name: str, owner: str, rdtype: str = "A", reason: str = "signature", **more: object) -> Case:
    return _case(name, owner, rdtype, Status.BOGUS, reason, **more)


def _unknown(name: str, owner: str, rdtype: str = "A", reason: str = "", **more: object) -> Case:
    return _case(name, owner, rdtype, Status.INDETERMINATE, reason, **more)


def _case(name: str, owner: str, rdtype: str, status: Status, reason: str, **more: object) -> Case:
    return Case(name=name, ask=(owner, rdtype), status=status, reason=reason, **more)  # type: ignore[arg-type]  # by name


def _discovered(name: str, reason: str, domain: str = "", **more: object) -> Case:
    return _discovery(name, Status.SECURE, reason, domain, found=Found.RECORDS, **more)


def _refused(name: str, status: Status, reason: str, domain: str = "", **more: object) -> Case:
    nothing = Found.NOTHING if status is Status.SECURE else None
    return _discovery(name, status, reason, domain, found=nothing, **more)


def _discovery(name: str, status: Status, reason: str, domain: str, **more: object) -> Case:
    return Case(name=name, discover=domain or f"{name}.test", status=status, reason=reason, **more)  # type: ignore[arg-type]  # by name


ALGORITHMS = tuple(_secure(f"algorithm-{n}", f"fed.algorithm-{n}.test") for n in (8, 10, 13, 14, 15, 16, 18))

CANONICAL = (
    _secure("upper-case-question", "FED.Good.TEST"),
    _secure("mixed-case-owner", "mixed.canonical.test", "TXT"),
    _secure("mixed-case-alias", "alias.canonical.test"),
    _secure("mixed-case-srv", "srv.canonical.test", "SRV"),
    _secure("mixed-case-mx", "mx.canonical.test", "MX"),
    _absent("between-mixed-case-owners", "b.canonical.test"),
    _absent("no-data-at-a-mixed-case-owner", "mixed.canonical.test"),
    _secure("unknown-type", "unknown.canonical.test", "TYPE65280"),
    _secure("dot-inside-a-label", r"e\.scaped.canonical.test"),
    _secure("five-records", "many.canonical.test"),
)

SIGNATURES = (
    _secure("signed-with-two-algorithms", "fed.both.test"),
    _secure("two-algorithms-18-stripped", "fed.both-without-18.test", served=False),
    _secure("two-algorithms-13-stripped", "fed.both-without-13.test", served=False),
    _insecure("sha1-algorithm-5", "fed.sha1-algorithm-5.test", reason="not supported"),
    _insecure("sha1-algorithm-7", "fed.sha1-algorithm-7.test", reason="not supported"),
    _insecure("sha1-digest-only", "fed.sha1-digest.test", reason="not supported"),
    _insecure("unknown-algorithm", "fed.unknown-algorithm.test", reason="not supported"),
    _insecure("unknown-digest", "fed.unknown-digest.test", reason="not supported"),
    _secure("sha384-digest", "fed.sha384-digest.test"),
    _secure("sha1-digest-beside-sha256", "fed.two-digests.test"),
    _secure("spare-ds-of-no-key", "fed.spare-ds.test"),
    _bogus("bad-signature", "fed.bad-signature.test", reason="signature is wrong"),
    _bogus("expired", "fed.expired.test", reason="expired"),
    _bogus("not-yet-valid", "fed.not-yet-valid.test", reason="not valid for another"),
    _bogus("signatures-missing", "fed.no-signatures.test", reason="no signature|signature is missing"),
    _bogus("keys-missing", "fed.no-keys.test", reason="shows no keys"),
    _bogus("nothing-signed-despite-ds", "fed.not-signed.test", reason="shows no keys"),
    _bogus("ds-of-another-key", "fed.wrong-ds.test", reason="no key matches"),
    _bogus("key-trap", "fed.key-trap.test", reason="signature is wrong"),
)

DELEGATIONS = (
    _bogus("ds-stripped", "fed.stripped-ds.test", reason="says that the record exists"),
    _insecure("signed-without-ds", "fed.no-ds.test"),
    _insecure("unsigned", "fed.unsigned.test"),
    _insecure("unsigned-below-a-leaf", "fed.unsigned.good.test"),
    _insecure("unsigned-below-hashed", "fed.unsigned.hashed.test"),
    _insecure("unsigned-no-data", "fed.unsigned.test", "MX"),
    _insecure("unsigned-missing", "missing.unsigned.test"),
    _insecure("signed-below-unsigned", "fed.signed.unsigned.test"),
    _insecure("signed-below-signed-without-ds", "fed.child.no-ds.test"),
    _secure("signed-below-a-leaf", "fed.sub.good.test"),
    _secure("three-cuts-down", "fed.deep.sub.good.test"),
    _bogus("signed-below-bogus", "fed.child.bad-signature.test", reason="signature is wrong"),
    _absent("no-ds-at-a-plain-name", "fed.good.test", "DS", reason="shows no DS"),
    _absent("no-ds-at-a-cut", "unsigned.test", "DS", reason="shows no DS"),
    _secure("ds-itself", "good.test", "DS"),
    _secure("root-itself", ".", "SOA"),
    _secure("tld-itself", "test", "NS"),
    _secure("dnskey-itself", "good.test", "DNSKEY"),
)

DENIALS = (
    _absent("no-data", "fed.good.test", "MX"),
    _absent("no-data-at-apex", "good.test", "A"),
    _absent("missing-in-a-leaf", "missing.good.test"),
    _absent("missing-in-the-tld", "fed.missing.test"),
    _absent("missing-in-the-root", "fed.test.missing"),
    _absent("empty-non-terminal", "ent.good.test", reason="empty non-terminal"),
    _secure("below-an-empty-non-terminal", "x.ent.good.test"),
    _secure("wildcard", "any.wild.good.test"),
    _secure("wildcard-several-labels", "a.b.c.wild.good.test"),
    _secure("wildcard-asked-for-itself", "*.wild.good.test"),
    _secure("wildcard-alias", "any.alias.good.test"),
    _absent("wildcard-no-data", "any.wild.good.test", "MX"),
    _absent("wildcard-stops-at-an-existing-name", "x.f.good.test"),
    _bogus("denial-missing", "missing.no-denial.test", reason="proof is missing"),
    _bogus("denial-of-data-missing", "fed.no-denial.test", "MX", reason="proof is missing"),
    _bogus("wildcard-proof-missing", "any.wild.no-denial.test", reason="without proof"),
    _secure("hashed", "fed.hashed.test"),
    _absent("hashed-no-data", "fed.hashed.test", "MX"),
    _absent("hashed-missing", "missing.hashed.test"),
    _absent("hashed-empty-non-terminal", "ent.hashed.test"),
    _secure("hashed-wildcard", "any.wild.hashed.test"),
    _secure("hashed-wildcard-several-labels", "a.b.c.wild.hashed.test"),
    _absent("hashed-wildcard-no-data", "any.wild.hashed.test", "MX"),
    _absent("hashed-no-ds", "unsigned.hashed.test", "DS", reason="shows no DS"),
    _bogus("hashed-denial-missing", "missing.hashed-no-denial.test", reason="proof is missing"),
    _bogus("hashed-wildcard-proof-missing", "any.wild.hashed-no-denial.test", reason="without proof"),
    _insecure("costly-hashes", "missing.costly.test", reason="iterations"),
    _insecure("costly-hashes-wildcard", "any.wild.costly.test", reason="iterations|opts"),
    _secure("costly-hashes-need-no-proof", "fed.costly.test"),
    _unknown("hash-flood", ".".join(["x"] * 60) + ".flood.test", reason="NSEC3 hash"),
    _secure("opt-out-signed-child", "fed.signed.opt-out.test"),
    _insecure("opt-out-unsigned-child", "fed.unsigned.opt-out.test"),
    _insecure("opt-out-unsigned-child-of-an-empty-name", "fed.unsigned.deep.opt-out.test"),
    _insecure("opt-out-no-ds", "unsigned.opt-out.test", "DS", reason="opts"),
    _insecure("opt-out-missing", "missing.opt-out.test", reason="does not exist|opts"),
    _insecure("opt-out-wildcard", "any.wild.opt-out.test", reason="opt"),
    _insecure("opt-out-wildcard-no-data", "any.wild.opt-out.test", "MX", reason="no such record"),
    _absent("opt-out-no-data", "fed.opt-out.test", "MX"),
    _absent("a-hundred-iterations", "missing.flood.test"),
    _secure("opt-out-existing", "fed.opt-out.test"),
)

ALIASES = (
    _secure("alias", "inside.alias.test"),
    _secure("alias-to-another-zone", "across.alias.test"),
    _secure("alias-chain", "h0.alias.test"),
    _secure("alias-itself", "inside.alias.test", "CNAME"),
    _secure("alias-to-wildcard", "to-wildcard.alias.test"),
    _unknown("alias-loop", "one.alias.test", reason="circle|SERVFAIL"),
    _unknown("alias-to-itself", "self.alias.test", reason="circle|SERVFAIL"),
    _unknown("alias-chain-too-long", "far0.alias.test", reason="too far|SERVFAIL"),
    _insecure("alias-to-insecure", "to-insecure.alias.test"),
    _insecure("alias-from-insecure", "up.unsigned.test"),
    _bogus("alias-to-bogus", "to-bogus.alias.test"),
    _bogus("alias-to-expired", "to-expired.alias.test", reason="expired"),
    _absent("alias-to-missing", "to-nothing.alias.test"),
    _absent("alias-to-no-data", "to-no-data.alias.test", "MX"),
    _secure("dname", "fed.tree.alias.test"),
    _secure("dname-itself", "tree.alias.test", "DNAME"),
    _secure("beside-a-dname", "tree.alias.test", "TXT"),
    _absent("no-data-beside-a-dname", "tree.alias.test"),
    _absent("dname-to-missing", "missing.tree.alias.test"),
    _insecure("dname-to-insecure", "fed.insecure-tree.alias.test"),
    _unknown("dname-loop", "x.circle.alias.test", reason="circle|too far|SERVFAIL|YXDOMAIN"),
    _unknown("dname-too-long", "y" * 60 + ".y.long.alias.test", reason="YXDOMAIN"),
)

ANSWERS = (
    _unknown("servfail", "fed.servfail.test", reason="SERVFAIL", served=False),
    _unknown("refused", "fed.refused.test", reason="REFUSED", served=False),
    _unknown("blackhole", "fed.blackhole.test", reason="does not answer|no result", served=False),
    _secure("truncated", "fed.truncated.test", served=False),
    _unknown("truncated-and-no-tcp", "fed.truncated-and-no-tcp.test", reason="does not answer|no result", served=False),
    _secure("slow", "fed.slow.test", served=False),
    _unknown("too-slow", "fed.too-slow.test", reason="does not answer|no result", served=False),
    _secure("packet-loss", "fed.packet-loss.test", served=False),
    _unknown("huge", "fed.huge.test", "TLSA", reason="bytes"),
    _bogus("forged-address", "fed.forged-address.test", reason="signature is missing", served=False),
    _bogus("signature-changed-on-the-way", "fed.signature-changed.test", reason="signature is wrong", served=False),
    _bogus(
        "signatures-stripped-on-the-way", "fed.signatures-stripped.test", reason="signature is missing", served=False
    ),
    _bogus("all-dnssec-stripped-on-the-way", "fed.all-stripped.test", reason="signature|proof|keys", served=False),
    _bogus("lying-ad-on-a-forgery", "fed.lying-ad.test", reason="signature is missing", served=False),
    _insecure("lying-ad-on-unsigned", "fed.lying-ad-unsigned.test", served=False),
    _bogus("forged-nxdomain", "fed.forged-nxdomain.test", reason="no NSEC record covers|exists", served=False),
    _bogus("forged-nxdomain-hashed", "fed.forged-nxdomain-hashed.test", reason="NSEC3|exists", served=False),
    _bogus("replayed-denial", "fed.replayed-denial.test", reason="NSEC|proof", served=False),
    _bogus("replayed-no-ds", "fed.replayed-no-ds.test", reason="NSEC|proof|signature", served=False),
    _bogus("ds-signed-by-the-child", "fed.ds-signed-by-the-child.test", reason="signature|signed", served=False),
    _bogus("signed-by-a-sibling", "fed.signed-by-a-sibling.test", reason="signature|signed", served=False),
    _bogus("signed-by-a-child", "signed-by-a-child.test", "TXT", reason="signature|signed", served=False),
    _bogus("no-ds-by-the-childs-record", "fed.childs-no-ds.test", reason="child zone's|proof is missing", served=False),
    _bogus("no-data-by-the-parents-record", "parents-no-data.test", reason="parent zone's", served=False),
    _bogus("denied-by-the-zone-above", "fed.sub.denied-above.test", reason="NSEC", served=False),
    _bogus("denied-by-the-zone-above-hashed", "fed.sub.denied-above-hashed.test", reason="NSEC3", served=False),
    _bogus("replayed-under-another-name", "fed.renamed.test", reason="signature", served=False),
    _bogus("replayed-wildcard", "x.wild.wildcard-replayed.test", reason="without proof", served=False),
    _secure("spoofed-off-path", "fed.spoofed.test", served=False),
    _secure("misdirected", "fed.misdirected.test", served=False),
)


def _anchor_elsewhere(world: World) -> str:
    return world.anchor_of("hashed.test")


RESOLVERS = (
    _bogus("clock-ahead", "fed.good.test", reason="expired", clock=40 * DAY),
    _bogus("clock-behind", "fed.good.test", reason="not valid for another", clock=-2 * DAY),
    _bogus("clock-jumps", "fed.good.test", reason="expired", clock=40 * DAY, change=Change.CLOCK),
    _secure("clock-four-minutes-behind", "fed.good.test", clock=-3600 - 240.0),
    _bogus("anchor-of-another-root", "fed.good.test", reason="no key matches", anchors=lambda _world: IANA_ROOT),
    _secure("anchor-roll", "fed.good.test", anchors=lambda world: IANA_ROOT + world.anchor_text),
    _secure("anchor-of-the-tld-alone", "fed.good.test", anchors=lambda world: world.anchor_of("test")),
    _unknown(
        "anchor-elsewhere",
        "fed.good.test",
        reason="no trust anchor",
        anchors=lambda world: world.anchor_of("hashed.test"),
    ),
    _secure("anchor-of-an-island", "fed.no-ds.test", anchors=lambda world: world.anchor_of("no-ds.test")),
    _secure("ipv6-only-resolver", "fed.good.test", ipv6=True),
    _secure("resolver-replaced", "fed.good.test", change=Change.REPLACED),
    _bogus(
        "mldsa44-required-and-stripped",
        "fed.both-without-18.test",
        reason="18|ML-DSA",
        served=False,
        require_mldsa44=True,
    ),
    _secure("mldsa44-required-and-there", "fed.both.test", require_mldsa44=True),
    _secure("mldsa44-required-elsewhere", "fed.good.test", require_mldsa44=True),
)

DISCOVERIES = (
    _discovered("complete", r"^fed\.good\.test:5223 2001:db8::1 192\.0\.2\.1$", "good.test"),
    _discovered("complete-with-opt-out", r"^fed\.opt-out\.test", "opt-out.test"),
    _refused("opt-out-no-service", Status.INSECURE, "opts|does not exist", "opt-out-empty.test"),
    _refused("whole-domain-insecure", Status.INSECURE, "unsigned delegation", "unsigned.test"),
    _refused("whole-domain-bogus", Status.BOGUS, "signature", "bad-signature.test"),
    _refused("whole-domain-key-trap", Status.BOGUS, "signature is wrong", "key-trap-service.test"),
    _refused("whole-domain-missing", Status.SECURE, "does not exist", "missing.test"),
    _refused("srv-bogus", Status.BOGUS, "signature is wrong"),
    _refused("srv-servfail", Status.INDETERMINATE, "SERVFAIL", served=False),
    _refused("srv-insecure", Status.INSECURE, "unsigned delegation"),
    _refused("srv-declined", Status.SECURE, "does not offer this service"),
    _discovered("srv-declined-and-offered", r"^fed\.srv-declined-and-offered\.test"),
    _refused("srv-absent", Status.SECURE, "SRV: .*does not exist"),
    _refused("srv-address", Status.SECURE, r"192\.0\.2\.1"),
    _refused("no-service", Status.SECURE, "SRV: .*does not exist"),
    _refused("identity-absent", Status.SECURE, "TXT"),
    _refused("identity-twice", Status.SECURE, "exactly one"),
    _refused("identity-malformed", Status.SECURE, "identity record"),
    _discovered("identity-among-others", "^fed"),
    _refused("target-bogus", Status.BOGUS, "signature is wrong"),
    _refused("target-insecure", Status.INSECURE, "unsigned delegation"),
    _refused("target-missing", Status.SECURE, "does not exist"),
    _discovered("target-alias", r"^fed\.good\.test:5223"),
    _discovered("target-alias-original", r"^fed\.target-alias-original\.test:5223"),
    _refused("target-alias-insecure", Status.INSECURE, "unsigned delegation"),
    _refused("target-alias-bogus", Status.BOGUS, "signature is wrong"),
    _discovered("target-spare", r"^fed\.target-spare\.test:5223 .*\n.*signature is wrong"),
    _discovered("target-spare-insecure", r"^fed\.target-spare-insecure\.test:5223 .*\n.*unsigned delegation"),
    _discovered("target-order", r"^fed\.target-order\.test.*\nfed\.good\.test"),
    _discovered("targets-too-many", r"^fed\.targets-too-many\.test"),
    _discovered("target-one-family", r":5223 192\.0\.2\.1$", served=False),
    _discovered("target-ipv6-only", r":5223 2001:db8::1$"),
    _refused("target-private", Status.SECURE, "private, local or reserved", allow_private=False),
    _refused("target-local", Status.SECURE, "private, local or reserved", allow_private=False),
    _discovered("target-public", r":5223 9\.9\.9\.9$", allow_private=False),
    _refused("tlsa-absent", Status.SECURE, "TLSA: .*does not exist"),
    _refused("tlsa-servfail", Status.INDETERMINATE, "TLSA: .*SERVFAIL", served=False),
    _refused("tlsa-bogus", Status.BOGUS, "TLSA: .*signature is wrong"),
    _refused("tlsa-insecure", Status.INSECURE, "TLSA: .*unsigned delegation"),
    _refused("tlsa-at-host", Status.SECURE, "TLSA: .*does not exist"),
    _refused("tlsa-at-domain", Status.SECURE, "TLSA: .*does not exist"),
    _refused("tlsa-other-port", Status.SECURE, "TLSA: .*does not exist"),
    _discovered("tlsa-sha512", "^fed"),
    _discovered("tlsa-certificate", "^fed"),
    _discovered("tlsa-mixed", "^fed"),
    _discovered("tlsa-malformed-length", "^fed", served=False),
    _refused("tlsa-usage-2", Status.SECURE, "usage 2 is not 3"),
    _refused("tlsa-usage-1", Status.SECURE, "usage 1 is not 3"),
    _refused("tlsa-matching-0", Status.SECURE, "matching type 0"),
    _refused("tlsa-unknown", Status.SECURE, "selector 7 is unknown"),
    _discovered("everything-truncated", "^fed", served=False),
    _discovered("everything-lost-once", "^fed", served=False),
    _discovered("everything-spoofed", "^fed", served=False),
    _discovered("complete-over-ipv6", r"^fed\.good\.test", "good.test", ipv6=True),
    _discovered("complete-with-resolver-replaced", r"^fed\.good\.test", "good.test", change=Change.REPLACED),
)

CASES: tuple[Case, ...] = (
    *ALGORITHMS, *CANONICAL, *SIGNATURES, *DELEGATIONS, *DENIALS, *ALIASES, *ANSWERS, *RESOLVERS, *DISCOVERIES
)  # fmt: skip
