"""`volly-fed edge`: an edge node, and the files of a new one.

in: edge.toml, or where its homeserver is; out: a running edge node, or files and the command that enrols it.
Never: overwrites a file, or leaves half of the files behind.
"""

from pathlib import Path

import click

from volly_fed.cli.options import (
    DOMAIN,
    EDGE_FILE,
    FINGERPRINT,
    LISTEN,
    PATH,
    REMOTE,
    config_option,
    json_option,
    print_json,
)
from volly_fed.cli.signals import interruptible
from volly_fed.config.model import EdgeConfig
from volly_fed.config.values import Listen, Remote
from volly_fed.daemon.material import load_material
from volly_fed.daemon.setup import create_edge
from volly_fed.names import DomainName, Fingerprint, fingerprint_text


@click.group(invoke_without_command=True)
@config_option(EDGE_FILE)
@json_option
@click.pass_context
def edge(ctx: click.Context, config_path: Path, as_json: bool) -> None:  # noqa: ARG001 - the ready line is JSON anyway
    """Run an edge node: one ready line on standard output, then the log on standard error.

    SIGTERM drains and stops.
    """
    if ctx.invoked_subcommand is None:
        from volly_fed.daemon.edge_node import run  # here, so that `edge init` does not load it

        run(config_path)


@edge.command()
@click.option("--name", type=DOMAIN, metavar="NAME", required=True, help="This edge's name, unique at its homeserver.")
@click.option("--domain", type=DOMAIN, required=True, help="The domain of its homeserver.")
@click.option("--homeserver", type=REMOTE, required=True, help="The address of the homeserver's [edges] listener.")
@click.option("--homeserver-id", type=FINGERPRINT, required=True, help="Its identity: `volly-fed keys show` there.")
@click.option("--config", "config_path", type=PATH, metavar="FILE", help="The configuration file to make.")
@click.option("--dir", "folder", type=PATH, metavar="DIR", help=f"Make {EDGE_FILE} there.  [default: .]")
@click.option(
    "--data-dir", type=PATH, metavar="DIR", help="Keep its keys there.  [default: edge-data, beside the file]"
)
@click.option("--listen", type=LISTEN, help="Where devices connect.  [default: 127.0.0.1:5222]")
@click.option("--tls-certificate", type=PATH, metavar="FILE", help="The certificate to show to devices (PEM).")
@click.option("--tls-key", type=PATH, metavar="FILE", help="Its private key (PEM).")
@click.option("--allow-plain-loopback", is_flag=True, help="Devices without TLS on loopback: for test networks.")
@json_option
def init(
    name: DomainName,
    domain: DomainName,
    homeserver: Remote,
    homeserver_id: Fingerprint,
    config_path: Path | None,
    folder: Path | None,
    data_dir: Path | None,
    listen: Listen | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    allow_plain_loopback: bool,
    as_json: bool,
) -> None:
    """Make the files of an edge node and print the command that enrols it."""
    if config_path is not None and folder is not None:
        raise click.UsageError("--config and --dir say the same thing; give one of them")
    path = config_path or (folder or Path()) / EDGE_FILE
    values: dict[str, object] = {
        "edge.name": name,
        "edge.domain": domain,
        "edge.data_dir": data_dir and data_dir.absolute(),
        "edge.homeserver": homeserver,
        "edge.homeserver_identity": homeserver_id,
        "devices.listen": listen,
        "devices.tls_certificate": tls_certificate and tls_certificate.absolute(),
        "devices.tls_key": tls_key and tls_key.absolute(),
        "devices.allow_plain_loopback": allow_plain_loopback or None,
    }
    with interruptible():
        config = create_edge(path, {key: value for key, value in values.items() if value is not None})
    _report(path, config, load_material(config.edge.data_dir).fingerprint, as_json)


def _report(path: Path, config: EdgeConfig, identity: Fingerprint, as_json: bool) -> None:
    name = config.edge.name
    command = f"volly-fed edges enrol {name} {fingerprint_text(identity)}"
    if as_json:
        print_json({"name": name, "config": str(path), "identity": fingerprint_text(identity), "enrol": command})
        return
    print(f"Made the edge node {name}: {path}")
    print(f"Identity: {fingerprint_text(identity)}")
    print("\nOn the homeserver's machine, run\n")
    print(f"  {command}\n")
    if config.devices.tls_certificate is None and not config.devices.allow_plain_loopback:
        print(f"set devices.tls_certificate and devices.tls_key in {path},")
    print(f"then, here, `volly-fed edge --config {path}`.")
