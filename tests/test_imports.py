"""The house rules that can be read off the source: who may import whom, and the shape of modules and functions."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "volly_fed"
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
MAX_DOCSTRING, MAX_MODULE, MAX_FUNCTION = 12, 400, 60

# Top to bottom; packages on one line do not know each other (docs/architecture.md, "Tree").
LINES = """
__main__
cli
testnet
testing
daemon
observe config client
edge
relay presence
router
session
handshake
channel
discovery
trust
crypto wire
machine
errors
codepoints
limits limits_admin limits_backup limits_http limits_presence limits_process
names
"""
LEVEL = {name: level for level, line in enumerate(LINES.split("\n")) for name in line.split()}

OUTSIDE = ("daemon/", "testing/", "testnet/", "cli/")
"""Where the world is: tasks, sockets, the clock, files, processes."""
TLS = ("daemon/tls",)
DNS_QUERYING = {
    f"dns.{name}" for name in ("query", "asyncquery", "resolver", "asyncresolver", "asyncbackend", "nameserver", "quic")
}
# An import that begins so -> the places that may have it; the longest match decides.
ALLOWED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("trio", "apsw", "outcome", "sniffio"), OUTSIDE),
    **dict.fromkeys(("socket", "ssl", "select", "selectors", "asyncio", "signal", "threading", "resource"), OUTSIDE),
    **dict.fromkeys(("time", "random", "uuid"), OUTSIDE),
    "sys": (*OUTSIDE, "observe/log", "crypto/probe"),  # standard error; the interpreter a child process runs
    "secrets": (*OUTSIDE, "observe/log"),  # the key of a process's log digests; no stage
    **dict.fromkeys(("shutil", "tempfile", "fcntl", "glob", "sqlite3"), OUTSIDE),
    # the probe for liboqs starts a child process and looks for a file: docs/architecture.md
    **dict.fromkeys(("os", "subprocess", "ctypes", "io"), (*OUTSIDE, "crypto/probe", "crypto/liboqs")),
    "pathlib": (*OUTSIDE, "crypto/probe", "config/"),  # config has paths among its values, and opens none of them
    "logging": ("observe/", "crypto/liboqs"),  # the library logs to stdout unless told otherwise
    "structlog": ("observe/",),
    "cryptography": ("crypto/", "testing/world"),
    "oqs": ("crypto/",),
    "OpenSSL": TLS,
    "dns": (*OUTSIDE, "discovery/"),
    **dict.fromkeys(DNS_QUERYING, OUTSIDE),
    **dict.fromkeys(("pybloom_live", "bitarray"), ("presence/filter",)),
    "numpy": ("presence/",),
    "cbor2": ("wire/",),
    "websockets": ("daemon/",),
    "click": ("cli/",),
    "rich": ("cli/", "testnet/"),
    "segno": ("cli/",),
    "hypercorn": ("daemon/http/",),
    "prometheus_client": ("daemon/http/",),
}
BUILT_INS = {"open", "input", "print", "breakpoint"}
PATH_METHODS = {
    *("read_text", "read_bytes", "write_text", "write_bytes", "mkdir", "unlink", "chmod"),
    *("is_file", "is_dir", "iterdir", "expanduser"),
}
CLOCKS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "datetime.datetime.now"}
"""What only the outside calls."""


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"))


def package(module: str) -> str:
    return module.split("/")[0].removesuffix(".py")


def imports(module: str) -> Iterator[str]:
    """Full dotted names, `from a import b` as a.b; everywhere in the file, functions and TYPE_CHECKING included."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative imports hide who is imported"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def allowed_places(name: str) -> tuple[str, ...] | None:
    parts = name.split(".")
    found = (ALLOWED.get(".".join(parts[:size])) for size in range(len(parts), 0, -1))
    return next((places for places in found if places is not None), None)


@pytest.mark.parametrize("module", [m for m in MODULES if m != "__init__.py"])
def test_imports_point_downwards(module: str) -> None:
    own = package(module)
    assert own in LEVEL, f"{own} has no place in the architecture"
    for name in imports(module):
        parts = name.split(".")
        if parts[0] != "volly_fed" or parts[1] in (own, "__version__"):
            continue
        assert LEVEL[parts[1]] > LEVEL[own], f"{module} imports {name}"


@pytest.mark.parametrize("module", MODULES)
def test_each_thing_of_the_world_has_its_place(module: str) -> None:
    for name in imports(module):
        places = allowed_places(name)
        assert places is None or module.startswith(places), f"{module} imports {name}"


@pytest.mark.parametrize("module", [m for m in MODULES if not m.startswith((*OUTSIDE, "crypto/probe"))])
def test_no_clock_and_no_file_outside_the_outside(module: str) -> None:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            method = called.rpartition(".")[2] if "." in called else ""
            outside = called in BUILT_INS | CLOCKS or method in PATH_METHODS
            assert not outside, f"{module}:{node.lineno} calls {called}"


@pytest.mark.parametrize("module", MODULES)
def test_modules_open_with_a_short_contract(module: str) -> None:
    docstring = ast.get_docstring(tree(module))
    assert docstring, f"{module} has no docstring"
    assert len(docstring.splitlines()) <= MAX_DOCSTRING


@pytest.mark.parametrize("module", [m for m in MODULES if m.endswith("__init__.py")])
def test_init_holds_no_logic(module: str) -> None:
    for node in tree(module).body:
        dunder = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("__all__", "__version__")
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        assert dunder or docstring or isinstance(node, ast.Import | ast.ImportFrom), f"{module}:{node.lineno}"


@pytest.mark.parametrize("module", MODULES)
def test_modules_and_functions_are_short(module: str) -> None:
    assert len((ROOT / module).read_text(encoding="utf-8").splitlines()) <= MAX_MODULE
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            assert size <= MAX_FUNCTION, f"{module}:{node.lineno} {node.name} has {size} lines"


def test_the_rules_see_what_they_are_made_for() -> None:
    assert allowed_places("dns.query.udp") == OUTSIDE
    assert allowed_places("dns.rdata") == (*OUTSIDE, "discovery/")
    assert allowed_places("dnsother") is None
    assert LEVEL["names"] > LEVEL["limits"] > LEVEL["wire"] == LEVEL["crypto"] > LEVEL["trust"] > LEVEL["cli"]
    assert "volly_fed.errors.BadMessage" in set(imports("wire/codec.py"))
