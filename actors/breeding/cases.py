"""Judged tasks that genomes are measured on: recorded ones, or labelled ones that a request brings. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, Literal

import msgspec

from actors.refining.recorded import Recorded
from subjects.evolution import Case

Side = Literal["train", "validation"]
"""Cases that genomes are bred on, and cases that the champion is chosen by."""

VALIDATION = 0.3
"""Share of inputs that validate."""

_encode = msgspec.json.Encoder(order="deterministic").encode


class LabelledTask(msgspec.Struct, frozen=True, array_like=True):
    """A task and what was right.

    Attributes:
        key: By which it is known: the job's id, or the hash of a supplied case.
        task: Which of the agent's tasks.
        input: What it works on.
        size: Bytes of the input as JSON.
        place: Hash of the input, from 0 to 1: says on which side it is.
        seq: Its record's place in stream KPI; 0 = supplied. ``judged_seq`` is its judgement's place in EVENTS.
    """

    key: str
    task: str
    input: dict[str, Any]
    label: str | None
    score: float | None
    size: int
    place: float
    seq: int = 0
    judged_seq: int = 0

    @property
    def side(self) -> Side:
        """Fixed by the input alone: what came twice is never on both sides."""
        return "validation" if self.place < VALIDATION else "train"


def recorded_cases(tasks: Iterable[Recorded]) -> list[LabelledTask]:
    """Recorded tasks whose input was kept, in their order."""
    found: list[LabelledTask] = []
    for task in tasks:
        if task.input is not None:
            data = _encode(task.input)
            found.append(LabelledTask(
                task.job_id, task.task, task.input, task.label, task.score, len(data), _place(data), task.seq,
                task.judged_seq,
            ))  # fmt: skip
    return found


def supplied_cases(cases: Sequence[Case], task: str = "predict") -> list[LabelledTask]:
    """Labelled tasks of a request, in their order; the same one again is left out, for it would tell nothing new."""
    found: dict[str, LabelledTask] = {}
    for case in cases:
        key = blake2b(_encode([case.input, case.label, case.score]), digest_size=16).hexdigest()
        if key not in found:
            data = _encode(case.input)
            found[key] = LabelledTask(key, task, case.input, case.label, case.score, len(data), _place(data))
    return list(found.values())


def _place(data: bytes) -> float:
    # not the hashes that part tune from gate or give an order: within one of their halves those are lopsided
    digest = blake2b(data, digest_size=8, person=b"validation").digest()
    return (int.from_bytes(digest, "big") >> 11) / 2.0**53
