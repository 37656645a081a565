"""The commands a running homeserver takes over its admin socket.

in: arguments from outside; out: what JSON can say of the homeserver's parts.
Never: does anything itself: each command calls the part that knows how.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from volly_fed.daemon.admin.server import Arguments, Handler, text_argument
from volly_fed.daemon.dns.cache import CacheEntry
from volly_fed.daemon.dns.resolver import Resolver
from volly_fed.names import DomainName, parse_domain
from volly_fed.trust.policy import Ruling


def commands(
    *,
    resolver: Resolver,
    reload: Callable[[], Awaitable[dict[str, Any]]],
    ruling: Callable[[DomainName], Ruling],
) -> Mapping[str, Handler]:
    """The handlers by name of `cache`, `cache-flush`, `reload` and `level`, the policy in force."""

    async def cache(arguments: Arguments) -> dict[str, Any]:
        now, below = resolver.now(), _maybe_domain(arguments)
        return {"entries": [_entry(entry, now) for entry in resolver.entries() if _is_below(entry.name, below)]}

    async def cache_flush(arguments: Arguments) -> dict[str, Any]:
        return {"forgotten": resolver.forget(_maybe_domain(arguments))}

    async def reload_files(_arguments: Arguments) -> dict[str, Any]:
        return await reload()

    async def level(arguments: Arguments) -> dict[str, Any]:
        found = ruling(parse_domain(text_argument(arguments, "domain") or ""))
        return {"level": str(found.level), "rule": found.rule}

    return {"cache": cache, "cache-flush": cache_flush, "reload": reload_files, "level": level}


def _entry(entry: CacheEntry, now: float) -> dict[str, Any]:
    return {
        "name": entry.name,
        "type": entry.type,
        "status": entry.status.value,
        "records": list(entry.records),
        "expires_in": round(max(0.0, entry.expires - now), 1),
        "reason": entry.reason,
    }


def _is_below(name: str, domain: DomainName | None) -> bool:
    return domain is None or f".{name.rstrip('.')}".endswith(f".{domain}")


def _maybe_domain(arguments: Arguments) -> DomainName | None:
    text = text_argument(arguments, "domain")
    return None if text is None else parse_domain(text)
