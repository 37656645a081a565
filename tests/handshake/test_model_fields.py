"""The model signs what the code signs: a field that is new in the code, or differs in its effect, is noticed here."""

import ast
import hashlib
import inspect
from collections.abc import Callable
from itertools import combinations, product
from pathlib import Path

import attrs

from tests.handshake.model.cases import FIELD_CASES, NOT_MODELLED
from tests.handshake.model.terms import ACCEPTOR, DIALLER, FIELDS, HELLO_FIELDS, View, transcript_without
from tests.handshake.model.terms import Hello as ModelHello
from tests.handshake.model.world import Kind
from volly_fed.codepoints import ALPN_EDGE, ALPN_FEDERATION, Label, Role
from volly_fed.handshake import exchange, transcript
from volly_fed.handshake.transcript import ChannelBinding, hello_hash, signed_input
from volly_fed.names import DomainName
from volly_fed.wire import encode_message
from volly_fed.wire.messages import Auth, Hello

# What the code joins -> the fields of the model that stand for it.
SIGNED = {
    "Label.AUTH": ("label",),
    "bytes([signer])": ("role",),
    "exporter": ("exporter", "exporter context"),
    "_v16(binding.alpn)": ("alpn", "lengths"),
    "_v16(binding.group)": ("group", "lengths"),
    "keys": ("signer SPKI", "other SPKI"),
    "hellos": HELLO_FIELDS,
}
HASHED = {"Label.HELLO_HASH": ("hello label",), "_v32(dialler)": ("lengths",), "_v32(acceptor)": ("lengths",)}
BINDING = {
    "exporter_dialler": ("exporter", "exporter context"),
    "exporter_acceptor": ("exporter", "exporter context"),
    "alpn": ("alpn",),
    "group": ("group",),
    "own_spki_sha256": ("signer SPKI", "other SPKI"),
    "peer_spki_sha256": ("signer SPKI", "other SPKI"),
}
EXPORTED = {"Label.EXPORTER": ("exporter label",), "bytes([Role.DIALLER])": ("exporter context",)}
AUTH = {"signature": ("context",), "statement": ("statement",)}


def joined(function: Callable[..., bytes], within: type[ast.AST]) -> list[str]:
    """The parts of the one concatenation in `function`."""
    tree = ast.parse(inspect.getsource(function))
    found = [node for node in ast.walk(tree) if isinstance(node, within)]
    sums = [
        node.args[0] if isinstance(node, ast.Call) and node.args else getattr(node, "value", None) for node in found
    ]
    whole = next(node for node in sums if isinstance(node, ast.BinOp))

    def flat(node: ast.expr) -> list[str]:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return flat(node.left) + flat(node.right)
        return [ast.unparse(node)]

    return flat(whole)


def test_the_model_knows_every_piece_that_is_signed() -> None:
    assert joined(signed_input, ast.Return) == list(SIGNED)
    assert joined(hello_hash, ast.Call) == list(HASHED)


def test_the_model_knows_every_fact_of_the_channel() -> None:
    assert [field.name for field in attrs.fields(ChannelBinding)] == list(BINDING)


def test_the_model_knows_every_field_of_hello_and_auth() -> None:
    assert tuple(field.name for field in attrs.fields(Hello)) == ModelHello._fields
    assert [field.name for field in attrs.fields(Auth)] == list(AUTH)


def test_the_signature_has_one_context_and_the_exporter_one_label() -> None:
    source = Path(exchange.__file__).read_text(encoding="utf-8")
    assert source.count("Label.AUTH_CONTEXT)") == 2, "signing and verifying"
    exports = Path(transcript.__file__).read_text(encoding="utf-8")
    assert exports.count("=export(Label.EXPORTER, EXPORTER_BYTES, bytes([Role.") == 2


def test_every_name_used_here_is_one_of_the_models() -> None:
    used = {name for table in (SIGNED, HASHED, BINDING, EXPORTED, AUTH) for names in table.values() for name in names}
    assert used == set(FIELDS) | set(NOT_MODELLED)
    assert set(FIELD_CASES) == set(FIELDS)


# --- the same effect -----------------------------------------------------------------------------------------------

HELLO = ModelHello(2, "a", "b", "identity of a", "nonce 1", "x")
ANSWER = ModelHello(2, "b", "a", "identity of b", "nonce 3", "x")
VIEW = View("1-3", Kind.FEDERATION, "X25519MLKEM768", "TLS key of a", "TLS key of b", HELLO, ANSWER)
OTHER_HELLO = {
    "versions": 1,
    "own": "e",
    "wanted": "e",
    "identity": "identity of e",
    "nonce": "e",
    "extensions": "none",
}
OTHER = {
    "exporter": "1-e",
    "alpn": Kind.EDGE,
    "group": "X25519",
    "dialler_key": "TLS key of e",
    "acceptor_key": "TLS key of e",
}


def views() -> list[View]:
    """The same view with each of its facts changed, one at a time, and with the TLS keys exchanged."""
    changed = [VIEW, *(VIEW._replace(**{name: value}) for name, value in OTHER.items())]  # type: ignore[arg-type] # by name
    for name, value in OTHER_HELLO.items():
        changed.append(VIEW._replace(dialler=HELLO._replace(**{name: value})))  # type: ignore[arg-type] # as above
        changed.append(VIEW._replace(acceptor=ANSWER._replace(**{name: value})))  # type: ignore[arg-type] # as above
    changed.append(VIEW._replace(dialler_key=VIEW.acceptor_key, acceptor_key=VIEW.dialler_key))
    changed.append(VIEW._replace(dialler=ANSWER, acceptor=HELLO))
    return changed


def real_hello(hello: ModelHello) -> bytes:
    return encode_message(
        Hello(
            versions=(1, hello.versions),
            own=DomainName(f"{hello.own}.example"),
            wanted=DomainName(f"{hello.wanted}.example"),
            identity=hashlib.shake_256(hello.identity.encode()).digest(1984),
            nonce=hashlib.sha256(hello.nonce.encode()).digest(),
            extensions={7: hello.extensions.encode()},
        )
    )


def real_bytes(view: View, signer: str, end: str = DIALLER) -> bytes:
    """What the code signs, or expects to be signed, at `end`, where the model sees `view`."""

    def export(label: bytes, size: int, context: bytes) -> bytes:
        return hashlib.shake_256(label + context + view.exporter.encode()).digest(size)

    own, peer = (hashlib.sha256(key.encode()).digest() for key in (view.dialler_key, view.acceptor_key))
    binding = ChannelBinding.of(
        export,
        alpn=ALPN_FEDERATION if view.alpn is Kind.FEDERATION else ALPN_EDGE,
        group=view.group,
        own_spki_sha256=own if end == DIALLER else peer,
        peer_spki_sha256=peer if end == DIALLER else own,
    )
    hellos = hello_hash(real_hello(view.dialler), real_hello(view.acceptor))
    return signed_input(Role.DIALLER if signer == DIALLER else Role.ACCEPTOR, binding, hellos, ours=signer == end)


def test_two_views_are_one_to_the_code_where_they_are_one_to_the_model() -> None:
    model = transcript_without(frozenset())
    seen = [(view, signer) for view in views() for signer in (DIALLER, ACCEPTOR)]
    for one, other in combinations(seen, 2):
        assert (model(*one) == model(*other)) is (real_bytes(*one) == real_bytes(*other)), (one, other)


def test_both_ends_mean_the_same_bytes_and_the_signers_key_comes_first() -> None:
    for view, signer in product(views(), (DIALLER, ACCEPTOR)):
        assert real_bytes(view, signer, DIALLER) == real_bytes(view, signer, ACCEPTOR)
    first, second = (hashlib.sha256(key.encode()).digest() for key in (VIEW.dialler_key, VIEW.acceptor_key))
    assert first + second in real_bytes(VIEW, DIALLER)
    assert second + first in real_bytes(VIEW, ACCEPTOR)


def test_the_label_comes_first_in_what_is_signed() -> None:
    assert real_bytes(VIEW, DIALLER).startswith(Label.AUTH)
