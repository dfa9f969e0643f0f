"""Schedules: set, shown, removed, and fired once each, whatever restarts come between."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from actors.queueing.calendar import next_cron, next_every, parse_cron, zone_of
from actors.queueing.records import Dropped, Plan
from chimera.errors import BadMessageError, ChimeraError, NotFoundError, OverloadedError, UnavailableError
from subjects.scheduler import Schedule, ScheduleView
from subjects.task import NewTask

from .core import Core
from .desk import Desk, make_spec

_GRACE_S = 60.0
"""A run later than this was missed: nobody was there."""

_LONGEST_ID = 44
_MOST = 10_000
_AGAIN_S = 5.0
_MISSES_COUNTED = 10_000


class Plans:
    """A run's task has the id ``<schedule>-<time>``: however often it is fired, it is one task.

    Miss policy: runs that were missed by more than a minute are made up by one run together, or, with
    ``skip_missed``, by none. ``missed`` counts those that were not made up.

    Args:
        core: Shared state.
        desk: Takes the tasks.
    """

    def __init__(self, core: Core, desk: Desk) -> None:
        self._core, self._desk = core, desk
        self._held_until = 0.0

    async def set(self, message: Schedule) -> ScheduleView:
        """Make or replace a schedule.

        Raises:
            BadMessageError: If it can't fire, or its task can't be taken.
            OverloadedError: If there are too many.
        """
        plan = self._check(message)
        if plan.id not in self._core.ledger.plans and len(self._core.ledger.plans) >= _MOST:
            raise OverloadedError(f"there are {_MOST} schedules already", hint="remove some", retry_after_s=60.0)
        group = self._core.record(plan)
        self._core.ticker.ring()
        await group.wait()
        return view(plan)

    async def drop(self, plan_id: str) -> ScheduleView:
        """Remove one.

        Raises:
            NotFoundError: If there is none of that id.
        """
        plan = self._core.ledger.plans.get(plan_id)
        if plan is None:
            raise NotFoundError(f"there is no schedule '{plan_id}'")
        await self._core.record(Dropped(plan_id)).wait()
        return view(plan)

    def all(self) -> list[ScheduleView]:
        """Every schedule, the next to fire first."""
        plans = sorted(self._core.ledger.plans.values(), key=lambda plan: plan.next_at or float("inf"))
        return [view(plan) for plan in plans]

    def next_at(self) -> float | None:
        """When the next one fires."""
        times = [plan.next_at for plan in self._core.ledger.plans.values() if plan.next_at]
        return max(min(times), self._held_until) if times else None

    def fire(self, now: float) -> None:
        """Submit what is due. A task that is refused for now is tried again shortly."""
        if now < self._held_until or (self.next_at() or now + 1.0) > now:
            return
        for plan in [plan for plan in self._core.ledger.plans.values() if plan.next_at and plan.next_at <= now]:
            try:
                self._fire(plan, now)
            except (OverloadedError, UnavailableError):
                self._held_until = now + _AGAIN_S
                return

    def _fire(self, plan: Plan, now: float) -> None:
        due, missed, following = plan.next_at, 0, _after(plan, plan.next_at)
        while following and following <= now and missed < _MISSES_COUNTED:
            due, missed, following = following, missed + 1, _after(plan, following)
        if following and following <= now:
            following = _after(plan, now)
        skip = plan.skip_missed and now - due > _GRACE_S
        task_id = "" if skip else f"{plan.id}-{int(due)}"
        if task_id:
            task = replace(msgspec.msgpack.decode(plan.task, type=NewTask), id=task_id)
            try:
                self._desk.take(task, [], schedule=plan.id)
            except (OverloadedError, UnavailableError):
                raise
            except ChimeraError as error:
                self._core.report("schedule-refused", f"{plan.id}: {error.detail}", level="warning")
        self._core.record(replace(
            plan, next_at=following or 0.0, last_at=due if task_id else plan.last_at,
            last_task=task_id or plan.last_task, fired=plan.fired + bool(task_id), missed=plan.missed + missed + skip,
        ))  # fmt: skip

    def _check(self, message: Schedule) -> Plan:
        now = self._core.clock.time()
        if sum(map(bool, (message.at, message.every_s, message.cron))) != 1:
            raise BadMessageError("give exactly one of 'at', 'every_s' and 'cron'")
        if message.every_s and message.every_s < 1.0:
            raise BadMessageError("'every_s' must be at least 1 second")
        if message.task.id or len(message.id) > _LONGEST_ID:
            raise BadMessageError(f"leave the task's id empty, and the schedule's below {_LONGEST_ID + 1} characters")
        if message.at and message.at < now - _GRACE_S:
            raise BadMessageError(
                f"'at' is {now - message.at:.0f} s ago", hint="give a Unix time in seconds that is to come"
            )
        make_spec(message.task, now, message.id)
        plan = Plan(
            message.id, message.at or now, message.every_s, message.cron, message.zone, message.skip_missed,
            msgspec.msgpack.encode(message.task), 0.0,
        )  # fmt: skip
        first = message.at or _after(plan, now)
        if not first:
            raise BadMessageError(f"cron {message.cron!r} never fires")
        return replace(plan, next_at=first)


def view(plan: Plan) -> ScheduleView:
    """A schedule as it is shown."""
    rule = plan.cron or (f"every {plan.every_s:g} s" if plan.every_s else f"at {plan.at:.3f}")
    return ScheduleView(
        id=plan.id, rule=rule, zone=plan.zone, task=msgspec.msgpack.decode(plan.task, type=NewTask),
        next_at=plan.next_at or None, last_at=plan.last_at or None, last_task=plan.last_task, fired=plan.fired,
        missed=plan.missed,
    )  # fmt: skip


def _after(plan: Plan, moment: float) -> float | None:
    if plan.cron:
        return next_cron(parse_cron(plan.cron), zone_of(plan.zone), moment)
    return next_every(plan.every_s, plan.at, moment) if plan.every_s else None
