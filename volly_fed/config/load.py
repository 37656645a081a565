"""Configuration files: text in, model out, or every problem at once.

in: the text of volly-fed.toml or edge.toml and the name of its file; out: HomeserverConfig or EdgeConfig.
Never: opens a file, or stops at the first problem. A syntax error names its line; every other problem its key.
"""

import difflib
import enum
import tomllib
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import AttributeValidationNote, ClassValidationError, ForbiddenExtraKeysError

from volly_fed.config.model import EdgeConfig, HomeserverConfig, Http
from volly_fed.config.values import READERS, HostName, Resolver, read_host_name, read_resolver, read_text
from volly_fed.errors import ConfigError

T = TypeVar("T")


def parse_homeserver(text: str, source: str | Path) -> HomeserverConfig:
    """The model of a volly-fed.toml. `source` is its path: relative paths in it start at its folder.

    Raises ConfigError with every problem. Missing files that it names are not an error here.
    """
    config = _structure(parse_toml(text, source), HomeserverConfig, source)
    _raise_any(source, _homeserver_problems(config))
    return config


def parse_edge(text: str, source: str | Path, *, ready: bool = True) -> EdgeConfig:
    """The model of an edge.toml; like `parse_homeserver` otherwise. Without `ready`, TLS for devices may be missing."""
    config = _structure(parse_toml(text, source), EdgeConfig, source)
    if ready:
        _raise_any(source, _edge_problems(config))
    return config


def parse_toml(text: str, source: str | Path) -> dict[str, Any]:
    """`text` as a TOML document; raises ConfigError that names the line of a syntax error."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = f"at line {text.count(chr(10)) + 1}, the last"
        raise ConfigError([f"{source}: not valid TOML: {str(error).replace('at end of document', place)}"]) from error


def unknown_key(name: str, known: list[str]) -> str:
    """What to say of a key that nothing reads, with the closest one that something does."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"unknown key; did you mean `{close[0]}`?" if close else f"unknown key; known are {', '.join(sorted(known))}"


def _homeserver_problems(config: HomeserverConfig) -> Iterator[str]:
    ours, theirs = config.edges.listen, config.federation.listen
    same_host = ours.host == theirs.host or "*" in (ours.host, theirs.host)
    if ours.port == theirs.port != 0 and same_host:
        yield "edges.listen: is the same port as federation.listen; each needs its own"
    if config.devices.tls_certificate is not None and config.devices.host is None:
        yield "devices.host: is needed to publish devices.tls_certificate"
    if config.dns_update.server is not None and config.dns_update.tsig_key_file is None:
        yield "dns_update.tsig_key_file: is needed: updates that are not signed are not sent"

    yield from _http_problems(config.http)


def _http_problems(http: Http) -> Iterator[str]:
    if http.listen is not None and not http.listen.is_loopback and not http.allow_remote:
        yield (
            "http.listen: is reachable from other machines, and asks nobody for a password: use a loopback address "
            "and a forwarder that asks for one, or set http.allow_remote = true"
        )


def _edge_problems(config: EdgeConfig) -> Iterator[str]:
    yield from _http_problems(config.http)
    devices = config.devices
    if (devices.tls_certificate is None) != (devices.tls_key is None):
        missing = "tls_certificate" if devices.tls_certificate is None else "tls_key"
        yield f"devices.{missing}: is missing; certificate and key belong together"
    elif devices.tls_certificate is None and not devices.listen.is_loopback:
        yield "devices.tls_certificate: is needed, because devices.listen is reachable from other machines"
    elif devices.tls_certificate is None and not devices.allow_plain_loopback:
        yield "devices.tls_certificate: is needed, unless devices.allow_plain_loopback = true (for test networks)"


def _raise_any(source: str | Path, problems: Iterator[str]) -> None:
    found = [f"{source}: {problem}" for problem in problems]
    if found:
        raise ConfigError(found)


def _structure(document: dict[str, Any], kind: type[T], source: str | Path) -> T:
    try:
        config: T = _resolve(_converter().structure(document, kind), Path(source).parent)
    except ClassValidationError as error:
        raise ConfigError([f"{source}: {problem}" for problem in _problems(error, "")]) from error
    return config


def _resolve(config: Any, base: Path) -> Any:
    """`config` with every path in it, defaults too, starting at `base` unless it is absolute."""
    changes: dict[str, Any] = {}
    for field in attrs.fields(type(config)):
        value = getattr(config, field.name)
        if isinstance(value, Path):
            changes[field.name] = base / value
        elif attrs.has(type(value)):
            changes[field.name] = _resolve(value, base)
    return attrs.evolve(config, **changes)


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    for kind, reader in READERS.items():
        hook = _ignoring_type(reader)
        if isinstance(kind, type):  # cattrs looks for classes elsewhere than for NewTypes
            converter.register_structure_hook(kind, hook)
        else:
            converter.register_structure_hook_func(_is(kind), hook)
    converter.register_structure_hook(Path, lambda value, _: Path(read_text(value)))
    converter.register_structure_hook_func(_is(tuple[Resolver, ...]), _list_of(read_resolver, '["::1", "192.0.2.53"]'))
    converter.register_structure_hook_func(
        _is(tuple[HostName, ...]), _list_of(read_host_name, '["status.example.com"]')
    )
    converter.register_structure_hook(enum.StrEnum, _read_choice)
    converter.register_structure_hook_func(_is_optional, lambda value, kind: converter.structure(value, _inner(kind)))
    return converter


def _is(kind: object) -> Callable[[Any], bool]:
    return lambda candidate: bool(candidate == kind)


def _ignoring_type(reader: Callable[[object], object]) -> Callable[[Any, Any], object]:
    return lambda value, _: reader(value)


def _is_optional(kind: object) -> bool:
    return get_origin(kind) in {types.UnionType, Union} and type(None) in get_args(kind)


def _inner(kind: object) -> Any:
    return next(option for option in get_args(kind) if option is not type(None))


def _read_choice(value: object, kind: type[enum.StrEnum]) -> enum.StrEnum:
    choices = [str(member) for member in kind]
    if value not in choices:
        raise ValueError("must be " + " or ".join(f'"{choice}"' for choice in choices))
    return kind(value)


def _list_of(read: Callable[[object], T], example: str) -> Callable[[object, object], tuple[T, ...]]:
    """A reader of lists; it names every item that cannot be read."""

    def read_list(value: object, _: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise ValueError(f"must be a list, like {example}")  # noqa: TRY004 - read by _problems
        found, problems = [], []
        for position, item in enumerate(value, start=1):
            try:
                found.append(read(item))
            except ValueError as error:
                problems.append(f"item {position} {error}")
        if problems:
            raise ValueError("; ".join(problems))
        return tuple(found)

    return read_list


def _problems(error: BaseException, path: str) -> Iterator[str]:
    """Each leaf of cattrs' tree of errors in our words."""
    if isinstance(error, ForbiddenExtraKeysError):
        known = [field.name for field in attrs.fields(error.cl)]
        for name in sorted(error.extra_fields):
            yield f"{_join(path, name)}: {unknown_key(name, known)}"
    elif isinstance(error, KeyError):
        yield f"{_join(path, str(error.args[0]))}: is missing"
    elif isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _problems(inner, _place(inner, path))
    elif isinstance(error, ValueError):
        yield f"{path}: {error}"
    else:
        yield f"{path}: must be a section of its own, [{path}]"


def _place(error: BaseException, path: str) -> str:
    for note in getattr(error, "__notes__", []):
        if isinstance(note, AttributeValidationNote) and not isinstance(error, KeyError):
            return _join(path, note.name)
    return path


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
