"""One configured instance speaking the ABI: bytes in, bytes out, every pointer checked."""

from __future__ import annotations

from .abi import buffer_size, unpack_result
from .layer import Cell, GuestError, Program

MAX_MESSAGE_BYTES = 4096
MAX_BUFFER_BYTES = 1 << 30


class RefusedError(GuestError):
    """The guest answered with its error flag: its own word, and the instance stays good."""


class BrokenError(GuestError):
    """The guest broke the ABI."""


class OverLimitError(GuestError):
    """The guest wanted more than its limit of memory or output."""

    def __init__(self, limit: str, detail: str) -> None:
        self.limit = limit
        super().__init__(detail)


class Instance:
    """A started instance and its input buffer, which it gave once and the host owns from then on."""

    __slots__ = ("_capacity", "_cell", "_pointer", "first_memory_bytes", "served")

    def __init__(self, program: Program, memory_bytes: int) -> None:
        self._cell: Cell = program.start(memory_bytes)
        self._pointer = self._capacity = 0
        self.served = 0
        self.first_memory_bytes = self._cell.memory_size()

    def initialize(self) -> None:
        """Run ``_initialize``.

        Raises:
            GuestError: If it traps or passes a limit.
        """
        self._cell.initialize()

    def renew(self) -> None:
        """Make it ready for another task after others ran on the engine."""
        self._cell.renew()

    def run(self, function: str, payload: bytes, output_bytes: int) -> bytes:
        """Call a task or ``chimera_configure``.

        Raises:
            RefusedError: With the guest's own message.
            OverLimitError: If the answer is over ``output_bytes``, or the guest is out of memory.
            BrokenError: If it lies about a pointer.
            TrappedError: If it traps or is interrupted.
        """
        cell, length = self._cell, len(payload)
        if length > self._capacity:
            self._grow(length)
        cell.write(self._pointer, payload)
        return self._take(cell.call(function, self._pointer, length), output_bytes)

    def memory_bytes(self) -> int:
        """Linear memory now."""
        return self._cell.memory_size()

    def close(self) -> None:
        """Free it."""
        self._cell.close()

    def _grow(self, length: int) -> None:
        size = buffer_size(length)
        if size > MAX_BUFFER_BYTES:
            raise OverLimitError("memory", f"a payload of {length} bytes fits no guest")
        pointer = self._cell.alloc(size)
        if pointer == 0:
            raise OverLimitError("memory", f"the guest has no memory for an input of {length} bytes")
        if pointer + size > self._cell.memory_size():
            raise BrokenError("chimera_alloc returned a buffer outside the guest's memory")
        self._pointer, self._capacity = pointer, size

    def _take(self, packed: int, output_bytes: int) -> bytes:
        pointer, length, is_error = unpack_result(packed)
        if is_error:
            length = min(length, MAX_MESSAGE_BYTES)
        elif length > output_bytes:
            raise OverLimitError("output", f"the answer has {length} bytes; its limit is {output_bytes}")
        if pointer + length > self._cell.memory_size():
            raise BrokenError("the answer lies outside the guest's memory")
        output = self._cell.read(pointer, length)
        if is_error:
            raise RefusedError(output.decode("utf-8", "replace") or "the agent gave no reason")
        return output
