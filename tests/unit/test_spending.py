"""The costs' part of a report: the ledger's window, nothing where no broker runs."""

from __future__ import annotations

from typing import Any

import pytest

from actors.refining.spending import ASK_S, Spending
from chimera.errors import ChimeraError, DeadlineError, LayerNotRunningError, NotRunningError
from chimera.testing import ManualClock
from subjects.cost import CostLine, Costs, GetCosts

pytestmark = pytest.mark.anyio
HOUR = 3600.0


def line(agent: str, hours: float, *, idle: bool = False) -> CostLine:
    """One agent's, at two euros an hour."""
    return CostLine(
        layer="execution", tenant="default", agent=agent, leases=1, gpu_hours=hours, cpu_hours=0.0, cost=2.0 * hours,
        joules=None, joules_from="none", idle=idle,
    )  # fmt: skip


class Ledger:
    """One agent has a GPU all the time, another had one until two hours ago."""

    def __init__(self, clock: ManualClock, error: ChimeraError | None = None) -> None:
        self._clock, self._error = clock, error
        self.deadlines: list[float | None] = []

    async def ask(self, message: GetCosts, *, timeout_s: float | None = None) -> Any:
        """Its last hours."""
        self.deadlines.append(timeout_s)
        if self._error is not None:
            raise self._error
        lines = [line("a", message.hours), *([line("b", message.hours - 2.0)] if message.hours > 2.0 else [])]
        now = self._clock.time()
        return Costs(
            since=now - message.hours * HOUR, until=now, currency="EUR", lines=lines, joules=None, idle_share=None,
            cost=sum(one.cost or 0.0 for one in lines), gpu_hours=sum(one.gpu_hours for one in lines),
        )  # fmt: skip


async def test_a_window_that_ends_now_is_the_ledgers() -> None:
    """Sums and lines as they are; nobody waits for ever."""
    clock = ManualClock()
    ledger, now = Ledger(clock), clock.time()
    found = await Spending(ledger.ask, clock).figures(now - 5 * HOUR, now)
    assert found is not None
    assert (found["currency"], found["joules"]) == ("EUR", None)
    assert (found["gpu_hours"], found["cost"]) == (pytest.approx(8.0), pytest.approx(16.0))
    assert ledger.deadlines == [ASK_S]


async def test_a_window_of_the_past_leaves_out_what_came_later() -> None:
    """Of the day before only that day's use counts, line by line; who used nothing in it has no line."""
    clock = ManualClock()
    now = clock.time()
    found = await Spending(Ledger(clock).ask, clock).figures(now - 5 * HOUR, now - 1 * HOUR)
    assert found is not None
    assert {one["agent"]: one["gpu_hours"] for one in found["lines"]} == pytest.approx({"a": 4.0, "b": 3.0})
    assert found["gpu_hours"] == pytest.approx(7.0)
    late = await Spending(Ledger(clock).ask, clock).figures(now - 2 * HOUR, now - 1 * HOUR)
    assert late is not None
    assert [one["agent"] for one in late["lines"]] == ["a"]


@pytest.mark.parametrize("error", [NotRunningError("x"), LayerNotRunningError("x")])
async def test_without_a_broker_there_is_no_part(error: ChimeraError) -> None:
    """Nothing is made up for a layer that does not run."""
    clock = ManualClock()
    assert await Spending(Ledger(clock, error).ask, clock).figures(0.0, clock.time()) is None


async def test_a_broker_that_does_not_answer_is_no_report_that_fails() -> None:
    """The report says so and has all the rest."""
    clock = ManualClock()
    found = await Spending(Ledger(clock, DeadlineError("too slow")).ask, clock).figures(0.0, clock.time())
    assert found == {"missing": "the GPU broker did not answer: too slow"}
