"""Recorded tasks run on any genome beside live traffic, the same tasks in the same order for each, and their value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import groupby
from typing import Any

from chimera.clock import Clock
from chimera.errors import BadGenomeError, DeadlineError, OverloadedError, UnavailableError
from subjects.agent import Genes, Manifest
from subjects.experiment import Guardrail, Metric
from subjects.trial import Evaluate, Evaluation, Tried

from .observing import answer_in_trial, observe
from .racing import Race, Values
from .recorded import Recorded

FIRST_PIECE, LARGEST_PIECE, PIECE_BYTES = 32, 512, 256 << 10
"""Tasks of the first look of a race and of the largest one; bytes that one request carries at most."""

CRASHES = 0.5
"""A point that fails on more than this share of a piece is told as a failure, not as a bad value."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _PATIENCE_S = 0.1, 5.0, 120.0


@dataclass(slots=True)
class Measured:
    """What the tasks say of one genome, in the tasks' order; shorter than the tasks if it was stopped early.

    Attributes:
        values: The objective, higher is better.
        guards: The same for each guardrail that is watched, in its own direction and unit.
        run: Tasks run.
        crashed: Why the genome counts as a failure; empty if it does not.
        lost: Whether it lost its race against the best.
    """

    values: list[float | None] = field(default_factory=list[float | None])
    guards: list[list[float | None]] = field(default_factory=list[list[float | None]])
    run: int = 0
    crashed: str = ""
    lost: bool = False


class Replayer:
    """Measures genomes on one set of tasks.

    Args:
        ask: Asks the agent actor.
        clock: For pauses.
        agent: Whose genomes.
        release: Whose module and limits are taken.
        manifest: Says where the output holds label and score.
        metric: The objective.
        guards: Guardrails to be watched.
        tasks: What is run, see ``shuffled``.
    """

    def __init__(
        self, *, ask: Callable[[Any], Awaitable[Any]], clock: Clock, agent: str, release: int, manifest: Manifest,
        metric: Metric, guards: Sequence[Guardrail], tasks: Sequence[Recorded],
    ) -> None:  # fmt: skip
        self._ask, self._clock = ask, clock
        self._agent, self._release, self._manifest = agent, release, manifest
        self._metric, self._guards = metric, guards
        self._sign = 1.0 if metric.better == "higher" else -1.0
        self.tasks = tasks

    async def measure(self, genome: Genes, best: Values | None = None) -> Measured:
        """Run the tasks piece by piece, each larger than the one before.

        Args:
            genome: The whole of it.
            best: The objective of the best point on all tasks: whoever clearly loses against it is stopped.

        Raises:
            UnavailableError: If the agent can't be reached for minutes.
            NoAgentError, NoReleaseError: If it is gone.
        """
        found = Measured(guards=[[] for _ in self._guards])
        race, size = Race(self._metric.high - self._metric.low), FIRST_PIECE
        while len(found.values) < len(self.tasks):
            begin = len(found.values)
            piece = _piece(self.tasks[begin : begin + size])
            try:
                tried = await self._evaluate(genome, piece)
            except BadGenomeError as error:
                found.crashed = error.detail
                return found
            self._note(found, piece, tried)
            if best is None:
                continue
            failures = [one for one in tried if one.outcome != "ok"]
            if len(failures) > CRASHES * len(tried):
                found.crashed = f"{len(failures)} of {len(tried)} tasks failed: {failures[0].outcome}"
                return found
            race.add(found.values[begin:], best[begin:])
            if race.lost and len(found.values) < len(self.tasks):
                found.lost = True
                return found
            size = min(LARGEST_PIECE, 2 * size)
        return found

    def _note(self, found: Measured, piece: Sequence[Recorded], tried: Sequence[Tried]) -> None:
        answers = [answer_in_trial(one, task) for one, task in zip(tried, piece, strict=True)]
        values = (observe(self._metric, answer, self._manifest) for answer in answers)
        found.values += [None if value is None else self._sign * value for value in values]
        for guard, seen in zip(self._guards, found.guards, strict=True):
            seen += [observe(guard.metric, answer, self._manifest) for answer in answers]
        found.run += len(piece)

    async def _evaluate(self, genome: Genes, piece: Sequence[Recorded]) -> list[Tried]:
        """Results in the piece's order, task by task of the agent."""
        results: list[Tried] = []
        for name, group in groupby(piece, key=lambda task: task.task):
            results += await self._run(genome, name, list(group))
        return results

    async def _run(self, genome: Genes, name: str, tasks: Sequence[Recorded]) -> list[Tried]:
        inputs = [task.input for task in tasks if task.input is not None]
        message = Evaluate(name=self._agent, release=self._release, genome=genome, task=name, inputs=inputs)
        try:
            reply: Evaluation = await patient(self._ask, self._clock, message)
        except DeadlineError:
            if len(tasks) == 1:
                return [Tried(outcome="agent-limit", detail="the task took longer than anybody waits")]
            half = len(tasks) // 2
            return [*await self._run(genome, name, tasks[:half]), *await self._run(genome, name, tasks[half:])]
        return reply.results


async def patient(ask: Callable[[Any], Awaitable[Any]], clock: Clock, message: Any) -> Any:
    """The answer, asked for again while nobody is there or all are busy.

    Raises:
        UnavailableError, OverloadedError: If that went on for two minutes.
    """
    pause, until = _FIRST_PAUSE_S, clock.monotonic() + _PATIENCE_S
    while True:
        try:
            return await ask(message)
        except (UnavailableError, OverloadedError):
            if clock.monotonic() >= until:
                raise
        await clock.sleep(pause)
        pause = min(_LONGEST_PAUSE_S, 2 * pause)


def shuffled(tasks: Iterable[Recorded]) -> list[Recorded]:
    """The tasks in an order that depends on their ids alone: what a race sees first is a sample of them all."""
    return sorted(tasks, key=lambda task: (_mixed(task.job_id), task.job_id))


def digest_of(tasks: Iterable[Recorded]) -> str:
    """By which a set of tasks and what was said of them is known."""
    found = blake2b(digest_size=16)
    for task in tasks:
        found.update(f"{task.job_id}\0{task.seq}\0{task.judged_seq}\n".encode("utf-8", "surrogatepass"))
    return found.hexdigest()


def _mixed(job_id: str) -> bytes:
    # not the hash that parts tune from gate: within one part that is lopsided
    return blake2b(job_id.encode("utf-8", "surrogatepass"), digest_size=8, person=b"replay order").digest()


def _piece(tasks: Sequence[Recorded]) -> Sequence[Recorded]:
    """As many of the tasks, one at least, as one request may carry."""
    size = 0
    for count, task in enumerate(tasks):
        size += task.size
        if count and size > PIECE_BYTES:
            return tasks[:count]
    return tasks
