"""The example run in spec/ is what the code does: records, messages, signatures, and the text made of them."""

import hashlib
from base64 import b64encode
from functools import partial

import dns.name
import pytest

from tests.discovery.harness import Judge
from tests.spec.overview_run import BLOCKS, current, rendered
from tests.spec.run import NOW, RECORDING, A, B, Server, bindings, document, recording, session_messages, world
from tests.vectors import SPEC, read
from volly_fed.codepoints import Label, Role
from volly_fed.crypto.signature import verify_identity
from volly_fed.discovery import dane, plan
from volly_fed.discovery.endpoint import Service
from volly_fed.handshake.transcript import hello_hash, signed_input
from volly_fed.wire import parse_message
from volly_fed.wire.messages import Auth

DOCUMENTS = sorted(SPEC.glob("*.md"))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_documents_show_the_run_as_it_is(path: object) -> None:
    text = (SPEC / str(path)).read_text()
    assert current(text, recording()) == text, "python -m tests.spec.overview_run"


def test_every_block_is_shown_somewhere() -> None:
    shown = "".join(path.read_text() for path in DOCUMENTS)
    assert [name for name in BLOCKS if rendered(name, recording()) not in shown] == []


def test_what_follows_from_the_seeds_is_what_was_recorded() -> None:
    run = recording()
    assert document({"exporters": run["exporters"], "sent": run["sent"]}) == read(RECORDING)


@pytest.mark.parametrize(("server", "address"), [(A, "2001:db8:a::1"), (B, "2001:db8:b::1")])
def test_discovery_finds_the_keys_of_the_run(server: Server, address: str) -> None:
    judge = Judge(world(), now=NOW)
    found = plan.choose_targets(judge(f"_volly-fed._tcp.{server.name}.", "SRV"), lambda size: bytes(size))
    identity = plan.identity_in(judge(f"_volly-fed.{server.name}.", "TXT"))
    assert identity.current in server.expected
    [srv] = found
    addresses = [judge(f"{srv.target}.", kind) for kind in ("AAAA", "A")]
    base = plan.tlsa_question(srv.port, dns.name.from_text(f"{srv.target}.")).name.to_text()
    target = plan.judge_target(srv, addresses, judge(base, "TLSA"), service=Service.FEDERATION, allow_private=True)
    assert (target.host, target.port, target.addresses) == (server.host, 5223, (address,))
    assert dane.match(target.tlsa, spki=server.tls.spki, certificate=b"")


@pytest.mark.spec("channel-12")
def test_the_upgrade_is_one_of_rfc_6455() -> None:
    request, response = (dict(line.split(": ") for line in sent["text"][1:-2]) for sent in recording()["sent"][:2])
    joined = request["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    digest = hashlib.sha1(joined.encode(), usedforsecurity=False).digest()
    assert response["Sec-WebSocket-Accept"] == b64encode(digest).decode()
    assert recording()["sent"][0]["text"][0] == "GET /federation/v1 HTTP/1.1"
    assert request["Sec-WebSocket-Protocol"] == response["Sec-WebSocket-Protocol"] == "volly-fed.v1"


def test_the_session_is_what_the_machines_say() -> None:
    sent = [(s["from"], s["what"], bytes.fromhex(s["message"])) for s in recording()["sent"][6:]]
    assert sent == session_messages()


@pytest.mark.spec("channel-18")
def test_the_dialler_masks_and_the_listener_does_not() -> None:
    for sent in recording()["sent"][2:]:
        head = bytes.fromhex(sent["frame"])
        assert bool(head[1] & 0x80) is (sent["from"] == "dialler")


@pytest.mark.spec("handshake-9", "handshake-11")
def test_the_recorded_signatures_hold() -> None:
    run = recording()
    hellos = [bytes.fromhex(sent["message"]) for sent in run["sent"][2:4]]
    signed = partial(signed_input, hellos=hello_hash(*hellos), ours=True)
    for role, server, binding, sent in zip(Role, (A, B), bindings(run["exporters"]), run["sent"][4:6], strict=True):
        auth = parse_message(bytes.fromhex(sent["message"]))
        assert isinstance(auth, Auth)
        verify_identity(server.identity.public, auth.signature, signed(role, binding), Label.AUTH_CONTEXT)
