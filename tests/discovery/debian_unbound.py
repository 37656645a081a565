"""Debian's unbound as a validating resolver in front of servers on loopback ports.

in: a trust anchor and who serves which zone; out: a `Prepare` function for `debian.running`, and unbound's own verdict.
Never: asks anybody but the servers it was given.
"""

from collections.abc import Mapping
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import trio
from dns.rdatatype import RdataType

from tests.discovery.debian import Prepare, unconfined
from tests.discovery.opinion import Opinion
from volly_fed.discovery.endpoint import Status

PATIENCE = 20.0
"""Seconds for one answer; unbound itself asks every server several times."""
LENGTH = 2

# discard-timeout: by default unbound throws a verdict away that took it more than 1.9 s
CONFIG = """\
server:
    directory: "{folder}"
    chroot: ""
    username: ""
    pidfile: "{folder}/unbound.pid"
    use-syslog: no
    do-daemonize: no
    verbosity: 1
    interface: 127.0.0.1@{port}
    do-ip6: no
    num-threads: 1
    do-not-query-localhost: no
    local-zone: "test." nodefault
    trust-anchor-file: "{folder}/anchor"
    module-config: "validator iterator"
    val-log-level: 2
    edns-buffer-size: 1232
    incoming-num-tcp: 100
    tcp-idle-timeout: 60000
    discard-timeout: 0
    ede: yes
{options}remote-control:
    control-enable: no
"""
STUB = 'stub-zone:\n    name: "{name}"\n    stub-addr: 127.0.0.1@{port}\n'
FORWARD = 'forward-zone:\n    name: "{name}"\n    forward-addr: 127.0.0.1@{port}\n'


def unbound(
    anchor: str,
    *,
    stubs: Mapping[str, int] | None = None,
    forwards: Mapping[str, int] | None = None,
    options: Mapping[str, str] | None = None,
) -> Prepare:
    """`stubs`: zone -> port of an authoritative server; `forwards`: name -> port of a resolver for all below it."""

    def prepare(folder: Path, port: int) -> list[str]:
        (folder / "anchor").write_text(anchor)
        lines = [STUB.format(name=name, port=upstream) for name, upstream in (stubs or {}).items()]
        lines += [FORWARD.format(name=name, port=upstream) for name, upstream in (forwards or {}).items()]
        more = "".join(f"    {option}: {value}\n" for option, value in (options or {}).items())
        config = folder / "unbound.conf"
        config.write_text(CONFIG.format(folder=folder, port=port, options=more) + "".join(lines))
        return [unconfined("unbound", folder), "-d", "-c", str(config)]

    return prepare


def verdict_of(response: dns.message.Message) -> tuple[Status, str]:
    """What a validating resolver's response says: AD is secure, SERVFAIL bogus (or nobody answered: see the text)."""
    errors = [option for option in response.options if isinstance(option, dns.edns.EDEOption)]
    text = "; ".join(f"EDE {int(option.code)} {option.text or ''}".rstrip() for option in errors)
    if response.rcode() == dns.rcode.SERVFAIL:
        return Status.BOGUS, text
    if response.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return Status.INDETERMINATE, dns.rcode.to_text(response.rcode())
    return (Status.SECURE if response.flags & dns.flags.AD else Status.INSECURE), text


async def ask(port: int, name: str, rdtype: str, *, checking: bool = True) -> dns.message.Message:
    """Unbound's response over TCP, with its own validation unless `checking` is off.

    Raises EOFError, or trio.TooSlowError after PATIENCE. Records that dnspython finds malformed are left out: what is
    in them is not what is judged.
    """
    query = dns.message.make_query(name, rdtype, use_edns=0)
    query.flags |= dns.flags.AD if checking else dns.flags.CD
    with trio.fail_after(PATIENCE):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(query.to_wire(prepend_length=True))
            received = bytearray()
            while len(received) < LENGTH or len(received) < LENGTH + int.from_bytes(received[:LENGTH]):
                chunk = await stream.receive_some()
                if not chunk:
                    raise EOFError(f"no answer to {name} {rdtype}")
                received += chunk
    return dns.message.from_wire(bytes(received[LENGTH:]), continue_on_error=True)


async def judge(port: int, name: str, rdtype: str) -> tuple[Opinion, str]:
    """Unbound's opinion on one question, and its reason where it gives one.

    SERVFAIL is asked again unchecked: an answer then means bogus, none that nobody could be asked.
    """
    try:
        response = await ask(port, name, rdtype)
        status, text = verdict_of(response)
        if status is Status.BOGUS:
            unchecked = await ask(port, name, rdtype, checking=False)
            if unchecked.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                status = Status.INDETERMINATE
    except (EOFError, trio.TooSlowError) as error:
        return Opinion.INDETERMINATE, repr(error)
    records = any(rrset.rdtype == RdataType.make(rdtype) for rrset in response.answer)
    return Opinion.of(status, records=records), text
