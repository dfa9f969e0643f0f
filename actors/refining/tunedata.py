"""Which recorded tasks a round of a tune works on: as many judged ones as there are and the budget allows. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from subjects.optimizer import AutoTune

from .observing import needs_judgement
from .recorded import Recorded, Recorder
from .replaying import digest_of, shuffled
from .tunelog import RoundBegun

NEEDED = 100
"""Tasks below which a search would follow chance."""

MOST = 4000
"""Tasks above which more of them would not change which point is better."""

GROWTH = 2
"""A new round begins when so many times more tasks are there."""


class TuneData:
    """The tasks of one tune.

    Args:
        recorder: Holds what was recorded.
        request: Whose tasks, and the budget.
    """

    def __init__(self, recorder: Recorder, request: AutoTune) -> None:
        self._recorder, self._agent = recorder, request.agent
        self._judged = needs_judgement(request.metric)
        budget = request.budget
        self.most = max(NEEDED, min(MOST, budget.replayed // budget.trials))

    def newest(self) -> list[Recorded]:
        """The newest tasks for choosing candidates, at most ``most``, oldest first."""
        found = list(self._recorder.tasks(self._agent, judged=self._judged, part="tune"))
        return found[-self.most :]

    def more(self, tasks: int) -> bool:
        """Whether a round on ``tasks`` tasks could be followed by one that knows much more."""
        return tasks < self.most and len(self.newest()) >= min(self.most, GROWTH * tasks)

    def again(self, begun: RoundBegun) -> list[Recorded] | None:
        """A round's tasks in the order of its races; ``None`` while not all of them are there."""
        found = [
            task
            for task in self._recorder.tasks(self._agent, judged=self._judged, part="tune", after=begun.first - 1)
            if task.seq <= begun.last and task.judged_seq <= begun.events
        ]
        found = found[-begun.tasks :]
        return shuffled(found) if digest_of(found) == begun.digest else None

    @staticmethod
    def round_of(id_: str, at: float, tasks: Sequence[Recorded]) -> RoundBegun:
        """The entry that begins a round on these tasks."""
        judged = [task.judged_seq for task in tasks]
        return RoundBegun(
            id=id_, at=at, first=min(task.seq for task in tasks), last=max(task.seq for task in tasks),
            heard=min(judged), events=max(judged), tasks=len(tasks), digest=digest_of(tasks),
        )  # fmt: skip
