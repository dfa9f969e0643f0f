"""Every auto-tune there is, and how proposals are made: the fold of the whole log. Pure."""

from __future__ import annotations

from collections import deque

from actors.execution.statistics import nearest_rank
from chimera.errors import ConflictError, NoTuneError
from subjects.optimizer import AgentOptimization, AutoTune, OptimizationStatus, Settings

from .tunelog import Configured, Started, TuneEntry
from .tunestate import TuneFold

MOST_KEPT = 50
"""Ended tunes kept in memory."""

_MOST_TIMES = 1000


class TuneBook:
    """Tunes by id, oldest first."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.tunes: dict[str, TuneFold] = {}
        self._times: dict[str, deque[float]] = {}

    def apply(self, entry: TuneEntry) -> None:
        """Take an entry that is stored."""
        if isinstance(entry, Configured):
            self.settings = entry.settings
            for fold in self.running():
                fold.configure(entry.settings)
        elif isinstance(entry, Started):
            self.tunes[entry.id] = TuneFold(entry)
            self._forget()
        elif (fold := self.tunes.get(entry.id)) is not None:
            fold.apply(entry)

    def find(self, id_: str) -> TuneFold:
        """A tune.

        Raises:
            NoTuneError: If there is none.
        """
        fold = self.tunes.get(id_)
        if fold is None:
            raise NoTuneError(f"there is no auto-tune '{id_}'")
        return fold

    def running(self, agent: str = "") -> list[TuneFold]:
        """Tunes under way, of one agent or of all."""
        folds = self.tunes.values()
        return [fold for fold in folds if fold.state == "running" and (not agent or fold.agent == agent)]

    def asked(self, message: AutoTune) -> TuneFold | None:
        """The tune that a request is answered with, if it need not begin one.

        Raises:
            ConflictError: If its id is that of another tune.
        """
        known = self.tunes.get(message.id) if message.id else None
        if known is not None and known.request != message:
            raise ConflictError(f"auto-tune '{message.id}' is another one", hint="choose another id")
        if known is not None:
            return known
        return next(iter(self.running(message.agent)), None)

    def newest(self, agent: str) -> TuneFold | None:
        """The last tune of an agent."""
        return next((fold for fold in reversed(self.tunes.values()) if fold.agent == agent), None)

    def timed(self, fold: TuneFold, spent_ms: float) -> None:
        """Note how long a proposal of this process took."""
        self._times.setdefault(fold.agent, deque(maxlen=_MOST_TIMES)).append(spent_ms)

    def status(self, agent: str) -> OptimizationStatus:
        """Per agent, or of one, with its tunes without their trials."""
        tunes = [fold for fold in reversed(self.tunes.values()) if not agent or fold.agent == agent]
        agents = sorted({fold.agent for fold in tunes})
        return OptimizationStatus(
            settings=self.settings, agents=[self._row(one) for one in agents],
            tunes=[fold.show(trials=False) for fold in tunes],
        )  # fmt: skip

    def _row(self, agent: str) -> AgentOptimization:
        folds = [fold for fold in self.tunes.values() if fold.agent == agent]
        last = folds[-1]
        times = sorted(self._times.get(agent, ()))
        shown = last.show(trials=False)
        told = last.convergence(more=True) if last.rounds else None
        decision, at = max((fold.decided for fold in folds if fold.decided[0]), key=lambda one: one[1], default=("", 0))
        return AgentOptimization(
            agent=agent, algorithm=last.algorithm, trials=sum(fold.trials for fold in folds),
            open=sum(len(found.study.open) for fold in folds for found in fold.rounds),
            best=shown.best.value if shown.best else None, start=shown.start_value, converged=last.state == "converged",
            improvement=told.improvement if told else None, half_width=last.round.known_to() if last.rounds else None,
            tune=last.id, experiment=last.gated.experiment if last.gated else "",
            last_decision=decision, last_decision_at=at if decision else None,
            decision_ms_p50=nearest_rank(times, 0.5), decision_ms_p99=nearest_rank(times, 0.99),
        )  # fmt: skip

    def _forget(self) -> None:
        ended = [id_ for id_, fold in self.tunes.items() if fold.state != "running"]
        for id_ in ended[: max(0, len(ended) - MOST_KEPT)]:
            del self.tunes[id_]
