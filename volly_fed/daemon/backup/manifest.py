"""The manifest of a backup: whose it is, of what version and time, and the size and digest of every file in it.

in: a Manifest, or the bytes of one; out: bytes, or a Manifest that has been checked. It is the only list of what an
archive may contain: no name in it leads anywhere but into the folder that is restored to.
Never: raises anything but BadMessage for bytes from outside, or has a place for anything secret.
"""

import json
import re
from typing import Any, Final

import attrs

from volly_fed import limits_backup
from volly_fed.errors import BadMessage
from volly_fed.names import BadName, DomainName, Fingerprint, fingerprint_text, parse_domain, parse_fingerprint

FORMAT: Final = "volly-fed-backup"
VERSION: Final = 1
MANIFEST: Final = "manifest.json"
CONFIG: Final = "volly-fed.toml"
TRUST: Final = "trust.toml"
STORE: Final = "data/store.db"
IDENTITY: Final = "data/identity.key"
DATA: Final = "data/"
FILES: Final = "files/"
"""What else the configuration names, called by its option: files/dns.anchors_file."""
_NAME: Final = re.compile(r"volly-fed\.toml|trust\.toml|data/[A-Za-z0-9_][A-Za-z0-9._-]{0,79}|files/[a-z_]+\.[a-z_]+")
_PROGRAM: Final = re.compile(r"[0-9A-Za-z.+-]{1,40}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_KEYS: Final = {"format", "version", "program", "schema", "domain", "identity", "made_at", "members"}
_LATEST: Final = 1 << 40


@attrs.frozen
class Member:
    """A file of the archive."""

    name: str
    size: int
    sha256: str


@attrs.frozen(kw_only=True)
class Manifest:
    """What a backup says of itself. `schema` is the store's version, 0 where there is no store."""

    program: str
    schema: int
    domain: DomainName
    identity: Fingerprint
    made_at: int
    members: tuple[Member, ...]

    @property
    def bytes(self) -> int:
        """Of all members together."""
        return sum(member.size for member in self.members)


def may_be_member(name: str) -> bool:
    """Whether a backup can have a file of that name."""
    return _NAME.fullmatch(name) is not None


def format_manifest(manifest: Manifest) -> bytes:
    """`manifest` as JSON."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "program": manifest.program,
        "schema": manifest.schema,
        "domain": manifest.domain,
        "identity": fingerprint_text(manifest.identity),
        "made_at": manifest.made_at,
        "members": [attrs.asdict(member) for member in manifest.members],
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def parse_manifest(content: bytes) -> Manifest:
    """The manifest in `content`. Raises BadMessage for everything else, also for that of a newer version."""
    document = _object(content)
    if document.get("format") != FORMAT:
        raise BadMessage("this is no backup made by volly-fed")
    if document.get("version") != VERSION:
        raise BadMessage("it was made by a newer version of volly-fed, which alone can read it")
    if document.keys() != _KEYS:
        raise BadMessage("the manifest has other fields than a manifest has")
    try:
        domain, identity = parse_domain(_text(document["domain"])), parse_fingerprint(_text(document["identity"]))
    except BadName as error:
        raise BadMessage(f"the manifest names nobody: {error}") from error
    program = _text(document["program"])
    if _PROGRAM.fullmatch(program) is None:
        raise BadMessage("the manifest names no version of a program")
    return Manifest(
        program=program,
        schema=_number(document["schema"], 1 << 20),
        domain=domain,
        identity=identity,
        made_at=_number(document["made_at"], _LATEST),
        members=_members(document["members"]),
    )


def _object(content: bytes) -> dict[str, Any]:
    if len(content) > limits_backup.MANIFEST_BYTES:
        raise BadMessage("the manifest is too large")
    try:
        document = json.loads(content.decode("ascii"), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise BadMessage("the manifest is not JSON") from None
    if not isinstance(document, dict):
        raise BadMessage("the manifest is no JSON object")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key comes twice")
    return dict(pairs)


def _members(found: object) -> tuple[Member, ...]:
    if not isinstance(found, list) or len(found) > limits_backup.MEMBERS:
        raise BadMessage("the manifest has no list of files, or one that is too long")
    members = tuple(_member(each) for each in found)
    names = {member.name for member in members}
    if len(names) != len(members):
        raise BadMessage("the manifest names a file twice")
    for needed in (CONFIG, TRUST, IDENTITY):
        if needed not in names:
            raise BadMessage(f"there is no {needed} in it")
    return members


def _member(found: object) -> Member:
    if not isinstance(found, dict) or found.keys() != {"name", "size", "sha256"}:
        raise BadMessage("the manifest describes a file in another way than by name, size and sha256")
    name, digest = _text(found["name"]), _text(found["sha256"])
    if not may_be_member(name):
        raise BadMessage("the manifest names a file that no backup has")
    if _DIGEST.fullmatch(digest) is None:
        raise BadMessage(f"the digest of {name} is none")
    most = limits_backup.STORE_BYTES if name == STORE else limits_backup.MEMBER_BYTES
    return Member(name, _number(found["size"], most), digest)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise BadMessage("the manifest has something else where text belongs")
    return value


def _number(value: object, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise BadMessage("the manifest has something else where a number belongs, or too large a one")
    return value
