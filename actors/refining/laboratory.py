"""The laboratory: keeps every experiment going, each in a task of its own, from the first message to the last act."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Any

import anyio

from actors.gating.records import Exhausted, Row, Seen
from actors.gating.trial import Trial
from chimera.clock import Clock
from chimera.errors import ChimeraError
from subjects.agent import AgentView, Manifest, ShowAgent
from subjects.trial import Evaluate, Evaluation

from .evidence import Evidence, paired_row
from .gatekeeper import Gatekeeper
from .observing import answer_in_trial, needs_judgement
from .recorded import Recorded, Recorder

CHUNK = 40
"""Recorded messages run at a time on either release: little enough that a harmful candidate is stopped soon."""

_LOOK_S, _GATHER_S = 0.5, 0.02
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0


class Laboratory:
    """Runs what the gatekeeper keeps.

    Args:
        gate: Knows the experiments.
        recorder: Holds recorded tasks.
        ask: Asks the agent actor.
        clock: Time.
        report: Writes an event.
        spawn: Runs a coroutine function in the background.
    """

    def __init__(
        self, *, gate: Gatekeeper, recorder: Recorder, ask: Callable[[Any], Awaitable[Any]], clock: Clock,
        report: Callable[..., Any], spawn: Callable[..., None],
    ) -> None:  # fmt: skip
        self._gate, self._recorder, self._ask = gate, recorder, ask
        self._clock, self._report, self._spawn = clock, report, spawn
        self._live: dict[str, Evidence] = {}
        self._bells: dict[str, anyio.Event] = {}

    def begin(self, trial: Trial) -> None:
        """Keep an experiment going from now on; no effect if it is, or has ended."""
        id_ = trial.opened.id
        if trial.state == "running" and id_ not in self._bells:
            self._bells[id_] = anyio.Event()
            self._spawn(self._run, trial)

    def served(self, task: Recorded) -> None:
        """A task was served somewhere."""
        for id_, evidence in self._of(task.agent):
            evidence.served(task)
            self._bells[id_].set()

    def judged(self, task: Recorded) -> None:
        """A task that was served before was judged."""
        for id_, evidence in self._of(task.agent):
            evidence.judged(task)
            self._bells[id_].set()

    def ring(self, id_: str) -> None:
        """Something was decided by hand: look at once."""
        bell = self._bells.get(id_)
        if bell is not None:
            bell.set()

    def _of(self, agent: str) -> list[tuple[str, Evidence]]:
        return [(id_, one) for id_, one in self._live.items() if self._gate.trials[id_].opened.agent == agent]

    async def _run(self, trial: Trial) -> None:
        id_, pause = trial.opened.id, _FIRST_PAUSE_S
        try:
            while trial.state == "running":
                try:
                    manifests = await self._manifests(trial)
                    self._live[id_] = Evidence(trial, manifests)
                    await self._work(trial, manifests)
                except (
                    ChimeraError
                ) as error:  # the bus or the agent is away: nothing is lost, the log says where we are
                    self._report(
                        "ab-test-config", f"{id_} waits: {error.detail}", level="warning", experiment=id_,
                        code=error.code,
                    )  # fmt: skip
                    await self._clock.sleep(pause)
                    pause = min(_LONGEST_PAUSE_S, 2 * pause)
        finally:
            self._live.pop(id_, None)
            self._bells.pop(id_, None)

    async def _work(self, trial: Trial, manifests: dict[int, Manifest]) -> None:
        while trial.state == "running":
            if await self._gate.advance(trial):
                continue
            if self._live[trial.opened.id].stranger:
                self._live[trial.opened.id].stranger = False
                await self._gate.look_at_agent(trial)
                continue
            if trial.stage == "split":
                worked = await self._take(trial)
            else:
                worked = await self._pairs(trial, manifests)
            if not worked:
                await self._wait(trial)

    async def _wait(self, trial: Trial) -> None:
        id_ = trial.opened.id
        with anyio.move_on_after(_LOOK_S):
            await self._bells[id_].wait()
            await anyio.sleep(_GATHER_S)  # what comes together is written together
        self._bells[id_] = anyio.Event()

    async def _take(self, trial: Trial) -> bool:
        seen = self._live[trial.opened.id].take(self._clock.time())
        if seen is not None:
            await self._gate.write(seen)
        return seen is not None

    async def _pairs(self, trial: Trial, manifests: dict[int, Manifest]) -> bool:
        """Run the next recorded messages on both; false if there are none (yet)."""
        tasks = self._next(trial)
        if not tasks:
            if trial.stage == "replay" and not trial.exhausted:
                await self._gate.write(Exhausted(id=trial.opened.id, at=self._clock.time()))
                return True
            return False
        incumbent = trial.opened.incumbent
        live = await self._evaluate(trial, incumbent, tasks)
        rows: list[Row] = []
        for index, release in trial.active:
            tried = await self._evaluate(trial, release, tasks)
            both = manifests[incumbent], manifests[release]
            for task, one, other in zip(tasks, live.results, tried.results, strict=True):
                rows.append(paired_row(trial, index, answer_in_trial(one, task), answer_in_trial(other, task), both))
        last = max(task.seq for task in tasks)
        await self._gate.write(Seen(
            id=trial.opened.id, at=self._clock.time(), stage=trial.stage, rows=rows, kpi=last, events=trial.cursor[1],
        ))  # fmt: skip
        return True

    def _next(self, trial: Trial) -> list[Recorded]:
        judged = any(needs_judgement(metric) for metric in trial.metrics[:1])
        found = self._recorder.tasks(
            trial.opened.agent, judged=judged, part="gate", after=trial.cursor[0]
        )  # fmt: skip
        first = next(found, None)
        if first is None:
            return []
        return [first, *(task for task in islice(found, CHUNK - 1) if task.task == first.task)]

    async def _evaluate(self, trial: Trial, release: int, tasks: Sequence[Recorded]) -> Evaluation:
        return await self._ask(Evaluate(
            name=trial.opened.agent, release=release, task=tasks[0].task,
            inputs=[task.input for task in tasks if task.input is not None],
        ))  # fmt: skip

    async def _manifests(self, trial: Trial) -> dict[int, Manifest]:
        view: AgentView = await self._ask(ShowAgent(name=trial.opened.agent))
        return {release.number: release.manifest for release in view.releases}
