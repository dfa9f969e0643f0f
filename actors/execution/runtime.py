"""One agent as it runs here: live, candidate and previous release, warm; swapped without a lost task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import anyio

from chimera.errors import BreakerOpenError, ChimeraError, NoAgentError, OverloadedError, UnavailableError
from chimera.sandbox.contract import Guest
from subjects.agent import Release

from .batching import Batcher, BatchPolicy
from .breaker import Breaker, Ticket
from .drafts import guest_spec
from .guests import GuestPool
from .manifest import tasks_of
from .releases import Record, ReleaseBook
from .routing import is_candidate
from .settings import Serving
from .statistics import Accuracy, TaskWindow

Variant = Literal["live", "candidate"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every agent's runtime shares."""

    book: ReleaseBook
    pool: GuestPool
    serving: Serving
    batching: BatchPolicy
    now: Callable[[], float]
    spawn: Callable[..., None]


class Slot:
    """A loaded release with its queue and its circuit breaker: a bad candidate never shuts the live release."""

    __slots__ = ("_idle", "batcher", "breaker", "guest", "in_flight", "release", "tasks")

    def __init__(self, release: Release, guest: Guest, around: Surroundings) -> None:
        self.release = release
        self.guest = guest
        self.tasks = tasks_of(release.manifest, guest.info)
        self.batcher = Batcher(guest, around.batching, around.now)
        self.breaker = Breaker(around.serving.breaker)
        self.in_flight = 0
        self._idle = anyio.Event()

    def leave(self) -> None:
        """A task is done with it."""
        self.in_flight -= 1
        if self.in_flight == 0:
            self._idle.set()

    async def drain(self) -> None:
        """Wait until no task uses it."""
        while self.in_flight:
            self._idle = anyio.Event()
            await self._idle.wait()
        self.batcher.close()


@dataclass(slots=True)
class Choice:
    """Who serves a task, and the breaker's leave to do so."""

    slot: Slot
    variant: Variant
    ticket: Ticket


class AgentRuntime:
    """Applies the book's pointers to loaded guests, and chooses who serves a task."""

    def __init__(self, name: str, around: Surroundings) -> None:
        self.name = name
        self.live: Slot | None = None
        self.candidate: Slot | None = None
        self.previous: Slot | None = None
        self.share = 0.0
        self.in_flight = 0
        self.problem = ""
        self.tasks = TaskWindow(around.serving.statistics)
        self.accuracy = Accuracy(around.serving.statistics)
        self._around = around
        self._applied: int = 0
        self._lock = anyio.Lock()

    @property
    def slots(self) -> list[Slot]:
        """What is loaded; the previous release may be the one on trial."""
        return list(dict.fromkeys(slot for slot in (self.live, self.candidate, self.previous) if slot is not None))

    @property
    def queued(self) -> int:
        """Tasks that wait for a worker."""
        return sum(slot.batcher.queued for slot in self.slots)

    def enter(self) -> None:
        """Take a task in; ``leave`` must follow.

        Raises:
            OverloadedError: If the agent has as many tasks under way as it may (its bulkhead).
        """
        if self.in_flight >= self._around.serving.in_flight:
            retry = self.live.batcher.retry_after_s if self.live else 1.0
            raise OverloadedError(f"{self.in_flight} tasks of '{self.name}' are under way", retry_after_s=retry)
        self.in_flight += 1

    def leave(self) -> None:
        """A task left."""
        self.in_flight -= 1

    def choose(self, key: str) -> Choice:
        """The release that serves ``key``; the caller must ``leave`` the slot and settle the breaker's ticket.

        While the candidate's breaker is open, the live release serves its keys too.

        Raises:
            UnavailableError: If the agent could not be loaded here.
            BreakerOpenError: If the live release's breaker is open.
        """
        now, candidate, live = self._around.now(), self.candidate, self.live
        if candidate is not None and is_candidate(self.name, candidate.release.number, key, self.share):
            ticket = candidate.breaker.allow(now)
            if ticket is not None:
                candidate.in_flight += 1
                return Choice(candidate, "candidate", ticket)
        if live is None:
            raise UnavailableError(f"agent '{self.name}' can't be served here: {self.problem or 'it is being loaded'}")
        ticket = live.breaker.allow(now)
        if ticket is None:
            raise BreakerOpenError(
                f"agent '{self.name}' failed too often", retry_after_s=max(0.001, live.breaker.retry_after(now))
            )
        live.in_flight += 1
        return Choice(live, "live", ticket)

    async def apply(self, record: Record) -> None:
        """Serve as ``record`` says: load what is missing, swap, then drain what is no longer wanted.

        Raises:
            BadModuleError, BadGenomeError: If the live release can't be loaded; then the old one serves on.
        """
        async with self._lock:
            if record.revision < self._applied or (record.revision == self._applied and not self.problem):
                return
            try:
                await self._swap(record)
                self.problem = await self._warm(record)
            except ChimeraError as error:
                self.problem = error.detail
                raise
            self._applied = record.revision

    async def close(self) -> None:
        """Serve nothing any more; what runs runs out."""
        async with self._lock:
            self._replace(None, None, None)

    async def _swap(self, record: Record) -> None:
        now = record.pointers
        if not record.is_live:
            self._replace(None, None, None)
            return
        live = await self._slot(record, now.live)
        candidate = None
        try:
            candidate = await self._slot(record, now.candidate) if now.candidate is not None else None
        finally:
            # a candidate that can't be loaded must not keep a new live release from serving
            self.share = now.share
            self._replace(live, candidate, self._loaded(now.previous))

    async def _warm(self, record: Record) -> str:
        """Load the previous release; what went wrong, if anything: serving does not depend on it."""
        previous = record.pointers.previous
        if record.is_live and previous is not None and self.previous is None:
            try:
                self.previous = await self._slot(record, previous)
            except ChimeraError as error:
                return f"previous release {previous}: {error.detail}"
        return ""

    async def _slot(self, record: Record, number: int) -> Slot:
        found = self._loaded(number)
        if found is not None:
            return found
        release = await self._around.book.fetch(record, number)
        guest = await self._around.pool.acquire(guest_spec(release, self._around.serving.limits))
        slot = Slot(release, guest, self._around)
        self._around.spawn(slot.batcher.run)
        return slot

    def _loaded(self, number: int | None) -> Slot | None:
        return next((slot for slot in self.slots if slot.release.number == number), None)

    def _replace(self, live: Slot | None, candidate: Slot | None, previous: Slot | None) -> None:
        before = self.slots
        self.live, self.candidate, self.previous = live, candidate, previous
        for slot in before:
            if slot not in self.slots:
                self._around.spawn(self._drain, slot)

    async def _drain(self, slot: Slot) -> None:
        await slot.drain()
        await self._around.pool.release(slot.guest)


class Fleet:
    """Every agent's runtime on this node, kept as the book says."""

    def __init__(self, around: Surroundings, report: Callable[..., Any]) -> None:
        self._around = around
        self._report = report
        self._runtimes: dict[str, AgentRuntime] = {}
        self._stale: set[str] = set()

    def runtimes(self) -> list[AgentRuntime]:
        """Every agent in service, by name."""
        return [self._runtimes[name] for name in sorted(self._runtimes)]

    def find(self, name: str) -> AgentRuntime:
        """The agent's runtime.

        Raises:
            NoAgentError: If there is none, or it is retired.
        """
        runtime = self._runtimes.get(name)
        if runtime is None:
            record = self._around.book.cached(name)
            if record is not None and not record.is_live:
                raise NoAgentError(f"agent '{name}' is retired", hint="deploy one of its releases to bring it back")
            raise NoAgentError(f"there is no agent '{name}'")
        return runtime

    async def apply(self, record: Record) -> None:
        """Bring one agent to what the record says.

        Raises:
            BadModuleError, BadGenomeError: If its release can't be loaded.
        """
        if not record.is_live:
            runtime = self._runtimes.pop(record.name, None)
            if runtime is not None:
                await runtime.close()
            return
        runtime = self._runtimes.setdefault(record.name, AgentRuntime(record.name, self._around))
        await runtime.apply(record)

    def changed(self, name: str) -> None:
        """The book says that an agent's pointers moved: follow in the background."""
        if name not in self._stale:
            self._stale.add(name)
            self._around.spawn(self.follow, name)

    async def follow(self, name: str) -> None:
        """Bring one agent to what the book says; what can't be loaded is reported, the rest goes on."""
        self._stale.discard(name)
        record = self._around.book.cached(name)
        try:
            if record is not None:
                await self.apply(record)
            elif (gone := self._runtimes.pop(name, None)) is not None:
                await gone.close()
        except ChimeraError as error:
            self._report(
                "wasm-runtime", f"agent '{name}' can't be loaded: {error.detail}", level="error", agent=name,
                code=error.code,
            )  # fmt: skip
