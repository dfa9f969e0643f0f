"""Evidence for one experiment: rows made of messages as they come, each counted once across restarts. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from actors.gating.records import Row, Seen
from actors.gating.trial import Trial
from subjects.agent import Manifest

from .observing import Answer, answer_of, needs_judgement, observe
from .recorded import Recorded

SETTLE_S = 0.5
"""Messages that ended within so many seconds after a change of the share may have been routed by the former one."""


class Evidence:
    """Gathers what live traffic tells in a split, until it is written.

    Args:
        trial: The experiment.
        manifests: Manifest of the incumbent and of each candidate, by release.
    """

    def __init__(self, trial: Trial, manifests: Mapping[int, Manifest]) -> None:
        self._trial, self._manifests = trial, manifests
        self._late = [needs_judgement(metric) for metric in trial.metrics]
        self._rows: list[Row] = []
        self._seen = trial.cursor
        self.stranger = False

    def served(self, task: Recorded) -> None:
        """A task of the agent was served."""
        kpi, events = self._seen
        if task.seq <= kpi:
            return
        self._seen = (task.seq, events)
        if self._counts(task):
            self._rows.append(self._row(task, late=False))
            if task.is_judged and task.outcome == "ok" and any(self._late):
                self._rows.append(self._row(task, late=True))
        elif task.release != self._trial.opened.incumbent and self._index(task.release) is None:
            self.stranger = True

    def judged(self, task: Recorded) -> None:
        """A task of the agent that was served before was judged now."""
        kpi, events = self._seen
        if task.judged_seq <= events:
            return
        self._seen = (kpi, task.judged_seq)
        if any(self._late) and task.outcome == "ok" and self._counts(task):
            self._rows.append(self._row(task, late=True))

    def take(self, at: float) -> Seen | None:
        """What came since the last time, to be written; ``None`` if nothing counts."""
        if not self._rows:
            return None
        rows, self._rows = self._rows, []
        kpi, events = self._seen
        return Seen(id=self._trial.opened.id, at=at, stage=self._trial.stage, rows=rows, kpi=kpi, events=events)

    def _counts(self, task: Recorded) -> bool:
        trial = self._trial
        if trial.stage != "split" or not trial.share or task.at < trial.entered_at + SETTLE_S:
            return False
        return task.release == trial.opened.incumbent or self._index(task.release) is not None

    def _index(self, release: int) -> int | None:
        return next((index for index, one in self._trial.active if one == release), None)

    @staticmethod
    def _failed(task: Recorded, *, late: bool) -> bool:
        """A failed answer is a wrong one at once: nobody will judge what nobody got."""
        return task.outcome != "ok" and not late

    def _row(self, task: Recorded, *, late: bool) -> Row:
        index = self._index(task.release) or 0
        answer, manifest = answer_of(task), self._manifests[task.release]
        values = [
            observe(metric, answer, manifest) if needs is late or self._failed(task, late=late) else None
            for metric, needs in zip(self._trial.metrics, self._late, strict=True)
        ]
        live: list[float | None] = [] if index else values
        return Row(index, live, values if index else [], covariate_of(task), late)


def paired_row(trial: Trial, index: int, live: Answer, tried: Answer, manifests: tuple[Manifest, Manifest]) -> Row:
    """The row of a message that the incumbent and candidate ``index`` both answered."""
    of_live, of_tried = manifests
    return Row(
        index,
        [observe(metric, live, of_live) for metric in trial.metrics],
        [observe(metric, tried, of_tried) for metric in trial.metrics],
    )


def covariate_of(task: Recorded) -> float:
    """The message's length in bytes: known before anybody answers it."""
    return float(len(msgspec.json.encode(task.input))) if task.input is not None else 0.0
