"""Whether an agent's world is still the one its genome was bred for."""

from __future__ import annotations

import random

import pytest

from actors.breeding.drift import EVERY, DriftWatch
from actors.refining.recorded import Recorded
from subjects.experiment import Metric
from tests.support.brood import MANIFEST
from tests.support.tuning_world import World

ERROR = Metric(name="score_error", kind="mean", better="lower", low=0.0, high=2.0)


def tasks(count: int, length: int, *, error: float = 0.1, variant: str = "live", seed: int = 1) -> list[Recorded]:
    """Answered and judged messages of about so many letters."""
    from msgspec.structs import replace

    from subjects.event import TaskJudged, TaskProcessed

    world, rng = World(tasks=0), random.Random(seed)  # noqa: S311 - a simulation
    for number in range(count):
        text, score = "x" * max(1, round(rng.gauss(length, 5))), rng.uniform(-1, 1)
        one = TaskProcessed(
            job_id=f"j{number}", agent="echo", release=1, variant="live", task="predict", outcome="ok", node="n",
            at=float(number), queue_ms=0.0, run_ms=1.0, cpu_ms=1.0, memory_bytes=0, input={"text": text},
            output={"score": score},
        )  # fmt: skip
        world.recorder.take(number + 1, replace(one, variant=variant), 100)
        wrong = min(1.0, max(-1.0, score + rng.choice((-1, 1)) * error))
        world.recorder.judge(
            number + 1, TaskJudged(job_id=f"j{number}", agent="echo", release=1, at=0.0, label=None, score=wrong)
        )
    return list(world.recorder.tasks("echo"))


def watch(reference: list[Recorded]) -> DriftWatch:
    """A watch on it."""
    return DriftWatch(reference, MANIFEST, ERROR)


def test_too_few_messages_are_no_reference():
    """Nothing is judged by next to nothing."""
    assert not watch(tasks(5, 50)).watches
    assert watch(tasks(300, 50)).watches


@pytest.mark.parametrize(("length", "drifts"), [(50, False), (120, True)])
def test_other_inputs_are_drift_and_the_same_are_not(length: int, drifts: bool):  # noqa: FBT001 - a parameter
    """What goes in is compared by its whole distribution, after every so many messages."""
    found = watch(tasks(400, 50))
    for number, task in enumerate(tasks(400, length, seed=2), 1):
        found.served(task)
        if number < EVERY:
            assert not found.reason
    assert bool(found.reason) is drifts


def test_worse_answers_are_drift():
    """What people say of the live release's answers, not of a candidate's."""
    found = watch(tasks(400, 50))
    for task in tasks(300, 50, error=0.9, variant="candidate", seed=3):
        found.judged(task)
    assert not found.reason
    for task in tasks(300, 50, error=0.9, seed=3):
        found.judged(task)
    assert found.reason.startswith("score_error: errors of the newest answers are ")


def test_the_first_reason_stays():
    """It is told why it was noticed, not what is so by now."""
    found = watch(tasks(400, 50))
    for task in tasks(200, 120, seed=2):
        found.served(task)
    first = found.reason
    for task in tasks(300, 50, error=0.9, seed=3):
        found.judged(task)
    assert first
    assert found.reason == first
