"""The folder of a homeserver under test is what interop/README.md says."""

import json
import re
import ssl
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from interop.site import Keys, PeerEntry, Site, records_of
from interop.zones import Zones
from volly_fed.crypto.certificate import spki_of
from volly_fed.crypto.secret import Secret
from volly_fed.crypto.signature import IdentityKey, fingerprint
from volly_fed.names import DomainName
from volly_fed.testing.world import Flaw

A, B = DomainName("a.test"), DomainName("b.test")
README = Path(__file__).parents[2] / "interop" / "README.md"


def shape(value: Any) -> Any:
    """Keys and types; names that are up to a run stand for each other."""
    if isinstance(value, dict):
        named = {"peers", "enrolled"}
        return {key: (shape(next(iter(item.values()))) if key in named else shape(item)) for key, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else type(value)


def made(folder: Path) -> Site:
    keys = Keys.new("fed.a.test")
    site = Site(
        folder=folder / "a",
        domain=A,
        keys=keys,
        federation=("127.0.0.1", 1),
        edges=("127.0.0.1", 2),
        dns=("127.0.0.1", 3),
        anchors="anchors\n",
        enrolled={"edge-1": keys.fingerprint},
    )
    site.peers[B] = PeerEntry.of(B, Keys.new("fed.b.test"), ("127.0.0.1", 4), "full")
    return site


def test_the_document_is_that_of_the_readme(tmp_path: Path) -> None:
    site = made(tmp_path)
    site.create()
    documented = re.search(r"### site\.json.*?```json\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert documented is not None
    assert shape(json.loads(site.path.read_text())) == shape(json.loads(documented[1]))


def test_keys_can_be_read_back(tmp_path: Path) -> None:
    site = made(tmp_path)
    site.create()
    told = json.loads(site.path.read_text())
    seed = bytes.fromhex(told["identity"]["ml_dsa_65"] + told["identity"]["ed25519"])
    assert fingerprint(IdentityKey.from_seed(Secret(seed)).public) == site.keys.fingerprint
    certificate = ssl.PEM_cert_to_DER_cert((site.folder / told["tls"]["certificate"]).read_text())
    assert spki_of(certificate) == site.keys.tls.spki
    key = load_pem_private_key((site.folder / told["tls"]["key"]).read_bytes(), None)
    assert key.private_bytes_raw() == site.keys.tls.seed.reveal()  # type: ignore[union-attr]
    assert (site.folder / told["tls"]["key"]).stat().st_mode & 0o077 == 0
    assert site.path.stat().st_mode & 0o077 == 0
    assert (site.folder / told["data"]).is_dir()


def test_nothing_to_discover_is_no_target(tmp_path: Path) -> None:
    site = made(tmp_path)
    site.peers[B].published = False
    assert site.as_json()["peers"][B]["targets"] == []


def test_zones_come_and_go() -> None:
    zones, keys = Zones(), Keys.new("fed.a.test")
    anchors = zones.anchors
    zones.publish(A, records_of(keys, ("127.0.0.1", 5)))
    zones.publish(B, [], flaws=Flaw.BAD_SIGNATURE)
    assert {"a.test.", "b.test."} < set(zones.world.origins)
    assert f"_5._tcp.fed.a.test. 3600 IN TLSA 3 1 1 {keys.tls.spki_sha256.hex()}" in zones.world.zone_text(A)
    zones.withdraw(B)
    zones.withdraw(B)
    assert "b.test." not in zones.world.origins
    assert zones.anchors == anchors, "servers have been told"
