"""One run: the processes start, load begins, the plan is carried out step by step, and what was seen is judged."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from actors.queueing.records import unpack
from actors.scheduling.journal import STREAM
from chimera.bus.contract import Delivery
from chimera.bus.nats import NatsBus
from chimera.server.roles import RoleName
from chimera.wire import decode
from subjects.event import TaskEnded
from tests.chaos.crew import Crew
from tests.chaos.history import History
from tests.chaos.judge import Evidence, Finding, judge
from tests.chaos.ledger import Ledger, serve
from tests.chaos.load import Load, ask_patiently, output_of
from tests.chaos.plan import Fault
from tests.support.postgres import PostgresServer

PROGRESS_S = 45.0
"""The system must get on within this after a fault."""

SETTLE_S = 90.0
"""Every task must have ended within this after the last fault."""

PROJECTION_S = 30.0
"""The store's tables must say the same within this."""


@dataclass(slots=True)
class Blow:
    """A fault as it was carried out, in seconds.

    Attributes:
        silence_s: The longest time in which no task ended, from the blow to the next one.
    """

    fault: Fault
    whom: str
    at_s: float
    silence_s: float = 0.0


@dataclass(slots=True)
class Result:
    """What came of a run."""

    seed: int
    folder: Path
    blows: list[Blow] = field(default_factory=list[Blow])
    findings: list[Finding] = field(default_factory=list[Finding])
    numbers: dict[str, str | float] = field(default_factory=dict[str, str | float])

    @property
    def kills(self) -> int:
        """Blows with ``kill -9``."""
        return sum(blow.fault.act == "kill" for blow in self.blows)

    @property
    def broken(self) -> list[Finding]:
        """The invariants that did not hold."""
        return [finding for finding in self.findings if finding.broken]


class Run:
    """Carries out a plan.

    Args:
        seed: Of the load's choices, and for the record.
        plan: What is done.
        folder: Evidence: data folders, logs, what the processes wrote.
        seconds: No blow begins later than this.
        tell: Takes a line for people, as it happens.
    """

    def __init__(self, seed: int, plan: list[Fault], folder: Path, seconds: float, tell: Callable[[str], None]) -> None:
        self._plan, self._seconds, self._tell = plan, seconds, tell
        self._rng = random.Random(seed)  # noqa: S311 - a load, no secret
        self._result = Result(seed, folder)
        self._ledger, self._history = Ledger(), History()
        self._announced: Counter[str] = Counter()
        self._stalls: list[str] = []
        self._began = 0.0
        self._over = False

    async def run(self) -> Result:
        """All of it; the processes have ended afterwards."""
        folder = self._result.folder
        socket = folder / "ledger"
        self._postgres = postgres = await anyio.to_thread.run_sync(PostgresServer)
        crew = Crew(folder, socket, postgres, self._leader)
        try:
            await anyio.to_thread.run_sync(postgres.start)
            async with anyio.create_task_group() as group:
                group.start_soon(serve, self._ledger, socket)
                await anyio.to_thread.run_sync(crew.start)
                await self._work(crew)
                group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(crew.close)
                await anyio.to_thread.run_sync(postgres.close)
        return self._result

    def _leader(self) -> str:
        return self._history.leaders.get(self._history.epoch, "")

    async def _work(self, crew: Crew) -> None:
        async with (
            _connected(crew, "runtime") as bus, _connected(crew, "operator") as caller,
            anyio.create_task_group() as group,
        ):  # fmt: skip
            await caller.subscribe("chimera.live.scheduler.ended", self._on_ended)
            group.start_soon(self._follow, bus)
            group.start_soon(self._listen)
            load = Load(caller, f"http://127.0.0.1:{crew.http}", self._rng, lambda: len(self._history.ends))
            self._began = time.monotonic()
            async with anyio.create_task_group() as callers:
                callers.start_soon(load.run)
                await self._carry_out(crew)
                load.stop()
            await self._judge(crew, caller, load)
            group.cancel_scope.cancel()

    def _on_ended(self, delivery: Delivery) -> None:
        self._announced[decode(delivery.data, TaskEnded).id] += 1

    async def _follow(self, bus: NatsBus) -> None:
        async with bus.read(STREAM, follow=True) as messages:
            async for message in messages:
                self._history.take(message.seq, unpack(message.data))

    async def _listen(self) -> None:
        """Measure the silences, as long as blows fall."""
        ends, since = 0, time.monotonic()
        while not self._over:
            now = time.monotonic()
            if len(self._history.ends) != ends:
                ends, since = len(self._history.ends), now
            if self._result.blows:
                blow = self._result.blows[-1]
                blow.silence_s = max(blow.silence_s, now - max(since, self._began + blow.at_s))
            await anyio.sleep(0.02)

    # -- faults --------------------------------------------------------------------------------------------------------

    async def _carry_out(self, crew: Crew) -> None:
        for fault in self._plan:
            await self._progress(fault.after, crew)
            if time.monotonic() - self._began > self._seconds:
                break
            await self._one(fault, crew)
        await self._progress(20, crew)
        self._over = True

    async def _one(self, fault: Fault, crew: Crew) -> None:
        blow = Blow(fault, "", time.monotonic() - self._began)
        blow.whom = await anyio.to_thread.run_sync(partial(crew.strike, fault))
        self._result.blows.append(blow)
        self._tell(f"{blow.at_s:6.1f} s  {fault.number:>2}  {fault.act:<5}  {blow.whom}")
        await anyio.sleep(fault.hold_s)
        await anyio.to_thread.run_sync(partial(crew.mend, fault))
        await self._progress(1, crew)

    async def _progress(self, count: int, crew: Crew) -> None:
        """Wait until so many more tasks have ended."""
        goal, deadline = len(self._history.ends) + count, time.monotonic() + PROGRESS_S
        while len(self._history.ends) < goal:
            if time.monotonic() > deadline:
                self._stalls.append(f"{len(self._history.ends)} ends, no {count} more within {PROGRESS_S:g} s")
                return
            await anyio.to_thread.run_sync(crew.bring_back)
            await anyio.sleep(0.05)

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _judge(self, crew: Crew, bus: NatsBus, load: Load) -> None:
        acknowledged = {name for name, promise in load.promises.items() if promise.acknowledged}
        deadline = time.monotonic() + SETTLE_S
        while acknowledged - self._history.ends.keys() and time.monotonic() < deadline:
            await anyio.to_thread.run_sync(crew.bring_back)
            await anyio.sleep(0.1)
        ended_s = time.monotonic() - self._began
        seen = Evidence(load.promises, self._history, self._ledger, announced=self._announced)
        seen.views = await _views(bus, load.promises)
        seen.projected = await _projected(self._postgres, {name: view[0] for name, view in seen.views.items()})
        self._result.findings = [*judge(seen), Finding("the system gets on", self._stalls)]
        self._result.findings.append(Finding("no node gives up", crew.gave_up))
        ends = Counter(state for state, _, _ in seen.views.values())
        verdicts = self._ledger.verdicts
        self._result.numbers = {
            "blows left out": len(self._plan) - len(self._result.blows),
            "tasks submitted": len(load.promises), "acknowledged": len(acknowledged), "ends": _counted(ends),
            "submits repeated": load.repeated, "errors met by callers": _counted(load.errors),
            "ends told to callers": sum(len(promise.told) for promise in load.promises.values()),
            "more than one attempt": sum(attempt > 1 for _, attempt, _ in seen.views.values()),
            "effects applied": verdicts["applied"], "repeated, found applied": verdicts["known"],
            "zombies refused": verdicts["refused"], "leaders": _counted(Counter(self._history.leaders.values())),
            "log messages": self._history.seq, "removed before they were read": self._history.unread,
            "seconds": round(ended_s, 1),
        }  # fmt: skip


async def _projected(postgres: PostgresServer, views: dict[str, str]) -> dict[str, str]:
    """The store's table of tasks, as soon as it says what the scheduler says, or as it is after a while."""
    deadline = time.monotonic() + PROJECTION_S
    while True:
        async with postgres.connected() as connection:
            rows = await connection.fetch("SELECT id, state FROM tasks")
        found = {row["id"]: row["state"] for row in rows}
        if found == views or time.monotonic() > deadline:
            return found
        await anyio.sleep(0.2)


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common())


async def _views(bus: NatsBus, promises: Any) -> dict[str, tuple[str, int, str]]:
    views: dict[str, tuple[str, int, str]] = {}
    for name in promises:
        view = await ask_patiently(bus, "task", {"id": name})
        if view is not None:
            views[name] = (view["state"], view["attempt"], output_of(view))
    return views


@asynccontextmanager
async def _connected(crew: Crew, role: RoleName) -> AsyncGenerator[NatsBus]:
    seed, prefix = crew.identity(role)
    async with NatsBus(crew.url, name=f"chaos-{role}", seed=seed, inbox_prefix=prefix) as bus:
        yield bus
