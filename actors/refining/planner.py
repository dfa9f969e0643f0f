"""What an experiment will cost before it starts, from what was recorded of the agent."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import anyio.to_thread

from actors.inference.planning import Figures, forecast
from chimera.errors import BadMessageError
from subjects.agent import AgentView, Manifest, ShowAgent
from subjects.experiment import Forecast, ForecastExperiment, Plan

from .gatekeeper import Ask, Gatekeeper, check_plan
from .observing import answer_of, needs_judgement, observe
from .primary import Primary
from .recorded import Recorded, Recorder

_NEWEST = 5_000
_FEWEST = 30


class Planner:
    """Simulates plans on an agent's figures.

    Args:
        recorder: Holds recorded tasks.
        gate: Knows the error budget, and which tasks judged a candidate already.
        ask: Asks the agent actor.
    """

    def __init__(self, recorder: Recorder, gate: Gatekeeper, ask: Ask) -> None:
        self._recorder, self._gate, self._ask = recorder, gate, ask
        self._primary = Primary(recorder)

    async def forecast(self, message: ForecastExperiment) -> Forecast:
        """Power and duration if the candidate is better by ``effect``.

        Raises:
            NoAgentError: If there is no such agent.
            BadMessageError: If the plan makes no sense, or too little was recorded to know the agent.
        """
        check_plan(message.plan)
        view: AgentView = await self._ask(ShowAgent(name=message.agent))
        manifest = next(one.manifest for one in view.releases if one.number == view.live)
        budget, plan = self._gate.budget, self._primary.plan(message.plan, manifest)
        figures = self._figures(message.agent, plan, view.live, manifest)
        level = budget.next_level if plan.budget == "ledger" else plan.alpha
        try:
            return await anyio.to_thread.run_sync(_run(plan, message.effect, figures, level))
        except ValueError as error:
            raise BadMessageError(f"plan: {error}") from error

    def _figures(self, agent: str, plan: Plan, live: int, manifest: Manifest) -> Figures:
        tasks = [task for task in self._recorder.tasks(agent) if task.release == live][-_NEWEST:]
        values = [value for task in tasks if (value := observe(plan.primary, answer_of(task), manifest)) is not None]
        if len(values) < _FEWEST:
            raise BadMessageError(
                f"{len(values)} recorded tasks of '{agent}' tell '{plan.primary.name}', at least {_FEWEST} are needed",
                hint="serve some traffic first, with feedback if the metric needs it",
            )
        judged = needs_judgement(plan.primary)
        unused = self._recorder.tasks(agent, judged=judged, part="gate", after=self._gate.used(agent))
        return Figures(
            live=statistics.fmean(values), spread=statistics.pstdev(values), told=len(values) / len(tasks),
            recorded=sum(1 for _ in unused), messages_per_s=_per_s(tasks),
        )  # fmt: skip


def _run(plan: Plan, effect: float, figures: Figures, level: float) -> Callable[[], Forecast]:
    return lambda: forecast(plan, effect, figures, level=level)


def _per_s(tasks: list[Recorded]) -> float:
    seconds = tasks[-1].at - tasks[0].at
    return max(1e-6, (len(tasks) - 1) / seconds) if seconds > 0 else 1.0
