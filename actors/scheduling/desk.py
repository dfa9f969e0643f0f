"""What callers ask for: tasks taken, cancelled, revived; pauses, limits and schedules set."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import msgspec

from actors.queueing import states
from actors.queueing.admission import Load, refusal
from actors.queueing.ledger import Task
from actors.queueing.records import LEVELS, Control, New, Spec, Status
from chimera.errors import BadMessageError, ChimeraError, ConflictError, NotFoundError
from subjects.dead import Revive
from subjects.event import TaskSubmitted
from subjects.scheduler import LimitAgent, Receipt, Submit, Submitted
from subjects.task import NewTask

from .core import Core
from .journal import Group
from .views import dead_tasks

_encoder = msgspec.msgpack.Encoder(order="deterministic")
_PRIORITY = {name: level for level, name in enumerate(LEVELS)}
_CALLBACKS = ("_INBOX.", "_INBOX_client.", "_INBOX_operator.", "chimera.callback.")


class Desk:
    """Takes orders. Whatever it answers with is stored first.

    Args:
        core: Shared state.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    async def submit(self, message: Submit) -> Submitted:
        """Take one task or many.

        Raises:
            ChimeraError: Why the single task is refused.
        """
        single = not message.tasks
        if single and message.input is None:
            raise BadMessageError("neither 'input' nor 'tasks' is given", hint="see the example of this operation")
        tasks = [message] if single else message.tasks
        groups: list[Group] = []
        receipts: list[Receipt] = []
        for task in tasks:
            try:
                receipts.append(self.take(task, groups))
            except ChimeraError as error:
                if single:
                    raise
                receipts.append(_refused(task, error))
        if any(receipt.duplicate for receipt in receipts):
            await self._core.journal.barrier()
        for group in groups:
            await group.wait()
        duplicates = sum(receipt.duplicate for receipt in receipts)
        refused = sum(receipt.state == "refused" for receipt in receipts)
        return Submitted(
            accepted=len(receipts) - refused - duplicates, duplicates=duplicates, refused=refused, receipts=receipts
        )

    def take(self, task: NewTask | Submit, groups: list[Group], *, schedule: str = "") -> Receipt:
        """Take one task; its group is added to ``groups`` if it is new.

        Raises:
            ChimeraError: Why not.
        """
        core = self._core
        spec = make_spec(task, core.clock.time(), task.id or f"{core.rng.getrandbits(128):032x}", schedule)
        known = self._known(spec)
        if known is not None:
            return _receipt(known, duplicate=True)
        now = core.clock.time()
        error = refusal(self._load(spec), core.policy.room, size=len(spec.input), now=now, deadline=spec.deadline)
        if error is not None:
            core.figures.refused(error.code)
            raise error
        status = states.submitted(spec, now)
        fact = TaskSubmitted(id=spec.id, agent=spec.agent, priority=task.priority, at=now)
        group = core.record(New(spec, status), lambda: self._taken(fact))
        if not groups or groups[-1] is not group:
            groups.append(group)
        core.figures.submitted(spec.agent)
        core.lanes.get(spec.agent, core.clock.monotonic()).arrived.add(core.clock.monotonic())
        (core.pump if status.state == "queued" else core.ticker).ring()
        return _receipt(core.ledger.tasks[spec.id])

    async def cancel(self, task_id: str) -> Task:
        """Cancel a task unless it is final.

        Raises:
            NotFoundError: If it is not known.
        """
        core, task = self._core, self.find(task_id)
        if not states.is_final(task.status.state):
            group = core.move(task, states.cancelled(task.status, core.clock.time()))
            core.stop_attempt(task_id)
            await group.wait()
        await core.settled(task_id)
        return task

    async def revive(self, message: Revive) -> list[str]:
        """Begin a new life of dead tasks.

        Raises:
            NotFoundError: If the one that is named is not known.
            ConflictError: If it is not dead, or another unfinished task has its key.
        """
        core, now = self._core, self._core.clock.time()
        chosen = [self.find_dead(message.id)] if message.id else self._dead_many(message)
        groups: dict[str, Group] = {}
        for task in chosen:
            if not self._is_superseded(task, alone=bool(message.id)):
                stored = partial(core.letters.answer, task.spec.id)
                groups[task.spec.id] = core.record(New(task.spec, states.revived(task.status, now)), stored)
        core.pump.ring()
        for group in groups.values():
            await group.wait()
        return list(groups)

    async def hold(self, agent: str, *, paused: bool) -> None:
        """Pause or resume one agent, or everything; to resume everything ends the drain too."""
        now = self._core.ledger.control
        if agent:
            agents = set(now.agents) | {agent} if paused else set(now.agents) - {agent}
            control = msgspec.structs.replace(now, agents=tuple(sorted(agents)))
        elif paused:
            control = msgspec.structs.replace(now, paused=True)
        else:
            control = Control(limits=now.limits)
        await self._core.control(control).wait()

    async def drain(self) -> None:
        """Take and start nothing new."""
        await self._core.control(msgspec.structs.replace(self._core.ledger.control, draining=True)).wait()

    async def limit(self, message: LimitAgent) -> None:
        """Set an agent's concurrency and rate."""
        now = self._core.ledger.control
        limits = {**now.limits, message.agent: (message.concurrency, message.rate_per_s)}
        await self._core.control(msgspec.structs.replace(now, limits=limits)).wait()

    def find(self, task_id: str) -> Task:
        """The task.

        Raises:
            NotFoundError: If it is not known (any more).
        """
        task = self._core.ledger.tasks.get(task_id)
        if task is None:
            raise NotFoundError(f"no task '{task_id}' is known", hint="finished tasks are kept for their keep_s")
        return task

    def find_dead(self, task_id: str) -> Task:
        """A dead task, also if only its letter remembers it.

        Raises:
            NotFoundError: If nothing does.
            ConflictError: If it is not dead.
        """
        letter = self._core.letters.find(task_id) if task_id not in self._core.ledger.tasks else None
        task = letter or self.find(task_id)
        if task.status.state != "dead":
            raise ConflictError(f"task '{task_id}' is {task.status.state}, not dead")
        return task

    def _taken(self, fact: TaskSubmitted) -> None:
        self._core.live("submitted", fact)
        self._core.letters.answer(fact.id)

    def _known(self, spec: Spec) -> Task | None:
        ledger = self._core.ledger
        known = ledger.tasks.get(spec.id)
        if known is not None and not known.spec.same_work(spec):
            raise ConflictError(f"task id '{spec.id}' was used for other work", hint="use a new id for new work")
        if known is None and spec.key and (other := ledger.keys.get(spec.key)):
            return ledger.tasks[other]
        return known

    def _load(self, spec: Spec) -> Load:
        core, ledger = self._core, self._core.ledger
        now = core.clock.monotonic()
        lane = core.lanes.get(spec.agent, now)
        return Load(
            tasks=ledger.unfinished, bytes=ledger.unfinished_bytes, disk_free=core.disk_free,
            store_free=core.store_free,
            ahead=ledger.queue.ahead(spec.agent, spec.level) if spec.deadline else 0,
            out_per_s=lane.throughput(now) if spec.deadline else 0.0,
            run_s=(lane.quantile(0.95) or 0.0) if spec.deadline else 0.0, draining=ledger.control.draining,
        )  # fmt: skip

    def _is_superseded(self, task: Task, *, alone: bool) -> bool:
        """True if another unfinished task has its key by now; said to the caller if that is all it asked for."""
        ledger = self._core.ledger
        holder = ledger.keys.get(task.spec.key) if task.spec.key else None
        if holder is not None and alone:
            raise ConflictError(f"the unfinished task '{holder}' has key '{task.spec.key}'", hint="wait for its end")
        return holder is not None

    def _dead_many(self, message: Revive) -> Iterable[Task]:
        if not (message.agent or message.reason or message.label or message.every):
            raise BadMessageError(
                "give an id, an agent, a reason or a label", hint="or every=true, to revive all there are"
            )
        return dead_tasks(self._core, message)[: message.limit]


def make_spec(task: NewTask | Submit, now: float, task_id: str, schedule: str = "") -> Spec:
    """What is stored of a new task; ``task_id`` is its own, or one made for it.

    Raises:
        BadMessageError: If its callback is no subject of its own.
    """
    if task.callback and not (task.callback.startswith(_CALLBACKS) and not set(task.callback) & set("*> ")):
        raise BadMessageError(
            f"callback {task.callback!r} is not allowed", hint="use a subject below _INBOX. or chimera.callback."
        )
    retries = task.retries
    return Spec(
        task_id, task.agent, task.task, _encoder.encode(task.input), _PRIORITY[task.priority],
        task.deadline, task.not_before, task.limit_s, retries.attempts, retries.first_s, retries.factor,
        retries.most_s, retries.jitter, task.key, tuple(sorted(task.labels.items())), task.callback, task.keep_s, now,
        schedule,
    )  # fmt: skip


def _receipt(task: Task, *, duplicate: bool = False) -> Receipt:
    status: Status = task.status
    state: Any = status.state
    return Receipt(id=task.spec.id, state=state, duplicate=duplicate)


def _refused(task: NewTask | Submit, error: ChimeraError) -> Receipt:
    return Receipt(id=task.id, state="refused", code=error.code, detail=error.detail, retry_after_s=error.retry_after_s)
