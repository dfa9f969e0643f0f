"""One evolution under way: measures the live genome, breeds, validates the champion, and takes it to the gate."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import anyio

from chimera.clock import Clock
from chimera.errors import ChimeraError
from subjects.evolution import EvolutionState

from .fold import EvolutionFold
from .generations import Generations
from .log import Ended, Entry, Measured
from .measuring import Measuring
from .passage import Passage
from .validating import Validator

_LOOK_S = 0.5


class Drive:
    """Does what is due of one evolution until nothing is.

    Args:
        fold: The evolution.
        write: Stores entries, then has the fold take them.
        ask: Asks the other actors.
        clock: Time.
        open_measuring: Finds the tasks of the evolution again and gives what measures genomes on them.
    """

    def __init__(
        self, fold: EvolutionFold, *, write: Callable[..., Awaitable[None]], ask: Callable[[Any], Awaitable[Any]],
        clock: Clock, open_measuring: Callable[[EvolutionFold], Awaitable[Measuring]],
    ) -> None:  # fmt: skip
        self._fold, self._clock, self._write_log, self._open = fold, clock, write, open_measuring
        self._passage = Passage(fold, ask=ask, write=self._write, clock=clock, pause=self._pause)
        self._measuring: Measuring | None = None
        self._generations: Generations | None = None
        self._bell = anyio.Event()
        self._scope: anyio.CancelScope | None = None
        self._unwritten = 0
        self.ended = anyio.Event()

    @property
    def rate(self) -> float:
        """Genomes measured per second of late."""
        return self._measuring.rate if self._measuring is not None else 0.0

    @property
    def generations(self) -> Generations | None:
        """The engines with their populations, once they were made."""
        return self._generations

    def look(self) -> None:
        """Something was decided by hand: break off what only costs time, and look."""
        self._bell.set()
        if self._scope is not None and (self._fold.halted is not None or self._fold.paused):
            self._scope.cancel()

    async def run(self) -> None:
        """Go on until the evolution has ended.

        Raises:
            ChimeraError: If the log can't be written; the evolution goes on from it elsewhere.
        """
        try:
            while self._fold.ended is None:
                try:
                    await self._step()
                except ChimeraError as error:
                    if self._unwritten:
                        raise
                    await self._end("failed", f"{error.code}: {error.detail}")
        finally:
            self.ended.set()

    async def _step(self) -> None:
        match self._fold.next(self._clock.time()):
            case "wait":
                await self._pause()
            case "measure":
                await self._measure()
            case "breed":
                await self._breed()
            case "validate":
                await self._validate()
            case "gate":
                await self._passage.step()
            case _:
                await self._finish()

    async def _measure(self) -> None:
        """What the live genome is worth on the training tasks."""
        fold, measuring = self._fold, await self._measures()
        score = await self._unless_halted(lambda: measuring.live("train"))
        if score is not None:
            await self._write(Measured(
                id=fold.id, at=self._clock.time(), part="train", value=score.fitness, tasks=score.tasks,
                cpu_s=score.cpu_s,
            ))  # fmt: skip

    async def _breed(self) -> None:
        if self._generations is None:
            measuring = await self._measures()
            self._generations = Generations(self._fold, measuring, write=self._write, clock=self._clock)
            await self._generations.rebuild()
        generations = self._generations
        if not await self._unless_halted(generations.one):
            self._generations = None  # it was broken off: the engines are made again from the log

    async def _validate(self) -> None:
        measuring = await self._measures()
        validator = Validator(self._fold, measuring, write=self._write, clock=self._clock)
        await self._unless_halted(validator.run)

    async def _finish(self) -> None:
        fold, now = self._fold, self._clock.time()
        over = fold.over(now)
        if fold.halted is not None:
            await self._end("stopped", fold.halted.note or "stopped by a person")
        elif fold.has_converged:
            await self._end("converged", self._outcome(fold.bred[-1].reason))
        else:
            await self._end("exhausted", self._outcome(over or f"all {fold.generation} generations were bred"))

    def _outcome(self, reason: str) -> str:
        fold = self._fold
        told = fold.judged.reason if fold.judged else fold.championed.reason if fold.championed else ""
        return f"{reason}; {told}" if told else reason

    async def _end(self, state: EvolutionState, reason: str) -> None:
        fold, champion = self._fold, self._fold.champion_record or self._fold.best_record
        await self._write(Ended(
            id=fold.id, at=self._clock.time(), state=state, reason=reason, champion=champion.id if champion else "",
        ))  # fmt: skip
        if self._measuring is not None:
            await self._measuring.close()

    # -- means ---------------------------------------------------------------------------------------------------------

    async def _measures(self) -> Measuring:
        if self._measuring is None:
            self._measuring = await self._open(self._fold)
        return self._measuring

    async def _write(self, *entries: Entry) -> None:
        self._unwritten += 1
        await self._write_log(*entries)
        self._unwritten -= 1

    async def _pause(self) -> None:
        bell = self._bell = anyio.Event()
        with anyio.CancelScope() as scope:
            timer = self._clock.call_later(_LOOK_S, scope.cancel)
            try:
                await bell.wait()
            finally:
                timer.cancel()

    async def _unless_halted(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """The work's result; ``None`` if a person or the end of the time came first."""
        left = self._fold.began.at + self._fold.began.request.budget.seconds - self._clock.time()
        if self._fold.halted is not None or left <= 0.0:
            return None
        with anyio.CancelScope() as scope:
            self._scope, timer = scope, self._clock.call_later(left, scope.cancel)
            try:
                return await work()
            except BaseExceptionGroup as group:
                raise first_of(group) from group
            finally:
                timer.cancel()
                self._scope = None
        return None


def first_of(error: BaseException) -> BaseException:
    """The error that a group of lanes ended with: the first one, unless all were only broken off with it."""
    while isinstance(error, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
        error = next((one for one in inner if not isinstance(one, anyio.get_cancelled_exc_class())), inner[0])
    return error
