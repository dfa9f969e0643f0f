"""The guest ABI "chimera v1" as pure data: packed results, the configure payload, and which signatures are allowed.

Nothing here runs a guest or imports an engine, so the main process can use it without paying for one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from chimera.errors import BadModuleError
from subjects import is_token

HOST_MODULE = "chimera_v1"
WASI_MODULE = "wasi_snapshot_preview1"
MAGIC = b"\0asm\x01\0\0\0"
MAX_MODULE_BYTES = 8 << 20
MAX_PAYLOAD_BYTES = 16 << 20
MIN_BUFFER_BYTES = 4096

_ERROR_FLAG = 1 << 31
_LENGTH_MASK = _ERROR_FLAG - 1
_HEADER = struct.Struct("<II")


class Signature(NamedTuple):
    """The type of a function: value types by their text-format names."""

    params: tuple[str, ...]
    results: tuple[str, ...]

    def __str__(self) -> str:
        return f"({', '.join(self.params)}) -> ({', '.join(self.results)})"


class Export(NamedTuple):
    """An export as seen in a module; ``signature`` is ``None`` for what is not a function."""

    name: str
    kind: str
    signature: Signature | None = None


class Import(NamedTuple):
    """An import as seen in a module; ``signature`` is ``None`` for what is not a function."""

    module: str
    name: str
    signature: Signature | None = None


class PackedResult(NamedTuple):
    """Where a guest's answer lies in its memory, and whether it is an error message."""

    pointer: int
    length: int
    is_error: bool


class Shape(NamedTuple):
    """What the exports of an accepted module offer."""

    tasks: tuple[str, ...]
    has_configure: bool
    has_initialize: bool


ALLOC = Signature(("i32",), ("i32",))
TASK = Signature(("i32", "i32"), ("i64",))
INITIALIZE = Signature((), ())

HOST_SIGNATURES: dict[str, Signature] = {
    "log": Signature(("i32", "i32", "i32"), ()),
    "emit": Signature(("i32", "i32", "i32", "i32"), ("i32",)),
    "now": Signature((), ("i64",)),
    "random": Signature(("i32", "i32"), ()),
}
"""Host functions by name; ``log`` is always granted."""

_OPTIONAL = {"chimera_configure": TASK, "chimera_save": TASK, "chimera_load": TASK, "_initialize": INITIALIZE}
_GRANT_OF = {"now": "clock", "random": "random", "emit": "emit:<pattern>"}


def pack_result(pointer: int, length: int, *, is_error: bool = False) -> int:
    """The signed 64-bit result: pointer in bits 63-32, error flag in bit 31, length in bits 30-0."""
    value = (pointer & 0xFFFF_FFFF) << 32 | (_ERROR_FLAG if is_error else 0) | (length & _LENGTH_MASK)
    return value - (1 << 64) if value >> 63 else value


def unpack_result(value: int) -> PackedResult:
    """Take a packed result apart; ``value`` may be signed or unsigned."""
    return PackedResult((value >> 32) & 0xFFFF_FFFF, value & _LENGTH_MASK, bool(value & _ERROR_FLAG))


def pack_configure(genome: Sequence[float], config: bytes = b"") -> bytes:
    """The payload of ``chimera_configure``, little-endian: ``u32 n, u32 m, f64 x n, u8 x m``."""
    return _HEADER.pack(len(genome), len(config)) + struct.pack(f"<{len(genome)}d", *genome) + config


def unpack_configure(payload: bytes) -> tuple[tuple[float, ...], bytes]:
    """Genome and opaque bytes of a configure payload.

    Raises:
        ValueError: If the lengths in its header do not add up to its size.
    """
    if len(payload) < _HEADER.size:
        raise ValueError("shorter than its header")
    genes, opaque = _HEADER.unpack_from(payload)
    end = _HEADER.size + 8 * genes
    if len(payload) != end + opaque:
        raise ValueError("its lengths do not add up")
    return struct.unpack_from(f"<{genes}d", payload, _HEADER.size), payload[end:]


def buffer_size(needed: int) -> int:
    """How much to ask ``chimera_alloc`` for: 4 KiB, doubled until ``needed`` bytes fit."""
    return max(MIN_BUFFER_BYTES, 1 << (needed - 1).bit_length()) if needed else MIN_BUFFER_BYTES


def check_binary(module: bytes) -> None:
    """Refuse what is not a core WebAssembly binary of an acceptable size; the engine itself would take text.

    Raises:
        BadModuleError: If the size is over 8 MiB or the first eight bytes are wrong.
    """
    if len(module) > MAX_MODULE_BYTES:
        raise BadModuleError(f"the module has {len(module)} bytes; at most {MAX_MODULE_BYTES} are taken")
    if module[:8] != MAGIC:
        raise BadModuleError(
            "the module does not begin with the magic bytes of a core WebAssembly binary",
            hint="send the compiled .wasm file: not its text form (.wat), and not a component",
        )


def check_exports(exports: Iterable[Export]) -> Shape:
    """What the module offers, every signature checked.

    Raises:
        BadModuleError: If a required export is missing, or one of a reserved name has another type.
    """
    found = {export.name: export for export in exports}
    memory = found.get("memory")
    if memory is None or memory.kind != "memory":
        raise BadModuleError("the module must export its memory as 'memory'")
    _require(found, "chimera_alloc", ALLOC)
    for name, signature in _OPTIONAL.items():
        if name in found:
            _require(found, name, signature)
    tasks = tuple(sorted(name for name, export in found.items() if export.signature == TASK and _is_task_name(name)))
    if not tasks:
        raise BadModuleError(_no_task(found.values()))
    return Shape(tasks, "chimera_configure" in found, "_initialize" in found)


def check_imports(imports: Iterable[Import], grants: Sequence[str]) -> tuple[str, ...]:
    """The names of the imports, in order, once it is sure that each exists, has its type and is granted.

    Raises:
        BadModuleError: Naming the first import that may not be linked, and the grant that would allow it.
    """
    names: list[str] = []
    for item in imports:
        name = f"{item.module}.{item.name}"
        if item.signature is None:
            raise BadModuleError(f"the module imports {name}, which is not a function")
        expected = HOST_SIGNATURES.get(item.name) if item.module == HOST_MODULE else None
        if expected is not None and item.signature != expected:
            raise BadModuleError(f"the module imports {name} as {item.signature}; it is {expected}")
        names.append(name)
    check_grants(names, grants)
    return tuple(dict.fromkeys(names))


def check_grants(imports: Iterable[str], grants: Sequence[str]) -> None:
    """Refuse imports (``module.name``) that ``grants`` do not cover, and grants that do not exist.

    Raises:
        BadModuleError: Naming the import and what would have to be granted.
    """
    for grant in grants:
        if grant not in {"clock", "random", "wasi"} and not (grant.startswith("emit:") and len(grant) > len("emit:")):
            raise BadModuleError(f"there is no grant {grant!r}", hint="grants are: clock, random, emit:<pattern>, wasi")
    for name in imports:
        needed = _grant_for(name)
        if needed is None:
            raise BadModuleError(f"the module imports {name}, which does not exist here")
        if needed and not _is_granted(needed, grants):
            raise BadModuleError(
                f"the module imports {name}, which is not granted", hint=f"it needs the grant {needed!r}"
            )


def emit_patterns(grants: Iterable[str]) -> tuple[str, ...]:
    """The subject patterns of the ``emit:`` grants."""
    return tuple(grant.removeprefix("emit:") for grant in grants if grant.startswith("emit:"))


def subject_matches(pattern: str, subject: str) -> bool:
    """True if a NATS subject fits a pattern: ``*`` stands for one token, a last ``>`` for one or more."""
    wanted, given = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted = wanted[:-1]
        if len(given) <= len(wanted):
            return False
        given = given[: len(wanted)]
    return len(wanted) == len(given) and all(want in {"*", have} for want, have in zip(wanted, given, strict=True))


def _grant_for(name: str) -> str | None:
    module, _, function = name.partition(".")
    if module == WASI_MODULE:
        return "wasi"
    if module == HOST_MODULE and function in HOST_SIGNATURES:
        return _GRANT_OF.get(function, "")
    return None


def _is_granted(needed: str, grants: Sequence[str]) -> bool:
    return bool(emit_patterns(grants)) if needed.startswith("emit:") else needed in grants


def _require(found: dict[str, Export], name: str, signature: Signature) -> None:
    export = found.get(name)
    if export is None:
        raise BadModuleError(f"the module must export {name} {signature}")
    if export.signature != signature:
        is_now = export.signature or f"a {export.kind}"
        raise BadModuleError(f"the module exports {name} as {is_now}; it must be {signature}")


def _is_task_name(name: str) -> bool:
    return not name.startswith(("chimera_", "_")) and is_token(name)


def _no_task(exports: Iterable[Export]) -> str:
    near = [f"{e.name} {e.signature}" for e in exports if e.signature and _is_task_name(e.name)]
    seen = f"; it exports {', '.join(near[:5])}" if near else ""
    return f"the module exports no task, that is a function {TASK}{seen}"
