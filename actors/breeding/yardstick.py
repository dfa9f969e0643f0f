"""What genomes are measured by: which fields of the answers that needs, and the figure of each case. Pure.

Times are noisy where live traffic shares the machine. Of the two, prefer ``cpu_ms``: it does not count waiting for a
core.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from actors.evolving.correlation import Correlating, Pair
from actors.evolving.estimates import Estimate, Running
from actors.execution.judging import number_of
from actors.refining.observing import Answer, observe
from chimera.errors import BadMessageError
from subjects.agent import Manifest
from subjects.event import Outcome
from subjects.evolution import Descriptor, Objective
from subjects.experiment import Metric
from subjects.trial import GenomeRun

from .caseload import Caseload
from .sheet import Result

_TIMES = ("run_ms", "cpu_ms")


@dataclass(frozen=True, slots=True)
class Gauge:
    """One figure per case: a metric, what the agent said (for a correlation), or a descriptor."""

    metric: Metric
    correlates: bool = False
    describes: bool = False


class Yardstick:
    """Objectives first, then descriptors.

    Args:
        objectives: What genomes are measured by.
        descriptors: Axes of behaviour besides.
        manifest: Says where the output holds label and score.

    Attributes:
        gauges: One per objective and descriptor, in their order.
        fields: Of the output; what an evaluation asks for.
        times: Whether times per task are needed.

    Raises:
        BadMessageError: If an objective can't be measured on cases.
    """

    def __init__(self, objectives: Sequence[Objective], descriptors: Sequence[Descriptor], manifest: Manifest) -> None:
        self._manifest = manifest
        self.gauges = (*(_gauge(one, manifest) for one in objectives), *(_described(one) for one in descriptors))
        needed = [field for gauge in self.gauges for field in _fields(gauge, manifest)]
        self.fields = tuple(dict.fromkeys(needed))
        self.times = any(gauge.metric.name in (*_TIMES, "slow") for gauge in self.gauges)
        own = [*self.gauges, manifest.label, manifest.score]
        self.digest = hashlib.sha256(msgspec.json.encode(own)).hexdigest()

    def read(self, run: GenomeRun, caseload: Caseload, places: Sequence[int]) -> list[list[float]]:
        """What a run on these cases tells: per gauge a figure for each that was run; not-a-number where none."""
        outcomes: list[Outcome] = ["ok"] * run.tasks
        for failed in run.failures:
            outcomes[failed.place] = failed.outcome
        rows = zip(*run.outputs, strict=True) if run.outputs else [()] * run.tasks
        cases = [caseload.cases[place] for place in places[: run.tasks]]
        no_times = [0.0] * run.tasks
        columns = zip(outcomes, rows, run.run_ms or no_times, run.cpu_ms or no_times, cases, strict=True)
        answers = [
            Answer(outcome, dict(zip(self.fields, row, strict=True)), run_ms, cpu_ms, case.label, case.score)
            for outcome, row, run_ms, cpu_ms, case in columns
        ]
        return [[self._figure(gauge, answer, caseload.centre) for answer in answers] for gauge in self.gauges]

    def estimate(self, gauge: int, result: Result, caseload: Caseload) -> Estimate:
        """A gauge's mean or correlation over a result's cases, with its chance. In the gauge's own unit."""
        one, found = self.gauges[gauge], result.figures(gauge)
        if one.correlates:
            return Correlating().add(self.pairs(gauge, result, caseload))
        return Running(one.metric.low, one.metric.high).add(figure for _, figure in found)

    def pairs(self, gauge: int, result: Result, caseload: Caseload) -> list[Pair]:
        """What the agent said and what people did, per case: of a gauge that correlates."""
        said = result.figures(gauge)
        return [
            Pair(place, figure, score) for place, figure in said if (score := caseload.cases[place].score) is not None
        ]

    def _figure(self, gauge: Gauge, answer: Answer, centre: float) -> float:
        if gauge.describes and answer.outcome != "ok":
            return math.nan
        value = self._said(answer, centre) if gauge.correlates else observe(gauge.metric, answer, self._manifest)
        return math.nan if value is None else value

    def _said(self, answer: Answer, centre: float) -> float | None:
        """The agent's score; of a failed task, or one without a score, what was judged the other way round."""
        if answer.score is None:
            return None
        said = None if answer.outcome != "ok" else number_of(answer.output or {}, self._manifest.score)
        return 2.0 * centre - answer.score if said is None else said


def _gauge(objective: Objective, manifest: Manifest) -> Gauge:
    metric = objective.metric
    if objective.statistic == "correlation":
        if not manifest.score:
            raise BadMessageError(
                "objectives: a correlation needs the output field of the score, and the manifest names none"
            )
        return Gauge(metric, correlates=True)
    if metric.kind == "quantile":
        raise BadMessageError("objectives: a genome is measured by means", hint="take 'slow' with a threshold instead")
    return Gauge(metric)


def _described(descriptor: Descriptor) -> Gauge:
    name = descriptor.name if descriptor.name in _TIMES else f"output.{descriptor.name.removeprefix('output.')}"
    return Gauge(Metric(name=name, low=descriptor.low, high=descriptor.high), describes=True)


def _fields(gauge: Gauge, manifest: Manifest) -> list[str]:
    name = gauge.metric.name
    if gauge.correlates or name == "score_error":
        return [manifest.score]
    if name == "correct":
        return [manifest.label]
    return [name.removeprefix("output.")] if name.startswith("output.") else []
