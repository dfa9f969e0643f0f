"""An attempt as the agent is asked for it."""

from __future__ import annotations

import msgspec

from actors.queueing.records import Spec
from subjects.agent import Predict

_decode = msgspec.msgpack.Decoder(dict[str, object]).decode


def question_of(spec: Spec, attempt: int, limit_s: float) -> Predict:
    """The ask of an attempt: the job ``<task>-<attempt>``, which the agent runs once however often it is asked."""
    return Predict(
        job_id=f"{spec.id}-{attempt}", agent=spec.agent, task=spec.task, input=_decode(spec.input),
        deadline_ms=max(1, int(limit_s * 1e3)), key=spec.id,
    )  # fmt: skip
