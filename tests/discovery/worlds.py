"""The test world that the validator's tests share: everything that can be right or wrong with a zone."""

from dns.rdatatype import RdataType

from tests.discovery.harness import NOW, service_records
from volly_fed.testing.world import Flaw, Hook, World

SIGNATURES = (RdataType.RRSIG,)
DENIALS = (RdataType.NSEC, RdataType.NSEC3)


def build(*, nsec3: bool = False, algorithm: int = 13) -> World:
    world = World(seed=b"validator tests", nsec3=nsec3, algorithm=algorithm)
    world.zone("a.test", [*service_records(), "*.wild IN A 192.0.2.9", "x.wild.b IN A 192.0.2.8", "*.b IN A 192.0.2.7"])
    world.zone(
        "alias.test",
        [
            "good IN CNAME fed.a.test.",
            "chain IN CNAME good",
            "one IN CNAME two",
            "two IN CNAME one",
            "unsigned IN CNAME fed.unsigned.test.",
            "bogus IN CNAME fed.bad.test.",
            "none IN CNAME missing.a.test.",
            "*.wild IN CNAME fed.a.test.",
            "tree IN DNAME a.test.",
            f"long IN DNAME {'.'.join(['x' * 60] * 3)}.a.test.",
            *(f"h{index} IN CNAME h{index + 1}" for index in range(12)),
        ],
    )
    world.zone("unsigned.test", [*service_records(), "up IN CNAME fed.a.test."], signed=False)
    world.zone("sub.a.test", ["www IN A 192.0.2.3"])
    world.zone("lame.sub.a.test", signed=False)
    world.zone("bad.test", service_records(), flaws=Flaw.BAD_SIGNATURE)
    for flaw in ~Flaw.KEY_TRAP:  # which takes long to sign; the matrix has it
        world.zone(f"{str(flaw.name).lower().replace('_', '-')}.test", service_records(), flaws=flaw)
    world.sign(NOW)
    return world


def hooked(hook: Hook, name: str = "a.test", *, nsec3: bool = False) -> World:
    """A world of its own, with `hook` between its server and the validator."""
    world = build(nsec3=nsec3)
    world.hook(name, hook)
    return world
