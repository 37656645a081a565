"""What the configuration files say: one frozen class per file and per section, each field with its documentation.

in: nothing; out: classes that `load` fills and `example` prints. The documentation here is the reference.
Never: reads a file or knows a default that another module needs to know too.
"""

# ruff: noqa: RUF009 - required(), optional() and section() wrap attrs.field: declarations, not defaults

import enum
from pathlib import Path
from typing import Any, TypeVar, cast

import attrs

from volly_fed import limits
from volly_fed.codepoints import PORT_DEVICE, PORT_FEDERATION
from volly_fed.config.values import (
    DNS_PORT,
    Count,
    HostName,
    HostPort,
    IpLiteral,
    Listen,
    Port,
    Remote,
    Resolver,
    Seconds,
)
from volly_fed.names import DomainName, Fingerprint

T = TypeVar("T")
PORT_EDGES = 5224
DOC = "doc"
EXAMPLE = "example"


class ProviderChoice(enum.StrEnum):
    """Who computes ML-KEM and ML-DSA."""

    AUTO = "auto"
    OPENSSL = "openssl"
    LIBOQS = "liboqs"


class Validation(enum.StrEnum):
    """Who validates DNSSEC."""

    SELF = "self"
    RESOLVER_AD = "resolver-ad"
    LIBUNBOUND = "libunbound"
    BOTH = "both"


class AnchorSource(enum.StrEnum):
    """Where the trust anchors come from, unless a file is named."""

    IANA = "iana"
    SYSTEM = "system"


class TsigAlgorithm(enum.StrEnum):
    """The algorithms of RFC 8945 §6 that are still recommended: neither MD5 nor SHA-1."""

    SHA256 = "hmac-sha256"
    SHA384 = "hmac-sha384"
    SHA512 = "hmac-sha512"


class LogLevel(enum.StrEnum):
    """The least important event that is still written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(enum.StrEnum):
    """For people or for programs."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


def required(doc: str, example: object) -> Any:
    """A field the operator must set; `example` stands in the annotated file."""
    return attrs.field(metadata={DOC: doc, EXAMPLE: example})


def optional(doc: str, default: T, example: object = None) -> T:
    """A field with a default; `example` is shown where the default itself cannot be written down."""
    return attrs.field(default=default, metadata={DOC: doc, EXAMPLE: example})


def section(doc: str, kind: type[T]) -> T:
    """A table of the file; if it can be left out, all its fields have defaults."""
    if any(field.default is attrs.NOTHING for field in attrs.fields(cast("Any", kind))):
        return cast("T", attrs.field(metadata={DOC: doc}))
    return attrs.field(factory=kind, metadata={DOC: doc})


@attrs.frozen(kw_only=True)
class Server:
    """[server]: who this is and where its files are."""

    domain: DomainName = required("The domain this homeserver speaks for: the part after the @.", "example.com")
    data_dir: Path = optional(
        "Keys, edges.toml and the store. Relative paths in this file start at the folder that holds it.", Path("data")
    )
    trust_file: Path = optional(
        "Whom to federate with, and how far; `volly-fed reload` reads it again.", Path("trust.toml")
    )


@attrs.frozen(kw_only=True)
class Federation:
    """[federation]: where other homeservers reach this one."""

    listen: Listen = optional(
        'Where to listen. "*" is every local address, IPv4 and IPv6.', Listen(HostPort("*", PORT_FEDERATION))
    )
    host: DomainName = required(
        "The host name other homeservers dial: the target of the SRV record. It must lie in a signed zone.",
        "fed.example.com",
    )
    port: Port = optional("The port in the SRV record, as seen from the internet.", Port(PORT_FEDERATION))


@attrs.frozen(kw_only=True)
class Edges:
    """[edges]: where this homeserver's own edge nodes connect."""

    listen: Listen = optional(
        "Where to listen for edge nodes. Only those enrolled with `volly-fed edges enrol` get past the handshake.",
        Listen(HostPort("127.0.0.1", PORT_EDGES)),
    )


@attrs.frozen(kw_only=True)
class DeviceRecords:
    """[devices]: where users' devices find an edge node. Only `volly-fed dns print` reads this section."""

    host: DomainName | None = optional(
        "The host name of the edge nodes: the target of the device SRV record. Without it, none is printed.",
        None,
        "signal.example.com",
    )
    port: Port = optional("The port in that SRV record.", Port(PORT_DEVICE))
    tls_certificate: Path | None = optional(
        "The certificate (PEM) the edge nodes show; with it, `dns print` prints its TLSA record too.",
        None,
        "/etc/ssl/signal.example.com.pem",
    )


@attrs.frozen(kw_only=True)
class Dns:
    """[dns]: how other domains are discovered. Nothing unsigned is ever used."""

    resolvers: tuple[Resolver, ...] = optional(
        "DNS servers to ask: ADDRESS[:PORT][#NAME]. One with a name is asked over TLS and must prove it, like "
        '"9.9.9.9#dns.quad9.net". Empty: those of /etc/resolv.conf. `validate` says whether they must be trusted.',
        (),
    )
    validate: Validation = optional(
        'Who validates DNSSEC. "self": this process, up to the anchors, whatever the resolvers claim. "resolver-ad": '
        "the resolvers; each must be on a loopback address or have a name, and is examined at the start and hourly. "
        '"libunbound": the library of that name, in this process. "both": this process and the resolvers must agree.',
        Validation.SELF,
    )
    anchors: AnchorSource = optional(
        'Which keys of the root to trust. "iana": those that came with this program. "system": those that the '
        "operating system keeps, in root.key or root-anchors.xml.",
        AnchorSource.IANA,
    )
    anchors_file: Path | None = optional(
        "A file of trust anchors instead: DS or DNSKEY lines, or root-anchors.xml. For test networks.",
        None,
        "anchors.ds",
    )
    require_mldsa44: bool = optional(
        "Whether a zone whose DS set names ML-DSA-44 (algorithm 18) must be signed with it throughout, so that nobody "
        'can downgrade it to its classical signatures. Not with "resolver-ad" or "libunbound".',
        False,
    )
    probe_secure: DomainName = optional(
        "A zone that is signed: with it a resolver shows that it validates.", DomainName("iana.org")
    )
    probe_bogus: DomainName = optional(
        "A zone whose signatures are broken on purpose: a validating resolver refuses it.",
        DomainName("dnssec-failed.org"),
    )
    probe_unsigned: DomainName = optional(
        "A zone that is not signed: a resolver that vouches for it lies.", DomainName("google.com")
    )
    tls_ca_file: Path | None = optional(
        "Certificates (PEM) of the authorities that vouch for resolvers with a name, instead of the system's.",
        None,
        "/etc/ssl/resolver-ca.pem",
    )
    authoritative_port: Port = optional(
        "Where authoritative servers listen, for `volly-fed dns check` and `dns roll`. Other than 53 in test networks.",
        Port(DNS_PORT),
    )
    allow_private_addresses: bool = optional(
        "Whether to connect to loopback and private addresses that DNS hands out. For test networks.", False
    )


@attrs.frozen(kw_only=True)
class DnsUpdate:
    """[dns_update]: where `volly-fed dns publish` and `volly-fed dns roll` change the zone (RFC 2136, TSIG)."""

    server: IpLiteral | None = optional(
        "The primary server of the zone, as a literal address. Without it, records are printed for you to publish.",
        None,
        "192.0.2.53",
    )
    port: Port = optional("Its port.", Port(DNS_PORT))
    zone: DomainName | None = optional(
        "The zone that holds the records. Without it, the server is asked where the zones begin.", None, "example.com"
    )
    tsig_key_file: Path | None = optional(
        "The shared key, mode 0600: as tsig-keygen or keymgr writes it, `name:algorithm:base64`, or base64 alone.",
        None,
        "dns-update.key",
    )
    tsig_name: str | None = optional(
        "The name of the key: needed if the file holds base64 alone, or several keys.", None, "volly-fed.example.com"
    )
    tsig_algorithm: TsigAlgorithm = optional(
        "The algorithm of the key where its file does not say: hmac-sha256, hmac-sha384 or hmac-sha512.",
        TsigAlgorithm.SHA256,
    )


@attrs.frozen(kw_only=True)
class Trust:
    """[trust]: how identities of other domains may change. Whom to trust how far stands in `server.trust_file`."""

    cool_off: Seconds = optional(
        "Seconds from a properly announced change of another domain's identity to its acceptance.",
        Seconds(limits.COOL_OFF),
    )


@attrs.frozen(kw_only=True)
class Crypto:
    """[crypto]: which implementation of the post-quantum algorithms to use."""

    provider: ProviderChoice = optional(
        '"auto" takes liboqs where it is installed and passes its self-test, else OpenSSL. '
        '"liboqs" refuses to start without it.',
        ProviderChoice.AUTO,
    )


@attrs.frozen(kw_only=True)
class Limits:
    """[limits]: how much to store, and how patient to be."""

    queue_envelopes_per_peer: Count = optional(
        "Envelopes waiting for one other domain, at most.", Count(limits.QUEUE_ENVELOPES_PER_PEER)
    )
    queue_bytes_per_peer: Count = optional(
        "Bytes waiting for one other domain, at most.", Count(limits.QUEUE_BYTES_PER_PEER)
    )
    queue_envelopes: Count = optional(
        "Envelopes waiting for all other domains together, at most.", Count(limits.QUEUE_ENVELOPES)
    )
    queue_bytes: Count = optional("Bytes waiting for all other domains together, at most.", Count(limits.QUEUE_BYTES))
    peer_envelopes_per_second: Count = optional(
        "Envelopes taken from one other domain per second, at most; it is slowed down, and nothing is refused.",
        Count(limits.PEER_ENVELOPES_PER_SECOND),
    )
    peer_bytes_per_second: Count = optional(
        "Bytes taken from one other domain per second, at most.", Count(limits.PEER_BYTES_PER_SECOND)
    )
    mailbox_envelopes: Count = optional("Envelopes stored for one mailbox, at most.", Count(limits.MAILBOX_ENVELOPES))
    mailbox_bytes: Count = optional("Bytes stored for one mailbox, at most.", Count(limits.MAILBOX_BYTES))
    connections_per_minute: Count = optional(
        "New connections from one address (IPv6: one /64) in a minute, at most. Raise it together with "
        "strangers_per_address where a forwarder in front makes all callers look like one.",
        Count(limits.CONNECTIONS_PER_MINUTE),
    )
    strangers_per_address: Count = optional(
        "Connections from one address that have not proved an identity yet, at most.",
        Count(limits.MAX_HALF_OPEN_PER_ADDRESS),
    )
    backoff_cap: Seconds = optional(
        "Seconds between attempts to reach a domain that does not answer, at most.", Seconds(limits.BACKOFF_CAP)
    )


@attrs.frozen(kw_only=True)
class Log:
    """[log]: what is written to standard error. Never mailboxes, payloads or users."""

    level: LogLevel = optional("The least important event to write: debug, info, warning or error.", LogLevel.INFO)
    format: LogFormat = optional(
        '"console" for people, "json" for programs, "auto": console on a terminal, else json.', LogFormat.AUTO
    )


@attrs.frozen(kw_only=True)
class Http:
    """[http]: a status page and metrics for the operator."""

    listen: Listen | None = optional(
        "Where to serve the status page (/, /status.json), /healthz, /readyz and /metrics. Without it, nowhere: every "
        "user of this machine could read with whom you federate. Nothing can be changed there.",
        None,
        "127.0.0.1:9223",
    )
    allow_remote: bool = optional(
        "Whether `listen` may be an address that other machines reach. There is neither a password nor TLS.", False
    )
    hosts: tuple[HostName, ...] = optional(
        "Names and addresses under which browsers may ask, beside those of loopback and `listen`. Other names are "
        "refused, for a web page could have its own name point here (DNS rebinding).",
        (),
    )


@attrs.frozen(kw_only=True)
class HomeserverConfig:
    """volly-fed.toml: the configuration of a homeserver."""

    server: Server = section("Who this is, and where its files are.", Server)
    federation: Federation = section("Where other homeservers reach this one.", Federation)
    edges: Edges = section("Where this homeserver's own edge nodes connect.", Edges)
    devices: DeviceRecords = section(
        "Where users' devices find an edge node; only `volly-fed dns print` reads this.", DeviceRecords
    )
    dns: Dns = section("How other domains are discovered. Nothing unsigned is ever used.", Dns)
    dns_update: DnsUpdate = section(
        "Where `volly-fed dns publish` and `volly-fed dns roll` send dynamic updates (RFC 2136).", DnsUpdate
    )
    trust: Trust = section("How the identities of other domains may change.", Trust)
    crypto: Crypto = section("Which implementation of the post-quantum algorithms to use.", Crypto)
    limits: Limits = section("How much to store, and how patient to be.", Limits)
    http: Http = section("A status page, health checks and metrics for the operator: docs/monitoring.md.", Http)
    log: Log = section("What is written to standard error. Never mailboxes, payloads or users.", Log)


@attrs.frozen(kw_only=True)
class Edge:
    """[edge]: who this edge node is and which homeserver it serves."""

    name: DomainName = required("This edge's name, as enrolled with `volly-fed edges enrol`.", "edge-1")
    domain: DomainName = required("The domain of its homeserver.", "example.com")
    homeserver: Remote = required("The address of the homeserver's [edges] listener.", "127.0.0.1:5224")
    homeserver_identity: Fingerprint = required(
        "The homeserver's identity fingerprint: `volly-fed keys show` prints it there.",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    )
    homeserver_identity_next: Fingerprint | None = optional(
        "The identity that the homeserver changes to: `volly-fed keys rotate start` prints it there. Either is taken.",
        None,
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    )
    data_dir: Path = optional(
        "This edge's keys. Relative paths in this file start at the folder that holds it.", Path("edge-data")
    )


@attrs.frozen(kw_only=True)
class Devices:
    """[devices]: where users' devices connect."""

    listen: Listen = optional("Where to listen for devices.", Listen(HostPort("127.0.0.1", PORT_DEVICE)))
    tls_certificate: Path | None = optional(
        "The certificate to show, with its chain (PEM). Reloaded when the file changes.",
        None,
        "/etc/ssl/signal.example.com.pem",
    )
    tls_key: Path | None = optional("Its private key (PEM), mode 0600.", None, "/etc/ssl/signal.example.com.key")
    allow_plain_loopback: bool = optional(
        "Whether devices may connect without TLS when `listen` is a loopback address. For test networks.", False
    )
    allow_classical: bool = optional(
        "Whether a device may negotiate classical X25519. What it sends can then be recorded today and read later.",
        False,
    )


@attrs.frozen(kw_only=True)
class EdgeConfig:
    """edge.toml: the configuration of an edge node."""

    edge: Edge = section("Who this edge node is and which homeserver it serves.", Edge)
    devices: Devices = section("Where users' devices connect.", Devices)
    crypto: Crypto = section("Which implementation of the post-quantum algorithms to use.", Crypto)
    http: Http = section("A status page, health checks and metrics for the operator: docs/monitoring.md.", Http)
    log: Log = section("What is written to standard error. Never mailboxes, payloads or users.", Log)
