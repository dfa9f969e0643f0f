"""What the log holds: absolute states of tasks, schedules and controls, many to a message.

Every entry says how something *is* from now on, not how it changed: reading the log again, or from the middle on, gives
the same result, and the last word counts. Tasks are many and hold no circles, so the garbage collector passes them by.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

LEVELS = ("critical", "high", "normal", "low", "background")
"""Priorities by rank."""


class Spec(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What was submitted; never changes. ``input`` is msgpack with sorted keys: equal inputs, equal bytes."""

    id: str
    agent: str
    task: str
    input: bytes
    level: int
    deadline: float
    not_before: float
    limit_s: float
    attempts: int
    first_s: float
    factor: float
    most_s: float
    jitter: float
    key: str
    labels: tuple[tuple[str, str], ...]
    callback: str
    keep_s: float
    submitted_at: float
    schedule: str = ""

    def same_work(self, other: Spec) -> bool:
        """True if a second submit of the id asks for the same."""
        return (self.agent, self.task, self.input) == (other.agent, other.task, other.input)


class Try(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One attempt. ``ended_at`` 0 = it runs."""

    number: int
    started_at: float
    ended_at: float = 0.0
    outcome: str = "running"
    detail: str = ""


class Status(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How a task stands.

    Attributes:
        state: See ``states``.
        since: When it came into this state.
        due: When a scheduled one may start.
        attempt: Number of the last attempt; it only grows, and is the fencing token of results.
        used: Attempts that count against the limit.
        tries: The last attempts, oldest first.
        reason: Why it is final, if it did not succeed.
        output: The result, msgpack.
        release: The agent's release that made it.
        losses: Attempts whose fate nobody knows; they do not count as ``used``, and have a bound of their own.
    """

    state: str
    since: float
    due: float = 0.0
    attempt: int = 0
    used: int = 0
    tries: tuple[Try, ...] = ()
    reason: str = ""
    output: bytes = b""
    release: int = 0
    losses: int = 0


class New(msgspec.Struct, frozen=True, array_like=True, tag="n", gc=False):
    """A whole task: submitted, revived, or carried forward when old messages are purged."""

    spec: Spec
    status: Status


class Moved(msgspec.Struct, frozen=True, array_like=True, tag="m", gc=False):
    """A known task's present status."""

    id: str
    status: Status


class Took(msgspec.Struct, frozen=True, array_like=True, tag="t"):
    """``node`` leads from here on, as the ``epoch``-th leader."""

    epoch: int
    node: str
    at: float


class Control(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    """What is held back, and the agents' limits: name to (concurrency, starts per second; 0 = no limit)."""

    paused: bool = False
    agents: tuple[str, ...] = ()
    draining: bool = False
    limits: dict[str, tuple[int, float]] = {}


class Plan(msgspec.Struct, frozen=True, array_like=True, tag="p"):
    """A schedule as it stands. ``task`` is a ``NewTask`` in msgpack; ``next_at`` 0 = it will not fire again."""

    id: str
    at: float
    every_s: float
    cron: str
    zone: str
    skip_missed: bool
    task: bytes
    next_at: float
    last_at: float = 0.0
    last_task: str = ""
    fired: int = 0
    missed: int = 0


class Dropped(msgspec.Struct, frozen=True, array_like=True, tag="d"):
    """A schedule is gone."""

    id: str


Entry = New | Moved | Took | Control | Plan | Dropped
_decoder = msgspec.msgpack.Decoder(list[Entry])
_encoder = msgspec.msgpack.Encoder()


def pack(entry: Entry) -> bytes:
    """One entry as bytes; ``chimera.journal.join`` makes a message of many."""
    return _encoder.encode(entry)


def unpack(data: bytes) -> Iterable[Entry]:
    """The entries of a message.

    Raises:
        msgspec.DecodeError: If it is none of ours.
    """
    return _decoder.decode(data)
