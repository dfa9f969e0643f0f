"""Recorded tasks with known figures, and a report with everything in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actors.refining.reporter import Sources
from chimera.store import open_store
from chimera.store.contract import Store
from subjects.agent import CheckHealth, Health
from subjects.event import Outcome, TaskJudged, TaskProcessed
from subjects.experiment import (
    Budget,
    Decision,
    Evidence,
    Experiment,
    ExperimentList,
    Experiments,
    Interval,
    Plan,
    Variant,
)
from subjects.insight import Accuracy, Anomaly, AnomalyList, GetAnomalies, GetPatterns, Pattern, PatternList
from subjects.optimizer import GetStatus, OptimizationStatus, Settings, Tune, TuneBudget

NOW = 1_800_000_000.0
"""Where ``chimera.testing.ManualClock`` begins."""

BUDGET = Budget(rate=0.1, spending="t^-1.1", tests=3, promotions=1, next_level=0.0123, method="e-LOND")
ACCURACY = Accuracy(
    precision=0.9, recall=0.8, vus_pr=0.85, delay_points=2.0, false_alarms_per_day=0.5, baseline_vus_pr=0.5,
    injections=40, seed=1, measured_at=NOW,
)  # fmt: skip


def task(
    number: int, at: float, *, agent: str = "sentiment", run_ms: float = 10.0, outcome: Outcome = "ok"
) -> TaskProcessed:
    """A record: 1 ms of waiting and half its run as CPU."""
    return TaskProcessed(
        job_id=f"j{number}", agent=agent, release=1, task="predict", outcome=outcome, at=at, queue_ms=1.0,
        run_ms=run_ms, cpu_ms=run_ms / 2, memory_bytes=0, node="n",
    )  # fmt: skip


async def fill(
    store: Store, tasks: Sequence[TaskProcessed], *, right: Sequence[str] = (), wrong: Sequence[str] = ()
) -> None:
    """Store records as the projector does, and judge some."""
    first = await store.position("KPI") + 1
    await store.save_outcomes(list(enumerate(tasks, first)), stream="KPI")
    for job, correct in [*((job, True) for job in right), *((job, False) for job in wrong)]:
        await store.save_judgement(TaskJudged(job_id=job, agent="sentiment", release=1, at=NOW, correct=correct))


def store_in(folder: Path) -> Any:
    """A store that is not opened yet."""
    return open_store("", folder, "wear")


def experiment(
    name: str = "e-1", *, at: float = NOW - 600, verdict: str = "promote", effect: float = 0.04
) -> Experiment:
    """One that was decided."""
    evidence = Evidence(
        metric="correct", n_live=200, n_candidate=200, live=0.8, candidate=0.8 + effect, effect=effect,
        interval=Interval(low=0.01, high=0.07, confidence=0.95), e_better=40.0, e_worse=0.1, test="betting",
    )  # fmt: skip
    decision: Any = verdict
    made = Decision(
        number=1, seq=1, at=at, verdict=decision, release=2, reason="more answers are right", level=0.02, e_value=60.0
    )
    return Experiment(
        id=name, agent="sentiment", state="promoted", incumbent=1, proposer="operator", note="", started_at=at - 60,
        ended_at=at, variants=[Variant(release=2, stage="done", share=0.0, primary=evidence, guardrails=[])],
        plan=Plan(), level=0.02, sample_ratio_e=1.0, messages=400, harmed=3, decisions=[made],
    )  # fmt: skip


def sources(experiments: Sequence[Experiment] = (), *, workers: int = 2) -> Sources:
    """What the other parts would say."""

    async def listed(_message: Experiments) -> ExperimentList:
        return ExperimentList(experiments=list(experiments), budget=BUDGET)

    async def patterns(_message: GetPatterns) -> PatternList:
        found = Pattern(kind="trend", series="sentiment.run_ms", confidence=0.9, since=NOW - 7200, until=NOW - 60,
                        words="it rises by 2 ms an hour", figures={})  # fmt: skip
        return PatternList(patterns=[found], series=3, accuracy=ACCURACY)

    async def anomalies(_message: GetAnomalies) -> AnomalyList:
        found = Anomaly(series="sentiment.run_ms", agent="sentiment", kind="point", at=NOW - 300, value=99.0,
                        expected=10.0, score=8.0, confidence=0.99, words="far above <what> was expected")  # fmt: skip
        return AnomalyList(anomalies=[found], accuracy=ACCURACY)

    async def health(_message: CheckHealth) -> Health:
        return Health(status="pass", node="n", version="1", uptime_s=1.0, agents=["sentiment"], in_flight=0,
                      workers=workers, checks={})  # fmt: skip

    async def tunes(_message: GetStatus) -> OptimizationStatus:
        ran = Tune(
            id="t-1", agent="sentiment", state="converged", algorithm="bayesian", threshold=0.001, step="done",
            metric="correct", started_at=NOW - 9000, ended_at=NOW - 4000, trials=[], best=None, start_value=0.6,
            experiments=["e-2"], promoted=[2], budget=TuneBudget(), used_replayed=900, used_harmed=3, improvement=0.04,
            reason="it got no better",
        )  # fmt: skip
        return OptimizationStatus(settings=Settings(), agents=[], tunes=[ran])

    return Sources(experiments=listed, tunes=tunes, patterns=patterns, anomalies=anomalies, health=health)
