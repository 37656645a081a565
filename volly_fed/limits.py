"""Every maximum and every timer of the protocol, in one place, with the reason where it is a choice.

Sizes are bytes and times are seconds unless the name says otherwise. Nothing else in the tree holds a bare limit.
"""

# --- framing -------------------------------------------------------------------------------------------------------
MAX_MESSAGE = 1 << 20
"""One WebSocket message: a full batch (256 KiB) and room to grow; trio-websocket closes with 1009 beyond it."""
MAX_DEPTH = 8
"""Nesting of one CBOR item; the deepest message of ours needs 4."""
MAX_TEXT = 512
"""A human-readable reason inside a message."""
RECEIVE_BUFFER = 65536
"""Per receive call; 4 KiB, the library's default, doubles the cost of a batch."""

# --- channel -------------------------------------------------------------------------------------------------------
CONNECT = 5.0
"""One TCP connection attempt to one address."""
HAPPY_EYEBALLS = 0.25
"""Delay between attempts on further addresses (RFC 8305 §5 recommends 250 ms)."""
TLS_HANDSHAKE = 10.0
WEBSOCKET_UPGRADE = 5.0
CLOSE = 1.0
"""Clean-up that awaits, shielded: longer than a round trip, shorter than a supervisor's patience."""
TLS_RECORD_CHUNK = 1 << 16
MAX_HALF_OPEN = 64
"""Connections per listener that have not proved an identity; the next one waits in the kernel's backlog."""
MAX_HALF_OPEN_PER_ADDRESS = 8

# --- handshake -----------------------------------------------------------------------------------------------------
HANDSHAKE = 15.0
"""HELLO to AUTH, discovery of the caller included (which has its own limit, DISCOVERY)."""
MAX_HANDSHAKE_MESSAGE = 8192
"""HELLO carries a 1984-byte identity key, AUTH a 3373-byte signature; extensions get the rest."""
MAX_EXTENSIONS = 16
MAX_EXTENSION = 1024
CLAIMS_PER_DOMAIN_PER_MINUTE = 6
"""Handshakes that claim one domain and failed to prove it, before that domain's claims are answered BUSY."""
CLAIM_WINDOW = 60.0

# --- DNS (docs: dns-dane rule 22) ----------------------------------------------------------------------------------
DNS_QUERIES = 60
DNS_VERIFICATIONS = 60
"""RRSIG x DNSKEY operations in one discovery (KeyTrap, CVE-2023-50387)."""
DNS_RRSIGS_PER_RRSET = 8
DNS_KEYS_PER_TAG = 2
DNS_DS_PER_ZONE = 8
DNS_NSEC3_HASHES = 600
"""SHA-1 rounds in one discovery (CVE-2023-50868)."""
DNS_NSEC3_ITERATIONS = 100
"""Above it a zone counts as insecure (RFC 9276 §3.2)."""
DNS_DENIAL_RECORDS = 12
DNS_CNAME_HOPS = 8
DNS_TLSA_RECORDS = 64
DNS_SRV_TARGETS = 8
DNS_ADDRESSES = 16
DNS_QUERY = 2.0
DISCOVERY = 5.0
DNS_UDP_PAYLOAD = 1232
DNS_MAX_TTL = 86400
DNS_MAX_NEGATIVE_TTL = 900
DNS_FAILURE_TTL = 5.0
"""Failures are remembered briefly, so that a flood of claims does not become a flood of queries (RFC 9520)."""
DNS_CLOCK_SKEW = 300
"""Tolerated at both ends of a signature's validity."""
DNS_CACHE_ENTRIES = 4096

# --- session -------------------------------------------------------------------------------------------------------
BATCH_ENVELOPES = 256
BATCH_BYTES = 256 * 1024
WINDOW_ENVELOPES = 1024
WINDOW_BYTES = 1 << 20
"""In flight per direction; a larger window only adds queueing delay (4096 envelopes: 28 ms instead of 7)."""
PING_AFTER = 20.0
"""Silence before we ask."""
PONG_WITHIN = 10.0
"""Silence after we asked, before the link counts as dead."""
DRAIN = 10.0
REFUSALS_PER_ACK = 256

# --- envelopes and mailboxes ---------------------------------------------------------------------------------------
MAX_BODY = 64 * 1024
MAX_ENVELOPE = MAX_BODY + 1024
BODY_CLASSES = (1024, 2048, 4096, 8192, 16384, 32768, 65536)
"""A body has one of these sizes, so that its size says little about its content."""
MAX_LIFETIME = 7 * 86400
"""Of an envelope, from now to its expiry."""
CLOCK_SKEW = 300
"""How wrong a peer's clock may be before its envelopes are refused as expired."""
MAILBOX_ENVELOPES = 1000
MAILBOX_BYTES = 16 << 20
CAPABILITIES_PER_MAILBOX = 256
SCOPES_PER_CAPABILITY = 64
MAILBOX_IDLE = 90 * 86400
"""A mailbox nobody claimed for so long is forgotten, with what it holds."""
MAILBOXES_PER_DEVICE = 32
CLAIM_LIFETIME = 60
"""A challenge must be answered within this time."""
PENDING_CLAIMS_PER_LINK = 1024
ACK_IDS = 1024
"""Envelope ids in one acknowledgement."""
DELIVERY_WINDOW = 256
"""Envelopes given to one mailbox and not yet acknowledged."""
DUPLICATE_MEMORY = 8 * 86400
"""How long an envelope's id is remembered: longer than any envelope may live."""

# --- queues --------------------------------------------------------------------------------------------------------
QUEUE_ENVELOPES_PER_PEER = 100_000
QUEUE_BYTES_PER_PEER = 256 << 20
BACKOFF_FIRST = 0.5
BACKOFF_GROWTH = 2.0
BACKOFF_JITTER = (0.8, 1.4)
BACKOFF_CAP = 300.0
EXPIRY_SWEEP = 60.0

# --- devices -------------------------------------------------------------------------------------------------------
SUBMIT_ENVELOPES = 256
DEVICE_QUEUE = 1024
DEVICE_CONNECTIONS_PER_EDGE = 10_000
MAX_CARD = 8192
MAX_CONTENT = 48 * 1024
