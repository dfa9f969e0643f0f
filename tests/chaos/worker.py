"""The agent actor of the nodes under test: the real one, whose every success has an effect outside."""

from __future__ import annotations

import hashlib
from typing import Any

import anyio
import msgspec

from actors.agent import Agent
from chimera import handles
from chimera.errors import DeniedError
from subjects.agent import Predict, Prediction
from tests.chaos.ledger import Effect, apply_at, socket_path

WORK_S = 0.15
"""What a task does beside its guest: long enough for a blow to fall into it."""


class EffectiveAgent(Agent, name="agent"):
    """Runs the guest, works on a little, then applies the effect under the attempt's number, then answers."""

    @handles
    async def predict(self, message: Predict) -> Prediction:
        """One attempt of a task, or a plain prediction.

        Raises:
            DeniedError: If the ledger knows a newer attempt: this one comes too late.
        """
        answer = await super().predict(message)
        task, _, attempt = message.job_id.rpartition("-")
        if not task or not attempt.isdecimal():
            return answer
        effect = Effect(task, int(attempt), digest(answer.output), self.ctx.node)
        verdict = ""
        with anyio.CancelScope(shield=True):  # what was begun outside can't be recalled: here zombies come from
            await anyio.sleep(WORK_S)
            verdict = await apply_at(socket_path(), effect)
        if verdict == "refused":
            raise DeniedError(f"a newer attempt than {attempt} of {task} has come")
        return answer


def digest(output: Any) -> str:
    """A value that is equal for equal outputs."""
    packed = msgspec.msgpack.encode(output, order="deterministic")
    return hashlib.sha256(packed).hexdigest()[:16]
