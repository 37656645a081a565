"""docker-compose.federation.yml, read as strictly as an engine does, for those who start its services without one.

in: the file; out: its services, with what a process can be given: the root that its image is, command, environment,
user, capabilities, folders, address, resolver.
Never: passes over a key that it does not know. What needs an engine is named in `LEFT_TO_ENGINES`, and not applied.
"""

from pathlib import Path
from typing import Any, Final

import attrs
import yaml

LEFT_TO_ENGINES: Final = frozenset(
    {
        "cpus",
        "init",
        "mem_limit",
        "ports",
        "restart",
        "ulimits",
    }
)
_APPLIED: Final = frozenset(
    {
        "build",
        "cap_drop",
        "command",
        "depends_on",
        "dns",
        "environment",
        "healthcheck",
        "image",
        "network_mode",
        "networks",
        "profiles",
        "read_only",
        "security_opt",
        "stop_grace_period",
        "user",
        "volumes",
    }
)
_LOCKED: Final = ["ALL"], ["no-new-privileges:true"]
_HEALTH: Final = frozenset({"interval", "retries", "start_interval", "start_period", "test", "timeout"})


@attrs.frozen(kw_only=True)
class Mount:
    """A named volume or, where `source` begins with a dot, a folder of the repository."""

    source: str
    target: str
    read_only: bool


@attrs.frozen(kw_only=True)
class Service:
    """`address` is None without a network; `after` are services and the condition each has to meet."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    mounts: tuple[Mount, ...]
    address: str | None
    resolver: str | None
    after: dict[str, str]
    health: tuple[str, ...]
    """A command that succeeds when the service is healthy; empty without one."""
    pause: float
    """Seconds between two looks while it starts."""
    patience: float
    """Seconds after which it should have become healthy."""
    grace: float
    """Seconds from SIGTERM to SIGKILL."""
    profiles: frozenset[str]
    target: str = ""
    """The stage of the Dockerfile that its image is; empty for an image from elsewhere."""
    user: str = ""
    """UID:GID, or root; empty for the image's."""
    locked: bool = False
    """Without any capability, and without a way to get one."""
    read_only: bool = False


def load(path: Path) -> dict[str, Service]:
    """All services by name. Raises ValueError for what nobody here understands."""
    document = yaml.safe_load(path.read_text())
    _only(document, {"name", "services", "networks", "volumes"}, "the file", extensions=True)
    services = {name: _service(name, given, document) for name, given in document["services"].items()}
    for service in services.values():
        unknown = set(service.after) - set(services)
        if unknown:
            raise ValueError(f"{service.name} depends on {unknown}, which are no services")
    return services


def _service(name: str, given: dict[str, Any], document: dict[str, Any]) -> Service:
    _only(given, _APPLIED | LEFT_TO_ENGINES, f"service {name}")
    health = given.get("healthcheck", {})
    _only(health, _HEALTH, f"the health check of {name}")
    networks = given.get("networks", {})
    _only(networks, set(document["networks"]), f"the networks of {name}")
    build = given.get("build", {})
    _only(build, {"context", "target"}, f"the build of {name}")
    locks = given.get("cap_drop", []), given.get("security_opt", [])
    if locks not in (([], []), _LOCKED):
        raise ValueError(f"not understood: cap_drop and security_opt of {name}")
    addresses = [network["ipv4_address"] for network in networks.values()]
    return Service(
        name=name,
        command=tuple(_plain(word) for word in given.get("command", [])),
        environment={key: _plain(str(value)) for key, value in given.get("environment", {}).items()},
        mounts=tuple(_mount(text, document) for text in given.get("volumes", [])),
        address=addresses[0] if addresses else None,
        resolver=next(iter(given.get("dns", [])), None),
        after={other: how["condition"] for other, how in given.get("depends_on", {}).items()},
        health=_health(health.get("test", [])),
        pause=_seconds(health.get("start_interval", "1s")),
        patience=_seconds(health.get("start_period", "0s"))
        + _seconds(health.get("interval", "30s")) * health.get("retries", 3),
        grace=_seconds(given.get("stop_grace_period", "10s")),
        profiles=frozenset(given.get("profiles", [])),
        target=build.get("target", ""),
        user=given.get("user", ""),
        locked=locks == _LOCKED,
        read_only=given.get("read_only", False),
    )


def _mount(text: str, document: dict[str, Any]) -> Mount:
    source, target, *mode = text.split(":")
    if not source.startswith(".") and source not in document["volumes"]:
        raise ValueError(f"{source} is no volume")
    return Mount(source=source, target=target, read_only=mode == ["ro"])


def _health(test: list[str]) -> tuple[str, ...]:
    match test:
        case []:
            return ()
        case ["CMD", *command]:
            return tuple(_plain(word) for word in command)
        case ["CMD-SHELL", line]:
            return ("sh", "-c", _plain(line))
    raise ValueError(f"not a health check: {test}")


def _plain(text: str) -> str:
    """Without the doubled dollars; variables of the engine's are not used."""
    if "$" in text.replace("$$", ""):
        raise ValueError(f"variables are not understood here: {text}")
    return text.replace("$$", "$")


def _seconds(text: str) -> float:
    if not text.endswith("s"):
        raise ValueError(f"not a number of seconds: {text}")
    return float(text[:-1])


def _only(given: dict[str, Any], known: frozenset[str] | set[str], what: str, *, extensions: bool = False) -> None:
    unknown = {key for key in given if not (extensions and key.startswith("x-"))} - known
    if unknown:
        raise ValueError(f"{what} has keys that are not understood here: {', '.join(sorted(unknown))}")
