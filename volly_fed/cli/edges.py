"""`volly-fed edges`: which edge nodes may connect to this homeserver.

in: edges.toml in the data folder; out: its content, or the file with one edge more or less.
Never: gives an enrolled name another key without it being revoked first.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import click

from volly_fed.cli.options import DOMAIN, FINGERPRINT, FingerprintCommand, config_option, json_option, print_json
from volly_fed.config.edges import Enrolment, format_edges
from volly_fed.config.model import HomeserverConfig
from volly_fed.daemon.files import locked, write_text
from volly_fed.daemon.material import EDGES, load_edges, read_homeserver_config
from volly_fed.errors import LocalError
from volly_fed.names import DomainName, Fingerprint, fingerprint_text

_RELOAD = "A running homeserver takes it over on `volly-fed reload`."


@click.group()
def edges() -> None:
    """The edge nodes of this homeserver."""


@edges.command(cls=FingerprintCommand)
@click.argument("name", type=DOMAIN, metavar="NAME")
@click.argument("fingerprint", type=FINGERPRINT)
@config_option()
@json_option
def enrol(name: DomainName, fingerprint: Fingerprint, config_path: Path, as_json: bool) -> None:
    """Let the edge node NAME connect, with the identity FINGERPRINT that `volly-fed edge init` printed."""
    config = read_homeserver_config(config_path)
    with locked(config.server.data_dir):
        known = dict(load_edges(config))
        _refuse_conflict(known, name, fingerprint)
        if name not in known:
            now = datetime.now(UTC).replace(microsecond=0)
            known[name] = Enrolment(name=name, fingerprint=fingerprint, enrolled_at=now)
            _write(config, known)
    if as_json:
        print_json(_plain(known[name]))
    else:
        print(f"{name} is enrolled. {_RELOAD}")


@edges.command("list")
@config_option()
@json_option
def list_edges(config_path: Path, as_json: bool) -> None:
    """List the enrolled edge nodes."""
    known = load_edges(read_homeserver_config(config_path))
    if as_json:
        print_json({"edges": [_plain(edge) for _, edge in sorted(known.items())]})
        return
    for name, edge in sorted(known.items()):
        print(f"{name:<24} {fingerprint_text(edge.fingerprint)}  since {edge.enrolled_at:%Y-%m-%d %H:%M} UTC")
    if not known:
        print("No edge node is enrolled: `volly-fed edge init` on its machine says how.")


@edges.command()
@click.argument("name", type=DOMAIN, metavar="NAME")
@config_option()
@json_option
def revoke(name: DomainName, config_path: Path, as_json: bool) -> None:
    """Let the edge node NAME connect no longer."""
    config = read_homeserver_config(config_path)
    with locked(config.server.data_dir):
        known = dict(load_edges(config))
        removed = known.pop(name, None)
        if removed is None:
            raise LocalError(f"no edge node {name} is enrolled; note: `volly-fed edges list` lists them")
        _write(config, known)
    if as_json:
        print_json(_plain(removed) | {"revoked": True})
    else:
        print(f"{name} is revoked. {_RELOAD}")


def _refuse_conflict(known: Mapping[DomainName, Enrolment], name: DomainName, fingerprint: Fingerprint) -> None:
    if name in known and known[name].fingerprint != fingerprint:
        raise LocalError(f"{name} is enrolled with another key; note: run `volly-fed edges revoke {name}` first")
    for other in known.values():
        if other.fingerprint == fingerprint and other.name != name:
            raise LocalError(f"that key is enrolled as {other.name}; note: each edge node has its own key")


def _write(config: HomeserverConfig, known: Mapping[DomainName, Enrolment]) -> None:
    write_text(config.server.data_dir / EDGES, format_edges(known))


def _plain(edge: Enrolment) -> dict[str, object]:
    return {
        "name": edge.name,
        "fingerprint": fingerprint_text(edge.fingerprint),
        "enrolled_at": edge.enrolled_at.isoformat(),
    }
