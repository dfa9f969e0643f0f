"""Evolution's part of a report: figures where the evolver runs, nothing where it does not."""

from __future__ import annotations

from typing import Any

import pytest

from actors.refining.broods import ASK_S, Broods
from actors.refining.page import render
from chimera.errors import ChimeraError, DeadlineError, LayerNotRunningError, NotRunningError
from subjects.autonomous import AutonomousBudget, AutonomousView, Autonomy, GetAutonomy
from subjects.evolution import EvolutionList
from subjects.experiment import Budget
from subjects.report import CapacityAdvice, Report
from tests.support.evolution import NOW, evolution

pytestmark = pytest.mark.anyio

LOOP = AutonomousView(
    agent="echo", on=True, phase="watch", cycle=1, since=NOW, budget=AutonomousBudget(), used_cpu_s=0.0, used_harmed=0,
    promotions=0, evolution="", experiment="", drift="", steps=[], reason="",
)  # fmt: skip
RUNS = [
    evolution(5, id="v-3", started_at=NOW + 50),
    evolution(30, id="v-2", started_at=NOW + 10, ended_at=NOW + 20, outcome="experiment e-1: <promoted>"),
    evolution(30, id="v-1", started_at=NOW - 100, ended_at=NOW - 50),
    evolution(30, id="v-4", started_at=NOW + 900, ended_at=NOW + 950),
]


class Evolver:
    """Answers, or fails; notes how long it may take."""

    def __init__(self, error: ChimeraError | None = None) -> None:
        self.error = error
        self.deadlines: list[float | None] = []

    async def ask(self, message: Any, *, timeout_s: float | None = None) -> Any:
        """What it knows."""
        self.deadlines.append(timeout_s)
        if self.error is not None:
            raise self.error
        return Autonomy(agents=[LOOP]) if isinstance(message, GetAutonomy) else EvolutionList(evolutions=RUNS)


async def test_figures_are_of_the_evolutions_in_the_window() -> None:
    """Those that ran at some time of it, summed and row by row; one that goes on counts; waiting has an end."""
    evolver = Evolver()
    found = await Broods(evolver.ask).figures(NOW, NOW + 100)
    assert found is not None
    assert [one["id"] for one in found["runs"]] == ["v-3", "v-2"]
    assert (found["evolutions"], found["running"], found["exhausted"]) == (2, 1, 1)
    assert (found["generations"], found["evaluations"], found["autonomous"]) == (35, 700, ["echo"])
    assert found["runs"][1]["reason"] == "experiment e-1: <promoted>"
    assert evolver.deadlines == [ASK_S, ASK_S]


@pytest.mark.parametrize("error", [NotRunningError("x"), LayerNotRunningError("x")])
async def test_without_an_evolver_there_is_no_part(error: ChimeraError) -> None:
    """Nothing is made up for a layer that does not run."""
    assert await Broods(Evolver(error).ask).figures(NOW, NOW + 100) is None


async def test_an_evolver_that_does_not_answer_is_no_report_that_fails() -> None:
    """The report says so and has all the rest."""
    found = await Broods(Evolver(DeadlineError("too slow")).ask).figures(NOW, NOW + 100)
    assert found == {"missing": "the evolver did not answer: too slow"}


async def test_the_page_has_a_row_for_each() -> None:
    """Sums in one table and a row per evolution in another, escaped."""
    report = Report(
        period="daily", since=NOW, until=NOW + 100, node="n", version="1", agents=[], hours=[], comparison=[],
        experiments=[], promotions=0, rollbacks=0, tunes=[], patterns=[], anomalies=[], accuracy=None, cost=None,
        budget=Budget(rate=0.05, spending="", tests=0, promotions=0, next_level=0.05, method="x"),
        evolution=await Broods(Evolver().ask).figures(NOW, NOW + 100),
        capacity=CapacityAdvice(workers_now=0, workers_advised=0, utilization=None, because="no task ran"),
    )  # fmt: skip
    page = render(report)
    assert "&lt;promoted&gt;" in page
    assert "evaluations" in page
    assert page.count("v-3") == 1
    assert "Cost: no data." in page
