"""`volly-fed testnet`: a whole federation on loopback, as a demo or to try things against.

in: how many servers; out: narration as it happens, then a summary or one JSON document.
All processes and files are gone afterwards, whether it went well, badly, or was interrupted.
"""

import json
import sys
from collections.abc import Callable
from functools import partial

import click
import trio
from rich.console import Console
from rich.table import Table

from volly_fed.cli.options import json_option
from volly_fed.cli.signals import until_interrupted
from volly_fed.testnet.demo import MIN_SERVERS, Report, run_demo
from volly_fed.testnet.up import Up, stay_up

_SERVERS = click.option(
    "--servers",
    type=click.IntRange(MIN_SERVERS, 26),
    default=MIN_SERVERS,
    show_default=True,
    help="How many homeservers; each has two edge nodes.",
)
Narrate = Callable[[str], None]


@click.group()
def testnet() -> None:
    """A whole federation on loopback: really signed DNS, homeservers, edge nodes, devices."""


@testnet.command()
@_SERVERS
@json_option
def demo(servers: int, as_json: bool) -> None:
    """Start a federation, send envelopes through it, measure it, and take it down again.

    With --json the narration goes to standard error, and standard output gets one JSON document at the end.
    """
    report = trio.run(until_interrupted, partial(run_demo, servers, _narrator(as_json)))
    if as_json:
        click.echo(json.dumps(report.as_json()))
    else:
        Console().print(_summary(report))


@testnet.command()
@_SERVERS
@json_option
def up(servers: int, as_json: bool) -> None:
    """Start a federation and keep it running until Ctrl-C; prints how to use it."""
    announce = _print_up_json if as_json else _print_up
    trio.run(until_interrupted, partial(stay_up, servers, _narrator(as_json), announce))


def _narrator(as_json: bool) -> Narrate:
    stream = sys.stderr if as_json else sys.stdout

    def narrate(line: str) -> None:
        print(line, file=stream, flush=True)

    return narrate


def _print_up_json(network: Up) -> None:
    print(json.dumps(network.as_json()), flush=True)


def _print_up(network: Up) -> None:
    print("\n".join(network.instructions()), flush=True)


def _summary(report: Report) -> Table:
    table = Table(title="Summary", show_header=False)
    table.add_column(style="bold")
    table.add_column()
    rows = {
        "homeservers, edge nodes": f"{report.servers}, {report.edges}; slowest start {report.start_ms_max:.0f} ms",
        "discovery, cold, p50": f"{report.discovery_ms_p50:.1f} ms",
        "channel and identities, p50": f"{report.channel_ms_p50:.1f} ms",
        "channel": f"{report.tls_version}, {report.tls_group}, {report.tls_signature}",
        "identity": report.identity_algorithm,
        "envelope, device to device": f"p50 {report.envelope_ms_p50:.1f} ms, p99 {report.envelope_ms_p99:.1f} ms",
        "edge to edge, durable": f"{report.envelopes_per_s:.0f} envelopes/s of {report.envelope_bytes} bytes\n"
        f"{report.sealed_envelopes_per_s:.0f} envelopes/s of {report.sealed_envelope_bytes} bytes (sealed 1 KiB)",
        "presence, device to device": f"p50 {report.presence_ms_p50:.1f} ms, p99 {report.presence_ms_p99:.1f} ms",
        "presence, tick by tick": f"{report.presence_bytes_per_tick:.0f} bytes each",
        "delivered, lost, duplicated": f"{report.delivered}, {report.lost}, {report.duplicated}",
        "queued while away, then delivered": str(report.queued_then_delivered),
        "refused": "\n".join(f"{r['from']} -> {r['to']}: {r['reason']}" for r in report.refused),
        "took": f"{report.seconds:.1f} s",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table
