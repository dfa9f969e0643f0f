"""Drives one auto-tune: does what its fold says is due, and writes what came of it before anything follows from it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, TypeVar

import anyio

from actors.tuning import Failed, Told
from actors.tuning import Trial as StudyTrial
from chimera.clock import Clock
from chimera.errors import (
    ChimeraError,
)
from subjects.optimizer import TuneState

from .racing import gain, half_width, known
from .recorded import Recorder
from .replaying import Measured, Replayer
from .tunedata import NEEDED, TuneData
from .tunegate import Gate, Passage
from .tunelog import Considered, Ended, Gated, Replayed, Tried, TuneEntry
from .tuneround import watched
from .tunestate import TuneFold, guard_names

CLEAR = 2.0
"""Standard errors by which a point must be better on the tasks it was chosen on before the gate is bothered with it."""

FIRST = -1
"""Stands for the genome that was live when the tune began."""

_LOOK_S, _FIND_S = 0.5, 30.0
T = TypeVar("T")
Hold = Callable[[str], AbstractAsyncContextManager[object]]
"""Of an agent: has what its replays use leased while the block runs."""


class Drive:
    """Keeps one tune going until it has ended.

    Args:
        fold: The tune.
        write: Stores an entry, then has the fold take it.
        ask: Asks the agent actor.
        gate: Runs experiments.
        recorder: Holds recorded tasks.
        clock: Time.
        timed: Is told how long each proposal took, in ms.
        hold: Has processors leased while an agent's tasks are run again; nothing waits for it.
    """

    def __init__(
        self, fold: TuneFold, *, write: Callable[[TuneEntry], Awaitable[None]], ask: Callable[[Any], Awaitable[Any]],
        gate: Gate, recorder: Recorder, clock: Clock, timed: Callable[[TuneFold, float], None],
        hold: Hold = nullcontext,
    ) -> None:  # fmt: skip
        self._fold, self._write_entry, self._ask_agent, self._hold = fold, write, ask, hold
        self._clock, self._timed = clock, timed
        self._passage = Passage(
            fold, gate, write=self._write, ask=ask, clock=clock, pause=self._pause, end=self._finish
        )
        self._data = TuneData(recorder, fold.request)
        self._guards = watched(fold.request.plan, fold.request.metric)
        self._replayer: Replayer | None = None
        self._measured: dict[int, Measured] = {}
        self._scope: anyio.CancelScope | None = None
        self._unwritten = False
        self.ended = anyio.Event()

    def halt(self) -> None:
        """The fold was told to stop: break off what only costs time."""
        if self._scope is not None:
            self._scope.cancel()

    async def run(self) -> None:
        """Do what is due until nothing is.

        Raises:
            ChimeraError: If the log can't be written; the tune goes on from it elsewhere.
        """
        try:
            while self._fold.state == "running":
                try:
                    await self._step()
                except ChimeraError as error:
                    if self._unwritten:
                        raise
                    await self._finish("failed", f"{error.code}: {error.detail}")
        finally:
            self.ended.set()

    # -- one step ------------------------------------------------------------------------------------------------------

    async def _step(self) -> None:
        due = self._fold.next(self._clock.time(), more=self._more())
        if due in ("measure", "consider", "ask") and self._replayer is None:
            await self._reload()
            return
        match due:
            case "round":
                await self._begin()
            case "ask":
                await self._propose()
            case "measure":
                await self._measure(self._fold.round.study.open[0])
            case "consider":
                await self._consider()
            case "gate":
                await self._passage.step()
            case _:
                await self._end()

    def _more(self) -> bool:
        return bool(self._fold.rounds) and self._data.more(self._fold.round.begun.tasks)

    async def _begin(self) -> None:
        """Choose the tasks of a new round, once there are enough."""
        tasks = self._data.newest()
        if len(tasks) < NEEDED:
            what = "judged tasks" if self._fold.request.metric.name in ("correct", "score_error") else "tasks"
            self._fold.waits = f"waits for {what} to choose by: {len(tasks)} of {NEEDED}"
            await self._pause()
            return
        await self._write(TuneData.round_of(self._fold.id, self._clock.time(), tasks))
        self._measured.clear()
        self._take_tasks()

    async def _reload(self) -> None:
        """After a restart: find the round's tasks again, or else begin another round."""
        until = self._clock.monotonic() + _FIND_S
        while not self._take_tasks():
            if self._clock.monotonic() >= until or self._fold.over(self._clock.time()):
                await self._give_up_round()
                return
            await self._pause()

    def _take_tasks(self) -> bool:
        fold = self._fold
        tasks = self._data.again(fold.round.begun)
        if tasks is not None:
            self._replayer = Replayer(
                ask=self._ask_agent, clock=self._clock, agent=fold.agent, release=fold.started.incumbent,
                manifest=fold.started.manifest, metric=fold.request.metric, guards=self._guards, tasks=tasks,
            )  # fmt: skip
        return tasks is not None

    async def _give_up_round(self) -> None:
        await self._drop_open("the round's tasks are not recorded any more")
        if not self._fold.over(self._clock.time()):
            await self._begin()

    async def _propose(self) -> None:
        fold, began = self._fold, self._clock.monotonic()
        study, given = fold.round.study, fold.round.given()
        asked = await anyio.to_thread.run_sync(study.ask, self._clock.time(), given)
        await self._write(Tried(id=fold.id, event=asked))
        self._timed(fold, 1e3 * (self._clock.monotonic() - began))

    # -- measuring -----------------------------------------------------------------------------------------------------

    async def _measure(self, trial: StudyTrial) -> None:
        found_round, best = self._fold.round, self._fold.round.best
        against = live = None
        if best is not None:
            against = await self._remembered(best.number)
            live = await self._remembered(FIRST)
            if against is None or live is None:
                return
        found = await self._run(trial.number, against)
        if found is None:
            return
        width = None
        if not found.crashed and not found.lost:
            metric = self._fold.request.metric
            low, high = (metric.low, metric.high) if metric.better == "higher" else (-metric.high, -metric.low)
            width = half_width(found.values, low, high)
        await self._write(
            Tried(id=self._fold.id, event=self._result(trial, found, against, live), half_width=width)
        )  # fmt: skip
        if width is not None:
            self._measured[trial.number] = found
            best = found_round.best
            keep = {trial.number, found_round.incumbent, 0, FIRST, best.number if best else FIRST}
            self._measured = {number: one for number, one in self._measured.items() if number in keep}

    def _result(
        self, trial: StudyTrial, found: Measured, best: Measured | None, live: Measured | None
    ) -> Told | Failed:
        study, now = self._fold.round.study, self._clock.time()
        values = known(found.values)
        if found.crashed or not values:
            reason = found.crashed or f"no task tells '{self._fold.request.metric.name}'"
            return study.fail(trial.number, now, reason, messages=found.run)
        value, error = math.fsum(values) / len(values), 0.0
        if found.lost and best is not None:
            loss, error = gain(found.values, best.values)
            told = known(best.values)
            value = math.fsum(told) / len(told) + loss
        return study.tell(
            trial.number, now, value, stderr=error, constraints=self._constraints(found, live), messages=found.run
        )

    def _constraints(self, found: Measured, live: Measured | None) -> dict[str, float]:
        """By how much each guardrail is broken, against the tune's first genome on the same tasks.

        Against the present one, ten promotions could each give way by the bound.
        """
        broken: dict[str, float] = {}
        names = guard_names(self._fold.request)
        for place, (name, guard) in enumerate(zip(names, self._guards, strict=True)):
            worse, _ = gain(found.guards[place], live.guards[place]) if live is not None else (0.0, 0.0)
            broken[name] = (worse if guard.metric.better == "lower" else -worse) - guard.bound
        return broken

    async def _remembered(self, number: int) -> Measured | None:
        """A trial's answers on all tasks, run again if a restart has lost them; ``None`` if it was broken off."""
        if number == FIRST and len(self._fold.rounds) == 1 and self._fold.round.study.trials[0].state == "told":
            number = 0
        found = self._measured.get(number)
        if found is None:
            found = await self._run(number, None)
            if found is not None:
                await self._write(Replayed(id=self._fold.id, at=self._clock.time(), tasks=found.run))
                self._measured[number] = found
        return found

    async def _run(self, number: int, against: Measured | None) -> Measured | None:
        replayer, fold = self._replayer, self._fold
        genome = fold.started.base if number == FIRST else fold.round.genome(number)
        if replayer is None:
            return None
        async with self._hold(fold.agent):
            return await self._unless_halted(lambda: replayer.measure(genome, against.values if against else None))

    # -- the best point ------------------------------------------------------------------------------------------------

    async def _consider(self) -> None:
        fold, now = self._fold, self._clock.time
        best = fold.round.candidate()
        if best is None:
            await self._write(Considered(id=fold.id, at=now(), reason="no point is better than the live release"))
            return
        tried, live = await self._remembered(best.number), await self._remembered(fold.round.incumbent)
        if tried is None or live is None:
            return
        better, error = gain(tried.values, live.values)
        number = fold.round.offset + best.number
        if better <= 0.0 or better < CLEAR * error:
            reason = f"trial {number} is better by {better:.4g} with standard error {error:.4g}: not clear enough"
            await self._write(Considered(id=fold.id, at=now(), reason=reason))
        else:
            name = f"{fold.id}-{len(fold.experiments) + 1}"
            await self._write(Gated(id=fold.id, at=now(), experiment=name, trial=best.number))

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _end(self) -> None:
        fold, now = self._fold, self._clock.time()
        if over := fold.over(now):
            await self._finish("stopped" if fold.halted else "exhausted", over)
            return
        told = fold.convergence(more=self._more())
        await self._finish(*(("converged", told.reason) if told.converged else ("exhausted", fold.spent())))

    async def _finish(self, state: TuneState, reason: str) -> None:
        await self._drop_open("the tune ended")
        await self._write(Ended(id=self._fold.id, at=self._clock.time(), state=state, reason=reason))

    async def _drop_open(self, reason: str) -> None:
        fold = self._fold
        for trial in fold.round.study.open if fold.rounds else ():
            event = fold.round.study.fail(trial.number, self._clock.time(), reason, fault="elsewhere")
            await self._write(Tried(id=fold.id, event=event))

    # -- means ---------------------------------------------------------------------------------------------------------

    async def _write(self, entry: TuneEntry) -> None:
        self._unwritten = True
        await self._write_entry(entry)
        self._unwritten = False

    async def _pause(self) -> None:
        await self._unless_halted(lambda: self._clock.sleep(_LOOK_S))

    async def _unless_halted(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """The work's result; ``None`` if a person or the end of the time came first. Never used around a write."""
        left = self._fold.started.at + self._fold.request.budget.seconds - self._clock.time()
        if self._fold.halted or left <= 0.0:
            return None
        with anyio.CancelScope() as self._scope:
            timer = self._clock.call_later(left, self._scope.cancel)
            try:
                return await work()
            finally:
                timer.cancel()
        return None
