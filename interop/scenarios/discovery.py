"""How a homeserver finds a domain: what it dials, and what it does not dial for want of a proof."""

from functools import partial

from interop.scenario import check, equal, scenario
from interop.stage import Stage, Stranger
from volly_fed.testing.world import Flaw


def without(kind: str, lines: list[str]) -> list[str]:
    """The zone without its records of this type."""
    return [line for line in lines if f" {kind} " not in line]


async def submit_for(stage: Stage, *strangers: Stranger) -> None:
    """Have the first server queue an envelope for each of `strangers`."""
    edge = await stage.edge(stage.servers[0])
    device = await edge.device()
    envelopes = [device.envelope(domain=stranger.domain) for stranger in strangers]
    equal(await edge.submit(*envelopes), [None] * len(envelopes), "what the homeserver says")


@scenario("discovery/where-the-records-say", servers=1, needs=("discovery",), covers=("discovery-15",))
async def where_the_records_say(stage: Stage) -> None:
    """A domain is in the DNS, and the static map has no target for it. The homeserver accepts an envelope for it, and
    dials the address that the records name.
    """
    stranger = await stage.stranger()
    for server in stage.servers:
        server.site.peers[stranger.domain].published = False
        await server.reload()
    await submit_for(stage, stranger)
    await stranger.shim.until(lambda: stranger.shim.accepted > 0)


@scenario(
    "discovery/nothing-unproved-is-dialled",
    servers=1,
    needs=("discovery",),
    covers=("discovery-7", "discovery-16", "discovery-17", "discovery-19", "discovery-23"),
    seconds=40,
)
async def nothing_unproved_is_dialled(stage: Stage) -> None:
    """Domains whose zone is not signed, signed wrongly, with signatures that are over, without a DS, or that lack one
    of the records. Envelopes for all of them are accepted, and none is dialled; a domain whose records are right is,
    though it was asked for last.
    """
    wrong = {
        "not signed": await stage.stranger("unsigned", signed=False),
        "a wrong signature": await stage.stranger("forged", flaws=Flaw.BAD_SIGNATURE),
        "signatures that are over": await stage.stranger("expired", flaws=Flaw.EXPIRED),
        "no DS": await stage.stranger("island", flaws=Flaw.NO_DS),
        "no signatures": await stage.stranger("stripped", flaws=Flaw.NO_SIGNATURES),
        "no TLSA": await stage.stranger("no-tlsa", records=partial(without, "TLSA")),
        "no TXT": await stage.stranger("no-txt", records=partial(without, "TXT")),
        "no SRV": await stage.stranger("no-srv", records=partial(without, "SRV")),
    }
    right = await stage.stranger("right")
    await submit_for(stage, *wrong.values(), right)
    await right.shim.until(lambda: right.shim.accepted > 0)
    dialled = [what for what, stranger in wrong.items() if stranger.shim.accepted]
    check(not dialled, f"nobody is dialled who has {', '.join(dialled)}")


@scenario("discovery/nobody-is-dialled-without-trust", servers=1, covers=("trust-2",))
async def nobody_is_dialled_without_trust(stage: Stage) -> None:
    """Envelopes wait for a domain that does not answer, and that is not trusted any more then: it is not dialled again.
    Another one, which does not answer either, is dialled again and again.
    """
    server = stage.servers[0]
    distrusted, right = await stage.stranger(), await stage.stranger()
    await submit_for(stage, distrusted)
    await distrusted.shim.until(lambda: distrusted.shim.accepted > 1)  # there is a pause now
    await stage.trust(server, distrusted.domain, "none")
    before = distrusted.shim.accepted
    await submit_for(stage, right)
    await right.shim.until(lambda: right.shim.accepted > 2)
    equal(distrusted.shim.accepted, before, "connections of the one that is not trusted")


@scenario("discovery/more-in-the-records", servers=1, needs=("discovery",), covers=("discovery-4", "discovery-12"))
async def more_in_the_records(stage: Stage) -> None:
    """A domain has a second TLSA record, of a key that nobody has, and an unknown field in its TXT record: it is
    dialled as any other.
    """

    def more(lines: list[str]) -> list[str]:
        tlsa = next(line for line in lines if " TLSA " in line)
        other = tlsa[: -len("00" * 32)] + "ab" * 32
        return [line.replace('"v=vf1 ', '"v=vf1 x=y ') if " TXT " in line else line for line in lines] + [other]

    stranger = await stage.stranger(records=more)
    await submit_for(stage, stranger)
    await stranger.shim.until(lambda: stranger.shim.accepted > 0)
