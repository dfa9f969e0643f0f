"""One task from request to answer: window, bulkhead, breaker, guest, record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any, Literal

import msgspec

from chimera.bus.contract import Bus
from chimera.clock import Clock
from chimera.errors import AgentContractError, AgentError, BadMessageError, ChimeraError, flatten
from chimera.sandbox.contract import GuestFailure, GuestResult
from subjects.agent import Predict, Prediction, Timings
from subjects.event import Outcome, TaskProcessed

from .answers import decode_output, error_of, is_fault, outcome_of
from .guestlog import GuestLog
from .manifest import allows
from .measure import AgentMeter
from .outcomes import Outbox
from .runtime import AgentRuntime, Choice, Slot
from .window import Answer, AnswerWindow

KPI_SUBJECT = "chimera.kpi"
_OVERHEAD = 512
_encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(slots=True)
class _Task:
    """A task under way, and what is known about it when it ends."""

    message: Predict
    payload: bytes
    deadline: float
    began: float = 0.0
    outcome: Outcome = "shed"
    queue_s: float = 0.0
    run_s: float = 0.0
    cpu_s: float = 0.0
    memory_bytes: int = 0
    release: int = 0
    variant: Literal["live", "candidate"] = "live"
    detail: str = ""
    output: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """What feedback is compared with: who served a job and what it said."""

    agent: str
    release: int
    output: dict[str, Any]


class TaskRunner:
    """Runs tasks and keeps a record of each.

    Args:
        node: Name of this node.
        clock: Times tasks.
        window: Stored answers.
        outbox: Takes one ``TaskProcessed`` per task.
        meter: Takes measurements.
        bus: Where successful guests' own messages go.
        log: Takes guests' log lines.
        report: Writes an event.
        record_inputs: Whether inputs and outputs are kept in the records.
    """

    def __init__(
        self,
        *,
        node: str,
        clock: Clock,
        window: AnswerWindow[Prediction],
        outbox: Outbox,
        meter: AgentMeter,
        bus: Bus,
        log: GuestLog,
        report: Callable[..., Any],
        record_inputs: bool,
    ) -> None:
        self._node = node
        self._clock = clock
        self._now: Callable[[], float] = clock.monotonic
        self._window = window
        self._outbox = outbox
        self._meter = meter
        self._bus = bus
        self._log = log
        self._report = report
        self._record_inputs = record_inputs

    async def predict(self, message: Predict, runtime: AgentRuntime, deadline: float) -> Prediction:
        """The task's answer, run now or stored.

        Args:
            message: The task.
            runtime: Its agent.
            deadline: Monotonic seconds when nobody waits any more.

        Raises:
            ConflictError: If the ``job_id`` was used for another request.
            OverloadedError, BreakerOpenError, DeadlineError: If it was not run, or not in time.
            AgentError, AgentTrapError, AgentLimitError, AgentContractError: What became of it in the guest.
        """
        payload = _encode(message.input)
        digest = blake2b(payload, digest_size=16)
        digest.update(f"\0{message.agent}\0{message.task}\0{message.key}".encode("utf-8", "surrogatepass"))
        run = partial(self._run, runtime, _Task(message, payload, deadline))
        answer, replayed = await self._window.once(message.job_id, digest.digest(), deadline, run)
        prediction = answer.unwrap()
        return msgspec.structs.replace(prediction, replayed=True) if replayed else prediction

    def running(self) -> list[str]:
        """Jobs under way here."""
        return self._window.running()

    def answered(self, age_s: float, most: int) -> list[str]:
        """Jobs that ended here in the last ``age_s`` seconds and whose answers are stored."""
        return self._window.recent(age_s, most)

    def judged(self, job_id: str) -> Judged | None:
        """Who served a job, while its answer is stored."""
        found = self._window.answer(job_id)
        return Judged(found.agent, found.release, found.output) if found else None

    async def _run(self, runtime: AgentRuntime, task: _Task) -> Answer[Prediction]:
        task.began = self._now()
        try:
            runtime.enter()
            self._meter.in_flight(runtime.name, runtime.in_flight)
            try:
                return await self._serve(runtime.choose(task.message.key or task.message.job_id), task)
            finally:
                runtime.leave()
                self._meter.in_flight(runtime.name, runtime.in_flight)
        except ChimeraError as error:
            task.detail = f"{error.code}: {error.detail}"
            raise
        except BaseException as error:
            task.detail = f"cancelled or crashed: {flatten(error)}"
            raise
        finally:
            self._record(runtime, task)

    async def _serve(self, choice: Choice, task: _Task) -> Answer[Prediction]:
        slot, settled = choice.slot, False
        task.release, task.variant = slot.release.number, choice.variant
        try:
            outcome = await self._submit(slot, task)
            answer = self._answer(outcome, task)
            self._settle(choice, answer)
            settled = True
        finally:
            slot.leave()
            if not settled:
                slot.breaker.release(choice.ticket)
        if outcome.log:
            self._log.add(task.message.agent, task.message.job_id, outcome.log)
        if isinstance(outcome, GuestResult) and answer.error is None and outcome.outbox:
            await self._emit(slot.release.manifest.grants, outcome.outbox)
        return answer

    async def _submit(self, slot: Slot, task: _Task) -> GuestResult | GuestFailure:
        name = task.message.task
        if name not in slot.tasks:
            known = ", ".join(sorted(slot.tasks)[:10]) or "none"
            raise BadMessageError(f"task: '{task.message.agent}' has no task '{name}'", hint=f"it has: {known}")
        outcome = await slot.batcher.submit(name, task.payload, task.deadline)
        task.run_s, task.cpu_s, task.memory_bytes = outcome.run_s, outcome.cpu_s, outcome.memory_bytes
        task.queue_s = max(0.0, self._now() - task.began - outcome.run_s)
        return outcome

    def _settle(self, choice: Choice, answer: Answer[Prediction]) -> None:
        """Tell the breaker; a guest that refuses an input works."""
        ok = answer.error is None or isinstance(answer.error, AgentError)
        breaker = choice.slot.breaker
        if breaker.record(choice.ticket, self._now(), ok=ok):
            agent, state = choice.slot.release.agent, breaker.state(self._now())
            self._report(
                "circuit-breaker", f"{agent}: the breaker of the {choice.variant} release is {state}",
                level="info" if state == "closed" else "warning", agent=agent, state=state,
                release=choice.slot.release.number,
            )  # fmt: skip

    def _answer(self, outcome: GuestResult | GuestFailure, task: _Task) -> Answer[Prediction]:
        """What the outcome means. Only the agent's own word is kept for repeats: a failed task had no effect."""
        if isinstance(outcome, GuestFailure):
            task.outcome, task.detail = outcome_of(outcome), outcome.detail
            return Answer(error=error_of(outcome), keep=not is_fault(outcome), size=len(outcome.detail) + _OVERHEAD)
        try:
            task.output = decode_output(outcome)
        except AgentContractError as error:
            task.outcome, task.detail = "agent-contract", error.detail
            return Answer(error=error, keep=False)
        task.outcome = "ok"
        return Answer(self._prediction(task, task.output), size=len(outcome.output) + _OVERHEAD)

    def _prediction(self, task: _Task, output: dict[str, Any]) -> Prediction:
        total_s = self._now() - task.began
        return Prediction(
            job_id=task.message.job_id, agent=task.message.agent, release=task.release, output=output, node=self._node,
            timings=Timings(queue_ms=_ms(task.queue_s), run_ms=_ms(task.run_s), total_ms=_ms(total_s)),
        )  # fmt: skip

    def _record(self, runtime: AgentRuntime, task: _Task) -> None:
        runtime.tasks.add(self._now() - task.began, ok=task.outcome == "ok")
        self._meter.task(runtime.name, task.outcome, task.queue_s, task.run_s)
        message, keep = task.message, self._record_inputs
        record = TaskProcessed(
            job_id=message.job_id, agent=runtime.name, release=task.release, task=message.task, outcome=task.outcome,
            at=self._clock.time(), queue_ms=task.queue_s * 1e3, run_ms=task.run_s * 1e3, cpu_ms=task.cpu_s * 1e3,
            memory_bytes=task.memory_bytes, node=self._node, variant=task.variant, key=message.key or message.job_id,
            detail=task.detail[:2000], input=message.input if keep else None, output=task.output if keep else None,
        )  # fmt: skip
        self._outbox.add(f"{KPI_SUBJECT}.{runtime.name}", record)

    async def _emit(self, grants: list[str], outbox: tuple[tuple[str, bytes], ...]) -> None:
        """Publish what a successful guest emitted, at most once; what is not granted is refused here once more."""
        patterns = [grant.removeprefix("emit:") for grant in grants if grant.startswith("emit:")]
        for subject, data in outbox:
            try:
                if any(allows(pattern, subject) for pattern in patterns):
                    await self._bus.publish(subject, data)
                else:
                    self._trouble(f"a guest emitted to {subject!r:.200}, which it is not granted")
            except ChimeraError as error:
                self._trouble(f"what a guest emitted could not be published: {error.detail}")

    def _trouble(self, message: str) -> None:
        self._report("wasm-runtime", message, level="warning")


def _ms(seconds: float) -> float:
    """Milliseconds for an answer, to the microsecond: more digits would be noise."""
    return round(seconds * 1e3, 3)
