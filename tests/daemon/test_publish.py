"""Dynamic updates against a server in this process: what is sent, what is believed, what becomes of others' records."""

import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import dns.name
import dns.rcode
import dns.rdatatype
import dns.tsig
import pytest
import trio
import trio.testing

from tests.daemon.primary import KEY, FakePrimary
from volly_fed import limits
from volly_fed.config.model import DnsUpdate
from volly_fed.config.records import Record
from volly_fed.config.values import IpLiteral, Port
from volly_fed.daemon.upkeep.publish import differences, load_primary, publish
from volly_fed.daemon.upkeep.rfc2136 import Primary
from volly_fed.errors import Indeterminate, LocalError
from volly_fed.names import DomainName

ONE, TWO, THREE = ("3 1 1 " + digit * 64 for digit in "123")
OWNER = "_5223._tcp.fed.a.test."
IDENTITY = "v=vf1 id=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
RECORDS = [
    Record(owner="_volly-fed._tcp.a.test.", type="SRV", data="0 5 5223 fed.a.test."),
    Record(owner="_volly-fed.a.test.", type="TXT", data=f'"{IDENTITY}"'),
    Record(owner=OWNER, type="TLSA", data=ONE, ttl=7),
    Record(owner=OWNER, type="TLSA", data=TWO, ttl=7),
]
PUBLISHED = {
    f"_volly-fed._tcp.a.test. 3600 IN SRV {RECORDS[0].data}",
    f'_volly-fed.a.test. 3600 IN TXT "{IDENTITY}"',
    f"{OWNER} 7 IN TLSA {ONE}",
    f"{OWNER} 7 IN TLSA {TWO}",
}
CONFIG = DnsUpdate()


@attrs.define
class Pair:
    """The server, and our way to it."""

    server: FakePrimary
    primary: Primary


Start = Callable[[FakePrimary], Awaitable[Pair]]


@pytest.fixture
async def start(nursery: trio.Nursery) -> Start:
    async def start(server: FakePrimary) -> Pair:
        port: int = await nursery.start(server.serve)
        return Pair(server, Primary(address="127.0.0.1", port=port, key=KEY))

    return start


async def test_everything_is_added_to_an_empty_zone_by_signed_updates_and_the_second_time_nothing(
    start: Start,
) -> None:
    pair = await start(FakePrimary(("a.test.",)))
    changes = await publish(CONFIG, pair.primary, RECORDS)
    assert pair.server.lines() == PUBLISHED
    assert [line for change in changes for line in change.removed] == []
    assert {line.removeprefix("+ ") for change in changes for line in change.added} == PUBLISHED
    assert [update.had_tsig for update in pair.server.updates] == [True] * 3
    assert await publish(CONFIG, pair.primary, RECORDS) == []
    assert len(pair.server.updates) == 3


async def test_differences_change_nothing(start: Start) -> None:
    pair = await start(FakePrimary(("a.test.",)))
    assert len(await differences(CONFIG, pair.primary, RECORDS)) == 3
    assert pair.server.updates == []


async def test_what_others_keep_at_the_same_names_stays_and_what_is_wrong_goes(start: Start) -> None:
    pair = await start(FakePrimary(("a.test.",)))
    others = {
        "_volly-fed._tcp.a.test. 60 IN SRV 10 5 5223 other.a.test.",
        '_volly-fed.a.test. 60 IN TXT "of another purpose"',
    }
    wrong = {
        "_volly-fed._tcp.a.test. 60 IN SRV 0 0 0 .",
        f'_volly-fed.a.test. 60 IN TXT "{IDENTITY.replace("AAAA", "BBBB")}"',
        f"{OWNER} 60 IN TLSA {THREE}",
    }
    pair.server.put(others | wrong)
    changes = await publish(CONFIG, pair.primary, RECORDS)
    ours = {line.replace(" 3600 ", " 60 ").replace(" 7 ", " 60 ") for line in PUBLISHED}
    assert pair.server.lines() == ours | others
    assert {line.removeprefix("- ") for change in changes for line in change.removed} == wrong


async def test_priority_and_weight_of_our_srv_record_are_the_operators(start: Start) -> None:
    pair = await start(FakePrimary(("a.test.",)))
    pair.server.put(["_volly-fed._tcp.a.test. 60 IN SRV 9 9 5223 fed.a.test."])
    assert await publish(CONFIG, pair.primary, RECORDS[:1]) == []


async def test_records_of_two_zones_are_updated_there_tlsa_first(start: Start) -> None:
    pair = await start(FakePrimary(("a.test.", "fed.a.test.")))
    await publish(CONFIG, pair.primary, RECORDS)
    assert [update.question[0].name.to_text() for update in pair.server.updates] == [
        "fed.a.test.",
        "a.test.",
        "a.test.",
    ]


async def test_a_configured_zone_is_not_asked_for(start: Start) -> None:
    pair = await start(FakePrimary(("a.test.",)))
    changes = await differences(attrs.evolve(CONFIG, zone=DomainName("test")), pair.primary, RECORDS)
    assert {change.zone.to_text() for change in changes} == {"test."}


@pytest.mark.parametrize("there", [[], [f"{OWNER} 60 IN TLSA {ONE}"]])
async def test_what_somebody_else_changes_meanwhile_is_read_again(start: Start, there: list[str]) -> None:
    server = FakePrimary(("a.test.",))
    server.put(there)
    pair = await start(server)

    def once() -> None:
        server.before_update = lambda: None
        server.put([f"{OWNER} 60 IN TLSA {THREE}"])

    server.before_update = once
    await publish(CONFIG, pair.primary, RECORDS[2:])
    assert {line for line in server.lines() if THREE in line} == set()
    assert len(server.updates) == 2


async def test_a_zone_that_changes_all_the_time_is_given_up(start: Start) -> None:
    server = FakePrimary(("a.test.",), rcode=dns.rcode.NXRRSET)
    with pytest.raises(LocalError, match="changes faster"):
        await publish(CONFIG, (await start(server)).primary, RECORDS)
    assert len(server.updates) == limits.DNS_UPDATE_ATTEMPTS


@pytest.mark.parametrize(
    ("server", "says"),
    [
        (FakePrimary(("b.test.",)), "does not hold the zone of _5223._tcp.fed.a.test. .REFUSED"),
        (FakePrimary(("a.test.",), rcode=dns.rcode.REFUSED), "REFUSED.\nnote: the key volly.test.: allow it."),
        (FakePrimary(("a.test.",), rcode=dns.rcode.NOTAUTH), "NOTAUTH.\nnote: dns_update.server must be the primary"),
        (FakePrimary(("a.test.",), rcode=dns.rcode.NOTZONE), "NOTZONE.\nnote: .*dns_update.zone"),
        (FakePrimary(("a.test.",), rcode=dns.rcode.SERVFAIL), "SERVFAIL.\nnote: see the log"),
        (FakePrimary(("a.test.",), rcode=dns.rcode.REFUSED, unsigned=True), "REFUSED, in an answer that is not signed"),
        (FakePrimary(("a.test.",), rcode=dns.rcode.NXRRSET, unsigned=True), "NXRRSET, in an answer that is not signed"),
        (FakePrimary(("a.test.",), unsigned=True), "is not signed, so it is not believed"),
        (FakePrimary(("a.test.",), rcode=dns.rcode.REFUSED, forge=True), "is not signed with the key volly.test"),
        (FakePrimary(("a.test.",), tsig_error=dns.rcode.BADTIME), "the clock of .* is not ours"),
        (FakePrimary(("a.test.",), tsig_error=dns.rcode.BADTRUNC), "refuses the signature of the key volly.test"),
        (FakePrimary(("a.test.",), forgetful=True), "does not show it"),
        (FakePrimary(("a.test.",), key=dns.tsig.Key("volly.test.", b"x" * 32, "hmac-sha256")), "another secret"),
        (FakePrimary(("a.test.",), key=dns.tsig.Key("other.test.", b"k" * 32, "hmac-sha256")), "does not take the key"),
    ],
)
async def test_refusals_in_words_with_the_next_step(start: Start, server: FakePrimary, says: str) -> None:
    with pytest.raises(LocalError, match=says) as caught:
        await publish(CONFIG, (await start(server)).primary, RECORDS)
    assert "\nnote: " in str(caught.value)


async def test_nobody_there() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    with pytest.raises(Indeterminate, match=r"cannot be asked: .*\nnote: "):
        await publish(CONFIG, Primary(address="127.0.0.1", port=port, key=KEY), RECORDS)


async def reset(stream: trio.SocketStream) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def test_a_server_that_resets_the_connection(nursery: trio.Nursery) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, reset, listeners)
    primary = Primary(address="127.0.0.1", port=listeners[0].socket.getsockname()[1], key=KEY)
    with pytest.raises(Indeterminate, match=r"cannot be asked: .*\nnote: "):
        await primary.read(dns.name.from_text("a.test."), dns.rdatatype.TXT, 1)


async def silent(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def test_silence(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, silent, listeners)
    primary = Primary(address="127.0.0.1", port=listeners[0].socket.getsockname()[1], key=KEY)
    with pytest.raises(Indeterminate, match="does not answer"):
        await primary.read(dns.name.from_text("a.test."), dns.rdatatype.TXT, 1)


def test_the_primary_needs_its_section_and_a_private_key_file(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="names no server"):
        load_primary(CONFIG)
    file = tmp_path / "update.key"
    config = DnsUpdate(server=IpLiteral("127.0.0.1"), port=Port(5300), tsig_key_file=file)
    file.write_text("volly.test:hmac-sha512:" + "QUFB" * 8)
    file.chmod(0o644)
    with pytest.raises(LocalError, match="chmod 600"):
        load_primary(config)
    file.chmod(0o600)
    primary = load_primary(config)
    assert str(primary) == "DNS server 127.0.0.1 port 5300"
    assert (primary.key.name.to_text(), primary.key.secret) == ("volly.test.", b"AAA" * 8)
    assert "AAA" not in repr(primary)
