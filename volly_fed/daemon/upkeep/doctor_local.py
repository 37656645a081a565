"""What can be told without DNS: keys, policy, edges, disk and ports of this homeserver.

in: the configuration; out: Findings, and whether a homeserver runs on it.
Never: opens the store, which belongs to the running homeserver, or keeps a port that it tried.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from volly_fed import limits
from volly_fed.config.model import HomeserverConfig
from volly_fed.config.values import HostPort
from volly_fed.daemon import material
from volly_fed.daemon.admin import client as admin_client
from volly_fed.daemon.listen import listening
from volly_fed.daemon.upkeep.findings import Finding, Verdict
from volly_fed.daemon.upkeep.publish import load_primary
from volly_fed.daemon.upkeep.reach import trouble
from volly_fed.errors import LocalError
from volly_fed.names import fingerprint_text
from volly_fed.trust.levels import RIGHTS


async def examine(config: HomeserverConfig) -> tuple[list[Finding], bool]:
    """The findings, and whether a homeserver runs."""
    data = config.server.data_dir
    findings = [
        _loaded(f"the keys in {data}", lambda: _keys(data)),
        _loaded(f"the trust policy {config.server.trust_file}", lambda: _policy(config)),
        _loaded("the edge nodes", lambda: _edges(config)),
        _disk(data),
    ]
    if config.dns_update.server is not None:
        findings.append(_loaded("dynamic updates", lambda: _updates(config)))
    process, running = _process(config)
    findings.append(process)
    for option, address in (("federation.listen", config.federation.listen), ("edges.listen", config.edges.listen)):
        findings.append(await _port(option, address, running=running))
    return findings, running


def _loaded(subject: str, load: Callable[[], tuple[Verdict, str, str]]) -> Finding:
    try:
        verdict, reason, note = load()
    except LocalError as error:
        return Finding.of_error(subject, error)
    return Finding(subject=subject, verdict=verdict, reason=reason, note=note)


def _keys(data: Path) -> tuple[Verdict, str, str]:
    keys = material.load_material(data)
    if material.load_spare(data) is None:
        reason = "there is no spare TLS key: if this one is lost, peers refuse us until caches are empty"
        return Verdict.WARNING, reason, "`volly-fed dns roll start` makes one"
    return Verdict.OK, f"identity {fingerprint_text(keys.fingerprint)}, a TLS key and a spare", ""


def _policy(config: HomeserverConfig) -> tuple[Verdict, str, str]:
    policy = material.load_policy(config)
    linked = [level for level in (policy.default, *policy.levels.values()) if RIGHTS[level].link]
    if not linked or policy.allow == frozenset():
        return Verdict.WARNING, "it trusts nobody: no link will ever come about", "`volly-fed trust set DOMAIN LEVEL`"
    return Verdict.OK, f"{len(policy.levels)} rules, everybody else is `{policy.default}`", ""


def _edges(config: HomeserverConfig) -> tuple[Verdict, str, str]:
    enrolled = material.load_edges(config)
    if not enrolled:
        return Verdict.WARNING, "none is enrolled: no device can connect", "`volly-fed edges enrol NAME FINGERPRINT`"
    return Verdict.OK, f"{len(enrolled)} enrolled: {', '.join(sorted(enrolled))}", ""


def _updates(config: HomeserverConfig) -> tuple[Verdict, str, str]:
    primary = load_primary(config.dns_update)
    return Verdict.OK, f"the key for {primary} can be read; `volly-fed dns publish --rfc2136 --dry-run` tries it", ""


def _disk(data: Path) -> Finding:
    subject = f"the disk of {data}"
    try:
        free = shutil.disk_usage(data).free
    except OSError as error:
        return Finding(subject=subject, verdict=Verdict.FAILED, reason=str(error), note="check server.data_dir")
    shown = f"{free >> 20} MiB free"
    if free < limits.DISK_FREE:
        note = f"make room: the queue of one silent peer may take {limits.QUEUE_BYTES_PER_PEER >> 20} MiB"
        return Finding(subject=subject, verdict=Verdict.WARNING, reason=shown, note=note)
    return Finding(subject=subject, verdict=Verdict.OK, reason=shown)


def _process(config: HomeserverConfig) -> tuple[Finding, bool]:
    subject = "the homeserver"
    try:
        running = admin_client.running(config)
    except LocalError as error:
        return Finding.of_error(subject, error), False
    if running:
        return Finding(subject=subject, verdict=Verdict.OK, reason="runs, and answers on its admin socket"), True
    return Finding(subject=subject, verdict=Verdict.INFO, reason="does not run", note="`volly-fed serve`"), False


async def _port(option: str, address: HostPort, *, running: bool) -> Finding:
    subject = f"{option} {address}"
    if not running:
        try:
            async with listening(address, option):
                return Finding(subject=subject, verdict=Verdict.OK, reason="the port is free")
        except LocalError as error:
            return Finding.of_error(subject, error)
    why = await trouble(address.bind_host or "localhost", address.port, limits.CONNECT)
    if not why:
        return Finding(subject=subject, verdict=Verdict.OK, reason="accepts connections")
    reason = f"the homeserver runs, but nobody answers there: {why}"
    note = "if `listen` was changed, restart the homeserver"
    return Finding(subject=subject, verdict=Verdict.FAILED, reason=reason, note=note)
