"""The checks around a run of chaos, kills or soak, each with something that it must find."""

from pathlib import Path

import pytest

from volly_fed.daemon.store.store import InboundRow, OutboundRow, Store
from volly_fed.names import DomainName, MailboxId
from volly_fed.testing.process_sample import Sample
from volly_fed.testnet.chaos import Held, _more, left_over
from volly_fed.testnet.chaos_net import _moved
from volly_fed.testnet.soak import trend
from volly_fed.testnet.soak_plot import plot

REST = Held(files=17, sockets=10, tasks=44)


@pytest.mark.parametrize(
    ("now", "leaks"),
    [
        (REST, False),
        (Held(files=16, sockets=9, tasks=40), False),
        (Held(files=17, sockets=10, tasks=45), True),
        (Held(files=18, sockets=10, tasks=44), True),
        (Held(files=17, sockets=11, tasks=44), True),
    ],
)
def test_a_leak_is_found(now: Held, leaks: bool) -> None:
    assert bool(_more({"a.test": REST, "b.test": REST}, {"a.test": now, "b.test": REST})) is leaks


async def test_what_is_left_in_a_store_is_found(tmp_path: Path) -> None:
    path, box = tmp_path / "store.db", MailboxId(bytes(32))
    rows = [OutboundRow(bytes([expiry]) * 16, expiry, 1, b"frame") for expiry in (50, 150, 250)]
    async with Store.open(path, clock=lambda: 10.0) as store:
        await store.enqueue_outbound(DomainName("b.test"), rows)
        await store.put_mailbox(box, b"", 10.0)
        keys = await store.store_inbound([InboundRow(box, *row) for row in rows])
        await store.delete_inbound([key for key in keys[1:2] if key is not None])
    assert left_over(path, 40.0) == {"outbound": 3, "inbound": 2}
    assert left_over(path, 200.0) == {"outbound": 1, "inbound": 1}
    assert left_over(path, 300.0) == {}


def growing(*, kib: int = 0, files: int = 0) -> list[tuple[float, Sample]]:
    """Ten minutes of a process, a sample a minute."""
    return [
        (60.0 * minute, Sample(rss=50_000, private_dirty=30_000 + kib * minute, files=15 + files * minute, sockets=9))
        for minute in range(11)
    ]


def test_growth_is_found() -> None:
    assert trend(growing(), 120).flat
    assert trend(growing(kib=40), 120).flat
    assert trend(growing(kib=-400), 120).flat
    assert not trend(growing(kib=60), 120).flat
    assert not trend(growing(files=1), 120).flat
    assert trend(growing(kib=60, files=1), 120).dirty_kib_per_min == 60
    assert trend(growing(kib=60, files=1), 120).files_per_min == 1


def test_the_warm_up_does_not_count() -> None:
    samples = [(at, each) for at, each in growing() if at >= 300] + [
        (at, each) for at, each in growing(kib=9000) if at < 300
    ]
    assert not trend(samples, 0).flat or trend(samples, 0).dirty_kib_per_min < 0
    assert trend(samples, 300).flat


def test_the_plot_has_a_line_for_each_process() -> None:
    picture = plot({"a": growing(kib=10), "b": growing()})
    assert picture.count("<polyline") == 2
    assert picture.startswith("<svg ")


@pytest.mark.parametrize(
    ("owner", "data", "moved_owner", "moved_data"),
    [
        ("_volly-fed._tcp.a.test.", "3600 IN SRV 0 0 5223 fed.a.test.", None, "5 IN SRV 0 0 99 fed.a.test."),
        ("_5223._tcp.fed.a.test.", "3600 IN TLSA 3 1 1 ab", "_99._tcp.fed.a.test.", "5 IN TLSA 3 1 1 ab"),
        ("_volly._tcp.a.test.", "3600 IN SRV 0 0 5222 edge.a.test.", None, "5 IN SRV 0 0 5222 edge.a.test."),
        ("fed.a.test.", "IN A 127.0.0.1", None, "5 IN A 127.0.0.1"),
    ],
)
def test_records_lead_to_the_shim(owner: str, data: str, moved_owner: str | None, moved_data: str) -> None:
    assert _moved(f"{owner:<40} {data}", 5223, 99) == f"{moved_owner or owner} {moved_data}"
