"""Whether an agent's world is still the one its genome was bred for: inputs, answers and judged figures. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

from actors.insight.drift import LEAST_SAMPLE, ErrorWatch, shift, train_reference
from actors.insight.model import Model
from actors.refining.observing import answer_of, observe
from actors.refining.recorded import Recorded
from actors.refining.samples import first_number, text_length
from subjects.agent import Manifest
from subjects.experiment import Metric

RECENT = 200
"""Newest messages that are compared with those the genome was bred on."""

EVERY = 50
"""Messages between two comparisons."""

LEVEL = 1 - 1e-4
"""Of one comparison: they are repeated, so each may be wrong only once in ten thousand times."""


class DriftWatch:
    """Compares the newest messages of an agent with those of a reference period.

    What goes in and what comes out is compared by its whole distribution (Dvoretzky, Kiefer & Wolfowitz); what people
    said of the answers by ADWIN (Bifet & Gavalda, SDM 2007), one figure per message of the live release.

    Args:
        reference: The messages the genome was bred on, oldest first.
        manifest: Says where the output holds label and score.
        metric: The figure by which an answer is judged.
    """

    def __init__(self, reference: Iterable[Recorded], manifest: Manifest, metric: Metric) -> None:
        tasks = list(reference)
        self._manifest, self._metric = manifest, metric
        self._models = {
            side: model
            for side in ("inputs", "answers")
            if (model := _reference(side, [number for task in tasks if (number := _number(side, task)) is not None]))
        }
        errors = [error for task in tasks if (error := self._error(task)) is not None]
        self._errors = ErrorWatch(max(1e-6, sum(errors) / len(errors)) if errors else 1.0)
        for error in errors:
            self._errors.update(error)
        self._errors.drifted = False
        self._recent = {side: deque[float](maxlen=RECENT) for side in self._models}
        self._seen = 0
        self.reason = ""

    @property
    def watches(self) -> bool:
        """Whether there were enough messages to compare with."""
        return bool(self._models)

    def served(self, task: Recorded) -> None:
        """A message was answered."""
        for side, recent in self._recent.items():
            number = _number(side, task)
            if number is not None:
                recent.append(number)
        self._seen += 1
        if not self.reason and self._seen % EVERY == 0:
            self._compare()

    def judged(self, task: Recorded) -> None:
        """Somebody said how right an answer of the live release was."""
        error = self._error(task) if task.variant == "live" else None
        if error is not None and self._errors.update(error) and not self.reason:
            self.reason = (
                f"{self._metric.name}: errors of the newest answers are {self._errors.ratio:.2f} times "
                "those the genome was bred on"
            )

    def _compare(self) -> None:
        for side, model in self._models.items():
            recent = self._recent[side]
            if len(recent) < LEAST_SAMPLE:
                continue
            found = shift(model, np.array(recent), level=LEVEL)
            if found.drifted:
                self.reason = found.words
                return

    def _error(self, task: Recorded) -> float | None:
        """How wrong an answer was, at least 0; ``None`` if nobody said."""
        if not task.is_judged:
            return None
        value = observe(self._metric, answer_of(task), self._manifest)
        if value is None:
            return None
        return self._metric.high - value if self._metric.better == "higher" else value - self._metric.low


def _reference(side: str, numbers: list[float]) -> Model | None:
    if len(numbers) < LEAST_SAMPLE:
        return None
    return train_reference(side, np.array(numbers), (0.0, 0.0), trained_at=0.0)


def _number(side: str, task: Recorded) -> float | None:
    if side == "inputs":
        return None if task.input is None else float(text_length(task.input))
    return None if task.output is None else first_number(task.output)
