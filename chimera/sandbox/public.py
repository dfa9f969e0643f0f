"""The documented engine layer: slower (about 140 us for a fresh instance), and independent of wasmtime's internals.

It serves when wasmtime is another version than ``raw.py`` was made for, and it keeps ``raw.py`` honest: the same tests
run on both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import wasmtime

from .engine import make_config
from .host import HostFunction, HostSlot, chimera_functions
from .layer import INSTANTIATE, INTERRUPT, STACK, TrappedError
from .wasi import wasi_functions

MAX_TABLES, MAX_TABLE_ELEMENTS = 4, 20_000
_types = {"i32": wasmtime.ValType.i32, "i64": wasmtime.ValType.i64}
_CODES = {wasmtime.TrapCode.STACK_OVERFLOW: STACK, wasmtime.TrapCode.INTERRUPT: INTERRUPT}


class _CallerMemory:
    """The exported memory of the instance that is calling a host function."""

    def __init__(self, caller: wasmtime.Caller) -> None:
        found = caller.get("memory")
        self._caller = caller
        self._memory = found if isinstance(found, wasmtime.Memory) else None
        self._size = self._memory.data_len(caller) if self._memory else 0

    def read(self, pointer: int, length: int) -> bytes | None:
        if self._memory is None or pointer + length > self._size:
            return None
        return bytes(self._memory.read(self._caller, pointer, pointer + length)) if length else b""

    def write(self, pointer: int, data: bytes) -> bool:
        if self._memory is None or pointer + len(data) > self._size:
            return False
        if data:
            self._memory.write(self._caller, data, pointer)
        return True


class PublicMachine:
    """An engine with the host functions, through the documented API."""

    def __init__(self, *, deterministic: bool) -> None:
        self.slot = HostSlot()
        self.engine = wasmtime.Engine(make_config(deterministic=deterministic))
        self.linker = wasmtime.Linker(self.engine)
        for function in (*chimera_functions(), *wasi_functions()):
            _offer(self.linker, self.engine, self.slot, function)

    def load(self, path: Path) -> PublicProgram:
        """Link a compiled module."""
        try:
            module = wasmtime.Module.deserialize_file(self.engine, str(path))
            has_initialize = any(export.name == "_initialize" for export in module.exports)
            return PublicProgram(self.engine, self.linker.instantiate_pre(module), has_initialize=has_initialize)
        except wasmtime.WasmtimeError as error:
            raise OSError(str(error).strip().splitlines()[0]) from error

    def interrupt(self) -> None:
        """End the epoch: every store's deadline is one epoch away."""
        self.engine.increment_epoch()


def _offer(linker: wasmtime.Linker, engine: wasmtime.Engine, slot: HostSlot, function: HostFunction) -> None:
    signature = function.signature
    masks = [0xFFFF_FFFF_FFFF_FFFF if name == "i64" else 0xFFFF_FFFF for name in signature.params]

    def callback(caller: wasmtime.Caller, *args: int) -> int | None:
        turn, result = slot.turn, 0
        try:
            unsigned = [value & mask for value, mask in zip(args, masks, strict=True)]
            result = function.call(turn, _CallerMemory(caller), *unsigned)
        except Exception as error:  # noqa: BLE001 - raising would land in wasmtime's one global slot for all threads
            turn.fail("host", f"{function.name}: {error!r}")
        if turn.fault:
            engine.increment_epoch()
        return result if signature.results else None

    kind = wasmtime.FuncType([_types[n]() for n in signature.params], [_types[n]() for n in signature.results])
    linker.define_func(function.module, function.name, kind, callback, access_caller=True)


class PublicProgram:
    """A module linked once."""

    def __init__(self, engine: wasmtime.Engine, pre: wasmtime.InstancePre, *, has_initialize: bool) -> None:
        self._engine, self._pre, self.has_initialize = engine, pre, has_initialize

    def start(self, memory_bytes: int) -> PublicCell:
        """A fresh instance in a store of its own."""
        store = wasmtime.Store(self._engine)
        store.set_limits(memory_bytes, MAX_TABLE_ELEMENTS, 1, MAX_TABLES, 1)
        store.set_epoch_deadline(1)
        try:
            return PublicCell(store, self._pre.instantiate(store))
        except wasmtime.Trap as trap:
            raise _trapped(trap) from None
        except wasmtime.WasmtimeError as error:
            raise TrappedError(INSTANTIATE, str(error).strip().splitlines()[0]) from None


class PublicCell:
    """One store with one instance."""

    def __init__(self, store: wasmtime.Store, instance: wasmtime.Instance) -> None:
        self._store: wasmtime.Store | None = store
        self._exports = instance.exports(store)
        self._memory = cast("wasmtime.Memory", self._exports["memory"])

    def initialize(self) -> None:
        """Call ``_initialize``."""
        self._run("_initialize")

    def alloc(self, size: int) -> int:
        """Call ``chimera_alloc``."""
        return self._run("chimera_alloc", _signed(size)) & 0xFFFF_FFFF

    def call(self, name: str, pointer: int, length: int) -> int:
        """Call a task or ``chimera_configure``."""
        return self._run(name, _signed(pointer), _signed(length))

    def renew(self) -> None:
        """Put the deadline one epoch from now."""
        self._live().set_epoch_deadline(1)

    def memory_size(self) -> int:
        """Bytes of linear memory."""
        return self._memory.data_len(self._live())

    def read(self, pointer: int, length: int) -> bytes:
        """Copy out."""
        return bytes(self._memory.read(self._live(), pointer, pointer + length)) if length else b""

    def write(self, pointer: int, data: bytes) -> None:
        """Copy in."""
        if data:
            self._memory.write(self._live(), data, pointer)

    def close(self) -> None:
        """Delete the store and with it the instance."""
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def _live(self) -> wasmtime.Store:
        if self._store is None:
            raise TrappedError("closed", "the instance was closed")
        return self._store

    def _run(self, name: str, *args: int) -> int:
        function = cast("Any", self._exports[name])
        try:
            return function(self._live(), *args)
        except wasmtime.Trap as trap:
            raise _trapped(trap) from None
        except wasmtime.WasmtimeError as error:
            raise TrappedError("error", str(error).strip().splitlines()[0]) from None


def _signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value


def _trapped(trap: wasmtime.Trap) -> TrappedError:
    code = trap.trap_code
    text = trap.message.strip().splitlines()[-1].strip() if trap.message.strip() else "trapped"
    known = _CODES.get(code) if code is not None else None
    return TrappedError(known or (code.name.lower().replace("_", " ") if code else "trap"), text)
