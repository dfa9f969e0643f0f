"""What a guest may ask of its host: one table of functions, and the state of the task they work on.

Functions are defined once per engine and capture nothing: each call gets the active :class:`Turn` and a view of the
caller's memory. None raises; a fault is noted in the turn, and the engine layer then interrupts the guest.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from .abi import HOST_MODULE, HOST_SIGNATURES, Signature, subject_matches

MAX_OUTBOX_BYTES = 1 << 20
MAX_OUTBOX_MESSAGES = 256
EMITTED, NOT_ALLOWED, OUTBOX_FULL = range(3)


class GuestMemory(Protocol):
    """The memory of the instance that called; pointers and lengths are unsigned."""

    def read(self, pointer: int, length: int) -> bytes | None:
        """A copy, or ``None`` if it is outside the memory."""
        ...

    def write(self, pointer: int, data: bytes) -> bool:
        """False, with nothing written, if it is outside the memory."""
        ...


class Turn:
    """One task in the host's eyes: its log, its outbox, its sources of time and chance, and its fault if it has one."""

    __slots__ = (
        "_drawn", "_log_room", "_max_lines", "_outbox_room", "_patterns", "_seed", "fault", "fault_kind", "log",
        "log_dropped", "outbox", "real_clock", "real_random",
    )  # fmt: skip

    def __init__(
        self, *, seed: bytes, patterns: tuple[str, ...] = (), log_bytes: int = 16_384, log_lines: int = 100,
        real_clock: bool = False, real_random: bool = False,
    ) -> None:  # fmt: skip
        self.log: list[str] = []
        self.log_dropped = 0
        self.outbox: list[tuple[str, bytes]] = []
        self.fault = ""
        self.fault_kind = ""
        self.real_clock, self.real_random = real_clock, real_random
        self._seed, self._drawn = seed, 0
        self._patterns = patterns
        self._log_room, self._max_lines, self._outbox_room = log_bytes, log_lines, MAX_OUTBOX_BYTES

    def fail(self, kind: str, detail: str) -> None:
        """Note the first fault: ``contract`` (a broken rule of the ABI), ``exit`` or ``host`` (our own mistake)."""
        if not self.fault:
            self.fault_kind, self.fault = kind, detail

    def write_log(self, text: bytes) -> None:
        """Keep a line while there is room, else count it as dropped."""
        if len(self.log) >= self._max_lines or len(text) > self._log_room:
            self.log_dropped += 1
            return
        self._log_room -= len(text)
        self.log.append(text.decode("utf-8", "replace"))

    def log_room(self) -> int:
        """Bytes that the log still takes: nobody needs to copy more out of the guest."""
        return self._log_room if len(self.log) < self._max_lines else 0

    def emit(self, subject: bytes, body: bytes) -> int:
        """Put a message into the outbox: 0, or 1 if its subject is not granted, or 2 if the outbox is full."""
        try:
            name = subject.decode("ascii")
        except UnicodeDecodeError:
            return NOT_ALLOWED
        if not _is_subject(name) or not any(subject_matches(pattern, name) for pattern in self._patterns):
            return NOT_ALLOWED
        if len(self.outbox) >= MAX_OUTBOX_MESSAGES or len(body) > self._outbox_room:
            return OUTBOX_FULL
        self._outbox_room -= len(body)
        self.outbox.append((name, body))
        return EMITTED

    def now_ns(self) -> int:
        """Unix nanoseconds if a real clock was granted; a deterministic guest lives at the epoch."""
        return time.time_ns() if self.real_clock else 0

    def random(self, length: int) -> bytes:
        """Random bytes if granted; a deterministic guest gets SHAKE-256 of its agent, task and payload."""
        if self.real_random:
            return os.urandom(length)
        self._drawn += 1
        return hashlib.shake_256(self._seed + self._drawn.to_bytes(8, "little")).digest(length)


class HostSlot:
    """The turn that is being run on one engine. One guest at a time runs on an engine, so one slot is enough."""

    __slots__ = ("turn",)

    def __init__(self) -> None:
        self.turn = Turn(seed=b"")


class HostFunction(NamedTuple):
    """A function offered to guests. ``call`` takes the turn, the memory and the unsigned arguments."""

    module: str
    name: str
    signature: Signature
    call: Callable[..., int]


def chimera_functions() -> list[HostFunction]:
    """The functions of the import module ``chimera_v1``."""
    calls: dict[str, Callable[..., int]] = {"log": _log, "emit": _emit, "now": _now, "random": _random}
    return [HostFunction(HOST_MODULE, name, HOST_SIGNATURES[name], call) for name, call in calls.items()]


def _log(turn: Turn, memory: GuestMemory, level: int, pointer: int, length: int) -> int:
    del level  # the ABI has it for hosts that filter; here every line is kept while there is room
    if length > turn.log_room():
        turn.log_dropped += 1
        return 0
    text = memory.read(pointer, length)
    if text is None:
        turn.fail("contract", "log was given bytes outside the guest's memory")
    else:
        turn.write_log(text)
    return 0


def _emit(turn: Turn, memory: GuestMemory, *at: int) -> int:
    subject_at, subject_len, body_at, body_len = at
    if subject_len > 256:  # noqa: PLR2004 - longest subject taken
        return NOT_ALLOWED
    if body_len > MAX_OUTBOX_BYTES:
        return OUTBOX_FULL
    subject, body = memory.read(subject_at, subject_len), memory.read(body_at, body_len)
    if subject is None or body is None:
        turn.fail("contract", "emit was given bytes outside the guest's memory")
        return NOT_ALLOWED
    return turn.emit(subject, body)


def _now(turn: Turn, memory: GuestMemory) -> int:
    del memory
    return turn.now_ns()


def _random(turn: Turn, memory: GuestMemory, pointer: int, length: int) -> int:
    # The bounds come first: a lying length must not make the host draw gigabytes.
    if memory.read(pointer, 0) is None or memory.read(pointer + length, 0) is None:
        turn.fail("contract", "random was given bytes outside the guest's memory")
    else:
        memory.write(pointer, turn.random(length))
    return 0


def _is_subject(name: str) -> bool:
    tokens = name.split(".")
    return all(token and token.isprintable() and not set(token) & set("*> ") for token in tokens)
