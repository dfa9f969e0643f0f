"""The agent of the simulation: the runtime's own answer window and heartbeat around work that a seed decides."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from hashlib import blake2b

from actors.execution.window import Answer, AnswerWindow, WindowPolicy
from chimera import Actor, handles
from chimera.bus.contract import Bus
from chimera.errors import AgentError, AgentTrapError, ChimeraError, OverloadedError
from chimera.wire import encode
from subjects.agent import Predict, Prediction, Timings
from subjects.control import BEAT, Beat

_BEAT_S = 3.0
_FOR_EVER_S = 10_000.0


class Worker(Actor, name="agent", mailbox=1024, concurrency=256):
    """Does tasks: mostly well, sometimes never, sometimes with an error.

    Args:
        bus: For the heartbeat.
        dice: Decides how a job goes.
        calm: Says whether jobs still go wrong.
        worked: Told of every run: the job, and a number that no other run has.
    """

    def __init__(
        self, *, bus: Bus, dice: random.Random, calm: Callable[[], bool], worked: Callable[[str], int]
    ) -> None:
        self._bus, self._dice, self._calm, self._worked = bus, dice, calm, worked

    async def on_start(self) -> None:
        """Begin to beat."""
        self._window: AnswerWindow[Prediction] = AnswerWindow(WindowPolicy(), self.ctx.clock.monotonic)
        self.ctx.spawn(self._beat)

    @handles
    async def predict(self, message: Predict) -> Prediction:
        """Do the task, or give its stored answer."""
        deadline = self.ctx.deadline or self.ctx.clock.monotonic() + 30.0
        digest = blake2b(repr(message.input).encode()).digest()
        answer, _ = await self._window.once(message.job_id, digest, deadline, partial(self._run, message))
        return answer.unwrap()

    async def _run(self, message: Predict) -> Answer[Prediction]:
        dice = self._dice.random() if not self._calm() else 1.0
        if dice < 0.03:
            raise OverloadedError("full", retry_after_s=0.2)
        number = self._worked(message.job_id)
        await self.ctx.clock.sleep(_FOR_EVER_S if dice < 0.08 else self._dice.expovariate(1.0))
        if dice < 0.15:
            return self._failed(AgentTrapError("trap"))
        if dice < 0.18:
            return self._failed(AgentError("no"))
        output = {"job": message.job_id, "number": number}
        timings = Timings(queue_ms=0.0, run_ms=1.0, total_ms=1.0)
        return Answer(Prediction(
            job_id=message.job_id, agent=message.agent, release=1, output=output, timings=timings, node=self.ctx.node,
        ))  # fmt: skip

    def _failed(self, error: ChimeraError) -> Answer[Prediction]:
        return Answer(error=error)

    async def _beat(self) -> None:
        while True:
            await self.ctx.clock.sleep(_BEAT_S)
            if jobs := self._window.running():
                try:
                    await self._bus.publish(BEAT, encode(Beat(node=self.ctx.node, jobs=jobs)))
                except ChimeraError:
                    continue
