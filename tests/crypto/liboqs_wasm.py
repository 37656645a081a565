"""The real liboqs for tests: its WebAssembly build out of a wheel, run by wasmtime, as a Provider.

in: the wheel that liboqs-wasm.txt pins by its hash; out: ML-DSA-65 and ML-KEM-768, all three of keys, one way and
the other by liboqs's C code. Its randomness comes through `Entropy`, so a test may decide it.
Never: installs the wheel (its package has the name of liboqs-python's), is used by the program, or runs other bytes.
Source: WebAssembly's tool-conventions/DynamicLinking.md, for the part of a dynamic linker that is below.
"""

import hashlib
import os
import re
import struct
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import wasmtime

from volly_fed.crypto import sizes
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage

PIN = Path(__file__).parent / "liboqs-wasm.txt"
WHEELS = Path(sys.prefix) / "liboqs-wasm"
"""Where `make` downloads the wheel to."""

_MODULE: Final = "oqs/liboqs.so"
_STACK: Final = 1 << 20
_PAGE: Final = 1 << 16
_FIRST_PAGES: Final = 128
_MLKEM768_PRIVATE: Final = 2400
_MLDSA65_PRIVATE: Final = 4032


class Absent(Exception):
    """There is no wheel to read; what to do about it is in the message."""


class Wrong(Exception):
    """The wheel is not the pinned one, or liboqs asks for something that is not here."""


def module_bytes(folder: Path = WHEELS) -> bytes:
    """The WebAssembly module in the pinned wheel. Raises Absent, and Wrong where the hash differs."""
    pin = PIN.read_text(encoding="utf-8")
    name, version = re.findall(r"^([\w-]+)==([\d.]+)", pin, re.MULTILINE)[0]
    (expected,) = re.findall(r"--hash=sha256:([0-9a-f]{64})", pin)
    found = sorted(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl"))
    if not found:
        raise Absent(f"no wheel in {folder}; note: make quick downloads it")
    if hashlib.sha256(found[0].read_bytes()).hexdigest() != expected:
        raise Wrong(f"{found[0]} has another hash than {PIN.name} says")
    with zipfile.ZipFile(found[0]) as wheel:
        return wheel.read(_MODULE)


class Entropy:
    """Random bytes for liboqs: the operating system's, unless the next ones are given."""

    def __init__(self) -> None:
        self._next = b""

    def __call__(self, size: int) -> bytes:
        if not self._next:
            return os.urandom(size)
        taken, self._next = self._next[:size], self._next[size:]
        assert len(taken) == size
        return taken

    @contextmanager
    def given(self, data: bytes) -> Iterator[None]:
        """What liboqs asks for inside are these bytes: all of them, and no others."""
        self._next = data
        yield
        assert not self._next, "liboqs took less randomness than it was given"


class Machine:
    """One instance of the module, with the few calls of libc that it makes."""

    def __init__(self, code: bytes) -> None:
        self.calls: Counter[str] = Counter()
        self.entropy = Entropy()
        engine = wasmtime.Engine()
        self._store = wasmtime.Store(engine)
        module = wasmtime.Module(engine, code)
        size, slots = _dylink(code)
        self._memory = wasmtime.Memory(self._store, wasmtime.MemoryType(wasmtime.Limits(_FIRST_PAGES, None)))
        table = wasmtime.TableType(wasmtime.ValType.funcref(), wasmtime.Limits(slots + 1, None))
        self._table = wasmtime.Table(self._store, table, None)
        self._top = _STACK + size  # the stack is below the data, the heap above it
        self._instance = self._linked(module)
        self.call("__wasm_apply_data_relocs")
        self.call("__wasm_call_ctors")
        self.call("OQS_init")

    def _linked(self, module: wasmtime.Module) -> Any:
        pending: dict[tuple[str, str], wasmtime.Global] = {}
        imports: list[Any] = []
        fixed: dict[str, Any] = {
            "memory": self._memory,
            "__indirect_function_table": self._table,
            "__memory_base": self._number(_STACK, mutable=False),
            "__table_base": self._number(1, mutable=False),
            "__stack_pointer": self._number(_STACK, mutable=True),
        }
        for wanted in module.imports:
            name = wanted.name or ""
            if wanted.module.startswith("GOT."):
                imports.append(pending.setdefault((wanted.module, name), self._number(0, mutable=True)))
            elif isinstance(wanted.type, wasmtime.FuncType):
                imports.append(wasmtime.Func(self._store, wanted.type, self._libc(name)))
            else:
                imports.append(fixed[name])
        exports = wasmtime.Instance(self._store, module, imports).exports(self._store)
        for (kind, name), slot in pending.items():
            target: Any = exports.get(name)
            if target is None:  # what this build leaves out, and the C library's stderr
                continue
            address = (
                _STACK + target.value(self._store) if kind == "GOT.mem" else self._table.grow(self._store, 1, target)
            )
            slot.set_value(self._store, wasmtime.Val.i32(address))
        return exports

    def _number(self, value: int, *, mutable: bool) -> wasmtime.Global:
        kind = wasmtime.GlobalType(wasmtime.ValType.i32(), mutable)
        return wasmtime.Global(self._store, kind, wasmtime.Val.i32(value))

    def call(self, name: str, *arguments: int) -> Any:
        """What the exported function answers."""
        self.calls[name] += 1
        return self._instance[name](self._store, *arguments)

    @contextmanager
    def scratch(self) -> Iterator[None]:
        """What is allocated inside is free afterwards, also what liboqs allocated: it keeps nothing between calls."""
        top = self._top
        yield
        self._top = top

    def allocate(self, size: int) -> int:
        """The address of `size` fresh bytes."""
        self._top = (self._top + 15) & ~15
        address, self._top = self._top, self._top + size
        missing = self._top - self._memory.data_len(self._store)
        if missing > 0:
            self._memory.grow(self._store, missing // _PAGE + 1)
        return address

    def put(self, data: bytes) -> int:
        """The address of a copy of `data`."""
        address = self.allocate(len(data))
        self._memory.write(self._store, data, address)
        return address

    def get(self, address: int, size: int) -> bytes:
        """What is in memory."""
        return bytes(self._memory.read(self._store, address, address + size))

    def text(self, address: int) -> bytes:
        """The C string at `address`."""
        return self.get(address, 256).partition(b"\0")[0]

    def _libc(self, name: str) -> Callable[..., int | None]:
        def once(control: int, function: int) -> int:
            if self.get(control, 4) == bytes(4):
                self._memory.write(self._store, b"\1\0\0\0", control)
                routine: Any = self._table.get(self._store, function)
                routine(self._store)
            return 0

        def fill(address: int, data: bytes) -> int:
            self._memory.write(self._store, data, address)
            return 0

        def wipe(address: int, size: int) -> None:
            fill(address, bytes(size))

        def compared(left: bytes, right: bytes) -> int:
            return (left > right) - (left < right)

        def missing(*_: int) -> None:
            raise Wrong(f"liboqs calls {name}")

        offered: dict[str, Callable[..., int | None]] = {
            "malloc": self.allocate,
            "calloc": lambda count, size: self.put(bytes(count * size)),
            "aligned_alloc": lambda alignment, size: (self.allocate(size + alignment) + alignment - 1) & -alignment,
            "free": lambda _: None,
            "strdup": lambda address: self.put(self.text(address) + b"\0"),
            "strcmp": lambda left, right: compared(self.text(left), self.text(right)),
            "strcasecmp": lambda left, right: compared(self.text(left).lower(), self.text(right).lower()),
            "memcmp": lambda left, right, size: compared(self.get(left, size), self.get(right, size)),
            "explicit_bzero": wipe,
            "getentropy": lambda address, size: fill(address, self.entropy(size)),
            "pthread_once": once,
        }
        return offered.get(name, missing)


def _dylink(code: bytes) -> tuple[int, int]:
    """Bytes of data and slots of the table that the module wants: the first subsection of its `dylink.0`."""
    at = 8

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = code[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    assert number() == 0
    number()
    length = number()
    assert code[at : at + length] == b"dylink.0"
    at += length
    assert number() == 1
    number()
    size, _, slots, _ = (number() for _ in range(4))
    return size, slots


@attrs.frozen
class WitnessSigningKey:
    """An expanded ML-DSA-65 private key, and liboqs to sign with it."""

    _machine: Machine
    _private: bytes = attrs.field(repr=False)
    public: bytes

    def sign(self, message: bytes, context: bytes) -> bytes:
        with self._machine.scratch():
            put, size = self._machine.put, struct.pack("<I", sizes.MLDSA65_SIGNATURE)
            out, length = self._machine.allocate(sizes.MLDSA65_SIGNATURE), put(size)
            arguments = (put(message), len(message), put(context), len(context), put(self._private))
            assert self._machine.call("OQS_SIG_ml_dsa_65_sign_with_ctx_str", out, length, *arguments) == 0
            assert self._machine.get(length, 4) == size
            return self._machine.get(out, sizes.MLDSA65_SIGNATURE)


@attrs.frozen
class WitnessDecapsulationKey:
    """An expanded ML-KEM-768 private key, and liboqs to decapsulate with it."""

    _machine: Machine
    _private: bytes = attrs.field(repr=False)
    public: bytes

    def decapsulate(self, ciphertext: bytes) -> Secret:
        if len(ciphertext) != sizes.MLKEM768_CIPHERTEXT:
            raise BadMessage("the ML-KEM-768 ciphertext has a wrong size")
        with self._machine.scratch():
            shared = self._machine.allocate(sizes.SHARED_SECRET)
            arguments = (self._machine.put(ciphertext), self._machine.put(self._private))
            assert self._machine.call("OQS_KEM_ml_kem_768_decaps", shared, *arguments) == 0
            return Secret(self._machine.get(shared, sizes.SHARED_SECRET))


@attrs.frozen
class Witness:
    """A Provider whose every answer is liboqs's."""

    machine: Machine
    name: str = "liboqs-wasm"

    @property
    def description(self) -> str:
        return f"liboqs {self.machine.text(self.machine.call('OQS_version')).decode()}, WebAssembly"

    def mldsa65_key(self, seed: Secret) -> WitnessSigningKey:
        """liboqs has no call for it; but all that its key generation asks of chance is the seed (FIPS 204 §5.1)."""
        with self.machine.scratch(), self.machine.entropy.given(seed.reveal()):
            public, private = self.machine.allocate(sizes.MLDSA65_PUBLIC), self.machine.allocate(_MLDSA65_PRIVATE)
            assert self.machine.call("OQS_SIG_ml_dsa_65_keypair", public, private) == 0
            get = self.machine.get
            return WitnessSigningKey(self.machine, get(private, _MLDSA65_PRIVATE), get(public, sizes.MLDSA65_PUBLIC))

    def mldsa65_verify(self, public: bytes, signature: bytes, message: bytes, context: bytes) -> bool:
        if len(public) != sizes.MLDSA65_PUBLIC:
            return False
        with self.machine.scratch():
            put = self.machine.put
            arguments = (put(message), len(message), put(signature), len(signature), put(context), len(context))
            return bool(self.machine.call("OQS_SIG_ml_dsa_65_verify_with_ctx_str", *arguments, put(public)) == 0)

    def mlkem768_key(self, seed: Secret) -> WitnessDecapsulationKey:
        assert len(seed) == sizes.MLKEM768_SEED
        with self.machine.scratch():
            public, private = self.machine.allocate(sizes.MLKEM768_PUBLIC), self.machine.allocate(_MLKEM768_PRIVATE)
            call, get = self.machine.call, self.machine.get
            assert call("OQS_KEM_ml_kem_768_keypair_derand", public, private, self.machine.put(seed.reveal())) == 0
            return WitnessDecapsulationKey(
                self.machine, get(private, _MLKEM768_PRIVATE), get(public, sizes.MLKEM768_PUBLIC)
            )

    def mlkem768_encapsulate(self, public: bytes) -> tuple[Secret, bytes]:
        if len(public) != sizes.MLKEM768_PUBLIC:
            raise BadMessage("not an ML-KEM-768 public key")
        with self.machine.scratch():
            ciphertext = self.machine.allocate(sizes.MLKEM768_CIPHERTEXT)
            shared = self.machine.allocate(sizes.SHARED_SECRET)
            if self.machine.call("OQS_KEM_ml_kem_768_encaps", ciphertext, shared, self.machine.put(public)) != 0:
                raise BadMessage("not an ML-KEM-768 public key")
            get = self.machine.get
            return Secret(get(shared, sizes.SHARED_SECRET)), get(ciphertext, sizes.MLKEM768_CIPHERTEXT)
