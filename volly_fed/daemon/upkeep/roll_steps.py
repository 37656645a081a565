"""The steps of a roll of the TLS key: start, switch, retire; each can be taken again after it was cut short.

in: the configuration, the time, a Look; out: the state after the step, the records changed, or reasons to wait.
Never: takes the old record away before the running homeserver has the new key (and, but in an emergency, has had it for
limits.ROLL_TTLS times the TTL), or forgets the old key while its record is still wanted. Source: RFC 7671 §8.1.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import attrs
import trio

from volly_fed.config.model import HomeserverConfig
from volly_fed.config.records import Record, records_of
from volly_fed.daemon.admin import client as admin_client
from volly_fed.daemon.dns.resolver import Resolver
from volly_fed.daemon.files import locked
from volly_fed.daemon.material import load_published
from volly_fed.daemon.upkeep import roll_keys
from volly_fed.daemon.upkeep.publish import federation_tlsa, load_primary, publish
from volly_fed.daemon.upkeep.roll import Look, Phase, Roll, load, look, save
from volly_fed.errors import LocalError

_START: Final = "begin one with `volly-fed dns roll start`"


@attrs.frozen(kw_only=True)
class Step:
    """What a step came to."""

    roll: Roll
    done: str = ""
    """In words; "" if nothing was done."""
    refused: tuple[str, ...] = ()
    """Why not, if so; then the keys are as they were."""
    until: float | None = None
    """When the wait is over, where that is the reason; seconds since 1970."""
    changed: tuple[str, ...] = ()
    """Records that were added or removed, as zone-file lines with a sign."""
    wanted: tuple[str, ...] = ()
    """Without [dns_update]: the TLSA records that must be in DNS now, and no others."""


def reload_homeserver(config: HomeserverConfig) -> None:
    """Have the running homeserver read its keys again. None running is no error; raises LocalError if it refuses."""
    try:
        answer = admin_client.call(config, "reload")
    except admin_client.NotRunning:
        return
    expected = roll_keys.current(_data(config)).hex()
    if answer.get("tls_spki_sha256") != expected:
        raise LocalError(f"it shows the key {answer.get('tls_spki_sha256')} instead of {expected}")


Reload = Callable[[HomeserverConfig], None]


async def start(config: HomeserverConfig, now: float) -> Step:
    """Make sure that there is a spare and that its record is published. Again is no error.

    Raises LocalError while the key before is still being retired, and as publishing does.
    """
    with locked(config.server.data_dir):
        roll = load(config)
        if roll.phase in (Phase.SWITCHING, Phase.RETIRING):
            raise LocalError("the last roll is not finished\nnote: finish it with `volly-fed dns roll finish`")
        new = roll_keys.make_spare(config, _date(now))
        if roll.new != new:
            roll = Roll(new=new)
        if roll.phase is Phase.IDLE:
            roll = attrs.evolve(roll, phase=Phase.WAITING, started_at=now)
            save(config, roll)
    return await _published(config, Step(roll=roll, done="the roll has begun"))


async def finish(
    config: HomeserverConfig,
    resolver: Resolver,
    clock: Callable[[], float],
    *,
    emergency: bool = False,
    reload: Reload = reload_homeserver,
) -> Step:
    """The next step that is due: the switch, or the retirement of the old key; or why it is refused.

    `emergency` (a stolen key) needs no `start`, does not wait for servers that do not answer now, and retires the old
    key as soon as the homeserver has the new one; never does it shorten the wait before the switch.
    Raises LocalError where there is nothing to finish, and as publishing and reloading do.
    """
    roll = load(config)
    if roll.phase is Phase.RETIRING:
        return await _retire(config, clock, reload, emergency=emergency)
    if roll.phase is Phase.SWITCHING:
        return await _complete(config, clock, reload)
    if roll.phase is Phase.IDLE and not emergency:
        raise LocalError(f"no roll is under way\nnote: {_START}; --emergency switches to a spare that is old enough")
    seen = await look(config, resolver, clock())
    refused = seen.objections(clock(), emergency=emergency)
    if refused:
        return Step(roll=seen.roll, refused=tuple(refused), until=seen.roll.ready_at)
    _decide(config, seen)
    return await _complete(config, clock, reload)


def _decide(config: HomeserverConfig, seen: Look) -> None:
    """From here on the switch is completed whatever happens: what it waited for has been seen."""
    with locked(config.server.data_dir):
        if load(config) != seen.roll:
            raise _changed_meanwhile()
        save(config, attrs.evolve(seen.roll, phase=Phase.SWITCHING))


def _changed_meanwhile() -> LocalError:
    return LocalError("another command has changed the state of the roll\nnote: see `volly-fed dns roll status`")


async def _complete(config: HomeserverConfig, clock: Callable[[], float], reload: Reload) -> Step:
    with locked(config.server.data_dir):
        roll = load(config)
        if roll.phase is Phase.SWITCHING:
            roll_keys.switch(config, roll.new, _date(clock()))
            roll = attrs.evolve(roll, phase=Phase.RETIRING, reloaded_at=None)
            save(config, roll)
    roll = await _reloaded(config, clock, reload)
    return await _published(config, Step(roll=roll, done="the new key is in use"))


async def _retire(config: HomeserverConfig, clock: Callable[[], float], reload: Reload, *, emergency: bool) -> Step:
    roll = await _reloaded(config, clock, reload)
    assert roll.retire_at is not None  # set by _reloaded, which raises otherwise
    if roll.retire_at > clock() and not emergency:  # in an emergency: every cache has the new record too by now
        left = roll.retire_at - clock()
        words = f"the old record must stay for {roll.wait:.0f} s after the switch: {left:.0f} s left"
        step = Step(roll=roll, refused=(words,), until=roll.retire_at)
        return await _published(config, step)  # if the update at the switch failed, this is its repetition
    await _reload(config, reload)  # one that was starting at the switch had read the old key, and could not be asked
    old = roll_keys.old(_data(config))
    if old == roll_keys.current(_data(config)):  # it is back, out of a backup: its record is needed
        old = None
    step = await _published(config, Step(roll=roll, done="the old key is retired"), without=old)
    with locked(_data(config)):
        if (known := load(config)).phase is not Phase.RETIRING or known.new != roll.new:
            raise _changed_meanwhile()
        roll_keys.forget_old(_data(config))
        idle = Roll(new=roll_keys.make_spare(config, _date(clock())))
        save(config, idle)
    return attrs.evolve(step, roll=idle)


async def _reloaded(config: HomeserverConfig, clock: Callable[[], float], reload: Reload) -> Roll:
    """The state, once the homeserver has the new key; the retirement waits from then on."""
    roll = load(config)
    if roll.reloaded_at is not None and roll.reloaded_at <= clock():
        return roll
    await _reload(config, reload)
    with locked(_data(config)):
        roll = attrs.evolve(load(config), reloaded_at=clock())
        save(config, roll)
    return roll


async def _reload(config: HomeserverConfig, reload: Reload) -> None:
    try:
        await trio.to_thread.run_sync(reload, config)
    except LocalError as error:
        raise LocalError(
            f"the keys are switched, but the running homeserver still uses the old one: {error}\n"
            "note: repair that or restart it, then run `volly-fed dns roll finish` again"
        ) from error


async def _published(config: HomeserverConfig, step: Step, *, without: bytes | None = None) -> Step:
    """`step`, with the TLSA records published, or told where there is no [dns_update]."""
    published = load_published(config)
    kept = attrs.evolve(published, tls=tuple(digest for digest in published.tls if digest != without))
    records: list[Record] = federation_tlsa(config, records_of(config, kept))
    if config.dns_update.server is None:
        return attrs.evolve(step, wanted=tuple(record.line() for record in records))
    changes = await publish(config.dns_update, load_primary(config.dns_update), records)
    lines = [line for change in changes for line in (*change.removed, *change.added)]
    return attrs.evolve(step, changed=tuple(lines))


def _data(config: HomeserverConfig) -> Path:
    return config.server.data_dir


def _date(now: float) -> datetime:
    return datetime.fromtimestamp(now, UTC)
