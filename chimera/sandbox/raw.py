"""The fast engine layer: wasmtime's C API called directly, with buffers prepared once per instance.

The public API asks for a function's type and converts every value on every call, about 20 C calls; here a guest call is
one. This is the only module that touches wasmtime's private ``_ffi`` and ``_bindings``; ``layer.open_machine`` takes it
only for the exact version it was written for, and ``public.py`` passes the same tests.

Soundness rests on three rules: signatures were checked when the module was (an unchecked call with another one kills
the process), a store is used by one thread, and the memory's base address is asked for again after every guest call.
"""
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# The private bindings are untyped; everything that leaves this module is typed.

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, cast

import wasmtime
from wasmtime import _bindings as bindings
from wasmtime import _ffi as ffi

from .engine import make_config
from .host import HostFunction, HostSlot, chimera_functions
from .layer import INSTANTIATE, INTERRUPT, STACK, TrappedError
from .wasi import wasi_functions

POOL_SLOTS = 64
KEEP_RESIDENT_BYTES = 64 << 10
MAX_TABLES, MAX_TABLE_ELEMENTS = 4, 20_000
_FOREVER = 1

_void_p, _size = ctypes.c_void_p, ctypes.c_size_t
_library = cast("ctypes.CDLL", ffi.dll)
_keep_gil = ctypes.PyDLL(_library._name)  # noqa: SLF001 - the file that ctypes loaded


def _quick(name: str, result: Any, *args: Any) -> Any:
    """A C function that returns at once: keeping the GIL is cheaper than giving it up."""
    return ctypes.PYFUNCTYPE(result, *args)((name, _keep_gil))


def _running(name: str, result: Any, *args: Any) -> Any:
    """A C function that may run guest code: the GIL is released, or the watchdog could never act."""
    return ctypes.CFUNCTYPE(result, *args)((name, _library))


_store_new = _quick("wasmtime_store_new", _void_p, _void_p, _void_p, _void_p)
_store_delete = _quick("wasmtime_store_delete", None, _void_p)
_store_context = _quick("wasmtime_store_context", _void_p, _void_p)
_store_limiter = _quick("wasmtime_store_limiter", None, _void_p, *([ctypes.c_int64] * 5))
_set_deadline = _quick("wasmtime_context_set_epoch_deadline", None, _void_p, ctypes.c_uint64)
_export_get = _quick("wasmtime_instance_export_get", ctypes.c_bool, _void_p, _void_p, ctypes.c_char_p, _size, _void_p)
_memory_data = _quick("wasmtime_memory_data", _void_p, _void_p, _void_p)
_memory_size = _quick("wasmtime_memory_data_size", _size, _void_p, _void_p)
_caller_context = _quick("wasmtime_caller_context", _void_p, _void_p)
_caller_export = _quick("wasmtime_caller_export_get", ctypes.c_bool, _void_p, ctypes.c_char_p, _size, _void_p)
_increment_epoch = _quick("wasmtime_engine_increment_epoch", None, _void_p)
_define = _quick(
    "wasmtime_linker_define_func_unchecked", _void_p, _void_p, ctypes.c_char_p, _size, ctypes.c_char_p, _size, _void_p,
    _void_p, _void_p, _void_p,
)  # fmt: skip
_instantiate = _running("wasmtime_instance_pre_instantiate", _void_p, _void_p, _void_p, _void_p, _void_p)
_call = _running("wasmtime_func_call_unchecked", _void_p, _void_p, _void_p, _void_p, _size, _void_p)
_Callback = ctypes.CFUNCTYPE(_size, _void_p, _void_p, _void_p, _size)

_INSTANCE_BYTES = ctypes.sizeof(bindings.wasmtime_instance)
_EXTERN_BYTES = ctypes.sizeof(bindings.wasmtime_extern)
_EXTERN_ITEM = bindings.wasmtime_extern.of.offset
_FUNC_KIND, _MEMORY_KIND = ffi.WASMTIME_EXTERN_FUNC.value, ffi.WASMTIME_EXTERN_MEMORY.value
_Values = bindings.wasmtime_val_raw * 2
_types = {"i32": wasmtime.ValType.i32, "i64": wasmtime.ValType.i64}


def _address(managed: Any) -> int:
    return ctypes.cast(managed.ptr(), _void_p).value or 0


class _CallerMemory:
    """The exported memory of the instance that is calling a host function."""

    __slots__ = ("_base", "_size")

    def __init__(self, caller: int) -> None:
        item = ctypes.create_string_buffer(_EXTERN_BYTES)
        at = ctypes.addressof(item)
        self._base = self._size = 0
        if _caller_export(caller, b"memory", 6, at) and item.raw[0] == _MEMORY_KIND:
            context = _caller_context(caller)
            self._base = _memory_data(context, at + _EXTERN_ITEM) or 0
            self._size = _memory_size(context, at + _EXTERN_ITEM)

    def read(self, pointer: int, length: int) -> bytes | None:
        if pointer + length > self._size:
            return None
        return ctypes.string_at(self._base + pointer, length)

    def write(self, pointer: int, data: bytes) -> bool:
        if pointer + len(data) > self._size:
            return False
        ctypes.memmove(self._base + pointer, data, len(data))
        return True


class RawMachine:
    """An engine with pooled instances and the host functions, through the C layer."""

    def __init__(self, *, deterministic: bool, pooling: bool, memory_bytes: int) -> None:
        config = make_config(deterministic=deterministic)
        if pooling:
            _use_pool(config, memory_bytes)
        self.slot = HostSlot()
        self.engine = wasmtime.Engine(config)
        self.address = _address(self.engine)
        self.linker = wasmtime.Linker(self.engine)
        self._callbacks = [self._offer(function) for function in (*chimera_functions(), *wasi_functions())]

    def load(self, path: Path) -> RawProgram:
        """Link a compiled module; the file is mapped, not copied."""
        try:
            module = wasmtime.Module.deserialize_file(self.engine, str(path))
            has_initialize = any(export.name == "_initialize" for export in module.exports)
            return RawProgram(self, self.linker.instantiate_pre(module), has_initialize=has_initialize)
        except wasmtime.WasmtimeError as error:
            raise OSError(_first_line(str(error))) from error

    def interrupt(self) -> None:
        """End the epoch: every store's deadline is one epoch away."""
        _increment_epoch(self.address)

    def _offer(self, function: HostFunction) -> Any:
        callback = _make_callback(self.slot, self.address, function)
        kind = wasmtime.FuncType(
            [_types[name]() for name in function.signature.params],
            [_types[name]() for name in function.signature.results],
        )
        module, name = function.module.encode(), function.name.encode()
        target = ctypes.cast(callback, _void_p)
        error = _define(_address(self.linker), module, len(module), name, len(name), _address(kind), target, None, None)
        if error:
            raise _wasmtime_error(error)
        return callback


def _make_callback(slot: HostSlot, engine: int, function: HostFunction) -> Any:
    """The C face of a host function. It holds the slot and an address only: a store or linker would never be freed."""
    wide = [name == "i64" for name in function.signature.params]
    values = bindings.wasmtime_val_raw * max(1, len(wide))
    results = bool(function.signature.results)
    long_result = function.signature.results == ("i64",)
    call = function.call

    def callback(_env: Any, caller: int, at: int, _count: int) -> int:
        turn = slot.turn
        result = 0
        try:
            box = values.from_address(at)
            args = [
                box[i].i64 & 0xFFFF_FFFF_FFFF_FFFF if is_wide else box[i].i32 & 0xFFFF_FFFF
                for i, is_wide in enumerate(wide)
            ]
            result = call(turn, _CallerMemory(caller), *args)
            if results:
                box[0].i64 = result if long_result else result & 0xFFFF_FFFF
        except Exception as error:  # noqa: BLE001 - nothing may cross the C frames; the fault is noted instead
            turn.fail("host", f"{function.name}: {error!r}")
        if turn.fault:
            _increment_epoch(engine)
        return 0

    return _Callback(callback)


class RawProgram:
    """A module linked once; starting an instance is one C call."""

    __slots__ = ("_keep", "address", "has_initialize", "machine")

    def __init__(self, machine: RawMachine, pre: wasmtime.InstancePre, *, has_initialize: bool) -> None:
        self.machine, self._keep, self.has_initialize = machine, pre, has_initialize
        self.address = _address(pre)

    def start(self, memory_bytes: int) -> RawCell:
        """A fresh instance in a store of its own."""
        return RawCell(self, memory_bytes)


class RawCell:
    """One store with one instance and its prepared argument buffer."""

    __slots__ = (
        "_alloc", "_args", "_args_at", "_base", "_context", "_externs", "_functions", "_memory", "_program", "_store",
        "_trap", "_trap_at",
    )  # fmt: skip

    def __init__(self, program: RawProgram, memory_bytes: int) -> None:
        self._program = program
        self._store: int | None = _store_new(program.machine.address, None, None)
        self._context: int = _store_context(self._store)
        _store_limiter(self._store, memory_bytes, MAX_TABLE_ELEMENTS, 1, MAX_TABLES, 1)
        _set_deadline(self._context, _FOREVER)
        self._externs = ctypes.create_string_buffer(_INSTANCE_BYTES + 2 * _EXTERN_BYTES)
        self._base = ctypes.addressof(self._externs)
        self._args = _Values()
        self._args_at = ctypes.addressof(self._args)
        self._trap = _void_p()
        self._trap_at = ctypes.addressof(self._trap)
        self._functions: dict[str, tuple[int, Any]] = {}
        try:
            error = _instantiate(program.address, self._context, self._base, self._trap_at)
            if error:
                raise TrappedError(INSTANTIATE, _first_line(str(_wasmtime_error(error))))  # noqa: TRY301 - the store is freed below
            self._raise_trap()
            memory_at = self._base + _INSTANCE_BYTES
            self._memory = self._export(b"memory", memory_at, _MEMORY_KIND)
            self._alloc = self._export(b"chimera_alloc", memory_at + _EXTERN_BYTES, _FUNC_KIND)
        except BaseException:
            self.close()
            raise

    def initialize(self) -> None:
        """Call ``_initialize``."""
        self._run(self._function("_initialize"), 0)

    def alloc(self, size: int) -> int:
        """Call ``chimera_alloc``."""
        self._args[0].i32 = size
        self._run(self._alloc, 1)
        return self._args[0].i32 & 0xFFFF_FFFF

    def call(self, name: str, pointer: int, length: int) -> int:
        """Call a task or ``chimera_configure``."""
        known = self._functions.get(name)
        function = known[0] if known else self._function(name)
        args = self._args
        args[0].i32 = pointer
        args[1].i32 = length
        self._run(function, 2)
        return args[0].i64

    def renew(self) -> None:
        """Put the deadline one epoch from now."""
        _set_deadline(self._context, _FOREVER)

    def memory_size(self) -> int:
        """Bytes of linear memory."""
        return _memory_size(self._context, self._memory)

    def read(self, pointer: int, length: int) -> bytes:
        """Copy out; the base address may have moved since the last call, so it is asked for."""
        return ctypes.string_at(_memory_data(self._context, self._memory) + pointer, length)

    def write(self, pointer: int, data: bytes) -> None:
        """Copy in."""
        ctypes.memmove(_memory_data(self._context, self._memory) + pointer, data, len(data))

    def close(self) -> None:
        """Delete the store and with it the instance."""
        store, self._store = self._store, None
        if store is not None:
            _store_delete(store)

    def __del__(self) -> None:
        self.close()

    def _run(self, function: int, arguments: int) -> None:
        error = _call(self._context, function, self._args_at, arguments, self._trap_at)
        if error:
            raise TrappedError("error", _first_line(str(_wasmtime_error(error))))
        if self._trap.value:
            self._raise_trap()

    def _raise_trap(self) -> None:
        at, self._trap.value = self._trap.value, None
        if not at:
            return
        trap = wasmtime.Trap._from_ptr(ctypes.cast(at, ctypes.POINTER(ffi.wasm_trap_t)))  # noqa: SLF001 - wasmtime has no public way
        raise trapped(trap)

    def _function(self, name: str) -> int:
        item = ctypes.create_string_buffer(_EXTERN_BYTES)
        at = self._export(name.encode(), ctypes.addressof(item), _FUNC_KIND)
        self._functions[name] = (at, item)
        return at

    def _export(self, name: bytes, at: int, kind: int) -> int:
        found = _export_get(self._context, self._base, name, len(name), at)
        if not found or ctypes.c_uint8.from_address(at).value != kind:
            raise TrappedError(INSTANTIATE, f"the module has no export {name.decode()}")
        return at + _EXTERN_ITEM


def trapped(trap: wasmtime.Trap) -> TrappedError:
    """A trap in our words: its code and the last line of its message, which names the cause."""
    code = trap.trap_code
    text = trap.message.strip().splitlines()[-1].strip() if trap.message.strip() else "trapped"
    names = {wasmtime.TrapCode.STACK_OVERFLOW: STACK, wasmtime.TrapCode.INTERRUPT: INTERRUPT}
    known = names.get(code) if code is not None else None
    return TrappedError(known or (code.name.lower().replace("_", " ") if code else "trap"), text)


def _wasmtime_error(address: int) -> wasmtime.WasmtimeError:
    return wasmtime.WasmtimeError._from_ptr(ctypes.cast(address, ctypes.POINTER(ffi.wasmtime_error_t)))  # noqa: SLF001 - wasmtime has no public way


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "unknown error"


def _use_pool(config: wasmtime.Config, memory_bytes: int) -> None:
    """Instances from a pool: 14 us for a fresh one instead of 35. A size the machine lacks aborts the process."""
    pool = ffi.wasmtime_pooling_allocation_config_new()
    settings = {
        "total_core_instances": POOL_SLOTS, "total_memories": POOL_SLOTS, "total_tables": POOL_SLOTS * MAX_TABLES,
        "total_component_instances": 1, "total_stacks": 1, "total_gc_heaps": 1, "max_memory_size": memory_bytes,
        "table_elements": MAX_TABLE_ELEMENTS, "max_memories_per_module": 1, "max_tables_per_module": MAX_TABLES,
        "max_core_instance_size": 1 << 20, "linear_memory_keep_resident": KEEP_RESIDENT_BYTES,
        "table_keep_resident": KEEP_RESIDENT_BYTES, "max_unused_warm_slots": POOL_SLOTS,
    }  # fmt: skip
    for name, value in settings.items():
        getattr(ffi, f"wasmtime_pooling_allocation_config_{name}_set")(pool, value)
    ffi.wasmtime_pooling_allocation_strategy_set(config.ptr(), pool)
    ffi.wasmtime_pooling_allocation_config_delete(pool)
