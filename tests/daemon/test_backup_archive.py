"""The manifest and the archive of a backup against bytes from anywhere: what is not whole and ours is one error."""

import io
import json
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from volly_fed import limits_backup
from volly_fed.daemon.backup.archive import DamagedBackup, digest_of, read_manifest, read_members, write_archive
from volly_fed.daemon.backup.manifest import Manifest, Member, format_manifest, may_be_member, parse_manifest
from volly_fed.errors import BadMessage, LocalError
from volly_fed.names import Fingerprint, parse_domain

FILES = {
    "volly-fed.toml": b"[server]\n",
    "trust.toml": b"",
    "data/identity.key": b"seed" * 200,
    "data/store.db": bytes(range(256)) * 40,
}
WHERE = Path("b.tar")


def ignore(_: int) -> None:
    pass


def manifest(files: dict[str, bytes]) -> Manifest:
    return Manifest(
        program="0.1.0",
        schema=6,
        domain=parse_domain("a.test"),
        identity=Fingerprint(bytes(32)),
        made_at=1_800_000_000,
        members=tuple(Member(name, *digest_of(io.BytesIO(content), ignore)) for name, content in files.items()),
    )


def archive(files: dict[str, bytes] = FILES) -> bytes:
    made = io.BytesIO()
    write_archive(made, manifest(files), [io.BytesIO(content) for content in files.values()], ignore)
    return made.getvalue()


def read(content: bytes) -> dict[str, bytes]:
    """All members. Raises DamagedBackup."""
    got: dict[str, io.BytesIO] = {}

    def begin(member: Member) -> Callable[[bytes], object]:
        got[member.name] = io.BytesIO()
        return got[member.name].write

    file = io.BytesIO(content)
    read_members(file, WHERE, read_manifest(file, WHERE), begin, ignore)
    return {name: each.getvalue() for name, each in got.items()}


def test_what_was_written_is_read() -> None:
    assert read(archive()) == FILES


def test_anybody_can_read_it_with_tar(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive()), mode="r:") as tar:
        names = tar.getnames()
        assert names == ["manifest.json", *FILES]
        assert {member.mode for member in tar} == {0o600}
        tar.extractall(tmp_path, filter="data")
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == FILES


def test_a_file_that_changes_while_it_is_written_is_noticed() -> None:
    for other in (b"[serves]\n", b"[server]"):
        sources = [io.BytesIO(content) for content in FILES.values()]
        sources[0] = io.BytesIO(other)
        with pytest.raises(LocalError, match=r"volly-fed\.toml has changed"):
            write_archive(io.BytesIO(), manifest(FILES), sources, ignore)


@pytest.mark.parametrize("cut", [0, 1, 511, 512, 1000, 3000, len(archive()) - 1024, len(archive()) - 1])
def test_a_truncated_archive_is_refused(cut: int) -> None:
    with pytest.raises(DamagedBackup, match=r"b\.tar is no backup"):
        read(archive()[:cut])


def test_what_follows_an_archive_is_refused() -> None:
    for more in (b"\0", b"x", archive()):
        with pytest.raises(DamagedBackup):
            read(archive() + more)


@given(st.integers(0, len(archive()) - 1), st.integers(1, 255))
def test_no_damage_goes_unnoticed(at: int, change: int) -> None:
    """Every byte counts, but for the fields of a header that say nothing (owner, mode) and padding."""
    content = bytearray(archive())
    content[at] ^= change
    with suppress(DamagedBackup):
        assert read(bytes(content)) == FILES


@given(st.binary(max_size=2000))
def test_other_bytes_are_no_archive(content: bytes) -> None:
    with pytest.raises(DamagedBackup):
        read(content)


# --- members that nobody asked for ---------------------------------------------------------------------------------


def hostile(change: Callable[[tarfile.TarInfo], tarfile.TarInfo | None], at: str = "trust.toml") -> bytes:
    """The archive with one header changed, the checksum being right; None: it stands there twice."""
    made = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive()), mode="r:") as tar:
        for member in tar:
            stream = tar.extractfile(member)
            assert stream is not None
            content = stream.read()
            changed = change(member) if member.name == at else member
            for each in [member, member] if changed is None else [changed]:
                made.write(each.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512))
    return made.getvalue() + bytes(1024)


def test_the_helper_changes_nothing_by_itself() -> None:
    assert read(hostile(lambda member: member)) == FILES


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../trust.toml"},
        {"name": "/etc/passwd"},
        {"name": "data/identity.key"},
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        {"type": tarfile.LNKTYPE, "linkname": "manifest.json"},
        {"type": tarfile.DIRTYPE},
        {"type": tarfile.CHRTYPE},
        {"type": tarfile.FIFOTYPE},
        {"type": tarfile.GNUTYPE_LONGNAME},
        {"type": tarfile.XHDTYPE},
        {"type": tarfile.GNUTYPE_SPARSE},
        {"size": 1 << 40},
        {"size": 1},
    ],
)
def test_a_member_that_the_manifest_does_not_name_is_refused(change: dict[str, Any]) -> None:
    def apply(member: tarfile.TarInfo) -> tarfile.TarInfo:
        for name, value in change.items():
            setattr(member, name, value)
        return member

    with pytest.raises(DamagedBackup):
        read(hostile(apply))


def test_a_member_that_comes_twice_is_refused() -> None:
    with pytest.raises(DamagedBackup):
        read(hostile(lambda _: None))


def test_a_manifest_of_any_size_is_not_read() -> None:
    huge = tarfile.TarInfo("manifest.json")
    huge.size = limits_backup.MANIFEST_BYTES + 1
    with pytest.raises(DamagedBackup, match="too large"):
        read(huge.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20))


# --- the manifest --------------------------------------------------------------------------------------------------


def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(format_manifest(manifest(FILES)))
    return found


def test_a_manifest_goes_there_and_back() -> None:
    assert parse_manifest(format_manifest(manifest(FILES))) == manifest(FILES)
    assert manifest(FILES).bytes == sum(map(len, FILES.values()))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(document())), JSON)
def test_a_field_that_is_something_else_is_refused(field: str, value: object) -> None:
    changed = document()
    if changed[field] == value and type(changed[field]) is type(value):
        return
    changed[field] = value
    content = json.dumps(changed).encode()
    try:
        parsed = parse_manifest(content)
    except BadMessage:
        return
    # what is taken is a number or a text of its kind, and comes out as it went in
    assert field in {"schema", "made_at", "program", "domain", "identity"}
    assert json.loads(format_manifest(parsed)) == changed or field == "domain"


@given(st.fixed_dictionaries({"name": JSON | st.just("data/x"), "size": JSON, "sha256": JSON | st.just("0" * 64)}))
def test_a_file_that_is_described_otherwise_is_refused(member: dict[str, Any]) -> None:
    changed = document()
    changed["members"].append(member)
    try:
        parsed = parse_manifest(json.dumps(changed).encode())
    except BadMessage:
        return
    assert may_be_member(parsed.members[-1].name)
    assert 0 <= parsed.members[-1].size <= limits_backup.MEMBER_BYTES


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=400) | st.text(max_size=400).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_only_one_error_comes_out(content: bytes) -> None:
    with pytest.raises(BadMessage):
        parse_manifest(content)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 60_000,
        b'{"format": "volly-fed-backup", "format": "volly-fed-backup"}',
        b"[]",
        b'{"format": 1' + b"0" * 5000 + b"}",
        b" " * (limits_backup.MANIFEST_BYTES + 1),
        json.dumps(document() | {"version": 2}).encode(),
        json.dumps(document() | {"more": 2}).encode(),
        json.dumps(document() | {"members": document()["members"] * 2}).encode(),
        json.dumps(document() | {"members": document()["members"][1:]}).encode(),
        json.dumps(document() | {"members": document()["members"] * 100}).encode(),
    ],
)
def test_a_manifest_with_surprises_is_refused(content: bytes) -> None:
    with pytest.raises(BadMessage):
        parse_manifest(content)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/trust.toml",
        "../trust.toml",
        "data/..",
        "data/.hidden",
        "data/a/b",
        "data/",
        "data/a\n",
        "data/a\\b",
        "data/\u0430",
        "data/" + "a" * 81,
        "files/../x",
        "files/dns.anchors.file",
        "manifest.json",
        "trust.toml/",
        "TRUST.TOML",
    ],
)
def test_names_that_lead_elsewhere_are_none(name: str) -> None:
    assert not may_be_member(name)
    wrong = attrs.evolve(manifest(FILES), members=(*manifest(FILES).members, Member(name, 0, "0" * 64)))
    with pytest.raises(BadMessage):
        parse_manifest(format_manifest(wrong))
