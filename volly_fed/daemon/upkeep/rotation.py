"""The change of a homeserver's identity: the next key and the continuity statement, then the switch.

in: the data folder, the time; out: the phase the files are in, and the files of the next one.
The files alone decide: after a crash at any moment, the same command goes on where it was. The switch itself is one
rename. Never: removes a key; switches before peers' cool-off can be over, or without the record that announces it,
unless it is told to.
"""

import enum
import os
from pathlib import Path

import attrs

from volly_fed import limits
from volly_fed.codepoints import IDENTITY_OWNER
from volly_fed.config.keys import KeyKind, format_key
from volly_fed.crypto.signature import IdentityKey, fingerprint
from volly_fed.daemon import material
from volly_fed.daemon.dns.resolver import Resolver
from volly_fed.daemon.files import PUBLIC_FILE, locked, move_over, read_private_text, write_bytes, write_text
from volly_fed.discovery.endpoint import Status
from volly_fed.discovery.records import choose_identity, txt_strings
from volly_fed.errors import BadMessage, Indeterminate, LocalError
from volly_fed.names import DomainName, Fingerprint, fingerprint_text
from volly_fed.trust.continuity import make_statement

_START = "run `volly-fed keys rotate start`"


class Phase(enum.StrEnum):
    """How far a change of identity is."""

    NONE = "none"
    """There is one identity, and nobody is told of another."""
    PREPARED = "prepared"
    """The next key is there without a statement for it: `start` was interrupted, and goes on if run again."""
    ANNOUNCED = "announced"
    """The next key and the statement are there; the old key is in use."""
    SWITCHED = "switched"
    """The new key is in use, and peers are shown the statement until it expires."""


@attrs.frozen(kw_only=True)
class Rotation:
    """What the files say. Times are seconds since 1970."""

    phase: Phase
    identity: Fingerprint
    """The one in use."""
    following: Fingerprint | None = None
    """The one to come, in the phases PREPARED and ANNOUNCED."""
    previous: Fingerprint | None = None
    """The one before, in the phase SWITCHED."""
    announced: int = 0
    """Since when the statement is valid; 0 where there is none."""
    expires: int = 0
    """When it ends; 0 where there is none."""


def look(data_dir: Path, now: float) -> Rotation:
    """The phase that the files in `data_dir` are in; raises LocalError for damaged ones."""
    key, following = material.load_material(data_dir).identity, material.load_next_identity(data_dir)
    identity, found = fingerprint(key.public), material.load_statement(data_dir)
    statement = None if found is None or found[1].not_after <= now else found[1]
    if following is not None:
        to_come = fingerprint(following.public)
        if statement is None or (statement.old, statement.new) != (identity, to_come):
            return Rotation(phase=Phase.PREPARED, identity=identity, following=to_come)
        return Rotation(
            phase=Phase.ANNOUNCED,
            identity=identity,
            following=to_come,
            announced=statement.not_before,
            expires=statement.not_after,
        )
    if statement is not None and statement.new == identity:
        return Rotation(
            phase=Phase.SWITCHED,
            identity=identity,
            previous=statement.old,
            announced=statement.not_before,
            expires=statement.not_after,
        )
    return Rotation(phase=Phase.NONE, identity=identity)


def start(domain: DomainName, data_dir: Path, now: float, *, force: bool = False) -> Rotation:
    """Make the next identity and the statement, unless they are there already.

    Raises LocalError while peers are still told of the change before this one: who has not heard of that one could
    not follow. `force` does it all the same.
    """
    with locked(data_dir):
        at = look(data_dir, now)
        if at.phase is Phase.SWITCHED and not force:
            raise LocalError(
                "the identity was changed not long ago, and peers that have not been in touch since then know only the "
                "one before it\nnote: wait until the statement has expired (`volly-fed keys rotate status` says when), "
                "or use --force: such peers will ask their operators"
            )
        if at.phase in {Phase.NONE, Phase.SWITCHED}:
            seed = IdentityKey.generate(os.urandom).seed
            write_text(data_dir / material.NEXT_IDENTITY_KEY, format_key(KeyKind.IDENTITY, seed))
        if at.phase is not Phase.ANNOUNCED:
            _write_statement(domain, data_dir, int(now))
        return look(data_dir, now)


def ready_at(at: Rotation, after: float) -> float:
    """When peers that were in touch at once, and wait for `after` seconds, accept the new identity."""
    return at.announced + after


def demand_ready(at: Rotation, now: float, after: float) -> Fingerprint:
    """The identity to come, if it was announced `after` seconds ago or more. Raises LocalError otherwise."""
    if at.phase is not Phase.ANNOUNCED or at.following is None:
        raise LocalError(f"no change of identity has been announced\nnote: {_START} first")
    left = ready_at(at, after) - now
    if left > 0:
        raise LocalError(
            f"the new identity was announced too recently: {left / 3600:.1f} hours are left\n"
            "note: peers wait for their cool-off before they accept it; come back then, or use --now if the old "
            "key must not be used any more: peers will keep their envelopes until they accept the new one"
        )
    return at.following


def finish(data_dir: Path, now: float, *, after: float = limits.COOL_OFF) -> Rotation:
    """Put the next identity in the place of the old one, which is kept under another name. Done already: no error.

    Raises LocalError: no change is under way, or it was announced less than `after` seconds ago.
    """
    with locked(data_dir):
        at = look(data_dir, now)
        if at.phase is Phase.SWITCHED:
            return at
        demand_ready(at, now, after)
        _keep(data_dir, at.identity)
        move_over(data_dir / material.NEXT_IDENTITY_KEY, data_dir / material.IDENTITY_KEY)
        return look(data_dir, now)


def kept_name(identity: Fingerprint) -> str:
    """The file that a former identity is kept in."""
    return f"identity-old-{identity.hex()[:16]}.key"


async def demand_announced(resolver: Resolver, domain: DomainName, following: Fingerprint) -> None:
    """See that the validated identity record of `domain` names `following` too.

    Raises LocalError where it does not, and Indeterminate where nobody could be asked.
    """
    answer = await resolver.lookup(f"{IDENTITY_OWNER}.{domain}", "TXT")
    if answer.status is Status.INDETERMINATE:
        raise Indeterminate(f"{answer.reason}\nnote: check [dns] resolvers, or use --now to switch without looking")
    publish = f"publish what `volly-fed dns print` prints and wait for the cool-off; {domain} must be signed"
    if not answer.found:
        reason = answer.reason or "there is none"
        raise LocalError(f"the identity record of {domain} cannot be used: {reason}\nnote: {publish}")
    try:
        published = choose_identity(txt_strings(answer.rdatas))
    except BadMessage as error:
        raise LocalError(f"the identity record of {domain}: {error}\nnote: {publish}") from error
    if following not in {published.current, published.next}:
        raise LocalError(
            f"the identity record of {domain} does not announce {fingerprint_text(following)}\nnote: {publish}"
        )


def _write_statement(domain: DomainName, data_dir: Path, now: int) -> None:
    following = material.load_next_identity(data_dir)
    assert following is not None, "it was written before"
    found = material.load_statement(data_dir)
    statement = make_statement(
        domain=domain,
        # the time, so that it grows even where the former statement is lost
        sequence=now if found is None else max(now, found[1].sequence + 1),  # [handshake-31]
        not_before=now,
        not_after=now + limits.CONTINUITY_VALIDITY,
        old=material.load_material(data_dir).identity,
        new=following,
    )
    write_bytes(data_dir / material.CONTINUITY, statement, PUBLIC_FILE)


def _keep(data_dir: Path, identity: Fingerprint) -> None:
    path = data_dir / kept_name(identity)
    if not path.exists():
        write_text(path, read_private_text(data_dir / material.IDENTITY_KEY, "key file"))
