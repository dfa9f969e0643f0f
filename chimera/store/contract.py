"""What the runtime needs of a store: projections of streams, for what streams answer slowly. Never the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

from subjects.agent import AgentView, Release
from subjects.event import TaskJudged, TaskProcessed


@dataclass(frozen=True, slots=True)
class OutcomeFilter:
    """Which task outcomes to read; empty fields do not filter. Newest first."""

    agent: str = ""
    release: int | None = None
    outcome: str = ""
    since: float | None = None
    until: float | None = None
    limit: int = 100
    offset: int = 0


@dataclass(frozen=True, slots=True)
class MeasureFilter:
    """Which tasks' figures to read: of one agent or all, ended at or after ``since`` and before ``until``.

    ``stride`` n takes one row of n, spread over the whole window: for what a window of millions is too large for.
    """

    since: float
    until: float
    agent: str = ""
    stride: int = 1
    limit: int = 100_000


@dataclass(frozen=True, slots=True)
class Measured:
    """A task's figures without its words. ``correct`` is ``None`` if nobody judged it; times in ms."""

    agent: str
    at: float
    queue_ms: float
    run_ms: float
    cpu_ms: float
    ok: bool
    correct: bool | None


@dataclass(frozen=True, slots=True)
class Tally:
    """An agent's tasks in a window, counted and added up by the database; ``judged`` of them have a verdict."""

    agent: str
    tasks: int
    errors: int
    queue_ms: float
    run_ms: float
    cpu_ms: float
    judged: int
    correct: int


@dataclass(frozen=True, slots=True)
class Remembered:
    """An answer kept for an Idempotency-Key: ``body_digest`` tells whether the repeat is the same request."""

    key: str
    body_digest: str
    status: int
    body: bytes
    at: float


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """Connections of a store that lives elsewhere.

    Attributes:
        connected: Whether the database answered when it was last asked.
        limit: Most connections that work is given.
        busy: Connections that work now.
        idle: Connections that wait for work.
        waits: Calls that had to wait for a connection, since the start.
        losses: Times the database was lost, since the start.
    """

    connected: bool
    limit: int
    busy: int
    idle: int
    waits: int
    losses: int


class Write(NamedTuple):
    """One statement with named parameters, run once for each of ``rows``. Both dialects must understand it."""

    sql: str
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """Counters since the start; ``pool`` for a store that has one."""

    backend: str
    location: str
    writes: int
    reads: int
    errors: int
    queued: int
    size_bytes: int
    pool: PoolStatistics | None = None


class Store(Protocol):
    """Enter it as an async context manager: opening migrates. All methods may raise ``UnavailableError``."""

    async def __aenter__(self) -> Self:
        """Open, migrate, check integrity.

        Raises:
            BadSettingError: If the place can't be written; the detail names the setting.
        """
        ...

    async def __aexit__(self, *exc: object) -> None:
        """Commit and close."""
        ...

    async def save_agent(self, view: AgentView) -> None:
        """Insert or replace an agent's pointers and insert its new releases."""
        ...

    async def agents(self) -> list[AgentView]:
        """Every agent with its releases, by name."""
        ...

    async def release(self, agent: str, number: int) -> Release | None:
        """One release."""
        ...

    async def save_outcomes(self, outcomes: Sequence[tuple[int, TaskProcessed]], *, stream: str) -> int:
        """Insert outcomes with their stream sequences and move the stream's position, in one transaction.

        Repeats (same sequence) are ignored: exactly once. Returns how many were new.
        """
        ...

    async def save_judgement(self, judged: TaskJudged) -> None:
        """Insert feedback; a later one for the same job replaces it."""
        ...

    async def outcome(self, job_id: str) -> TaskProcessed | None:
        """The newest outcome of a job."""
        ...

    async def outcomes(self, where: OutcomeFilter) -> list[TaskProcessed]:
        """Outcomes by filter, newest first."""
        ...

    async def measured(self, where: MeasureFilter) -> list[Measured]:
        """Figures of tasks, oldest first, without inputs and outputs."""
        ...

    async def tally(self, since: float, until: float) -> list[Tally]:
        """Sums per agent over a window, by agent's name: exact whatever the window holds."""
        ...

    async def position(self, stream: str) -> int:
        """Last sequence projected from a stream; 0 = none."""
        ...

    async def mark(self, stream: str, last_seq: int, generation: str = "") -> None:
        """Raise the high-water mark of a stream: the highest sequence ever seen acknowledged."""
        ...

    async def high_water(self, stream: str) -> int:
        """The high-water mark; a stream that ends below it has gone back."""
        ...

    async def setting(self, name: str) -> Any:
        """A persisted setting (JSON value), or ``None``."""
        ...

    async def set_setting(self, name: str, value: Any) -> None:
        """Persist a setting."""
        ...

    async def remembered(self, key: str) -> Remembered | None:
        """The answer stored for an Idempotency-Key."""
        ...

    async def remember(self, entry: Remembered, *, keep_s: float = 86_400.0) -> None:
        """Store an answer; entries older than ``keep_s`` go."""
        ...

    async def transact(self, writes: Sequence[Write]) -> None:
        """Do all of it, in order, in one transaction: what a projection of one stream consists of."""
        ...

    async def fetch(self, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows of a question with named parameters."""
        ...

    async def forget(self, *, outcomes_before: float) -> int:
        """Delete outcomes older than a Unix time; returns how many."""
        ...

    async def check(self) -> str:
        """``ok``, or what is wrong, from a real round trip (a write where the store is writable)."""
        ...

    def statistics(self) -> StoreStatistics:
        """Counters."""
        ...
