"""A deny shim for WASI preview 1: guests that were linked against libc start, and can touch nothing.

Standard output and error go to the capped log; arguments, environment and standard input are empty; the clock stands
still and randomness is seeded unless granted; ``proc_exit`` ends the task; everything else answers EBADF or ENOSYS.
Nothing blocks, which wasmtime's own WASI cannot promise.
"""

from __future__ import annotations

from collections.abc import Callable

from .abi import WASI_MODULE, Signature
from .host import GuestMemory, HostFunction, Turn

OK, EBADF, EFAULT, ENOSYS = 0, 8, 21, 52
MAX_VECTORS = 64

_I, _L = "i32", "i64"
_SIGNATURES: dict[str, tuple[str, ...]] = {
    "args_get": (_I, _I), "args_sizes_get": (_I, _I), "environ_get": (_I, _I), "environ_sizes_get": (_I, _I),
    "clock_res_get": (_I, _I), "clock_time_get": (_I, _L, _I), "fd_advise": (_I, _L, _L, _I),
    "fd_allocate": (_I, _L, _L), "fd_close": (_I,), "fd_datasync": (_I,), "fd_fdstat_get": (_I, _I),
    "fd_fdstat_set_flags": (_I, _I), "fd_fdstat_set_rights": (_I, _L, _L), "fd_filestat_get": (_I, _I),
    "fd_filestat_set_size": (_I, _L), "fd_filestat_set_times": (_I, _L, _L, _I), "fd_pread": (_I, _I, _I, _L, _I),
    "fd_prestat_get": (_I, _I), "fd_prestat_dir_name": (_I, _I, _I), "fd_pwrite": (_I, _I, _I, _L, _I),
    "fd_read": (_I,) * 4, "fd_readdir": (_I, _I, _I, _L, _I), "fd_renumber": (_I, _I), "fd_seek": (_I, _L, _I, _I),
    "fd_sync": (_I,), "fd_tell": (_I, _I), "fd_write": (_I,) * 4, "path_create_directory": (_I,) * 3,
    "path_filestat_get": (_I,) * 5, "path_filestat_set_times": (_I, _I, _I, _I, _L, _L, _I), "path_link": (_I,) * 7,
    "path_open": (_I, _I, _I, _I, _I, _L, _L, _I, _I), "path_readlink": (_I,) * 6, "path_remove_directory": (_I,) * 3,
    "path_rename": (_I,) * 6, "path_symlink": (_I,) * 5, "path_unlink_file": (_I,) * 3, "poll_oneoff": (_I,) * 4,
    "proc_raise": (_I,), "random_get": (_I, _I), "sched_yield": (), "sock_accept": (_I,) * 3, "sock_recv": (_I,) * 6,
    "sock_send": (_I,) * 5, "sock_shutdown": (_I, _I),
}  # fmt: skip


def wasi_functions() -> list[HostFunction]:
    """Every function of preview 1, with no authority behind it."""
    shims = [
        HostFunction(WASI_MODULE, name, Signature(params, (_I,)), _CALLS.get(name) or _refusal(name))
        for name, params in _SIGNATURES.items()
    ]
    return [*shims, HostFunction(WASI_MODULE, "proc_exit", Signature((_I,), ()), _proc_exit)]


def wasi_signature(name: str) -> Signature | None:
    """The type of a function of preview 1, or ``None`` if there is none of that name."""
    if name == "proc_exit":
        return Signature((_I,), ())
    params = _SIGNATURES.get(name)
    return None if params is None else Signature(params, (_I,))


def _refusal(name: str) -> Callable[..., int]:
    return _bad_descriptor if name.startswith(("fd_", "sock_")) else _not_there


def _bad_descriptor(turn: Turn, memory: GuestMemory, *args: int) -> int:
    del turn, memory, args
    return EBADF


def _not_there(turn: Turn, memory: GuestMemory, *args: int) -> int:
    del turn, memory, args
    return ENOSYS


def _nothing(turn: Turn, memory: GuestMemory, *args: int) -> int:
    del turn, memory, args
    return OK


def _put(memory: GuestMemory, pointer: int, value: int, size: int) -> int:
    return OK if memory.write(pointer, value.to_bytes(size, "little")) else EFAULT


def _no_items(turn: Turn, memory: GuestMemory, count_at: int, size_at: int) -> int:
    del turn
    return _put(memory, count_at, 0, 4) or _put(memory, size_at, 0, 4)


def _clock_resolution(turn: Turn, memory: GuestMemory, clock: int, out: int) -> int:
    del turn, clock
    return _put(memory, out, 1_000_000, 8)


def _clock_time(turn: Turn, memory: GuestMemory, clock: int, precision: int, out: int) -> int:
    del clock, precision
    return _put(memory, out, turn.now_ns(), 8)


def _random_get(turn: Turn, memory: GuestMemory, pointer: int, length: int) -> int:
    if memory.read(pointer, 0) is None or memory.read(pointer + length, 0) is None:
        return EFAULT
    return OK if memory.write(pointer, turn.random(length)) else EFAULT


def _fd_read(turn: Turn, memory: GuestMemory, *args: int) -> int:
    del turn
    fd, _, _, out = args
    return _put(memory, out, 0, 4) if fd == 0 else EBADF


def _fd_write(turn: Turn, memory: GuestMemory, *args: int) -> int:
    fd, vectors, count, out = args
    if fd not in {1, 2}:
        return EBADF
    written = 0
    for index in range(min(count, MAX_VECTORS)):
        entry = memory.read(vectors + 8 * index, 8)
        if entry is None:
            return EFAULT
        pointer, length = int.from_bytes(entry[:4], "little"), int.from_bytes(entry[4:], "little")
        text = memory.read(pointer, min(length, turn.log_room()))
        if text is None:
            return EFAULT
        if length:
            turn.write_log(text.rstrip(b"\n")) if length <= turn.log_room() else _drop(turn)
        written += length
    return _put(memory, out, written & 0xFFFF_FFFF, 4)


def _drop(turn: Turn) -> None:
    turn.log_dropped += 1


def _proc_exit(turn: Turn, memory: GuestMemory, code: int) -> int:
    del memory
    turn.fail("exit", f"the guest exited with code {code}")
    return 0


_CALLS: dict[str, Callable[..., int]] = {
    "args_sizes_get": _no_items, "environ_sizes_get": _no_items, "args_get": _nothing, "environ_get": _nothing,
    "clock_res_get": _clock_resolution, "clock_time_get": _clock_time, "random_get": _random_get,
    "fd_read": _fd_read, "fd_write": _fd_write, "sched_yield": _nothing,
}  # fmt: skip
