"""A study: trials as a fold over their events, and the decisions which make the next ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chimera.errors import ConflictError, NotFoundError, OverloadedError

from .checking import check_event
from .events import Asked, By, Expired, Failed, Fault, Point, Renewed, Told, TrialEvent
from .plan import StudyPlan
from .progress import Best, Convergence, Pool, Row, Spent, convergence
from .proposing import Proposing
from .space import Space
from .trials import Snapshot, Trial, after


class Study:
    """A search for a better point: ``ask`` and the other verbs make events, ``apply`` takes them in.

    Deciding and applying are apart so that an event can be stored between them: what is not stored did not happen.
    The same plan and events make the same study, and the same next point to the last bit.

    All but ``ask`` takes microseconds and belongs to one thread, say the event loop's. ``ask`` may run in a worker
    thread meanwhile: it works on a snapshot taken at its start. One ``ask`` at a time: its event is applied, or given
    up, before the next one.

    Args:
        plan: What is searched and how.
        events: What happened before, oldest first.

    Raises:
        BadGenomeError: If the plan has no sound space.
        ChimeraError: If the events are not those of this study, as ``apply``.
    """

    def __init__(self, plan: StudyPlan, events: Iterable[TrialEvent] = ()) -> None:
        self._plan = plan
        self._space = plan.space()
        self._trials: list[Trial] = []
        self._ended = 0
        self._pools: dict[object, Pool] = {}
        self._best: Best | None = None
        self._bests: list[float | None] = []
        self._after: dict[int, float | None] = {}
        self._last: dict[int, TrialEvent] = {}
        self._proposing = Proposing(plan, self._space)
        for event in events:
            self.apply(event)

    @property
    def plan(self) -> StudyPlan:
        """What is searched and how."""
        return self._plan

    @property
    def space(self) -> Space:
        """What the points are points of."""
        return self._space

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every trial by number."""
        return tuple(self._trials)

    @property
    def open(self) -> tuple[Trial, ...]:
        """Trials that wait for their result."""
        return tuple(trial for trial in self._trials if trial.state == "open")

    @property
    def best(self) -> Best | None:
        """The best feasible point so far."""
        return self._best

    @property
    def spent(self) -> Spent:
        """What it has used so far, open trials included as far as they were renewed."""
        messages = sum(trial.messages for trial in self._trials)
        return Spent(len(self._trials), messages, sum(trial.harmed for trial in self._trials))

    @property
    def harm_left(self) -> int | None:
        """Messages that may still be harmed: every trial's own stop must be at this or earlier; ``None`` = no limit."""
        limit = self._plan.budget.harmed
        return None if limit is None else max(0, limit - self.spent.harmed)

    def history(self) -> list[Row]:
        """One row per trial, for status pages."""
        return [
            Row(
                number=trial.number, by=trial.by, state=trial.state, value=trial.value, stderr=trial.stderr,
                feasible=trial.feasible, best=self._after.get(trial.number), messages=trial.messages,
                harmed=trial.harmed, ended_at=trial.ended_at,
            )
            for trial in self._trials
        ]  # fmt: skip

    def convergence(self, half_width: float | None) -> Convergence:
        """Whether it is time to stop; see ``progress.convergence``.

        Args:
            half_width: Half the width of the confidence sequence of the best point's objective; 0 if it is exact.
        """
        return convergence(
            self._bests, sign=self._plan.sign, dimensions=len(self._space.dimensions),
            threshold=self._plan.convergence_threshold, half_width=half_width, magnitude=self._plan.magnitude,
        )  # fmt: skip

    def exhausted(self) -> str:
        """Which part of the budget is used up, in words; empty while there is some left of each."""
        spent, budget = self.spent, self._plan.budget
        for name in ("trials", "messages", "harmed"):
            limit, used = getattr(budget, name), getattr(spent, name)
            if limit is not None and used >= limit:
                return f"the study's budget of {limit} {name} is used up"
        return ""

    def ask(self, now: float, point: Mapping[str, Any] | None = None) -> Asked:
        """The next trial, to be stored and applied. Takes 2-60 ms, the first time about a second of imports.

        Args:
            now: Unix seconds.
            point: A point that somebody wants tried, instead of the algorithm's.

        Raises:
            OverloadedError: If as many trials are open as may be.
            ConflictError: If the budget is used up.
            BadGenomeError: If ``point`` does not fit.
        """
        snapshot = Snapshot(tuple(self._trials))
        waiting = len(snapshot.pending())
        if waiting >= self._plan.most_open:
            raise OverloadedError(f"{waiting} trials are open, as many as may be", hint="tell or expire one first")
        if reason := self.exhausted():
            raise ConflictError(reason, hint="raise the budget, or take the best point so far")
        chosen, by = self._propose(snapshot, point)
        return Asked(number=snapshot.number, at=now, point=chosen, by=by, expires_at=now + self._plan.lease_s)

    def renew(self, number: int, now: float, *, messages: int = 0, harmed: int = 0) -> Renewed:
        """A longer lease for a trial that goes on, with what it has used in all so far.

        Raises:
            NotFoundError: If there is no such trial.
            ConflictError: If it is not open.
            BadMessageError: If the counts are not sound.
        """
        until = now + self._plan.lease_s
        event = Renewed(number=number, at=now, expires_at=until, messages=messages, harmed=harmed)
        self._check(event)
        return event

    def tell(
        self,
        number: int,
        now: float,
        value: float,
        *,
        stderr: float | None = None,
        constraints: Mapping[str, float] | None = None,
        messages: int = 0,
        harmed: int = 0,
    ) -> Told:
        """A trial's result, to be stored and applied; see ``Told``.

        A trial that its guardrail stopped early is told what was seen until then. A result may come after the lease.

        Raises:
            NotFoundError: If there is no such trial.
            ConflictError: If it has a result already.
            BadMessageError: If a figure is not finite, a guardrail is missing or unknown, or a count is not sound.
        """
        event = Told(
            number=number, at=now, value=value, stderr=stderr, constraints=dict(constraints or {}),
            messages=messages, harmed=harmed,
        )  # fmt: skip
        self._check(event)
        return event

    def fail(
        self, number: int, now: float, reason: str, *, fault: Fault = "setting", messages: int = 0, harmed: int = 0
    ) -> Failed:
        """The end of a trial without a value, to be stored and applied.

        Raises:
            NotFoundError: If there is no such trial.
            ConflictError: If it has a result already.
            BadMessageError: If the counts are not sound.
        """
        event = Failed(number=number, at=now, reason=reason, fault=fault, messages=messages, harmed=harmed)
        self._check(event)
        return event

    def expire(self, now: float) -> list[Expired]:
        """The ends of the leases that have run out, to be stored and applied."""
        return [Expired(number=trial.number, at=now) for trial in self.open if trial.expires_at <= now]

    def apply(self, event: TrialEvent) -> None:
        """Take in what happened. The last event of a trial may come twice; everything is checked as when decided.

        Raises:
            ConflictError: If it does not follow from the events before.
            NotFoundError: If there is no such trial.
            BadMessageError: If a figure in it is not sound.
            BadGenomeError: If its point does not fit the space.
        """
        if isinstance(event, Asked):
            self._open(event)
        elif self._last.get(event.number) != event:
            self._check(event)
            self._change(event)
            self._last[event.number] = event

    def _propose(self, snapshot: Snapshot, point: Mapping[str, Any] | None) -> tuple[Point, By]:
        if point is not None:
            return self._space.check(point), "given"
        if snapshot.number == 0 and self._plan.start_known:
            return self._space.start(), "start"
        return self._proposing.propose(snapshot), self._plan.algorithm

    def _open(self, event: Asked) -> None:
        count = len(self._trials)
        if event.number < count and self._asked(event):
            return
        if event.number != count:
            raise ConflictError(f"trial {event.number} can't be opened: the next one is {count}", hint="ask again")
        opened = Trial(
            number=count, point=self._space.check(event.point), by=event.by, state="open", asked_at=event.at,
            expires_at=event.expires_at,
        )  # fmt: skip
        self._trials.append(opened)

    def _asked(self, event: Asked) -> bool:
        known = self._trials[event.number]
        return known.point == event.point and known.asked_at == event.at

    def _check(self, event: Renewed | Told | Failed | Expired) -> None:
        if not 0 <= event.number < len(self._trials):
            raise NotFoundError(f"there is no trial {event.number}: the study has {len(self._trials)}")
        check_event(self._plan, self._trials[event.number], event)

    def _change(self, event: Renewed | Told | Failed | Expired) -> None:
        trial = after(self._trials[event.number], event, self._ended)
        self._trials[event.number] = trial
        if not isinstance(event, Told | Failed):
            return
        if trial.teaches:
            self._ended += 1
            self._learn(trial)
        self._after[trial.number] = self._best.value if self._best else None

    def _learn(self, trial: Trial) -> None:
        if trial.state == "told":
            self._pools.setdefault(trial.cell, Pool([])).trials.append(trial)
            found = [pool.best() for pool in self._pools.values() if pool.feasible]
            self._best = min(found, key=lambda best: (self._plan.sign * best.value, best.number), default=None)
        self._bests.append(self._best.value if self._best else None)
