"""Code points: the numbers and labels that both sides of a wire must agree on.

in: nothing; out: enumerations and constants. Values are never reused.
"""

import enum
from typing import Final

MIN_VERSION: Final = 1
MAX_VERSION: Final = 1
ENVELOPE_VERSION: Final = 1
CONTINUITY_VERSION: Final = 1

ALPN_FEDERATION: Final = b"volly-fed/1"
ALPN_EDGE: Final = b"volly-edge/1"
ALPN_DEVICE: Final = b"http/1.1"
"""What browsers offer for wss; ours does the same, so that devices look like any other WebSocket client."""
SUBPROTOCOL_FEDERATION: Final = "volly-fed.v1"
SUBPROTOCOL_EDGE: Final = "volly-edge.v1"
SUBPROTOCOL_DEVICE: Final = "volly-device.v1"
PATH_FEDERATION: Final = "/federation/v1"
PATH_EDGE: Final = "/edge/v1"
PATH_DEVICE: Final = "/device/v1"

SERVICE_FEDERATION: Final = "_volly-fed._tcp"
SERVICE_DEVICE: Final = "_volly._tcp"
IDENTITY_OWNER: Final = "_volly-fed"
PORT_FEDERATION: Final = 5223
PORT_DEVICE: Final = 5222

TLS_GROUP: Final = "X25519MLKEM768"
TLS_SIGNATURE: Final = "mldsa65"
TLS_VERSION: Final = "TLSv1.3"
TLS_SIGNATURE_NAME: Final = "ML-DSA-65"
"""TLS_SIGNATURE as the standard spells it (FIPS 204)."""
IDENTITY_ALGORITHM: Final = "ML-DSA-65 + Ed25519 (composite)"
"""The only kind of identity there is in version 1: what AUTH proves."""
TLS_CIPHERS: Final = ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
TLS_GROUP_CLASSICAL: Final = "X25519"
"""Only for devices, and only if the operator says so."""
TLS_SIGNATURES_DEVICE: Final = (
    "ecdsa_secp256r1_sha256",
    "ecdsa_secp384r1_sha384",
    "ed25519",
    "rsa_pss_rsae_sha256",
    "rsa_pss_rsae_sha384",
    "rsa_pss_rsae_sha512",
    "rsa_pkcs1_sha256",
    "rsa_pkcs1_sha384",
    "rsa_pkcs1_sha512",
)
"""An ordinary server certificate; the PKCS#1 ones may occur in its chain only (RFC 8446 §4.2.3)."""


class Label:  # [crypto-17]
    """Domain separation: every hash, MAC, signature and derivation of ours begins with one of these."""

    ROOT: Final = b"volly-pq-signaling-v1"
    """The HPKE `info` of sealed bodies, and the root of our own key schedule."""
    EXPORTER: Final = b"EXPORTER-volly-fed-s2s-auth-v1"
    AUTH: Final = b"volly-fed s2s hybrid authentication v1\0"
    AUTH_CONTEXT: Final = b"volly-fed/s2s-auth/v1"
    HELLO_HASH: Final = b"volly-fed hello v1\0"
    IDENTITY: Final = b"volly-fed identity v1\0"
    CONTINUITY_OLD: Final = b"volly-fed identity continuity, by the old key v1\0"
    CONTINUITY_NEW: Final = b"volly-fed identity continuity, by the new key v1\0"
    CONTINUITY_CONTEXT: Final = b"volly-fed/continuity/v1"
    MAILBOX: Final = b"volly-fed mailbox v1\0"
    CLAIM: Final = b"volly-fed mailbox claim v1\0"
    CLAIM_KEY: Final = b"volly-pq-signaling-v1/claim"
    ACKNOWLEDGE_KEY: Final = b"volly-pq-signaling-v1/acknowledge"
    ACKNOWLEDGE: Final = b"volly-fed acknowledge v1\0"
    CAPABILITY: Final = b"volly-fed capability v1\0"
    CONTENT: Final = b"volly-fed content v1\0"
    CONTENT_CONTEXT: Final = b"volly-fed/content/v1"
    MESSAGE: Final = b"volly-fed message v1\0"
    PRESENCE: Final = b"volly/presence/v1"
    PRESENCE_FILTER: Final = b"volly-fed presence filter v1\0"


class Role(enum.IntEnum):
    """Who opened the connection; one byte of the signed transcript and the exporter's context."""

    DIALLER = 1
    ACCEPTOR = 2


class Extension(enum.IntEnum):
    """Extensions of HELLO; unknown ones are ignored."""

    PROBE = 1
    """The dialler only wants to see both proofs: no session follows. Empty."""


class MessageType(enum.IntEnum):
    """Field 0 of every message.

    0x00-0x0f handshake, 0x10-0x1f session, 0x20-0x3f edge, 0x40-0x4f device, 0x50-0x5f presence.
    """

    HELLO = 0x01
    AUTH = 0x02
    REFUSE = 0x03
    OPEN = 0x10
    BATCH = 0x11
    ACK = 0x12
    CLOSE = 0x13
    PING = 0x14
    PONG = 0x15
    CLAIM = 0x20
    CHALLENGE = 0x21
    PROOF = 0x22
    CLAIMED = 0x23
    NOT_CLAIMED = 0x24
    ACKNOWLEDGE = 0x25
    RELEASE = 0x26
    RECEIPT = 0x27
    ANNOUNCE = 0x28
    RETRACT = 0x29
    WATCH = 0x2A
    UNWATCH = 0x2B
    SHOWN = 0x2C
    WELCOME = 0x40
    SUBMIT = 0x41
    SUBMITTED = 0x42
    DELIVER = 0x43
    PRESENCE_RESUME = 0x50
    PRESENCE_REQUEST = 0x51
    PRESENCE_SNAPSHOT = 0x52
    PRESENCE_DELTA = 0x53
    PRESENCE_WITHDRAW = 0x54


class ErrorCode(enum.IntEnum):
    """Why somebody was refused or a link was closed; carried by REFUSE, CLOSE, ACK, SUBMITTED and RECEIPT."""

    NONE = 0
    """A planned close; nothing is wrong."""
    MALFORMED = 1
    UNEXPECTED = 2
    UNSUPPORTED_VERSION = 3
    WRONG_NAME = 4
    POLICY = 5
    BUSY = 6
    DISCOVERY = 7
    KEY_MISMATCH = 8
    IDENTITY_MISMATCH = 9
    BAD_SIGNATURE = 10
    TIMEOUT = 11
    SHUTTING_DOWN = 12
    REPLACED = 13
    CHANNEL = 14
    """What TLS negotiated is not what this protocol requires."""
    UNDELIVERABLE = 32
    """The one answer for everything that depends on a mailbox: unknown, wrong capability, out of scope, full."""
    EXPIRED = 33
    OVERLOADED = 34
    """Not stored; hand it over again later."""
    UNKNOWN_DOMAIN = 35
    BAD_PROOF = 36
    BAD_FILTER = 64
    """A presence filter of no known class, of another size than its class has, or too full."""
    WRONG_EPOCH = 65
    """A presence filter of an epoch that is over, or that is far from beginning."""
    OUT_OF_STEP = 66
    """A presence message that does not follow the one before it: repeated, left out, or of another filter."""


class EnvelopeClass(enum.IntEnum):
    """Urgency, in the order of service."""

    RING = 0
    SIGNAL = 1
    BULK = 2


class FilterClass(enum.IntEnum):
    """The sizes of presence filters, by the tags that fit; bits and slices follow from it and are never sent."""

    TAGS_4K = 0
    TAGS_16K = 1
    TAGS_64K = 2
    TAGS_256K = 3
    TAGS_1M = 4


class TrustLevel(enum.StrEnum):
    """How far a domain is trusted; what follows from it is the gates' table in `trust.gates`."""

    FULL = "full"
    SELECTIVE = "selective"
    METADATA = "metadata"
    NONE = "none"


class Gate(enum.StrEnum):
    """The seven places where trust is asked, each with one call site."""

    DIAL = "dial"
    ACCEPT = "accept"
    ESTABLISH = "establish"
    SHOW = "show"
    HEAR = "hear"
    RELAY = "relay"
    DELIVER = "deliver"
