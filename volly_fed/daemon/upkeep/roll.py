"""A roll of the TLS key: how far it is, what every server of the zone shows, and whether the switch may come.

in: the data folder, the views of all authoritative servers, the time; out: the state, and reasons to wait.
Never: lets the key change before every server has shown its record for limits.ROLL_TTLS times the TTL without
interruption, as far as anybody looked. A look is recorded also while no roll is under way, so that the spare's record
can be known to be old enough in an emergency. Source: RFC 6698 §A.4, RFC 7671 §8.1.
"""

import enum
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from volly_fed import limits
from volly_fed.config.model import HomeserverConfig
from volly_fed.config.records import TTL, tlsa_owner
from volly_fed.daemon.dns.resolver import Resolver
from volly_fed.daemon.files import locked, read_text, there_is, write_text
from volly_fed.daemon.upkeep import roll_keys
from volly_fed.daemon.upkeep.authoritative import View, poll
from volly_fed.daemon.upkeep.roll_keys import published as published
from volly_fed.discovery.dane import TlsaRecord
from volly_fed.discovery.dnssec import Answer
from volly_fed.discovery.records import parse_tlsa
from volly_fed.errors import BadMessage, DiscoveryError, LocalError

STATE: Final = "roll.json"


class Phase(enum.StrEnum):
    """What we know."""

    IDLE = "idle"
    """No roll is under way; the spare may be published all the same."""
    WAITING = "waiting"
    """The spare is to become the key as soon as everybody can know its record."""
    SWITCHING = "switching"
    """The switch was decided and not seen to end: finish it, whatever DNS says now."""
    RETIRING = "retiring"
    """The new key is in use; the old one's record stays for those who have cached nothing else."""


@attrs.frozen(kw_only=True)
class Roll:
    """The state of a roll, and of the watch over the spare's record. Times are seconds since 1970, `ttl` seconds."""

    phase: Phase = Phase.IDLE
    new: bytes
    """The digest that the watch is for: of the spare, from the switch on of the current key."""
    started_at: float | None = None
    ttl: int = 0
    """The longest TTL seen of the TLSA records."""
    seen_since: float | None = None
    """The first look at which all servers showed `new`, if none has been seen without it since."""
    reloaded_at: float | None = None
    """When the running homeserver took the new key, or the switch itself if none ran."""

    @property
    def wait(self) -> float:
        """Seconds that caches need to forget what they had."""
        return float(limits.ROLL_TTLS * (self.ttl or TTL))

    @property
    def ready_at(self) -> float | None:
        """When the switch may come, if all goes on as it is."""
        return None if self.seen_since is None else self.seen_since + self.wait

    @property
    def retire_at(self) -> float | None:
        """When the old record may go."""
        return None if self.reloaded_at is None else self.reloaded_at + self.wait


@attrs.frozen(kw_only=True)
class Shown:
    """Whether one server shows the new record: None where it could not be asked, or its answer is not proved."""

    server: str
    address: str = ""
    shows: bool | None
    ttl: int | None = None
    reason: str = ""


@attrs.frozen(kw_only=True)
class Look:
    """One look: the state after it, what each server shows, and what the validating resolver says."""

    roll: Roll
    servers: tuple[Shown, ...]
    validated: Shown

    def objections(self, now: float, *, emergency: bool = False) -> list[str]:
        """Why the key may not be switched yet; nothing if it may.

        In an emergency a server that does not answer now is not waited for; one that shows no record still is.
        """
        found = [
            f"{shown.server} {shown.address}".rstrip() + f": {shown.reason}"
            for shown in (*self.servers, self.validated)
            if shown.shows is False or (shown.shows is None and not emergency)
        ]
        if not any(shown.shows for shown in self.servers):
            found.append("no authoritative server is known to show the new record")
        ready_at = self.roll.ready_at
        if ready_at is None:
            found.append("not all authoritative servers have been seen with the new record yet")
        elif ready_at > now:
            found.append(
                f"all servers must show the new record for {self.roll.wait:.0f} s: {ready_at - now:.0f} s left"
            )
        return found


def observe(roll: Roll, servers: Sequence[Shown], now: float) -> Roll:
    """The state after `servers` were looked at.

    One that shows no record begins the wait anew. One that does not answer leaves it as it is: the switch itself asks
    for an answer of all. So does a clock that went back: how long ago it was seen is then not known.
    """
    since = roll.seen_since
    if any(shown.shows is False for shown in servers) or (since is not None and since > now):
        since = None
    if since is None and servers and all(shown.shows for shown in servers):
        since = now
    ttl = max([roll.ttl, *(shown.ttl for shown in servers if shown.ttl is not None)])
    return attrs.evolve(roll, seen_since=since, ttl=ttl)


async def look(config: HomeserverConfig, resolver: Resolver, now: float) -> Look:
    """Ask every authoritative server and the validating resolver for the new record, and keep what was seen.

    Raises LocalError for damaged files. Nothing that DNS says or does not say raises.
    """
    new = load(config).new
    owner = tlsa_owner(config.federation.host, config.federation.port)
    try:
        views = await poll(resolver, owner, "TLSA", port=config.dns.authoritative_port)
    except DiscoveryError as error:
        servers: tuple[Shown, ...] = (Shown(server="the zone's servers", shows=None, reason=str(error).split("\n")[0]),)
    else:
        servers = tuple(judge(views, new))
    validated = _validated(await resolver.lookup(owner, "TLSA"), new)
    # in a thread: a homeserver looks too, and another command may be inside
    roll = await trio.to_thread.run_sync(_keep_seen, config, new, servers, now)
    return Look(roll=roll, servers=servers, validated=validated)


def _keep_seen(config: HomeserverConfig, new: bytes, servers: Sequence[Shown], now: float) -> Roll:
    with locked(config.server.data_dir):
        roll = load(config)
        if roll.new == new:  # else a switch came between
            roll = observe(roll, servers, now)
            save(config, roll)
        return roll


def judge(views: Sequence[View], new: bytes) -> list[Shown]:
    """What each view says of the digest `new`.

    An address that this machine cannot reach (no IPv6 here, say) does not count if its server answers at another.
    """
    answering = {view.server for view in views if not view.error}
    return [_shown(view, new) for view in views if view.reachable or view.server not in answering]


def load(config: HomeserverConfig) -> Roll:
    """The state in the data folder; the key files have the last word. Raises LocalError if it is damaged."""
    data = config.server.data_dir
    path = data / STATE
    roll = _parse(read_text(path, "state of the roll"), path) if there_is(path) else None
    spare = roll_keys.spare(data)
    if roll is not None and (roll.phase is Phase.RETIRING or roll.new == spare or _is_switching(data, roll)):
        return roll
    # no state, or one of a spare that was replaced by hand: whatever was seen of it says nothing of this one
    return Roll(new=spare or b"")


def _is_switching(data_dir: Path, roll: Roll) -> bool:
    return roll.phase is Phase.SWITCHING and roll.new == roll_keys.current(data_dir)


def save(config: HomeserverConfig, roll: Roll) -> None:
    """Write the state in one step that survives a crash."""
    document = attrs.asdict(roll) | {"phase": roll.phase.value, "new": roll.new.hex()}
    write_text(config.server.data_dir / STATE, json.dumps(document, indent=2) + "\n")


def _parse(text: str, path: Path) -> Roll:
    try:
        document: dict[str, Any] = json.loads(text)
        phase, new = Phase(document.pop("phase")), bytes.fromhex(document.pop("new"))
        return Roll(phase=phase, new=new, **document)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LocalError(
            f"{path} is damaged\nnote: restore it from your backup; or, if `volly-fed keys show` names the keys you "
            "expect, remove it, and the roll begins anew"
        ) from error


def _shown(view: View, new: bytes) -> Shown:
    shows: bool | None = None
    reason = view.error or view.unproved
    if not reason:
        shows = new in _digests(view.rdatas)
        reason = "shows the new record" if shows else "does not show the new record"
    return Shown(server=view.server, address=view.address, shows=shows, ttl=view.ttl, reason=reason)


def _validated(answer: Answer, new: bytes) -> Shown:
    shows = new in _digests(answer.rdatas) if answer.status.value == "secure" else None
    reason = answer.reason.split("\n")[0] or answer.status.value
    if shows is False:
        reason = "still has the records without the new one" if answer.found else answer.reason or "shows no record"
    return Shown(server="validating resolver", shows=shows, reason=reason)


def _digests(rdatas: Sequence[Any]) -> set[bytes]:
    """What the records hold that discovery would accept for our keys: usage 3, selector 1, matching type 1."""
    records: list[TlsaRecord] = []
    for rdata in rdatas:
        try:
            records.append(parse_tlsa(rdata))
        except BadMessage:
            continue
    return {record.data for record in records if (record.usage, record.selector, record.matching) == (3, 1, 1)}
