"""`volly-fed keys recover`: going on when the identity key is lost and no backup has it.

in: a volly-fed.toml; out: an identity key, what to publish, what to tell edge nodes and peers' operators.
Run again it makes nothing more and says the same. Never: shows anything secret, or makes an identity where one is.
"""

import time
from pathlib import Path
from typing import Any

import click
import trio

from volly_fed import limits
from volly_fed.cli.options import config_option, json_option, print_json
from volly_fed.config.model import HomeserverConfig
from volly_fed.config.record_text import zone_text
from volly_fed.config.records import records_of
from volly_fed.daemon.admin import client as admin_client
from volly_fed.daemon.backup.contents import STORE_FILE
from volly_fed.daemon.material import load_edges, load_published, read_homeserver_config
from volly_fed.daemon.store.store import Store
from volly_fed.daemon.upkeep import recovery
from volly_fed.daemon.upkeep.recovery import How, Recovered
from volly_fed.errors import LocalError
from volly_fed.names import DomainName, fingerprint_text, parse_fingerprint

_LOST = {
    How.NEW: """It will be a new one. Nothing can prove that it is still you: there will be no link with a domain that
knows the old one until that domain's operator has accepted the new one.""",
    How.ANNOUNCED: """The next identity takes its place: the lost one has signed a statement for it, by which domains
that know the old one follow by themselves, after their cool-off.""",
}
_SAID = {
    How.THERE: """The identity key is there and whole: nothing was made. If peers know another one (after
`volly-fed init` on an empty machine, say), these are the steps:""",
    How.SAVED: "The running homeserver had it in memory and has written it down: nothing is lost. Make a backup now.",
    How.ANNOUNCED: """The next identity has taken the place of the lost one. Domains that know the lost one follow by
its statement, after their cool-off.""",
    How.NEW: "A new identity has taken the place of the lost one.",
}
_TOLD = {
    How.ANNOUNCED: "4. Domains that do not follow by themselves ask their operators, who run:",
    How.NEW: """4. Tell the operator of every domain you federate with, by another way than these domains. Their
   homeservers refuse yours (identity_changed) and keep what waits for you, while it is valid, until they run:""",
}


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option()
@json_option
def recover(config_path: Path, yes: bool, as_json: bool) -> None:
    """Go on without the identity key, where it is lost: make another, say what to publish and whom to tell.

    First look for a backup: `volly-fed restore`. A key that is there is never replaced; run again, this says the steps.
    """
    if as_json and not yes:
        raise click.UsageError("--json asks nothing: give --yes too")
    config = read_homeserver_config(config_path)
    done = _recover(config, yes)
    peers = [] if done.how is How.SAVED else _peers(config)
    if as_json:
        print_json(_plain(config, done, peers))
    else:
        _print(config, done, peers)


def _recover(config: HomeserverConfig, yes: bool) -> Recovered:
    how = recovery.outlook(config.server.data_dir)
    if admin_client.running(config):
        kept = parse_fingerprint(admin_client.call(config, "save-identity")["identity"])
        return Recovered(how=How.THERE if how is How.THERE else How.SAVED, identity=kept)
    if how is not How.THERE and not yes:
        print(f"The identity key of {config.server.domain} is lost. {_LOST[how]}")
        print("If there is a backup anywhere, `volly-fed restore` is the better way.")
        if not click.confirm("Go on?"):
            raise LocalError("nothing was changed\nnote: look for a backup of identity.key")
    return recovery.recover(config, time.time())


def _peers(config: HomeserverConfig) -> list[DomainName]:
    """Who has proved an identity to us, and so knows ours; nobody where the store is lost too, or is in use."""
    path = config.server.data_dir / STORE_FILE
    if not path.exists():
        return []

    async def read() -> list[DomainName]:
        async with Store.open(path) as store:
            return [domain for domain, _ in await store.standings(limits.IDENTITIES_SHOWN)]

    try:
        return sorted(trio.run(read))
    except LocalError:
        return []


def _accept(config: HomeserverConfig, done: Recovered) -> str:
    return f"volly-fed trust accept-key {config.server.domain} --fingerprint={fingerprint_text(done.identity)}"


def _plain(config: HomeserverConfig, done: Recovered, peers: list[DomainName]) -> dict[str, Any]:
    return {
        "how": str(done.how),
        "identity": fingerprint_text(done.identity),
        "new_tls": done.new_tls,
        "aside": [str(path) for path in done.aside],
        "records": [record.line() for record in records_of(config, load_published(config))],
        "edges": sorted(load_edges(config)),
        "peers": peers,
        "accept": _accept(config, done),
    }


def _print(config: HomeserverConfig, done: Recovered, peers: list[DomainName]) -> None:
    print(_SAID[done.how])
    print(f"{'identity':<10} {fingerprint_text(done.identity)}")
    for path in done.aside:
        print(f"{'kept':<10} {path}")
    if done.new_tls:
        print(f"{'TLS':<10} new keys too")
    if done.how is How.SAVED:
        return
    edges = ", ".join(sorted(load_edges(config))) or "none is enrolled any more: `volly-fed edges enrol`"
    print("\n1. Publish these records, and no other identity:\n")
    print(zone_text(config, records_of(config, load_published(config))))
    print(f"2. On each edge node ({edges}), put into edge.toml below [edge], and send it SIGHUP:")
    print(f'   homeserver_identity = "{fingerprint_text(done.identity)}"')
    print("3. `volly-fed dns check`; when the old records' TTL is over, `volly-fed serve` and `volly-fed backup`.")
    print(_TOLD.get(done.how, _TOLD[How.NEW]))
    print(f"   {_accept(config, done)}")
    print(f"   They are: {', '.join(peers) if peers else 'nobody knows, for the store is lost too'}")
