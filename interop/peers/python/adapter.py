"""The reference implementation under the contract: runs `volly-fed serve` with a configuration made from site.json.

in: --site; SIGHUP, SIGTERM; out: what `serve` prints, and {"event": "reloaded"} when it has taken a change.
Never: takes part in the protocol. The configuration is that of an operator; whatever it does not say is a default.
"""

import argparse
import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ENROLLED_AT = "2000-01-01T00:00:00Z"
PRIVATE = 0o600

Document = dict[str, Any]


def main() -> int:
    """Run until the homeserver ends: its exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--site", type=Path, required=True)
    site: Path = parser.parse_args().site.resolve()
    folder = site.parent / read(site)["data"]
    if not (folder / "volly-fed.toml").exists():
        create(site, folder)
    follow(site, folder)
    return serve(site, folder)


def serve(site: Path, folder: Path) -> int:
    """Start the homeserver, hand signals on, and watch its log for what it says of a reload."""
    command = [sys.executable, "-m", "volly_fed", "serve", "--config", str(folder / "volly-fed.toml")]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def reload(*_: object) -> None:
        follow(site, folder)
        server.send_signal(signal.SIGHUP)

    signal.signal(signal.SIGHUP, reload)
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    assert server.stderr is not None
    for line in server.stderr:
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
        if b'"event": "reloaded"' in line or b'"event":"reloaded"' in line:
            print(json.dumps({"event": "reloaded"}), flush=True)
    return server.wait()


def create(site: Path, folder: Path) -> None:
    """Configuration and keys, at the first start; the configuration last, so that half of it is made again."""
    told = read(site)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    write_keys(site, told, folder / "data")
    federation, edges, dns = told["federation"], told["edges"], told["dns"]
    sections: dict[str, Document] = {
        "server": {"domain": told["domain"]},
        "federation": {"listen": listen(federation), "host": told["host"], "port": federation["port"]},
        "edges": {"listen": listen(edges)},
        "dns": {
            "resolvers": [dns["server"]],
            "anchors_file": str(site.parent / dns["anchors"]),
            "allow_private_addresses": True,
        },
        "log": {"format": "json"},
    }
    write(folder / "volly-fed.toml", toml(sections))


def write_keys(site: Path, told: Document, data: Path) -> None:
    """The keys in this program's own files. Only here its packages are needed, which take their time to load."""
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from volly_fed.config.keys import KeyKind, format_key
    from volly_fed.crypto.secret import Secret

    identity = bytes.fromhex(told["identity"]["ml_dsa_65"]) + bytes.fromhex(told["identity"]["ed25519"])
    key = load_pem_private_key((site.parent / told["tls"]["key"]).read_bytes(), None)
    assert isinstance(key, MLDSA65PrivateKey)
    write(data / "identity.key", format_key(KeyKind.IDENTITY, Secret(identity)))
    write(data / "tls.key", format_key(KeyKind.TLS, Secret(key.private_bytes_raw())))
    write(data / "tls.crt", (site.parent / told["tls"]["certificate"]).read_text())


def follow(site: Path, folder: Path) -> None:
    """What may change while it runs: trust and enrolments."""
    told = read(site)
    peers = told["peers"]
    trust = {
        "presence": {domain: peer["presence"] for domain, peer in peers.items()},
        "levels": {domain: peer["level"] for domain, peer in peers.items()},
    }
    default = f"default = {json.dumps(told['default_level'])}\n"
    write(folder / "trust.toml", default + toml(trust))
    edges = [
        f"[{json.dumps(name)}]\nfingerprint = {json.dumps(base64url(fingerprint))}\nenrolled_at = {ENROLLED_AT}\n"
        for name, fingerprint in told["edges"]["enrolled"].items()
    ]
    write(folder / "data" / "edges.toml", "\n".join(edges))


def read(site: Path) -> Document:
    """site.json."""
    told: Document = json.loads(site.read_text())
    return told


def base64url(fingerprint: str) -> str:
    """A fingerprint in hex as the configuration spells it."""
    return base64.urlsafe_b64encode(bytes.fromhex(fingerprint)).decode().rstrip("=")


def listen(section: Document) -> str:
    """An address as the configuration spells it."""
    return f"{section['address']}:{section['port']}"


def toml(sections: dict[str, Document]) -> str:
    """Strings, numbers, booleans and arrays of TOML are spelt as in JSON."""
    return "\n".join(
        "\n".join([f"[{name}]", *(f"{json.dumps(key)} = {json.dumps(value)}" for key, value in section.items()), ""])
        for name, section in sections.items()
    )


def write(path: Path, text: str) -> None:
    """All of it or nothing, for its owner only."""
    part = path.with_name(path.name + ".part")
    part.touch(mode=PRIVATE)
    part.write_text(text)
    part.replace(path)


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
