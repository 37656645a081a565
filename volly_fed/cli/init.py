"""`volly-fed init`: the files of a new homeserver, and the DNS records that make it reachable.

in: a domain and where it will be found; out: files on disk, records on standard output.
Never: overwrites a file, or leaves half of the files behind.
"""

from pathlib import Path

import click

from volly_fed.cli.options import DOMAIN, HOMESERVER_FILE, LISTEN, PATH, PORT, json_option, print_json
from volly_fed.cli.signals import interruptible
from volly_fed.config.model import HomeserverConfig
from volly_fed.config.record_text import json_records, zone_text
from volly_fed.config.records import Record, records_of
from volly_fed.config.values import ANY_HOST, HostPort, Listen
from volly_fed.daemon.material import load_published
from volly_fed.daemon.setup import create_homeserver
from volly_fed.names import DomainName, Fingerprint, fingerprint_text, parse_domain


@click.command()
@click.argument("domain", type=DOMAIN)
@click.option("--config", "config_path", type=PATH, metavar="FILE", help="The configuration file to make.")
@click.option("--dir", "folder", type=PATH, metavar="DIR", help=f"Make {HOMESERVER_FILE} there.  [default: .]")
@click.option(
    "--data-dir", type=PATH, metavar="DIR", help="Keep keys and store there.  [default: data, beside the file]"
)
@click.option("--host", type=DOMAIN, help="The host other homeservers dial.  [default: fed.DOMAIN]")
@click.option("--port", type=PORT, help="The port they dial.  [default: 5223]")
@click.option("--listen", type=LISTEN, help="Where to listen for them.  [default: *:PORT]")
@click.option("--edges-listen", type=LISTEN, help="Where to listen for edge nodes.  [default: 127.0.0.1:5224]")
@click.option("--device-host", type=DOMAIN, help="The host devices connect to.  [default: none]")
@click.option("--device-port", type=PORT, help="The port they connect to.  [default: 5222]")
@json_option
def init(
    domain: DomainName,
    config_path: Path | None,
    folder: Path | None,
    data_dir: Path | None,
    host: DomainName | None,
    port: int | None,
    listen: Listen | None,
    edges_listen: Listen | None,
    device_host: DomainName | None,
    device_port: int | None,
    as_json: bool,
) -> None:
    """Make the files of a homeserver for DOMAIN and print the DNS records to publish."""
    if config_path is not None and folder is not None:
        raise click.UsageError("--config and --dir say the same thing; give one of them")
    if listen is None and port is not None:
        listen = Listen(HostPort(ANY_HOST, port))
    values: dict[str, object] = {
        "server.domain": domain,
        "server.data_dir": data_dir and data_dir.absolute(),
        "federation.host": host or parse_domain(f"fed.{domain}"),
        "federation.port": port,
        "federation.listen": listen,
        "edges.listen": edges_listen,
        "devices.host": device_host,
        "devices.port": device_port,
    }
    path = config_path or (folder or Path()) / HOMESERVER_FILE
    with interruptible():
        config = create_homeserver(path, {key: value for key, value in values.items() if value is not None})
    published = load_published(config)
    records = records_of(config, published)
    if as_json:
        _print_json(path, config, published.identity, records)
    else:
        _print_text(path, config, published.identity, records)


def _print_json(path: Path, config: HomeserverConfig, identity: Fingerprint, records: list[Record]) -> None:
    print_json(
        {
            "domain": config.server.domain,
            "config": str(path),
            "trust": str(config.server.trust_file),
            "data_dir": str(config.server.data_dir),
            "identity": fingerprint_text(identity),
            "records": json_records(records),
        }
    )


def _print_text(path: Path, config: HomeserverConfig, identity: Fingerprint, records: list[Record]) -> None:
    print(f"Made the homeserver {config.server.domain}:")
    print(f"  {path}  the configuration, with every option explained")
    print(f"  {config.server.trust_file}  whom to federate with: selective, until you say otherwise")
    print(f"  {config.server.data_dir}  keys: back them up, the identity cannot be made again")
    print(f"Identity: {fingerprint_text(identity)}")
    print("\nPublish these records:\n")
    print(zone_text(config, records))
    print(f"Then run `volly-fed serve --config {path}`; `volly-fed doctor --config {path}` says what is missing.")
