"""`volly-fed keys`: the public side of the keys of a homeserver or an edge node, and the change of an identity.

in: a volly-fed.toml or an edge.toml; out: fingerprints and digests, as records, enrolments and peers show them.
Never: shows anything secret.
"""

from pathlib import Path

import attrs
import click

from volly_fed.cli.keys_recover import recover
from volly_fed.cli.keys_rotate import rotate
from volly_fed.cli.options import config_option, json_option, print_json
from volly_fed.config.load import parse_edge, parse_homeserver, parse_toml
from volly_fed.daemon import material
from volly_fed.daemon.files import read_text
from volly_fed.names import fingerprint_text


@click.group()
def keys() -> None:
    """The public side of the keys; changing the identity; going on without it."""


keys.add_command(rotate)
keys.add_command(recover)


@attrs.frozen(kw_only=True)
class Shown:
    """Whose keys, where they are, and what may be told of them."""

    name: str
    data_dir: Path
    identity: str
    tls: tuple[str, ...]


@keys.command()
@config_option()
@click.option("--identity", "identity_only", is_flag=True, help="Print the identity fingerprint alone, for scripts.")
@json_option
def show(config_path: Path, identity_only: bool, as_json: bool) -> None:
    """Show the identity fingerprint and the digests of the TLS keys."""
    shown = _load(config_path)
    if identity_only:
        print(shown.identity)
        return
    if as_json:
        digests = dict(zip(("tls_spki_sha256", "tls_next_spki_sha256"), shown.tls, strict=False))
        print_json({"name": shown.name, "identity": shown.identity} | digests | {"data_dir": str(shown.data_dir)})
        return
    print(f"{'name':<18} {shown.name}")
    print(f"{'identity':<18} {shown.identity}  (ML-DSA-65 + Ed25519)")
    for which, digest in zip(("TLS key, current", "TLS key, next"), shown.tls, strict=False):
        print(f"{which:<18} {digest}  (SHA-256 of the public key)")
    print(f"{'files':<18} {shown.data_dir}")


def _load(path: Path) -> Shown:
    text = read_text(path, "configuration", "name the file with --config")
    if "edge" in parse_toml(text, path):
        edge = parse_edge(text, path).edge
        found = material.load_material(edge.data_dir)
        identity, tls = found.fingerprint, (found.tls.key.spki_sha256.hex(),)
        return Shown(name=edge.name, data_dir=edge.data_dir, identity=fingerprint_text(identity), tls=tls)
    config = parse_homeserver(text, path)
    published = material.load_published(config)
    return Shown(
        name=config.server.domain,
        data_dir=config.server.data_dir,
        identity=fingerprint_text(published.identity),
        tls=tuple(digest.hex() for digest in published.tls),
    )
