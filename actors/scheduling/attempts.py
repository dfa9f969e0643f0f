"""Attempts: what may run is started, asked of its agent, and its end written down if it still counts."""

from __future__ import annotations

import anyio
import msgspec

from actors.queueing import states
from actors.queueing.ledger import Task
from actors.queueing.records import Moved, pack
from actors.queueing.retry import NEVER, NOT_BEGUN, backoff_s
from chimera.errors import ChimeraError, TooLargeError
from subjects.agent import Prediction

from .adoption import Adoption
from .core import Core
from .crew import Crew
from .jobs import question_of
from .lanes import Lane

_IDLE_S = 3600.0
_HOLD_S = 0.5
_CANCEL_LAG_S = 0.25
_encode = msgspec.msgpack.Encoder().encode


class Attempts:
    """Starts tasks and takes their results.

    An attempt is the ask ``agent.predict`` with the job id ``<task>-<attempt>``: the agent answers a repeated job from
    its window, and the result counts only while the task runs and this attempt is its last: a zombie's late answer
    finds neither. The first start is written without waiting for it: whether or not it is stored when the agent begins,
    the result is only taken by the leader that can still write, and another leader starts the same attempt. Later
    starts are stored before the agent is asked: the numbers it has seen only grow, and fence what it does outside.

    Args:
        core: Shared state.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self.adoption = Adoption(core, self._settle)
        self._crew = Crew(core.spawn, self._attempt)

    async def run(self) -> None:
        """Start what may be started, for ever."""
        core = self._core
        while True:
            while (waiting := core.ledger.queue.pop(self._may_start)) is not None:
                self._start(core.ledger.tasks[waiting.id])
            await core.pump.wait(self._patience())

    def _may_start(self, agent: str) -> bool:
        now = self._core.clock.monotonic()
        return self._core.lanes.get(agent, now).may_start(now)

    def _patience(self) -> float:
        now = self._core.clock.monotonic()
        waits = [wait for lane in self._core.lanes if (wait := lane.wait_s(now)) is not None]
        return min(waits, default=_IDLE_S)

    def _start(self, task: Task) -> None:
        core, now = self._core, self._core.clock.monotonic()
        lane = core.lanes.get(task.spec.agent, now)
        lane.bucket.take(now)
        lane.in_flight += 1
        at = core.clock.time()
        core.move(task, states.started(task.status, at))
        task.beat_at, task.moved_at, task.progress, task.note = now, None, None, ""
        self._crew.take((task, task.status.attempt, lane))

    async def _attempt(self, job: tuple[Task, int, Lane], scope: anyio.CancelScope) -> None:
        (task, attempt, lane), core = job, self._core
        spec = task.spec
        core.scopes[spec.id] = scope
        try:
            answer = await self._ask(task, attempt, scope)
        finally:
            lane.in_flight -= 1
            if core.scopes.get(spec.id) is scope:
                del core.scopes[spec.id]
            core.pump.ring()
        self._settle(spec.id, attempt, lane, answer)

    async def _ask(self, task: Task, attempt: int, scope: anyio.CancelScope) -> Prediction | ChimeraError:
        core, spec = self._core, task.spec
        question = question_of(spec, attempt, spec.limit_s)
        try:
            if attempt > 1:  # its number fences: no later leader may give out a lower one
                await core.journal.barrier()
            return await core.ask(
                question, timeout_s=spec.limit_s + _CANCEL_LAG_S, leave=lambda: not scope.cancel_called
            )
        except ChimeraError as error:
            return error

    def _settle(self, task_id: str, attempt: int, lane: Lane, answer: Prediction | ChimeraError) -> None:
        core = self._core
        task = core.ledger.tasks.get(task_id)
        if task is None or states.fences(task.status, attempt):
            return
        error = self._succeed(task, lane, answer) if isinstance(answer, Prediction) else answer
        if error is None:
            return
        if error.code == "connection-lost":  # ours: the agent may well work on, and tells it when it is heard again
            self.adoption.take(task)
        else:
            self._fail(task, lane, error)

    def _succeed(self, task: Task, lane: Lane, answer: Prediction) -> ChimeraError | None:
        core = self._core
        status = states.succeeded(task.status, core.clock.time(), _encode(answer.output), answer.release)
        try:
            core.journal.check(pack(Moved(task.spec.id, status)))
        except TooLargeError as error:
            return error
        lane.ran(answer.timings.run_ms / 1e3)
        core.figures.ran(task.spec.agent, answer.timings.run_ms / 1e3)
        lane.ended.add(core.clock.monotonic())
        core.move(task, status)
        return None

    def _fail(self, task: Task, lane: Lane, error: ChimeraError) -> None:
        core, now, spec = self._core, self._core.clock.time(), task.spec
        if error.code in NOT_BEGUN:
            if error.code == "overloaded":
                lane.aimd.refused()
            wait = max(error.retry_after_s or 0.0, _HOLD_S) * (1.0 + core.rng.random())
            lane.hold(core.clock.monotonic(), wait)
            core.move(task, states.put_back(task.status, now, error.code, wait_s=0.0))
        else:
            wait = backoff_s(spec, task.status.used, core.rng)
            again = error.code not in NEVER
            core.move(task, states.failed(task.status, spec, now, error.code, error.detail, wait_s=wait, again=again))
            lane.ended.add(core.clock.monotonic())
        core.ticker.ring()
