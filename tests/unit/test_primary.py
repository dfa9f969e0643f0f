"""What an experiment compares where nobody named it."""

from __future__ import annotations

from typing import Any

import pytest

from actors.refining.gatekeeper import Gatekeeper
from actors.refining.primary import Primary
from actors.refining.recorded import Recorder
from chimera.errors import ConflictError
from chimera.testing import ManualClock
from subjects.agent import AgentView, Limits, Manifest, Release
from subjects.event import TaskJudged, TaskProcessed
from subjects.experiment import CORRECT, CreateExperiment, Experiment, Metric, Plan
from tests.unit.test_gatekeeper import Log

pytestmark = pytest.mark.anyio
MANIFEST = Manifest(name="echo", label="label", score="score")
ERROR = Metric(name="score_error", kind="mean", better="lower", high=1.6)


def recorded(*said: tuple[str | None, float | None]) -> Recorder:
    """Tasks of an agent, each judged by a label, a score, or both."""
    recorder = Recorder()
    for seq, (label, score) in enumerate(said, 1):
        recorder.take(seq, TaskProcessed(
            job_id=str(seq), agent="echo", release=1, task="predict", outcome="ok", at=1.0, queue_ms=0.0, run_ms=2.0,
            cpu_ms=1.5, memory_bytes=65536, node="one", input={"text": "x"}, output={"label": "good", "score": 0.5},
        ), 10)  # fmt: skip
        recorder.judge(seq, TaskJudged(job_id=str(seq), agent="echo", release=1, at=2.0, label=label, score=score))
    return recorder


async def begin(gate: Gatekeeper, plan: Plan) -> Experiment:
    """The experiment e-1, also when it is asked for again."""
    return await gate.create(CreateExperiment(agent="echo", id="e-1", candidates=[2], plan=plan))


def gatekeeper(recorder: Recorder) -> Gatekeeper:
    """A gate for an agent whose release 1 is live."""

    async def tell(_fact: Any, _id: str) -> None: ...

    async def show(_message: Any) -> AgentView:
        releases = [
            Release(agent="echo", number=number, digest="0" * 64, manifest=MANIFEST, limits=Limits(), parent=None,
                    created_at="", created_by="test", genome={})
            for number in (1, 2)
        ]  # fmt: skip
        return AgentView(name="echo", state="live", live=1, candidate=None, previous=None, releases=releases)

    return Gatekeeper(
        log=Log(), ask=show, positions=lambda: (0, 0), clock=ManualClock(), report=lambda *_, **__: None, tell=tell,
        primary=Primary(recorder),
    )  # fmt: skip


def test_scores_stand_in_for_labels_that_nobody_gave() -> None:
    """Without a label ``correct`` would never be known; the distance to the scores is, within twice the greatest."""
    assert Primary(recorded((None, -0.8), (None, 0.5))).metric(CORRECT, MANIFEST) == ERROR
    assert Primary(recorded((None, 0.0))).metric(CORRECT, MANIFEST).high == 1.0
    labels_mean_nothing = Manifest(name="echo", label="", score="score")
    assert Primary(recorded(("good", 0.8))).metric(CORRECT, labels_mean_nothing) == ERROR


@pytest.mark.parametrize("said", [[], [("good", None)], [("good", 0.5), (None, 0.5)]])
def test_labels_or_nothing_leave_it_as_it_is(said: list[tuple[str | None, float | None]]) -> None:
    """One label is enough for ``correct`` to become known, and before any judgement nobody can tell."""
    assert Primary(recorded(*said)).metric(CORRECT, MANIFEST) == CORRECT


def test_what_was_named_stays() -> None:
    """Whoever names another metric gets it."""
    named = Metric(name="failed", better="lower")
    assert Primary(recorded((None, 0.8))).metric(named, MANIFEST) == named


async def test_an_experiment_says_what_it_compares_and_begins_once() -> None:
    """Its plan has the metric in force; the same request again is the same experiment, another plan is another one."""
    gate = gatekeeper(recorded((None, 0.8)))
    first = await begin(gate, Plan())
    assert first.plan.primary == ERROR
    assert (await begin(gate, Plan())).plan == first.plan
    assert (await begin(gate, first.plan)).plan == first.plan
    with pytest.raises(ConflictError, match="another one"):
        await begin(gate, Plan(min_messages=7))


async def test_another_metric_is_another_experiment() -> None:
    """Only the distance to the score can have stood in for ``correct``."""
    gate = gatekeeper(recorded(("good", None)))
    await begin(gate, Plan(primary=Metric(name="failed", better="lower")))
    with pytest.raises(ConflictError, match="another one"):
        await begin(gate, Plan())
