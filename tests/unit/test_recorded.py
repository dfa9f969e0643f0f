"""Recorded tasks, their judgements, and the numbers made of them."""

from __future__ import annotations

import pytest

from actors.refining.gatekeeper import check_plan
from actors.refining.observing import Answer, answer_of, needs_judgement, observe
from actors.refining.recorded import Recorder, part_of
from chimera.errors import BadMessageError
from subjects.agent import Manifest
from subjects.event import TaskJudged, TaskProcessed
from subjects.experiment import Guardrail, Metric, Plan

MANIFEST = Manifest(name="echo", label="label", score="score")


def record(job_id: str, agent: str = "echo") -> TaskProcessed:
    """A task that was served."""
    return TaskProcessed(
        job_id=job_id, agent=agent, release=1, task="predict", outcome="ok", at=1.0, queue_ms=0.0, run_ms=2.0,
        cpu_ms=1.5, memory_bytes=65536, node="one", input={"text": job_id}, output={"label": "good", "score": 0.5},
    )  # fmt: skip


def judged(job_id: str, label: str = "good") -> TaskJudged:
    """A judgement."""
    return TaskJudged(job_id=job_id, agent="echo", release=1, at=2.0, label=label, score=0.75)


def test_a_judgement_finds_its_task_in_either_order() -> None:
    """Outcomes and judgements travel on two streams: whichever comes first, they meet."""
    recorder = Recorder()
    recorder.take(1, record("a"), 10)
    assert recorder.judge(1, judged("a")) is not None
    assert recorder.judge(2, judged("b")) is None
    assert recorder.take(2, record("b"), 10).judged_seq == 2
    assert [task.job_id for task in recorder.tasks("echo", judged=True)] == ["a", "b"]
    assert recorder.counts("echo") == (2, 2)


def test_the_oldest_go_first() -> None:
    """Number and bytes are bounded per agent; one agent's flood leaves another's tasks alone."""
    recorder = Recorder(count=3, size=100)
    recorder.take(1, record("x", agent="other"), 10)
    for number in range(2, 7):
        recorder.take(number, record(str(number)), 10)
    assert [task.job_id for task in recorder.tasks("echo")] == ["4", "5", "6"]
    recorder.take(7, record("7"), 95)
    assert [task.job_id for task in recorder.tasks("echo")] == ["7"]
    assert recorder.counts("other") == (1, 0)


def test_a_repeated_task_is_kept_once() -> None:
    """The newest record of a job replaces the former, bytes included."""
    recorder = Recorder(size=100)
    for number in range(1, 20):
        recorder.take(number, record("a"), 60)
    assert [task.seq for task in recorder.tasks("echo")] == [19]


def test_the_two_parts_share_nothing() -> None:
    """What a candidate is chosen by never judges it; each part has about half of the tasks."""
    recorder = Recorder()
    for number in range(1000):
        recorder.take(number + 1, record(str(number)), 10)
    tune = {task.job_id for task in recorder.tasks("echo", part="tune")}
    gate = {task.job_id for task in recorder.tasks("echo", part="gate")}
    assert not tune & gate
    assert len(tune | gate) == 1000
    assert 400 < len(tune) < 600
    assert {part_of(job) for job in tune} == {"tune"}


def test_only_later_tasks_are_given() -> None:
    """``after`` leaves out what was used before."""
    recorder = Recorder()
    for number in range(1, 6):
        recorder.take(number, record(str(number)), 10)
    assert [task.seq for task in recorder.tasks("echo", after=3)] == [4, 5]


@pytest.mark.parametrize(
    ("metric", "value", "failed"),
    [
        (Metric(name="correct"), 1.0, 0.0),
        (Metric(name="score_error", kind="mean", better="lower"), 0.25, 1.0),
        (Metric(name="failed", better="lower"), 0.0, 1.0),
        (Metric(name="slow", better="lower", threshold=1.0), 1.0, 1.0),
        (Metric(name="run_ms", kind="mean", better="lower", high=100.0), 2.0, 100.0),
        (Metric(name="cpu_ms", kind="mean", better="lower", high=1.0), 1.0, 1.0),
        (Metric(name="output.score", kind="mean"), 0.5, 0.0),
        (Metric(name="output.score", kind="mean", better="lower"), 0.5, 1.0),
    ],
)
def test_every_metric_of_an_answer_and_of_a_failure(metric: Metric, value: float, failed: float) -> None:
    """A failure is never better than an answer; values stay within the metric's bounds."""
    recorder = Recorder()
    task = recorder.take(1, record("a"), 1)
    recorder.judge(1, judged("a"))
    assert observe(metric, answer_of(task), MANIFEST) == value
    broken = Answer("agent-trap", None, 50.0, 50.0, "good", 0.75)
    assert observe(metric, broken, MANIFEST) == failed


def test_an_answer_that_nobody_judged_tells_nothing_of_its_quality() -> None:
    """Without a label or score the quality metrics have no value; the others do."""
    answer = Answer("ok", {"label": "good", "score": 0.5}, 1.0, 1.0)
    metrics = [Metric(name="correct"), Metric(name="score_error"), Metric(name="failed")]
    assert [observe(metric, answer, MANIFEST) for metric in metrics] == [None, None, 0.0]
    assert [needs_judgement(metric) for metric in metrics] == [True, True, False]


@pytest.mark.parametrize("name", ["run_ms", "cpu_ms", "score_error"])
def test_an_amount_has_no_proportion(name: str) -> None:
    """A plan that counts an amount as yes or no is refused, and told what to take; with another kind it is taken."""
    with pytest.raises(BadMessageError, match=f"{name} is an amount") as refused:
        check_plan(Plan(primary=Metric(name=name, better="lower")))
    assert '"mean"' in refused.value.hint
    with pytest.raises(BadMessageError, match=name):
        check_plan(Plan(guardrails=[Guardrail(metric=Metric(name=name, better="lower"))]))
    check_plan(Plan(primary=Metric(name=name, kind="mean", better="lower", high=100.0)))
    check_plan(Plan(primary=Metric(name="output.price", better="lower")))
