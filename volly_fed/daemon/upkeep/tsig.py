"""The shared key that signs dynamic updates, in the forms in which name servers' tools write it.

in: the text of a key file; out: a TSIG key.
Never: accepts MD5 or SHA-1 (RFC 8945 §6), or shows a secret in an error. Source: RFC 8945; BIND's tsig-keygen
(`key "name" { algorithm …; secret "…"; };`), knot's keymgr (`algorithm:name:secret`, and YAML).
"""

import base64
import binascii
import re
from typing import Final

import attrs
import dns.exception
import dns.name
import dns.tsig

from volly_fed.config.model import TsigAlgorithm
from volly_fed.errors import LocalError

_BIND: Final = re.compile(r'key\s+"?([^\s"{;]+)"?\s*\{(.*?)\}', re.DOTALL)
_YAML: Final = re.compile(r"id:\s*(\S+)\s+algorithm:\s*(\S+)\s+secret:\s*(\S+)")
_FORMS: Final = 'write it as tsig-keygen does (`key "name" { … };`), or as name:algorithm:base64'
_MIN_SECRET: Final = 16


@attrs.frozen
class _Found:
    name: str
    algorithm: str
    secret: str = attrs.field(repr=False)


def parse_tsig_key(text: str, source: object, *, name: str | None, algorithm: TsigAlgorithm) -> dns.tsig.Key:
    """The key in `text`; `name` chooses one of several, and names one whose file holds base64 alone.

    Raises LocalError that names `source`.
    """
    found = _keys(text, name, algorithm)
    wanted = [key for key in found if name is None or _same(key.name, name)]
    if not found:
        raise LocalError(f"TSIG key file {source} holds no key\nnote: {_FORMS}")
    if len(wanted) != 1:
        known = ", ".join(key.name for key in found) or "one without a name"
        raise LocalError(f"TSIG key file {source} holds {known}\nnote: say in dns_update.tsig_name which one to use")
    return _checked(wanted[0], source)


def _keys(text: str, name: str | None, algorithm: TsigAlgorithm) -> list[_Found]:
    bind = [_from_bind(*match) for match in _BIND.findall(text)]
    if bind:
        return [key for key in bind if key is not None]
    yaml = [_Found(*(part.strip("\"'") for part in match)) for match in _YAML.findall(text)]
    if yaml:
        return yaml
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("#", "//"))]
    if len(lines) == 1 and ":" not in lines[0] and name is not None:
        return [_Found(name, algorithm, lines[0])]
    parts = [line.split(":") for line in lines]
    return [_from_parts(*part) for part in parts if len(part) == 3]


def _from_bind(name: str, body: str) -> _Found | None:
    options = dict(re.findall(r'(algorithm|secret)\s+"?([^\s";]+)"?\s*;', body))
    return _Found(name, options["algorithm"], options["secret"]) if len(options) == 2 else None


def _from_parts(first: str, second: str, secret: str) -> _Found:
    # `-y` of nsupdate, kdig and keymgr has the algorithm first
    return _Found(second, first, secret) if first.lower().startswith("hmac-") else _Found(first, second, secret)


def _same(one: str, other: str) -> bool:
    return one.rstrip(".").lower() == other.rstrip(".").lower()


def _checked(found: _Found, source: object) -> dns.tsig.Key:
    algorithm = found.algorithm.lower().rstrip(".")
    if algorithm not in list(TsigAlgorithm):
        known = ", ".join(TsigAlgorithm)
        raise LocalError(f"TSIG key file {source}: {algorithm!r} is not one of {known}\nnote: make a new key")
    try:
        secret = base64.b64decode(found.secret, validate=True)
    except binascii.Error:
        secret = b""
    if len(secret) < _MIN_SECRET:
        raise LocalError(
            f"TSIG key file {source}: the secret is not base64 of at least {_MIN_SECRET} bytes\nnote: {_FORMS}"
        )
    try:
        return dns.tsig.Key(dns.name.from_text(found.name), secret, algorithm)
    except (dns.exception.DNSException, ValueError) as error:
        raise LocalError(f"TSIG key file {source}: the key's name is not a domain name\nnote: {_FORMS}") from error
