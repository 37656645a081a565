"""Every maximum and every timer of the protocol, in one place, with the reason where it is a choice.

Sizes are bytes and times are seconds unless the name says otherwise. Nothing else in the tree holds a bare limit.
"""

# --- framing -------------------------------------------------------------------------------------------------------
MAX_MESSAGE = 1 << 20
"""One WebSocket message: a full batch (256 KiB) and room to grow; beyond it the socket is closed with 1009."""
MAX_DEPTH = 8
"""Nesting of one CBOR item; the deepest message of ours needs 4."""
MAX_TEXT = 512
"""A human-readable reason inside a message."""
RECEIVE_BUFFER = 65536
"""Per receive call; 4 KiB doubles the cost of a batch."""
MAX_UNCLAIMED = 2 * MAX_MESSAGE + (256 << 10)
"""Bytes a WebSocket peer may send before one of its messages is complete: one, as long again in overhead, and room."""
MAX_OPENING = 16384
"""The HTTP request or answer that opens a WebSocket, and what came right behind it in the same receive call."""

# --- channel -------------------------------------------------------------------------------------------------------
CONNECT = 5.0
"""One TCP connection attempt to one address."""
DIAL = 30.0
"""All targets of a domain together, from TCP to the proof; each has its share of what is left, so the last one too."""
TARGET_FAILED = 60.0
"""After a failure, or after a link broke, other targets of the same priority are tried first."""
FAILED_TARGETS = 4096
"""Targets remembered for it."""
HAPPY_EYEBALLS = 0.25
"""Delay between attempts on further addresses (RFC 8305 §5 recommends 250 ms)."""
TLS_HANDSHAKE = 10.0
WEBSOCKET_UPGRADE = 5.0
CLOSE = 1.0
"""Clean-up that awaits, shielded: longer than a round trip, shorter than a supervisor's patience."""
TLS_RECORD = 1 << 14
"""RFC 8446 §5.1; encrypted bytes go through OpenSSL's buffers in pieces of this size."""
TLS_RECORD_CHUNK = 1 << 18
"""Plain bytes encrypted before the transport gets them: sixteen records, one system call."""
TLS_SCRATCH = 1 << 18
CALLS_WITHOUT_CHECKPOINT = 16
"""System calls on one socket that need not wait, before the other tasks get a turn: a checkpoint costs 7 us."""
HANDSHAKE_THREADS = 2
"""As many as this class of machine has cores; a third would only take the loop's time."""
TLS_CERTIFICATE = 3650 * 86400
"""Nobody looks at the dates of our certificates (RFC 7671 §5.1), so they need not run out."""
MAX_HALF_OPEN = 64
"""Connections per listener that have not proved an identity; further ones are closed at once."""
MAX_HALF_OPEN_PER_ADDRESS = 8

# --- the door ------------------------------------------------------------------------------------------------------
DOOR = 15.0
"""From accept to proof, all that a stranger does: TLS, WebSocket, handshake and our look at its DNS (DISCOVERY)."""
DOOR_PATIENCE = 1.0
"""What a stranger is left in any case, however crowded the door: a TLS handshake over a satellite, nearly."""
MAX_BEFORE_PROOF = 64 << 10
"""Bytes of a stranger: TLS with ML-DSA-65 takes 11 KiB, HELLO and AUTH MAX_HANDSHAKE_MESSAGE each."""
CONNECTIONS_PER_MINUTE = 120
"""From one address, before TLS, which costs 2 ms: two a second are half a per cent of one core."""
CONNECTIONS_PER_SECOND = 50
"""From all addresses at which nobody has proved himself; twice as many at once."""
CALLERS = 16_384
"""Addresses whose connections are counted, and addresses at which somebody has proved himself."""
REFUSALS_SUMMED = 10.0
"""Between two lines of the log about refusals of one kind."""

# --- crypto --------------------------------------------------------------------------------------------------------
LIBOQS_PROBE = 5.0
"""For one candidate file to load in a child process; the same five seconds that liboqs-python counts down."""

# --- handshake -----------------------------------------------------------------------------------------------------
HANDSHAKE = 15.0
"""HELLO to AUTH, discovery of the caller included (which has its own limit, DISCOVERY)."""
MAX_HANDSHAKE_MESSAGE = 16384
"""HELLO carries a 1984-byte identity key and extensions; AUTH a 3373-byte signature and at times a statement."""
MAX_CONTINUITY = 12288
"""A continuity statement: two identity keys and two signatures, about 11 000 bytes."""
MAX_EXTENSIONS = 16
MAX_EXTENSION = 1024
CLAIMS_PER_DOMAIN_PER_MINUTE = 6
"""Unproved claims of one domain from one address (or with one known key), before further ones are answered BUSY."""
CLAIM_WINDOW = 60.0
CLAIMS_PER_ADDRESS_PER_MINUTE = 30
"""The same of all domains from one address."""
CLAIMS_PER_MINUTE = 600
"""Unproved claims of all callers together that did not prove themselves before: 10 discoveries a second at most."""
KNOWN_CALLERS = 4096
"""Domains remembered with the TLS keys they proved their identity with; such callers pass by CLAIMS_PER_MINUTE."""
KEYS_PER_KNOWN_CALLER = 8
LINKS_PER_DOMAIN_PER_MINUTE = 20
"""Proofs of one domain: each may be a new link, with its proofs, its rows in the store and its start of a session."""
CLAIM_RETRY_AFTER = 1
"""Seconds, told to a caller whose claim is being looked up already."""
EDGE_LOOK_UPS = 2
"""Readings of the enrolments at once; each is a file, in a thread."""

# --- identities ----------------------------------------------------------------------------------------------------
COOL_OFF = 72 * 3600.0
"""From a changed identity, properly announced, to its acceptance: time for both operators to see what happens."""
CONTINUITY_VALIDITY = 366 * 86400
"""Of a continuity statement: what a stolen old key has signed must not lie about for ever."""
PINS = 65_536
"""Domains whose identity is remembered. Beyond it the shortest acquaintance goes, callers before those we dialled."""
EVIDENCE_PER_DOMAIN = 8
IDENTITIES_SHOWN = 2000
"""In one list for the operator, those first that want a decision."""
EVIDENCE_ROWS = 8192
"""Proofs kept in all; one has at most DNS_PROOF_BYTES."""

# --- DNS (docs: dns-dane rule 22) ----------------------------------------------------------------------------------
DNS_QUERIES = 60
DNS_VERIFICATIONS = 60
"""RRSIG x DNSKEY operations in one discovery (KeyTrap, CVE-2023-50387)."""
DNS_RRSIGS_PER_RRSET = 8
DNS_KEYS_PER_TAG = 2
DNS_RSA_MIN_BITS = 1024
DNS_RSA_MAX_BITS = 4096
"""RFC 5702 §2 allows 512 too, which anybody can factor; above 4096 it allows none."""
DNS_RSA_EXPONENT_BITS = 64
"""With a long exponent one verification takes as long as a hundred."""
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
DNS_RETRANSMIT = 0.6
"""First wait for an answer over UDP; doubles with every attempt up to DNS_QUERY."""
DNS_ATTEMPTS = 4
"""Per question, over all configured resolvers in turn."""
DNS_PATIENCE = 3.5
"""After this there is no other attempt: a target that never answers must leave time for the others of a DISCOVERY."""
DNS_IN_FLIGHT = 1024
"""Questions under way at once; each has a socket of its own, for its random port. As many as all the discoveries
may have that CLAIMS_PER_MINUTE allows in DISCOVERY seconds: zones that never answer must not hold up others."""
DNS_IN_FLIGHT_EACH = 16
"""The same of one discovery; a first round trip has about ten."""
DNS_PROOF_BYTES = 64 << 10
"""What is kept of the proof of one discovery; a chain signed with ML-DSA-44 alone has about 45 KiB."""
DNS_ANCHORS = 64 << 10
"""Of a file of trust anchors; IANA's has 1 KiB."""
DNS_MAX_MESSAGE = 16384
"""Bounds the time one answer can cost to parse; a DNSKEY set signed with ML-DSA-44 has about 8 KiB."""
DNS_RECORDS = 256
"""In one answer, all sections."""
DNS_NAME_WORK = 100_000
"""Sum of the squares of the label counts of all names in one answer, which is what parsing them costs: 0.1 s here."""
DNS_NAMES = 256
"""Names that are kept so that they are not made again; with 127 labels each they take 1.5 MB."""
DNS_RECORD_WORK = 100
"""What parsing one record costs beside its names, in the same unit: about a microsecond."""
DNS_PARSING = 200_000
"""In the same unit, a byte counted as one more, for all answers of one discovery; eight targets in eight zones, signed
with ECDSA, need a fifth of it."""
DNS_PREFETCH_ZONES = 6
"""Labels of a name whose DS and DNSKEY are asked for before anybody knows where the zones begin."""
DNS_INSECURE_TTL = 300
"""An unsigned domain is asked again after this: its operator may just have signed it."""
DISCOVERY = 5.0
DNS_UDP_PAYLOAD = 1232
DNS_MAX_TTL = 86400
DNS_MAX_NEGATIVE_TTL = 900
DNS_FAILURE_TTL = 1.0
"""A failure is remembered for a moment, so that a flood of claims does not become a flood of queries (RFC 9520 §3.2);
one that follows soon, for twice as long as the last."""
DNS_FAILURE_CAP = 30.0
DNS_TLS_IDLE = 10.0
"""Silence on a connection to a resolver before it is closed; a discovery's two round trips are long over by then."""
DNS_PROBE = 6.0
"""For examining a resolver: all attempts at one question; validating the broken name takes a resolver some time."""
DNS_PROBE_HURRY = 2.5
"""The same in the middle of a discovery: half of its time, so that another resolver can still be asked."""
DNS_PROBE_AGE = 3600.0
"""A resolver that others trust with validation is examined as often as this."""
DNS_PROBE_DOUBT = 60.0
"""The same after an answer that it does not vouch for: unsigned names come often, a broken resolver seldom."""
DNS_PROBE_AGAIN = 10.0
"""The same after it has failed the examination."""
DNS_CLOCK_SKEW = 300
"""Tolerated at both ends of a signature's validity."""
DNS_CACHE_ENTRIES = 4096
DNS_CACHE_BYTES = 64 << 20
"""Of one cache, estimated: whoever runs a zone decides how much there is to remember of it."""
DNS_RECORD_BYTES = 512
"""What a record takes in memory beside its RDATA, estimated."""
DNS_SERVERS_POLLED = 32
"""Addresses of one zone's authoritative servers that are asked directly; the root itself has 26."""
DNS_SIGNATURE_NEAR = 3 * 86400
"""Before a signature's end the operator is warned: a long weekend."""

# --- session -------------------------------------------------------------------------------------------------------
PEER_ENVELOPES_PER_SECOND = 50_000
PEER_BYTES_PER_SECOND = 200_000_000
"""From one peer; more than one link was ever seen to carry, for no peer shall keep this machine busy alone."""
RATE_NOTICE = 60.0
"""Between two lines in the log about a peer that is slowed down."""
BATCH_ENVELOPES = 256
BATCH_BYTES = 512 * 1024
WINDOW_ENVELOPES = 1024
WINDOW_BYTES = 1 << 20
"""In flight per direction, at most; a larger window only adds queueing delay (4096 envelopes: 28 ms instead of 7)."""
ACK_PACE = 0.005
"""Between two acknowledgements while the sender has window left; the first after a pause leaves at once."""
WAITING_ENVELOPES = 4096
WAITING_BYTES = 8 << 20
"""Kept in memory behind the window, for each peer; the rest of its queue is read back from the disk when its turn
comes, which costs as much as storing it did."""
READ_BACK = 1024
"""Of a queue on the disk so many are read at once, while enough waits in memory: each read is a job for the disk."""
WAITING_SHARES = (1.0, 0.75, 0.5)
"""How full that memory may be before a class finds no more room in it, the most urgent first: bulk leaves some."""
PING_AFTER = 20.0
"""Silence before we ask."""
PONG_WITHIN = 10.0
"""Silence after we asked, before the link counts as dead."""
DRAIN = 10.0
SEND = 30.0
"""For one message to leave; as long as silence is borne. Who reads nothing may still send, and would never be Lost."""
LINK_AGE = 86400.0
"""Of a link between servers, before whoever dialled it replaces it: new keys, another look at who the peer is."""
LINK_AGE_JITTER = (0.8, 1.2)
"""Links that came about together, after a restart, do not come to this age together."""
RENEW_WITHIN = 600.0
"""After a reload that changed what we show: until every link between servers has been renewed."""
RENEW_EACH = 0.1
"""The same for each link, where there are few: one of ten links should not wait for minutes."""
REFUSALS_PER_ACK = 1024
"""As many as the largest window has envelopes: the first acknowledgement of a link carries all that an old one owed."""
REFUSAL_TEXT = 200
"""Characters of the reason in a refusal of ours: REFUSALS_PER_ACK of them fit into one message in any script."""
BUSY_RETRY = 5
"""What we ask peers for when our own disk takes nothing: room is seldom made within a second."""
EXTRA_MESSAGES = 2048
"""Messages outside the stream (edge links) that wait for the writer; the daemon stops reading devices before it."""
EXTRA_BYTES = 4 << 20
"""The same in bytes; one message may go beyond it."""

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
REGISTRATION_MEMORY = 1024
"""Registrations at hand in their parsed form; one has up to 64 KiB, and its device chooses."""
MAILBOX_IDLE = 90 * 86400
"""A mailbox nobody claimed for so long is forgotten, with what it holds."""
CLAIM_NOTED = 86400
"""That a mailbox was claimed is written down once in this time: it need not wait for the disk each time."""
MAILBOXES_PER_DEVICE = 32
CLAIM_LIFETIME = 60
"""A challenge must be answered within this time."""
PENDING_CLAIMS_PER_LINK = 1024
ACK_IDS = 1024
"""Envelope ids in one acknowledgement."""
DELIVERY_WINDOW = 1024
"""Envelopes given to one mailbox and not yet acknowledged."""
DELIVERY_WINDOW_BYTES = 4 << 20
"""The same in bytes, so that one slow device holds little memory on its edge."""
DUPLICATE_MEMORY = 8 * 86400
"""How long an envelope's id is remembered: longer than any envelope may live."""
DOMAIN_MEMORY = 4096
"""Destination domains whose spelling was checked already; checking costs more than the rest of an envelope's head."""

# --- queues --------------------------------------------------------------------------------------------------------
QUEUE_ENVELOPES_PER_PEER = 100_000
QUEUE_BYTES_PER_PEER = 256 << 20
QUEUE_ENVELOPES = 1_000_000
QUEUE_BYTES = 2 << 30
"""The same for all peers together; how old what waits can be follows from MAX_LIFETIME."""
DISK_FREE = 1 << 30
"""Less room than this on the disk of the store is worth a warning."""
DISK_RESERVE = 64 << 20
"""Less, and the store takes nothing new: deleting writes too, and needs room until SQLite has copied its log."""
BACKOFF_FIRST = 0.5
BACKOFF_GROWTH = 2.0
BACKOFF_JITTER = (0.8, 1.4)
BACKOFF_CAP = 300.0
EXPIRY_SWEEP = 60.0
OVERLOAD_RETRY = 1.0
"""Before envelopes that the other end had no room for are offered again."""
PEERS = 10_000
"""Domains with a link or a queue at one time: names cost nothing to make up, and each peer costs memory and tasks."""
PEER_LINGER = 60.0
"""How long a peer without link and queue is remembered; also how often a queue without link is looked at."""
SIMULTANEOUS_DIAL = 10.0
"""Links dialled from both ends within this time are taken for one; later, the newer one replaces the older."""

# --- store ---------------------------------------------------------------------------------------------------------
STORE_GROUP = 64
"""Jobs in one commit; 1024 envelopes a commit are already cheap, and longer ones only add latency."""
STORE_PATIENCE = 0.05
"""How long a deletion may wait for something else to be stored. A crash meanwhile makes duplicates, nothing worse."""
STORE_CACHE_KIB = 65536
STORE_CHECKPOINT_PAGES = 1000
"""WAL pages before SQLite copies them into the database file (8 MiB)."""
STORE_CALM = 0.25
"""After a failed write, until one that succeeds ends the outage; less than anybody waits before trying again."""
STORE_RETRY = 1.0
"""Between two attempts to write while the disk takes nothing."""
STORE_SWEEP_ROWS = 4096
"""Rows deleted in one transaction of the expiry sweep, so that commits of envelopes wait milliseconds at most."""
STORE_MAILBOX_MEMORY = 65536
"""Mailboxes whose registration and counts are at hand without asking the disk."""
STREAMS_PER_PEER = 8
"""Stream cursors kept for one peer: one per process of its; older ones belong to processes that are gone."""

# --- devices -------------------------------------------------------------------------------------------------------
SUBMIT_ENVELOPES = 256
DEVICE_QUEUE = 1024
DEVICE_CONNECTIONS_PER_EDGE = 10_000
DEVICES_PER_ADDRESS = 1024
"""Of all those: a large office behind one address fits, and no address takes more than a tenth of an edge."""
DEVICE_CONNECTIONS_PER_ADDRESS_PER_MINUTE = 600
"""Further ones are closed before TLS; a whole office comes back within two minutes of an edge's restart."""
DEVICE_ADDRESSES = 65_536
"""Addresses whose new connections are counted."""
DEVICE_FIRST_BYTES = 640 << 10
"""From a device until its first valid message: a full SUBMIT fits."""
DEVICE_IDLE = 120.0
"""For a connection that neither claims nor submits; longer than DEVICE_BACKOFF_CAP, after which devices claim again."""
DEVICE_SWEEP = 5.0
"""Between two looks for such connections and for claims without proof."""
DEVICE_BUSY = 30
"""Seconds that a device is asked to stay away when an edge is full."""
CLAIM_PROOF = 20.0
"""From CLAIM to PROOF at an edge: longer than a device itself waits (HANDSHAKE)."""
PENDING_CLAIMS_PER_DEVICE = 8
"""Claims of one connection that nobody has answered yet."""
SMALL_MESSAGE = 2048
"""What a message to a device counts for that carries no envelopes; a challenge is the largest."""
EDGE_DEVICE_BYTES = 512 << 20
"""Waiting for all devices of an edge; beyond it whoever has something waiting is disconnected."""
DEVICE_SILENCE = 120.0
"""Devices ask for a sign of life after PING_AFTER; one that says nothing for so long is gone, its network with it."""
DEVICE_QUEUE_BYTES = 8 << 20
"""Waiting for one device's socket; beyond it the device is disconnected and its envelopes stay at the homeserver."""
EDGE_SUBMISSIONS = 65_536
"""Envelopes an edge has taken from its devices and the homeserver has not settled."""
EDGE_SUBMISSION_BYTES = 128 << 20
EDGE_BACKOFF_CAP = 5.0
"""Between an edge's attempts to reach its homeserver: there is one of it, and devices wait."""
EDGE_READY = 5.0
"""How long an edge waits for its homeserver before it says that it is ready all the same."""
EDGE_QUEUE = 2048
"""Envelopes that wait for the writer of one edge link at the homeserver; further ones are read from the disk later."""
EDGE_QUEUE_BYTES = 4 << 20
EDGE_STREAMS = 1024
"""Cursors of edges' streams that a homeserver remembers while it runs."""
RECEIPT_MEMORY = 65_536
"""Settled envelopes whose submitter an edge still knows, for refusals that come late."""
MAX_CARD = 8192
MAX_SEALED_TEXT = 16_384
MAX_CONTENT = 48 * 1024
MAX_CARD_NAME = 64
"""Characters of the display name on a card."""
MAX_CONTACTS = 1000
INBOX_MESSAGES = 10_000
"""Messages a device keeps that its application has not taken yet; beyond it nothing more is acknowledged."""
SUBMIT_ANSWER = 30.0
"""From SUBMIT to SUBMITTED, before a device gives up waiting."""
DEVICE_BACKOFF_CAP = 60.0
"""Between a device's attempts: shorter than between servers, because somebody waits for it to ring."""
DEVICE_RETRY_CAP = 300
"""Seconds that a device stays away at most because an edge said so."""
CLAIM_RETRY, CLAIM_RETRY_CAP = 2.0, 8.0
"""Before a device claims again, on the connection it has, what it lost through no fault of its own."""

# --- operator ------------------------------------------------------------------------------------------------------
PROGRESS_AFTER = 1.0
"""Of silence, before a command says what it is doing."""
ADMIN_CLIENTS = 16
"""Commands talking to a running homeserver at once; further ones are told to come again."""
ADMIN_REQUEST = 64 << 10
ADMIN_ANSWER = 16 << 20
"""A full DNS cache or the evidence about one domain, as JSON."""
ADMIN_TIME = 60.0
"""For one command, its answer included: a reload reads files, an operator's decision may need a discovery."""
SELF_CHECK = 86400.0
"""Between two looks at our own records and trust anchors: longer than any answer is remembered."""
SELF_CHECK_RETRY = 900.0
"""The same where nobody could be asked."""
DNS_UPDATE = 10.0
"""One exchange with the primary server of a zone, which may sign and write the zone before it answers."""
DNS_UPDATE_ATTEMPTS = 3
"""Readings of a zone that others change at the same time."""
ROLL_TTLS = 2
"""How many TTLs of the TLSA records a roll of keys waits before the switch, and again before it removes the old record
(RFC 7671 §8.1)."""
