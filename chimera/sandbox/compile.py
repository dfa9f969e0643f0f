"""The compiling process: one module in, machine code out, within limits of CPU time and memory.

A few hundred kilobytes of hostile module can keep a compiler busy for minutes, and nothing inside the process can
interrupt it. So it has a process of its own, and the kernel ends it.
"""

from __future__ import annotations

import hashlib
import math
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from chimera.errors import BadModuleError

from .abi import (
    MAX_MODULE_BYTES,
    WASI_MODULE,
    Export,
    Import,
    Signature,
    check_binary,
    check_exports,
    check_imports,
)  # fmt: skip
from .engine import make_config
from .wasi import wasi_signature

if TYPE_CHECKING:
    from wasmtime import Module

MAX_COMPILE_BYTES = 1 << 30
CPU_BASE_S, CPU_PER_MB_S = 2.0, 5.0


class CompileReport(msgspec.Struct, frozen=True):
    """What came of it: an ``error`` with its hint, or what the module is and the sha256 of the file written."""

    error: str = ""
    hint: str = ""
    tasks: tuple[str, ...] = ()
    has_configure: bool = False
    imports: tuple[str, ...] = ()
    compile_s: float = 0.0
    sha256: str = ""


def cpu_limit_s(size: int) -> float:
    """Seconds of CPU that compiling ``size`` bytes may take: 2 s and 5 s per megabyte."""
    return CPU_BASE_S + CPU_PER_MB_S * size / 1e6


def main(argv: list[str]) -> int:
    """Compile standard input: ``compile PROFILE TARGET [GRANT …]``; the report is on standard output."""
    profile, target, *grants = argv[1:]
    module = sys.stdin.buffer.read(MAX_MODULE_BYTES + 1)
    _limit(module)
    try:
        report = build(module, Path(target), grants, deterministic=profile == "deterministic")
    except BadModuleError as error:
        report = CompileReport(error=error.detail, hint=error.hint)
    sys.stdout.buffer.write(msgspec.json.encode(report))
    return 0


def build(module: bytes, target: Path, grants: list[str], *, deterministic: bool) -> CompileReport:
    """Compile and check ``module``, and write its machine code to ``target``.

    Raises:
        BadModuleError: With the reason.
    """
    from wasmtime import Engine, Module, WasmtimeError  # noqa: PLC0415 - after the limits are set

    check_binary(module)
    started = time.perf_counter()
    try:
        compiled = Module(Engine(make_config(deterministic=deterministic)), module)
    except WasmtimeError as error:
        raise BadModuleError(f"the module is not valid: {_cause(str(error))}") from error
    seconds = time.perf_counter() - started
    shape = check_exports(exports_of(compiled))
    wanted = imports_of(compiled)
    names = check_imports(wanted, grants)
    _check_wasi(wanted)
    code = bytes(compiled.serialize())
    target.write_bytes(code)
    return CompileReport(
        tasks=shape.tasks, has_configure=shape.has_configure, imports=names, compile_s=seconds,
        sha256=hashlib.sha256(code).hexdigest(),
    )  # fmt: skip


def exports_of(module: Module) -> list[Export]:
    """The exports with their types in our words."""
    from wasmtime import FuncType, MemoryType  # noqa: PLC0415 - see build

    found: list[Export] = []
    for export in module.exports:
        kind = export.type
        if isinstance(kind, FuncType):
            found.append(Export(export.name, "function", _signature(kind.params, kind.results)))
        else:
            name = "memory" if isinstance(kind, MemoryType) else type(kind).__name__.removesuffix("Type").lower()
            found.append(Export(export.name, name))
    return found


def imports_of(module: Module) -> list[Import]:
    """The imports with their types in our words."""
    from wasmtime import FuncType  # noqa: PLC0415 - see build

    return [
        Import(
            item.module, item.name or "",
            _signature(item.type.params, item.type.results) if isinstance(item.type, FuncType) else None,
        )
        for item in module.imports
    ]  # fmt: skip


def _signature(params: object, results: object) -> Signature:
    return Signature(tuple(map(str, params)), tuple(map(str, results)))  # pyright: ignore[reportArgumentType] - lists of ValType


def _check_wasi(imports: list[Import]) -> None:
    for item in imports:
        if item.module == WASI_MODULE and item.signature != wasi_signature(item.name):
            raise BadModuleError(f"the module imports {WASI_MODULE}.{item.name} as {item.signature}, which is not WASI")


def _cause(text: str) -> str:
    """The innermost cause of wasmtime's multi-line message."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[-1].lstrip("0123456789: ") if lines else "unknown"


def _limit(module: bytes) -> None:
    seconds = math.ceil(cpu_limit_s(len(module)))
    limits = ((resource.RLIMIT_CPU, seconds, seconds + 1), (resource.RLIMIT_CORE, 0, 0))
    for limit, soft, hard in (*limits, (resource.RLIMIT_AS, MAX_COMPILE_BYTES, MAX_COMPILE_BYTES)):
        with suppress(OSError, ValueError):
            resource.setrlimit(limit, (soft, hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
