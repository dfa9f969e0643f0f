"""A guest called through wasmtime's public API, without limits or isolation: for guest authors and tests."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

ERROR_FLAG = 1 << 31
FIRST_BUFFER = 4096


class GuestRefusalError(Exception):
    """The guest answered with its error flag set; the message is its own."""


class PlainGuest:
    """One instance of a module that imports nothing.

    Args:
        module: WebAssembly bytes.

    Raises:
        wasmtime.WasmtimeError: If the module is invalid or imports something.
    """

    def __init__(self, module: bytes) -> None:
        import wasmtime  # noqa: PLC0415 - heavy

        engine = wasmtime.Engine()
        self._store = wasmtime.Store(engine)
        instance = wasmtime.Instance(self._store, wasmtime.Module(engine, module), [])
        self._exports: Any = instance.exports(self._store)
        self._room = 0
        self._buffer = 0
        if "_initialize" in self._exports:
            self._exports["_initialize"](self._store)

    @property
    def memory_bytes(self) -> int:
        """Size of the instance's memory now."""
        size: int = self._exports["memory"].data_len(self._store)
        return size

    def configure(self, genes: Sequence[float] = (), config: bytes = b"") -> None:
        """Set the genome.

        Raises:
            GuestRefusalError: If the guest does not take it.
        """
        header = struct.pack(f"<II{len(genes)}d", len(genes), len(config), *genes)
        self.call("chimera_configure", header + config)

    def call(self, task: str, payload: bytes) -> bytes:
        """Run one task and copy its answer.

        Raises:
            GuestRefusalError: If the guest refuses the payload.
            wasmtime.Trap: If it traps.
        """
        self._exports["memory"].write(self._store, payload, self._place(len(payload)))
        packed: int = self._exports[task](self._store, self._buffer, len(payload))
        start, length = packed >> 32 & 0xFFFFFFFF, packed & (ERROR_FLAG - 1)
        answer = bytes(self._exports["memory"].read(self._store, start, start + length))
        if packed & ERROR_FLAG:
            raise GuestRefusalError(answer.decode())
        return answer

    def _place(self, length: int) -> int:
        """A buffer of the guest that holds ``length`` bytes, asked for once and then doubled."""
        if length > self._room or not self._buffer:
            self._room = max(FIRST_BUFFER, 1 << (length - 1).bit_length())
            self._buffer = self._exports["chimera_alloc"](self._store, self._room) & 0xFFFFFFFF
        if not self._buffer:
            raise MemoryError(f"the guest gave no buffer of {self._room} bytes")
        return self._buffer
