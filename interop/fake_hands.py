"""The handshake's messages from one end, honest unless the script says otherwise.

in: who the fake is, the facts of its channel, the other end's messages; out: HELLO and AUTH, and what either signs.
Never: checks anything the script did not ask for. Bytes and signatures are made by the protocol's own functions; what
differs, differs because of an argument here.
"""

import os
from collections.abc import Mapping
from typing import Any

import attrs

from volly_fed.codepoints import Label, Role
from volly_fed.crypto import sizes
from volly_fed.crypto.signature import IdentityKey, verify_identity
from volly_fed.handshake import ChannelBinding
from volly_fed.handshake.transcript import hello_hash, signed_input
from volly_fed.names import DomainName
from volly_fed.wire import Message, codec, encode_message
from volly_fed.wire.messages import Auth, Hello


@attrs.define(kw_only=True)
class Hands:
    """One end of one handshake. `hellos` are the messages as they were on the wire."""

    name: DomainName
    key: IdentityKey
    role: Role
    binding: ChannelBinding
    other: DomainName
    hellos: dict[Role, bytes] = attrs.field(factory=dict)

    @property
    def far(self) -> Role:
        """The other end's role."""
        return Role.ACCEPTOR if self.role is Role.DIALLER else Role.DIALLER

    def hello(self, *, raw: Mapping[int, Any] | None = None, **changes: Any) -> bytes:
        """Our HELLO: `changes` are fields of Hello, `raw` replaces fields by number or, with None, leaves them out."""
        honest: dict[str, Any] = {
            "versions": (1, 1),
            "own": self.name,
            "wanted": self.other,
            "identity": self.key.public,
            "nonce": os.urandom(32),
            "extensions": {},
        }
        data = altered(Hello(**{**honest, **changes}), raw or {})
        self.hellos[self.role] = data
        return data

    def signed(self, *, signer: Role | None = None, ours: bool | None = None, **changes: Any) -> bytes:
        """What `signer` (we, if left out) signs; `changes` are fields of the binding."""
        signer = signer or self.role
        binding = attrs.evolve(self.binding, **changes)
        hellos = hello_hash(self.hellos[Role.DIALLER], self.hellos[Role.ACCEPTOR])
        return signed_input(signer, binding, hellos, ours=signer is self.role if ours is None else ours)

    def auth(
        self,
        *,
        signed: bytes | None = None,
        key: IdentityKey | None = None,
        context: bytes = Label.AUTH_CONTEXT,
        statement: bytes = b"",
    ) -> Auth:
        """Our AUTH: by `key` over `signed` under `context`, all of them the right ones if left out."""
        signature = (key or self.key).sign(self.signed() if signed is None else signed, context)
        return Auth(signature=signature, statement=statement)

    def verify(self, auth: Auth, identity: bytes) -> None:
        """Raises BadSignature unless the other end's proof is right."""
        verify_identity(identity, auth.signature, self.signed(signer=self.far), Label.AUTH_CONTEXT)


def altered(message: Message, fields: Mapping[int, Any]) -> bytes:
    """`message` with these fields, by number, in the place of its own; None leaves one out."""
    value: dict[int, Any] = {**codec.decode(encode_message(message)), **fields}  # type: ignore[dict-item] # a map
    return codec.encode({number: item for number, item in sorted(value.items()) if item is not None})


def halves(post_quantum: Auth, classical: Auth) -> Auth:
    """One half of each signature."""
    cut = sizes.MLDSA65_SIGNATURE
    return Auth(signature=post_quantum.signature[:cut] + classical.signature[cut:])


def damaged(auth: Auth, at: int) -> Auth:
    """`auth` with one bit of its signature changed."""
    spoilt = bytearray(auth.signature)
    spoilt[at] ^= 1
    return attrs.evolve(auth, signature=bytes(spoilt))
