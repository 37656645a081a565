"""The zones and the misbehaving servers that the cases of `matrix` ask about; a zone is named after its case."""

import dns.message
import dns.name
import dns.rdata
import dns.rrset
from dns.dnssectypes import Algorithm
from dns.rdataclass import IN
from dns.rdatatype import RdataType

from tests.discovery.harness import DIGEST, IDENTITY, service_records
from volly_fed.testing import world_faults as faults
from volly_fed.testing.world import Flaw, Hook, Nsec3, World
from volly_fed.testing.world_server import Reply
from volly_fed.testing.world_sign import Window, ZoneKeys

SEED = b"matrix"
PLAIN = ["fed IN A 192.0.2.1", "fed IN AAAA 2001:db8::1"]
SRV = "_volly-fed._tcp IN SRV 0 5 5223"
TXT = f'_volly-fed IN TXT "{IDENTITY}"'
TLSA = f"TLSA 3 1 1 {DIGEST}"
DENIABLE = [*PLAIN, "x.ent IN A 192.0.2.3", "*.wild IN A 192.0.2.4", "*.alias IN CNAME fed", "*.e.f IN A 192.0.2.5"]
AT_FED = f"_5223._tcp.fed IN {TLSA}"
ALGORITHMS = (8, 10, 13, 14, 15, 16, 18)
SALTED = Nsec3(iterations=5, salt=b"\xab\xcd")
COSTLY = Nsec3(iterations=500, salt=b"\x01")
FLOOD = Nsec3(iterations=100, salt=b"\xaa" * 200)
OPT_OUT = Nsec3(opt_out=True)
HUGE = 1300
"""TLSA records of 35 bytes, each with 12 of header: together 61 KB."""


def add_zones(world: World) -> None:
    """Everything that shows in zone files."""
    _add_signatures(world)
    _add_delegations(world)
    _add_denials(world)
    _add_aliases(world)
    _add_services(world)
    _add_targets(world)


def _add_signatures(world: World) -> None:
    world.zone("good.test", [*service_records(), *DENIABLE])
    for algorithm in ALGORITHMS:
        world.zone(f"algorithm-{algorithm}.test", PLAIN, algorithm=algorithm)
    for algorithm in (5, 7):
        world.zone(f"sha1-algorithm-{algorithm}.test", PLAIN, algorithm=algorithm)
    for name in ("both", "both-without-13", "both-without-18"):
        world.zone(f"{name}.test", PLAIN, algorithm=(13, 18))
    world.zone(
        "canonical.test",
        [
            "Mixed IN TXT MiXeD",
            "ALIAS IN CNAME FED.Good.Test.",
            "srv IN SRV 0 5 5223 FED.Good.Test.",
            "mx IN MX 10 FED.Good.Test.",
            "mx IN MX 5 a.Good.Test.",
            r"unknown IN TYPE65280 \# 4 deadbeef",
            r"e\.scaped IN A 192.0.2.1",
            *(f"many IN A 192.0.2.{n}" for n in (200, 3, 20, 100, 1)),
        ],
    )
    world.zone("key-trap-service.test", service_records(), flaws=Flaw.KEY_TRAP)
    world.zone("sha384-digest.test", PLAIN, digests=(4,))
    world.zone("two-digests.test", PLAIN, digests=(1, 2))
    world.zone("spare-ds.test", PLAIN)
    world.zone("test", [f"spare-ds IN DS {ds}" for ds in (f"4711 13 2 {DIGEST}", f"4712 253 2 {DIGEST}")])
    for flaw in Flaw:
        world.zone(f"{str(flaw.name).lower().replace('_', '-')}.test", DENIABLE, flaws=flaw)
    for name in HOOKED:
        world.zone(f"{name}.test", [*PLAIN, "other IN A 192.0.2.9"])
    world.zone("signed-by-a-child.test", ["@ IN TXT mine"])
    world.zone("child.signed-by-a-child.test")
    world.zone("parents-no-data.test", ["@ IN A 192.0.2.1"])
    for name, nsec3 in (("denied-above", None), ("denied-above-hashed", Nsec3())):
        world.zone(f"{name}.test", nsec3=nsec3)
        world.zone(f"sub.{name}.test", PLAIN)
    world.zone("wildcard-replayed.test", ["*.wild IN A 192.0.2.4", "x.wild IN A 192.0.2.5"])
    world.zone("forged-nxdomain-hashed.test", PLAIN, nsec3=Nsec3())
    world.zone("lying-ad-unsigned.test", PLAIN, signed=False)
    world.zone("huge.test", [f"fed IN TLSA 3 1 1 {index:064x}" for index in range(HUGE)])


def _add_delegations(world: World) -> None:
    world.zone("unsigned.test", [*service_records(), "up IN CNAME fed.good.test."], signed=False)
    world.zone("sub.good.test", PLAIN)
    world.zone("deep.sub.good.test", PLAIN, nsec3=Nsec3())
    world.zone("unsigned.good.test", PLAIN, signed=False)
    world.zone("signed.unsigned.test", PLAIN)
    world.zone("child.bad-signature.test", PLAIN)
    world.zone("child.no-ds.test", PLAIN)


def _add_denials(world: World) -> None:
    world.zone("hashed.test", DENIABLE, nsec3=SALTED)
    world.zone("unsigned.hashed.test", PLAIN, signed=False)
    world.zone("hashed-no-denial.test", DENIABLE, nsec3=SALTED, flaws=Flaw.NO_DENIAL)
    world.zone("costly.test", DENIABLE, nsec3=COSTLY)
    world.zone("flood.test", PLAIN, nsec3=FLOOD)
    world.zone("opt-out.test", [*service_records(), *DENIABLE], nsec3=OPT_OUT)
    world.zone("signed.opt-out.test", PLAIN)
    world.zone("unsigned.opt-out.test", PLAIN, signed=False)
    world.zone("unsigned.deep.opt-out.test", PLAIN, signed=False)
    world.zone("opt-out-empty.test", nsec3=OPT_OUT)


def _add_aliases(world: World) -> None:
    world.zone(
        "alias.test",
        [
            "inside IN CNAME host",
            "host IN A 192.0.2.6",
            "across IN CNAME fed.good.test.",
            "one IN CNAME two",
            "two IN CNAME one",
            "self IN CNAME self",
            "to-insecure IN CNAME fed.unsigned.test.",
            "to-bogus IN CNAME fed.bad-signature.test.",
            "to-expired IN CNAME fed.expired.test.",
            "to-nothing IN CNAME missing.good.test.",
            "to-no-data IN CNAME x.ent.good.test.",
            "to-wildcard IN CNAME any.wild.good.test.",
            "tree IN DNAME good.test.",
            "tree IN TXT beside",
            "circle IN DNAME circle.alias.test.",
            "insecure-tree IN DNAME unsigned.test.",
            f"long IN DNAME {'.'.join(['x' * 60] * 3)}.good.test.",
            *(f"h{index} IN CNAME h{index + 1}" for index in range(7)),
            "h7 IN CNAME host",
            *(f"far{index} IN CNAME far{index + 1}" for index in range(11)),
            "far11 IN CNAME host",
        ],
    )


def _add_services(world: World) -> None:
    """SRV and identity, for rules 1 to 5 and 8."""
    world.zone("srv-bogus.test", service_records()[1:])
    world.zone("_tcp.srv-bogus.test", ["_volly-fed IN SRV 0 5 5223 fed.srv-bogus.test."], flaws=Flaw.BAD_SIGNATURE)
    world.zone("srv-insecure.test", service_records()[1:])
    world.zone("_tcp.srv-insecure.test", ["_volly-fed IN SRV 0 5 5223 fed.srv-insecure.test."], signed=False)
    world.zone("srv-servfail.test", service_records())
    world.zone("srv-declined.test", ["_volly-fed._tcp IN SRV 0 0 0 ."])
    world.zone("srv-declined-and-offered.test", [*service_records(), "_volly-fed._tcp IN SRV 9 0 0 ."])
    world.zone("srv-absent.test", service_records()[1:])
    world.zone("srv-address.test", [f"{SRV} 192.0.2.1.", TXT])
    world.zone("identity-absent.test", [line for line in service_records() if line != TXT])
    world.zone("identity-twice.test", [*service_records(), f'_volly-fed IN TXT "v=vf1 id={"B" * 42}A"'])
    world.zone("identity-malformed.test", [line.replace("A" * 43, "A" * 12) for line in service_records()])
    world.zone("identity-among-others.test", [*service_records(), '_volly-fed IN TXT "something else"'])
    world.zone("no-service.test")


def _add_targets(world: World) -> None:
    """Targets, their addresses and their TLSA records, for rules 5 to 11 and 23."""
    more = {
        "target-bogus": [f"{SRV} fed.bad-signature.test."],
        "target-insecure": [f"{SRV} fed.unsigned.test."],
        "target-missing": [f"{SRV} missing"],
        "target-spare": [*service_records(), "_volly-fed._tcp IN SRV 0 5 5223 fed.bad-signature.test."],
        "target-alias": [f"{SRV} fed", "fed IN CNAME fed.good.test."],
        "target-alias-original": [f"{SRV} fed", "fed IN CNAME host", "host IN A 192.0.2.1", AT_FED],
        "target-alias-insecure": [f"{SRV} fed", "fed IN CNAME fed.unsigned.test.", AT_FED],
        "target-alias-bogus": [f"{SRV} fed", "fed IN CNAME fed.bad-signature.test.", AT_FED],
        "target-spare-insecure": [*service_records(), "_volly-fed._tcp IN SRV 0 5 5223 fed.unsigned.test."],
        "target-order": [*service_records(), "_volly-fed._tcp IN SRV 7 5 5223 fed.good.test."],
        "targets-too-many": [*service_records(), *(f"_volly-fed._tcp IN SRV 1 1 5223 t{n}" for n in range(30))],
        "target-one-family": [*service_records()],
        "target-ipv6-only": [line for line in service_records() if " A " not in line],
        "target-private": service_records(),
        "target-public": [line.replace("192.0.2.1", "9.9.9.9") for line in service_records()],
        "target-local": [line.replace("192.0.2.1", "127.0.0.1") for line in service_records()],
        "tlsa-absent": service_records()[:-1],
        "tlsa-servfail": service_records(),
        "tlsa-at-host": [*service_records()[:-1], f"fed IN {TLSA}"],
        "tlsa-at-domain": [*service_records()[:-1], f"_5223._tcp IN {TLSA}"],
        "tlsa-other-port": [*service_records()[:-1], f"_443._tcp.fed IN {TLSA}"],
        "tlsa-sha512": [*service_records()[:-1], f"_5223._tcp.fed IN TLSA 3 1 2 {DIGEST * 2}"],
        "tlsa-certificate": [*service_records()[:-1], f"_5223._tcp.fed IN TLSA 3 0 1 {DIGEST}"],
        "tlsa-mixed": [*service_records(), f"_5223._tcp.fed IN TLSA 2 1 1 {DIGEST}", "_5223._tcp.fed IN TLSA 9 9 9 00"],
        "tlsa-usage-2": [*service_records()[:-1], f"_5223._tcp.fed IN TLSA 2 1 1 {DIGEST}"],
        "tlsa-usage-1": [*service_records()[:-1], f"_5223._tcp.fed IN TLSA 1 1 1 {DIGEST}"],
        "tlsa-matching-0": [*service_records()[:-1], f"_5223._tcp.fed IN TLSA 3 1 0 {DIGEST}"],
        "tlsa-unknown": [*service_records()[:-1], f"_5223._tcp.fed IN TLSA 3 7 1 {DIGEST}"],
        "tlsa-malformed-length": service_records(),
        "everything-truncated": service_records(),
        "everything-lost-once": service_records(),
        "everything-spoofed": service_records(),
        "tlsa-bogus": service_records()[:-1],
        "tlsa-insecure": service_records()[:-1],
    }  # fmt: skip
    for name, lines in more.items():
        world.zone(f"{name}.test", [*lines, TXT] if TXT not in lines else lines)
    world.zone("_tcp.fed.tlsa-bogus.test", [f"_5223 IN {TLSA}"], flaws=Flaw.BAD_SIGNATURE)
    world.zone("_tcp.fed.tlsa-insecure.test", [f"_5223 IN {TLSA}"], signed=False)


def add_hooks(world: World) -> None:
    """Everything that shows only in answers."""
    for origin, hook in _hooks(world).items():
        world.hook(origin, hook)


HOOKED = (
    "servfail", "refused", "blackhole", "truncated", "truncated-and-no-tcp", "slow", "packet-loss", "forged-address",
    "signature-changed", "signatures-stripped", "all-stripped", "lying-ad", "forged-nxdomain", "replayed-denial",
    "replayed-no-ds", "renamed", "spoofed", "misdirected", "too-slow",
    "childs-no-ds", "ds-signed-by-the-child", "signed-by-a-sibling",
)  # fmt: skip
"""Zones that are right, and answered for wrongly."""


def _hooks(world: World) -> dict[str, Hook]:
    return {
        "fed.both-without-13.test": faults.without_algorithm(13),
        "both-without-18.test": faults.without_algorithm(18),
        "fed.servfail.test": faults.servfail(),
        "fed.refused.test": faults.refused(),
        "fed.blackhole.test": faults.blackhole(),
        "fed.truncated.test": faults.truncated(),
        "fed.truncated-and-no-tcp.test": faults.truncated(tcp=False),
        "fed.slow.test": faults.slow(0.4),
        "fed.too-slow.test": faults.slow(30.0),
        "fed.packet-loss.test": faults.lossy(2),
        "fed.forged-address.test": faults.forged(),
        "fed.signature-changed.test": faults.bad_signatures(),
        "fed.signatures-stripped.test": faults.only("A", faults.stripped("RRSIG")),
        "all-stripped.test": faults.stripped(),
        "fed.lying-ad.test": faults.authenticated(faults.forged()),
        "fed.lying-ad-unsigned.test": faults.authenticated(),
        "fed.forged-nxdomain.test": faults.forged_nxdomain(world, "zzz.forged-nxdomain.test"),
        "fed.forged-nxdomain-hashed.test": faults.forged_nxdomain(world, "zzz.forged-nxdomain-hashed.test"),
        "fed.replayed-denial.test": faults.replayed_denial(world, "other.replayed-denial.test", "MX"),
        "replayed-no-ds.test": _graft(world, "unsigned.test", "DS"),
        "ds-signed-by-the-child.test": _signed_by("DS", "ds-signed-by-the-child.test"),
        "fed.signed-by-a-sibling.test": _signed_by("A", "good.test"),
        "signed-by-a-child.test": _signed_by("TXT", "child.signed-by-a-child.test"),
        "childs-no-ds.test": _graft(world, "childs-no-ds.test", "MX"),
        "parents-no-data.test": faults.only("A", faults.replayed_denial(world, "parents-no-data0.test", "A")),
        "fed.sub.denied-above.test": faults.forged_nxdomain(world, "sub0.denied-above.test"),
        "fed.sub.denied-above-hashed.test": faults.forged_nxdomain(world, *_SCAN),
        "fed.renamed.test": faults.renamed(world, "other.renamed.test"),
        "x.wild.wildcard-replayed.test": faults.only("A", faults.renamed(world, "z.wild.wildcard-replayed.test")),
        "fed.spoofed.test": faults.spoofed(),
        "fed.misdirected.test": faults.misdirected(),
        "_tcp.srv-servfail.test": faults.servfail(),
        "fed.target-one-family.test": faults.only("AAAA", faults.bad_signatures()),
        "_5223._tcp.fed.tlsa-servfail.test": faults.servfail(),
        "_5223._tcp.fed.tlsa-malformed-length.test": _malformed,
        "everything-truncated.test": faults.truncated(),
        "everything-lost-once.test": faults.lossy(),
        "everything-spoofed.test": faults.spoofed(),
    }


_SCAN = tuple(f"x{n}.denied-above-hashed.test" for n in range(12))
"""Names that do not exist: enough of them to be shown every NSEC3 record of that zone."""


def _graft(world: World, name: str, rdtype: str) -> Hook:
    """A signed zone shown as unsigned: no signatures, and the denial of (`name`, `rdtype`) as proof of no DS."""
    proof, strip = faults.replayed_denial(world, name, rdtype), faults.stripped()

    def hook(query: dns.message.Message, response: dns.message.Message, udp: bool) -> Reply:
        chosen = proof if query.question[0].rdtype == RdataType.DS else strip
        return chosen(query, response, udp)

    return hook


def _signed_by(rdtype: str, signer: str) -> Hook:
    """The records of that type as the keys of `signer` sign them: somebody who has a zone, but not this one."""
    keys = ZoneKeys.derive(SEED, dns.name.from_text(signer), Algorithm.ECDSAP256SHA256)

    def hook(_query: dns.message.Message, response: dns.message.Message, _udp: bool) -> Reply:
        return _exchanged(response, keys)

    return faults.only(rdtype, hook)


def _exchanged(response: dns.message.Message, keys: ZoneKeys) -> dns.message.Message:
    """The first RRset of the answer, signed by `keys` in place of what signed it, for the same time."""
    signatures = [other for other in response.answer if other.rdtype == RdataType.RRSIG]
    if not signatures:
        return response  # a denial, or nobody asked for DNSSEC
    rrset, old = response.answer[0], signatures[0][0]
    window = Window(inception=old.inception, expiration=old.expiration)
    response.answer = [rrset, dns.rrset.from_rdata(rrset.name, rrset.ttl, keys.sign(rrset, window))]
    return response


def _malformed(query: dns.message.Message, response: dns.message.Message, _udp: bool) -> Reply:
    """A TLSA record of the wrong length beside a good one, the set rightly signed."""
    if query.question[0].rdtype != RdataType.TLSA:
        return response
    response.answer[0].add(dns.rdata.GenericRdata(IN, RdataType.TLSA, bytes((3, 1, 1, 0, 0, 0))))
    origin = dns.name.from_text("tlsa-malformed-length.test")
    return _exchanged(response, ZoneKeys.derive(SEED, origin, Algorithm.ECDSAP256SHA256))
