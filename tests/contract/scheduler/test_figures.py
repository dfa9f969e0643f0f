"""What the scheduler measures is what happened, and a change of the adaptive limit is told with its reason."""

from __future__ import annotations

from typing import Any

import pytest

from actors.queueing.adaptive import Aimd, AimdPolicy
from actors.scheduling.lanes import Lanes
from chimera.errors import AgentTrapError, OverloadedError
from chimera.metrics import Metrics
from chimera.system import System
from chimera.testing import settle
from subjects.scheduler import LimitAgent, Pause
from subjects.task import Retries
from tests.support.scheduler_stage import Failing, Stage, submit, view
from tests.unit.test_metrics import parse

pytestmark = pytest.mark.anyio


def shown(metrics: Metrics) -> dict[str, float]:
    """The scheduler's samples by name and labels."""
    found = parse(metrics.exposition().decode())
    return {
        name.removeprefix("chimera_scheduler_") + ("{" + labels + "}" if labels else ""): value
        for name, samples in found.items() if name.startswith("chimera_scheduler_") for labels, value in samples
    }  # fmt: skip


async def test_counts_and_levels_are_true(stage: Stage) -> None:
    """Taken, refused, finished, retried and dead tasks are counted; depth, age and leadership are levels."""
    metrics = Metrics()
    failing = Failing(3, AgentTrapError("unreachable executed"))
    system = await stage.node(work=failing, metrics=metrics)
    await submit(system, id="dies", retries=Retries(attempts=3, first_s=1.0, jitter=0.0))
    for _ in range(4):
        await settle(60)
        await stage.clock.advance(2.0)
    await submit(system, id="lives")
    await view(system, "lives")
    await system.ask(Pause())
    await submit(system, id="waits", priority="low")
    with pytest.raises(Exception, match="passed"):
        await submit(system, deadline=1.0)
    await stage.clock.advance(5.0)
    await settle(60)
    now = shown(metrics)
    assert now['submitted_tasks_total{agent="sentiment"}'] == 3
    assert now['refused_tasks_total{code="deadline"}'] == 1
    assert now['retries_total{agent="sentiment",outcome="agent-trap"}'] == 2
    assert now['finished_tasks_total{agent="sentiment",state="dead"}'] == 1
    assert now['finished_tasks_total{agent="sentiment",state="succeeded"}'] == 1
    assert now['run_duration_seconds_count{agent="sentiment"}'] == 1
    assert (now['queued_tasks{priority="low"}'], now['queued_tasks{priority="normal"}']) == (1, 0)
    assert now['agent_queued_tasks{agent="sentiment"}'] == 1
    assert now['oldest_task_age_seconds{agent="sentiment"}'] == pytest.approx(5.0, abs=1.1)
    assert (now["leader"], now["epoch"], now["dead_letters"]) == (1, 1, 1)
    assert now["log_messages"] > 0


async def test_a_stopped_leader_shows_no_more(stage: Stage) -> None:
    """Its levels are gone: another shows the same queue now."""
    metrics = Metrics()
    system = await stage.node(metrics=metrics)
    await submit(system)
    await settle(60)
    await stage.clock.advance(1.5)
    assert shown(metrics)["leader"] == 1
    instance = system.cells["scheduler"].instance
    assert instance is not None
    await instance.actor.on_stop("test")
    assert "leader" not in shown(metrics)


async def test_a_change_of_the_limit_is_an_event_with_its_reason(stage: Stage) -> None:
    """An agent that says it is full, and one that is given a lower ceiling, are told as scheduling-optimization."""
    told: list[tuple[str, str, dict[str, Any]]] = []
    failing = Failing(1, OverloadedError("full", retry_after_s=0.1))
    system: System = await stage.node(work=failing)

    def take(name: str, _layer: str, message: str, _level: str, fields: dict[str, Any]) -> None:
        told.append((name, message, fields))

    system.events = take
    await submit(system)
    await settle(60)
    await stage.clock.advance(1.5)
    await settle(60)
    await system.ask(LimitAgent(agent="sentiment", concurrency=4))
    await stage.clock.advance(1.5)
    await settle(60)
    changes = [(message, fields["limit"]) for name, message, fields in told if name == "scheduling-optimization"]
    assert changes == [
        ("sentiment: 16 -> 12 attempts at once: the agent is full", 12),
        ("sentiment: 12 -> 4 attempts at once: at most 4 are allowed", 4),
    ]


def test_slow_and_usual_runs_are_reasons() -> None:
    """Growing names the usual time, shrinking how many times the usual it was."""
    aimd = Aimd(64, AimdPolicy(start=2, window=2))
    for run_s in (0.010, 0.010):
        aimd.sample(run_s, 2)
    assert (aimd.limit, aimd.reason) == (3, "all are busy and runs take their usual 10.0 ms")
    for run_s in (0.050, 0.050):
        aimd.sample(run_s, 3)
    assert (aimd.limit, aimd.reason) == (2, "runs take 50.0 ms, 5.0 times the usual")


def test_lanes_are_bounded_by_forgetting_idle_ones() -> None:
    """A thousand agents that had a task long ago make room; one with a running attempt stays."""
    lanes = Lanes()
    for number in range(1000):
        lanes.get(f"a{number}", 0.0).arrived.add(0.0)
    lanes["a7"].in_flight = 1
    lanes.get("late", 100.0)
    assert sorted(lane.agent for lane in lanes) == ["a7", "late"]
