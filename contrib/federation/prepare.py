"""Makes the files of a federation of three domains, as their operators would: `python prepare.py PREFIX FOLDER`.

in: the first three bytes of the network's addresses (172.31.53), an empty folder; out: FOLDER/DOMAIN with configuration
and keys, FOLDER/zone with everybody's records, FOLDER/ca.pem for the devices.
Never: touches a folder that has been made already.

The address of the n-th domain's homeserver ends in n0, those of its edge nodes in n1 and n2; the name server's in 2.
"""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

DOMAINS = ("a.test", "b.test", "c.test")
LEVELS = {("a.test", "b.test"): "full", ("a.test", "c.test"): "metadata", ("b.test", "c.test"): "none"}
EDGES = 2
SOA = ". 60 IN SOA names. admin. 1 3600 600 86400 60\n. 60 IN NS names.\n"


def main(prefix: str, folder: Path) -> None:
    """Make everything."""
    if (folder / "zone").exists():
        print(f"{folder} is made already")
        return
    authority = Authority(folder / "ca.pem")
    records = [SOA, f"names. 60 IN A {prefix}.2\n"]
    for number, domain in enumerate(DOMAINS, 1):
        records += domain_files(folder / domain, domain, f"{prefix}.{number}", authority)
    (folder / "zone").write_text("".join(records))


def domain_files(home: Path, domain: str, prefix: str, authority: "Authority") -> list[str]:
    """The files of one domain; its records."""
    config, address = home / "volly-fed.toml", f"{prefix}0"
    listen = ["--listen", f"{address}:5223", "--edges-listen", f"{address}:5224"]
    run("init", domain, "--dir", str(home), "--device-host", f"signal.{domain}", *listen)
    names = ".".join([*prefix.split(".")[:3], "2"])
    change(config, "resolvers", f'["{names}:53"]')
    change(config, "anchors_file", f'"{home.parent / "anchors.ds"}"')
    change(config, "allow_private_addresses", "true")
    change(config, "listen", f'"{address}:9223"', section="http")
    change(config, "allow_remote", "true", section="http")
    run("trust", "set", "*.test", "none", "--config", str(config))
    for pair, level in LEVELS.items():
        if domain in pair:
            (peer,) = set(pair) - {domain}
            run("trust", "set", peer, level, "--config", str(config))
    identity = json.loads(run("keys", "show", "--config", str(config), "--json"))["identity"]
    records = [run("dns", "print", "--config", str(config), "--ttl", "60"), f"fed.{domain}. 60 IN A {address}\n"]
    for number in range(1, EDGES + 1):
        edge_files(home, domain, number, f"{prefix}{number}", identity, authority)
        records.append(f"signal.{domain}. 60 IN A {prefix}{number}\n")
    return records


def edge_files(home: Path, domain: str, number: int, address: str, identity: str, authority: "Authority") -> None:
    """One edge node, with a certificate for devices, enrolled at its homeserver."""
    name, folder = f"edge-{number}", home / f"edge-{number}"
    folder.mkdir()
    certificate, key = folder / "signal.pem", folder / "signal.key"
    authority.issue(f"signal.{domain}", certificate, key)
    homeserver = f"{address[:-1]}0:5224"
    of = ["--name", name, "--domain", domain, "--homeserver", homeserver, "--homeserver-id", identity]
    tls = ["--tls-certificate", str(certificate), "--tls-key", str(key), "--listen", f"{address}:5222"]
    made = json.loads(run("edge", "init", *of, *tls, "--dir", str(folder), "--json"))
    run("edges", "enrol", name, made["identity"], "--config", str(home / "volly-fed.toml"))


class Authority:
    """Vouches for the names that devices connect to."""

    def __init__(self, root: Path) -> None:
        """`root` is where its own certificate goes."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "federation of three")])
        root.write_bytes(self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0)))

    def issue(self, host: str, certificate: Path, key: Path) -> None:
        """A certificate for `host`, and its key."""
        own = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
        certificate.write_bytes(self._sign(name, own, x509.SubjectAlternativeName([x509.DNSName(host)])))
        key.touch(mode=0o600)
        key.write_bytes(own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def _sign(self, name: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType) -> bytes:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(self._name, name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=365))
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        for each in (extension, identifier, issuer):
            builder = builder.add_extension(each, critical=isinstance(each, x509.BasicConstraints))
        return builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM)


def change(config: Path, option: str, value: str, section: str = "") -> None:
    """Set an option that the file has as a comment, in that section or in the first that has it."""
    text = config.read_text()
    begin = text.find(f"\n[{section}]\n") if section else 0
    if begin >= 0:  # an older version has no such section
        changed = re.sub(rf"^# {option} = .*$", f"{option} = {value}", text[begin:], count=1, flags=re.MULTILINE)
        config.write_text(text[:begin] + changed)


def run(*arguments: str) -> str:
    """What `volly-fed ARGUMENTS` prints."""
    command = [sys.executable, "-m", "volly_fed", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
