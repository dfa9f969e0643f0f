"""What the rest of the sandbox needs of an engine, so that the fast layer and the public one are interchangeable."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from .host import HostSlot

STACK, INTERRUPT, INSTANTIATE = "stack overflow", "interrupt", "instantiate"


class GuestError(Exception):
    """A task that did not end well; the subclasses are the outcomes that the ABI keeps apart."""

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(detail)


class TrappedError(GuestError):
    """The guest stopped. ``code`` is ``interrupt``, ``stack overflow``, ``instantiate`` or the trap's name."""

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        super().__init__(detail)


class Cell(Protocol):
    """One live instance in its own store. After a trap it must be closed."""

    def initialize(self) -> None:
        """Call ``_initialize``.

        Raises:
            TrappedError: If the guest traps or is interrupted.
        """
        ...

    def alloc(self, size: int) -> int:
        """Call ``chimera_alloc``; the pointer is unsigned.

        Raises:
            TrappedError: If the guest traps or is interrupted.
        """
        ...

    def call(self, name: str, pointer: int, length: int) -> int:
        """Call a checked ``(i32, i32) -> i64`` export; the result is signed.

        Raises:
            TrappedError: If the guest traps or is interrupted.
        """
        ...

    def renew(self) -> None:
        """Let the instance run until the next interrupt: needed before it is used again."""
        ...

    def memory_size(self) -> int:
        """Bytes of linear memory."""
        ...

    def read(self, pointer: int, length: int) -> bytes:
        """A copy of bytes that the caller checked to be inside."""
        ...

    def write(self, pointer: int, data: bytes) -> None:
        """Put bytes where the caller checked that they fit."""
        ...

    def close(self) -> None:
        """Free it. Safe to call twice."""
        ...


class Program(Protocol):
    """A compiled, linked module."""

    @property
    def has_initialize(self) -> bool:
        """Whether it wants ``_initialize`` called once."""
        ...

    def start(self, memory_bytes: int) -> Cell:
        """A fresh instance whose start function ran.

        Raises:
            TrappedError: If that trapped, or the instance does not fit its limits (code ``instantiate``).
        """
        ...


class Machine(Protocol):
    """One engine with the host functions defined on it. Use it from one thread; ``interrupt`` from any."""

    slot: HostSlot

    def load(self, path: Path) -> Program:
        """Link a compiled module from a file that was verified.

        Raises:
            OSError: If the file cannot be used by this engine.
        """
        ...

    def interrupt(self) -> None:
        """Stop whatever guest runs on this engine at its next loop or call."""
        ...


def open_machine(api: str, *, deterministic: bool, pooling: bool, memory_bytes: int) -> Machine:
    """An engine of the chosen layer. ``auto`` is raw where wasmtime is the version that it was made for.

    Raises:
        RuntimeError: If ``raw`` was asked for and wasmtime is another version.
    """
    from .engine import RAW_VERSION, wasmtime_version  # noqa: PLC0415 - wasmtime loads only where guests run

    if api == "raw" or (api == "auto" and wasmtime_version() == RAW_VERSION):
        from .raw import RawMachine  # noqa: PLC0415 - the same

        return RawMachine(deterministic=deterministic, pooling=pooling, memory_bytes=memory_bytes)
    from .public import PublicMachine  # noqa: PLC0415 - the same

    return PublicMachine(deterministic=deterministic)
