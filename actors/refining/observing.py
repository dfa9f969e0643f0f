"""From a task and its answer to the numbers that the gate compares. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actors.execution.judging import number_of, text_of
from chimera.errors import BadMessageError
from subjects.agent import Manifest
from subjects.event import Outcome
from subjects.experiment import Metric
from subjects.trial import Tried

from .recorded import Recorded


@dataclass(frozen=True, slots=True)
class Answer:
    """What one release made of one task. ``label`` and ``score`` are what was right, if anybody said so."""

    outcome: Outcome
    output: Mapping[str, Any] | None
    run_ms: float
    cpu_ms: float
    label: str | None = None
    score: float | None = None


def answer_of(task: Recorded) -> Answer:
    """What the release that served it made of it."""
    return Answer(task.outcome, task.output, task.run_ms, task.cpu_ms, task.label, task.score)


def answer_in_trial(tried: Tried, task: Recorded) -> Answer:
    """What a trial made of a recorded task; what was right is as for the recorded one."""
    return Answer(tried.outcome, tried.output, tried.run_ms, tried.cpu_ms, task.label, task.score)


_LATENCY = '"mean" with "low" and "high", or "quantile"; or the metric "slow", a proportion, with a "threshold" in ms'
_AMOUNTS = {
    "run_ms": _LATENCY, "cpu_ms": '"mean" with "low" and "high", or "quantile"',
    "score_error": '"mean", with the score\'s range as "high"',
}  # fmt: skip
"""Metrics that are no yes or no, and the kinds to take for them."""


def check_metric(metric: Metric) -> None:
    """Refuse a metric that can't be compared.

    Raises:
        BadMessageError: Naming it and what to take.
    """
    if not metric.low < metric.high:
        raise BadMessageError(f"{metric.name}: low {metric.low:g} must be below high {metric.high:g}")
    if metric.kind == "proportion" and metric.name in _AMOUNTS:
        raise BadMessageError(
            f"{metric.name} is an amount for each message, not yes or no: it has no proportion",
            hint=f'take "kind": {_AMOUNTS[metric.name]}',
        )


def needs_judgement(metric: Metric) -> bool:
    """True if the metric can't be known before somebody said what was right."""
    return metric.name in {"correct", "score_error"}


def observe(metric: Metric, answer: Answer, manifest: Manifest) -> float | None:
    """The metric's value for one answer, within its bounds; ``None`` if this answer does not tell.

    A failed task is wrong, as far off as can be, and as slow as can be: a release must not gain by failing.
    """
    value = _value(metric, answer, manifest)
    return None if value is None else min(metric.high, max(metric.low, value))


def _value(metric: Metric, answer: Answer, manifest: Manifest) -> float | None:
    failed = answer.outcome != "ok"
    match metric.name:
        case "failed":
            value = float(failed)
        case "slow":
            value = float(failed or answer.run_ms > metric.threshold)
        case "run_ms" | "cpu_ms":
            spent = answer.run_ms if metric.name == "run_ms" else answer.cpu_ms
            value = metric.high if failed else spent
        case "correct":
            value = _correct(answer, manifest, failed=failed)
        case "score_error":
            value = _score_error(metric, answer, manifest, failed=failed)
        case _ if failed:
            value = metric.low if metric.better == "higher" else metric.high
        case _:
            value = number_of(answer.output or {}, metric.name.removeprefix("output."))
    return value


def _correct(answer: Answer, manifest: Manifest, *, failed: bool) -> float | None:
    if failed:
        return 0.0
    return None if answer.label is None else float(text_of(answer.output or {}, manifest.label) == answer.label)


def _score_error(metric: Metric, answer: Answer, manifest: Manifest, *, failed: bool) -> float | None:
    if failed:
        return metric.high
    found = number_of(answer.output or {}, manifest.score)
    return None if answer.score is None else metric.high if found is None else abs(found - answer.score)
