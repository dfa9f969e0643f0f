"""What a report says of evolution: the evolver is asked over the bus, and is absent where it does not run."""

from __future__ import annotations

from typing import Any, Protocol

from chimera.errors import ChimeraError, LayerNotRunningError, NotRunningError
from subjects.autonomous import Autonomy, GetAutonomy
from subjects.evolution import Evolution, EvolutionList, ListEvolutions

ASK_S = 3.0
"""How long a report waits for each of the evolver's answers."""

_STATES = ("running", "paused", "converged", "exhausted", "stopped", "failed")


class Asks(Protocol):
    """Asks the actor that declared an operation."""

    async def __call__(self, message: Any, *, timeout_s: float | None = None) -> Any:
        """Its answer."""
        ...


class Broods:
    """Evolution's part of a report.

    Args:
        ask: Asks the evolver.
    """

    def __init__(self, ask: Asks) -> None:
        self._ask = ask

    async def figures(self, since: float, until: float) -> dict[str, Any] | None:
        """What was evolved in a window; ``None`` if the evolver does not run, ``missing`` if it does not answer."""
        try:
            listed: EvolutionList = await self._ask(ListEvolutions(limit=1000), timeout_s=ASK_S)
            autonomy: Autonomy = await self._ask(GetAutonomy(steps=0), timeout_s=ASK_S)
        except (NotRunningError, LayerNotRunningError):
            return None
        except ChimeraError as error:
            return {"missing": f"the evolver did not answer: {error.detail}"}
        found = [one for one in listed.evolutions if one.started_at < until and (one.ended_at or until) >= since]
        return {**summed(found), "autonomous": [one.agent for one in autonomy.agents if one.on]}


def summed(evolutions: list[Evolution]) -> dict[str, Any]:
    """Sums over evolutions, each with its whole life, and a row for each."""
    states = [one.state for one in evolutions]
    return {
        "evolutions": len(evolutions), **{state: states.count(state) for state in _STATES if state in states},
        "generations": sum(one.generation for one in evolutions),
        "evaluations": sum(one.evaluations for one in evolutions),
        "tasks_run": sum(one.tasks_run for one in evolutions), "cpu_s": sum(one.cpu_s for one in evolutions),
        "runs": [row(one) for one in evolutions],
    }  # fmt: skip


def row(one: Evolution) -> dict[str, Any]:
    """One evolution in a report."""
    return {
        "id": one.id, "agent": one.agent, "state": one.state, "algorithm": one.algorithm,
        "generation": one.generation, "baseline": one.baseline, "best": one.best,
        "champion": one.champion.id if one.champion else "", "validated": one.champion_value,
        "live": one.incumbent_value, "reason": one.outcome or one.reason,
    }  # fmt: skip
