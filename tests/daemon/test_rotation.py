"""A change of identity: its phases are what the files say, and a crash at any moment loses nothing."""

from pathlib import Path

import pytest
import trio

from volly_fed import limits
from volly_fed.daemon import files, material
from volly_fed.daemon.dns.resolver import Resolver
from volly_fed.daemon.setup import create_homeserver
from volly_fed.daemon.upkeep import rotation
from volly_fed.daemon.upkeep.rotation import Phase
from volly_fed.discovery.anchors import read_anchors
from volly_fed.errors import Indeterminate, LocalError
from volly_fed.names import DomainName, Fingerprint, fingerprint_text
from volly_fed.testing.world import Flaw, World, WorldServer
from volly_fed.trust.continuity import parse_statement

A = DomainName("a.test")
NOW = 1_800_000_000.0
HOUR = 3600.0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    config = create_homeserver(tmp_path / "f.toml", {"server.domain": A, "federation.host": f"fed.{A}"})
    return config.server.data_dir


def begin(data: Path, now: float = NOW, *, force: bool = False) -> rotation.Rotation:
    return rotation.start(A, data, now, force=force)


def test_a_change_of_identity_from_the_first_step_to_the_last(data: Path) -> None:
    old = material.load_material(data).fingerprint
    assert rotation.look(data, NOW).phase is Phase.NONE
    assert material.load_continuity(data, NOW) == b""

    at = begin(data)
    assert (at.phase, at.identity, at.announced) == (Phase.ANNOUNCED, old, NOW)
    assert at.following not in {None, old}
    assert (data / material.NEXT_IDENTITY_KEY).stat().st_mode & 0o777 == 0o600
    shown = parse_statement(material.load_continuity(data, NOW))
    assert (shown.domain, shown.old, shown.new, shown.sequence) == (A, old, at.following, NOW)
    assert shown.check(domain=A, pinned=old, new=shown.new, last_sequence=0, now=NOW) == ""

    done = rotation.finish(data, NOW + limits.COOL_OFF)
    assert (done.phase, done.identity, done.previous) == (Phase.SWITCHED, at.following, old)
    assert material.load_material(data).fingerprint == at.following
    assert material.load_next_identity(data) is None
    assert material.load_continuity(data, NOW + limits.COOL_OFF) == material.load_statement(data)[0]  # type: ignore[index]  # there is one
    kept = data / rotation.kept_name(old)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.read_text() != (data / material.IDENTITY_KEY).read_text()

    # the statement runs out, and then there is nothing to tell
    end = NOW + limits.CONTINUITY_VALIDITY
    assert material.load_continuity(data, end) == b""
    assert rotation.look(data, end).phase is Phase.NONE


def test_each_step_may_be_done_again(data: Path) -> None:
    assert begin(data) == begin(data, NOW + 5)
    done = rotation.finish(data, NOW + limits.COOL_OFF)
    assert rotation.finish(data, NOW + limits.COOL_OFF + 5) == done


def test_finish_is_refused_before_the_cool_off_and_without_a_start(data: Path) -> None:
    with pytest.raises(LocalError, match="no change of identity has been announced\nnote: run"):
        rotation.finish(data, NOW)
    at = begin(data)
    with pytest.raises(LocalError, match=r"too recently: 24\.0 hours are left\nnote: .*--now"):
        rotation.finish(data, NOW + 48 * HOUR)
    assert rotation.look(data, NOW) == at
    assert rotation.finish(data, NOW + 48 * HOUR, after=48 * HOUR).phase is Phase.SWITCHED


def test_the_next_change_waits_until_the_former_one_is_told(data: Path) -> None:
    begin(data)
    rotation.finish(data, NOW, after=0)
    before = material.load_statement(data)
    with pytest.raises(LocalError, match=r"changed not long ago, .*\nnote: wait until .* or use --force"):
        begin(data, NOW + 1)
    assert material.load_statement(data) == before
    assert before is not None

    # in the same second, or with the clock turned back, the sequence grows all the same
    again = begin(data, NOW - 100, force=True)
    found = material.load_statement(data)
    assert found is not None
    assert found[1].sequence == before[1].sequence + 1
    assert (found[1].old, found[1].new) == (again.identity, again.following)


def test_a_start_that_was_cut_off_goes_on_with_the_same_key(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rotation, "write_bytes", cut)
        with pytest.raises(KeyboardInterrupt):
            begin(data)
    prepared = rotation.look(data, NOW)
    assert prepared.phase is Phase.PREPARED
    assert material.load_continuity(data, NOW) == b""
    with pytest.raises(LocalError, match="no change of identity has been announced"):
        rotation.finish(data, NOW, after=0)
    assert begin(data).following == prepared.following


@pytest.mark.parametrize("step", ["write_text", "move_over"])
def test_a_switch_that_was_cut_off_goes_on(data: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    at = begin(data)

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rotation, step, cut)
        with pytest.raises(KeyboardInterrupt):
            rotation.finish(data, NOW, after=0)
    # the old key is in use, and nothing is lost
    assert rotation.look(data, NOW) == at
    done = rotation.finish(data, NOW, after=0)
    assert (done.identity, done.previous) == (at.following, at.identity)
    assert (data / rotation.kept_name(at.identity)).exists()


def test_an_announcement_that_has_expired_is_made_anew(data: Path) -> None:
    at = begin(data)
    late = NOW + limits.CONTINUITY_VALIDITY
    assert rotation.look(data, late).phase is Phase.PREPARED
    again = begin(data, late)
    assert (again.phase, again.following, again.announced) == (Phase.ANNOUNCED, at.following, late)


def test_a_statement_that_does_not_fit_is_not_shown(data: Path, tmp_path: Path) -> None:
    begin(data)
    other = create_homeserver(tmp_path / "b" / "f.toml", {"server.domain": "b.test", "federation.host": "fed.b.test"})
    files.write_bytes(other.server.data_dir / material.CONTINUITY, (data / material.CONTINUITY).read_bytes())
    with pytest.raises(LocalError, match=r"does not name the key in identity.key\nnote: restore both"):
        material.load_continuity(other.server.data_dir, NOW)
    (data / material.CONTINUITY).write_bytes(b"x")
    with pytest.raises(LocalError, match=r"continuity.cbor is damaged: .*\nnote: restore it"):
        material.load_continuity(data, NOW)


def test_the_records_announce_the_next_identity(data: Path) -> None:
    config = material.read_homeserver_config(data.parent / "f.toml")
    assert material.load_published(config).identity_next is None
    at = begin(data)
    published = material.load_published(config)
    assert (published.identity, published.identity_next) == (at.identity, at.following)
    rotation.finish(data, NOW, after=0)
    published = material.load_published(config)
    assert (published.identity, published.identity_next) == (at.following, None)


async def test_the_switch_looks_whether_the_record_announces_it(nursery: trio.Nursery) -> None:
    first, second, third = (Fingerprint(bytes([number]) * 32) for number in range(3))
    record = f'_volly-fed IN TXT "v=vf1 id={fingerprint_text(first)} next={fingerprint_text(second)}"'
    world = World(seed=b"announced")
    world.zone("a.test", [record])
    world.zone("none.test", ["@ IN A 192.0.2.1"])
    world.zone("twice.test", [record, f'_volly-fed IN TXT "v=vf1 id={fingerprint_text(third)}"'])
    world.zone("unsigned.test", [record], signed=False)
    world.zone("bad.test", [record], flaws=Flaw.BAD_SIGNATURE)
    world.sign()
    address = await nursery.start(WorldServer(world).serve)
    resolver = Resolver([address], read_anchors(world.anchor_text))

    await rotation.demand_announced(resolver, A, second)
    await rotation.demand_announced(resolver, A, first)
    with pytest.raises(LocalError, match=r"a\.test does not announce .*\nnote: publish what"):
        await rotation.demand_announced(resolver, A, third)
    for name in ("none.test", "unsigned.test", "bad.test", "twice.test"):
        with pytest.raises(LocalError, match=rf"the identity record of {name}.*\nnote: publish what"):
            await rotation.demand_announced(resolver, DomainName(name), second)
    nowhere = Resolver([("127.0.0.1", 1)], read_anchors(world.anchor_text))
    with pytest.raises(Indeterminate, match="note: check"):
        await rotation.demand_announced(nowhere, A, second)
