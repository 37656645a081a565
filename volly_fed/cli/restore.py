"""`volly-fed restore`: the files of a homeserver out of a backup, in a folder of their own.

in: a backup and a new folder; out: the folder, and what is to be known before the homeserver is started.
Never: overwrites anything, starts anything, or restores an identity that the domain no longer publishes unless told to.
"""

from functools import partial
from pathlib import Path

import attrs
import click
import trio

from volly_fed import limits_backup
from volly_fed.cli.backup import date_text, plain, print_manifest
from volly_fed.cli.failure import OK, WARNINGS
from volly_fed.cli.findings import with_patience
from volly_fed.cli.options import PATH, json_option, print_json
from volly_fed.cli.probe import stranger
from volly_fed.cli.progress import progress
from volly_fed.cli.signals import interruptible
from volly_fed.config.model import HomeserverConfig
from volly_fed.daemon.backup.manifest import Manifest
from volly_fed.daemon.backup.restore import Restored
from volly_fed.daemon.backup.restore import restore as restore_backup
from volly_fed.daemon.dns.configured import make_resolver
from volly_fed.daemon.prober import OK as OK_STEP
from volly_fed.daemon.prober import ProbeStep, probe
from volly_fed.daemon.upkeep.identity_record import Published, published
from volly_fed.errors import LocalError
from volly_fed.names import fingerprint_text

_BEFORE = """
Before you start it:
- The homeserver that the backup was made of must not run any more, here or elsewhere: with two of one identity, peers
  talk to either, and what one has acknowledged the other does not know.
- It knows nothing since {made}. Envelopes for its devices that came later and were not fetched are lost. What
  waited for other domains then is sent again, and recognised there; devices get again what they had not fetched then,
  and recognise it. Decisions since (policy, enrolments, accepted identities, changed keys) are to be made again.
- `volly-fed doctor --config {config}`, then `volly-fed serve --config {config}`."""


@click.command()
@click.argument("file", type=PATH)
@click.option("--dir", "folder", type=PATH, metavar="DIR", required=True, help="Where to: empty, or not there yet.")
@click.option("--config", "config_path", type=PATH, metavar="FILE", help="The configuration.  [default: in DIR]")
@click.option("--offline", is_flag=True, help="Do not look which identity the domain publishes.")
@click.option("--force", is_flag=True, help="Even if the domain publishes another identity.")
@json_option
def restore(file: Path, folder: Path, config_path: Path | None, offline: bool, force: bool, as_json: bool) -> int:
    """Put the backup FILE into DIR, all of it or nothing.

    What was stored after the backup is not in it. The homeserver that it was made of must not run any more. Exits with
    1 where DNS did not prove the identity, or a homeserver of the domain answers at its address.
    """
    look = _Look(offline=offline, force=force)
    with interruptible(), progress() as tell:
        done = restore_backup(file, folder, config_path, approve=look.approve, tell=tell)
    proved = look.proves(done.manifest)
    safe = offline or (proved and not look.answers)
    if as_json:
        moved = {option: str(path) for option, path in done.moved.items()}
        document = {"config": str(done.config), "published": proved, "answers": look.answers, "moved": moved}
        print_json(plain(done.manifest) | document)
    else:
        _print(done, look)
    return OK if safe else WARNINGS


@attrs.define
class _Look:
    """What the world knows of the domain, looked up before anything is put anywhere."""

    offline: bool
    force: bool
    found: Published | None = None
    answers: bool = False
    """Somebody who has a TLS key of the domain answers at its address."""

    def approve(self, config: HomeserverConfig, manifest: Manifest) -> None:
        """Raises LocalError: the domain has another identity by now."""
        if self.offline:
            return
        trio.run(with_patience, f"looking who {manifest.domain} is at the moment", partial(self._ask, config))
        if self.found and self.found.identities and not self.proves(manifest) and not self.force:
            raise LocalError(
                f"{manifest.domain} publishes {fingerprint_text(self.found.identities[0])}, and this backup has "
                f"{fingerprint_text(manifest.identity)}: the identity was changed after it\n"
                "note: nothing was changed; take a later backup, or use --force and publish this identity again: peers "
                "that know the other one will ask their operators"
            )

    def proves(self, manifest: Manifest) -> bool | None:
        """Whether DNS names the identity of the backup; None: it was not asked, or did not say."""
        if self.found is None or not self.found.known:
            return None
        return manifest.identity in self.found.identities

    async def _ask(self, config: HomeserverConfig) -> None:
        resolver = make_resolver(config)
        self.found = Published(problem="no answer in time", known=False)
        with trio.move_on_after(limits_backup.BACKUP_LOOK):
            self.found = await published(resolver, config.server.domain)
            if self.found.identities:
                await probe(config.server.domain, resolver, stranger(), self._note)

    def _note(self, step: ProbeStep) -> None:
        self.answers |= (step.what, step.verdict) == ("TLSA", OK_STEP)


def _print(done: Restored, look: _Look) -> None:
    manifest = done.manifest
    print(f"Restored {manifest.domain}, its configuration is {done.config}:")
    print_manifest(manifest)
    if look.found is not None:
        said = "the same identity" if look.proves(manifest) else look.found.problem or "another identity"
        print(f"{'published':<10} {said}")
    if look.answers:
        print(f"{'WARNING':<10} a homeserver of {manifest.domain} answers at its address now: stop it first")
    for option, path in done.moved.items():
        print(f"{'moved':<10} {option}: was {path}, names the restored file now")
    print(_BEFORE.format(made=date_text(manifest.made_at), config=done.config))
