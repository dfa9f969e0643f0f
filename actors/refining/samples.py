"""One number per message of what goes into an agent and what comes out: what drift is judged on."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any

import numpy as np

from actors.insight.arrays import Floats
from subjects.event import TaskProcessed

KEPT = 2000
MOST_AGENTS = 512
_DEPTH = 4

INPUTS, ANSWERS = "inputs", "answers"
UNITS = {INPUTS: "characters", ANSWERS: ""}


class _Ring:
    """The last pairs, 16 bytes each."""

    __slots__ = ("_next", "_pairs")

    def __init__(self) -> None:
        self._pairs = array("d")
        self._next = 0

    def add(self, at: float, value: float) -> None:
        """Take a pair in place of the oldest one."""
        if len(self._pairs) < 2 * KEPT:
            self._pairs.extend((at, value))
            return
        self._pairs[self._next], self._pairs[self._next + 1] = at, value
        self._next = (self._next + 2) % (2 * KEPT)

    def table(self) -> Floats:
        """A copy, oldest first, shape (n, 2)."""
        return np.roll(np.array(self._pairs, np.float64).reshape(-1, 2), -(self._next // 2), axis=0)


class Samples:
    """The newest messages' numbers: the length of the input's text, and the answer's first number by name.

    2000 of each agent and side, of at most 512 agents: 32 MB at the most.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], _Ring] = {}

    def take(self, record: TaskProcessed) -> None:
        """Add a task's numbers, as far as it has any."""
        if record.input is not None:
            self._add(record.agent, INPUTS, record.at, float(text_length(record.input)))
        answer = first_number(record.output) if record.output is not None else None
        if answer is not None:
            self._add(record.agent, ANSWERS, record.at, answer)

    def sides(self) -> list[tuple[str, str]]:
        """Which agents and sides there are."""
        return list(self._kept)

    def numbers(self, agent: str, side: str) -> tuple[Floats, Floats]:
        """When, and the numbers, oldest message first; shapes (n,)."""
        kept = self._kept.get((agent, side))
        table = kept.table() if kept else np.empty((0, 2))
        return table[:, 0], table[:, 1]

    def _add(self, agent: str, side: str, at: float, value: float) -> None:
        kept = self._kept.get((agent, side))
        if kept is None:
            if len(self._kept) >= 2 * MOST_AGENTS:
                return
            kept = self._kept[agent, side] = _Ring()
        kept.add(at, value)


def text_length(value: Any, depth: int = 0) -> int:
    """Characters of all text in a document, keys aside, four levels deep."""
    if isinstance(value, str):
        return len(value)
    if depth >= _DEPTH:
        return 0
    if isinstance(value, dict):
        parts: list[Any] = list(value.values())  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] - a JSON document
    else:
        parts = value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType] - a JSON document
    return sum(text_length(part, depth + 1) for part in parts)


def first_number(answer: Mapping[str, Any]) -> float | None:
    """The number in the answer whose name comes first, or ``None``."""
    for name in sorted(answer):
        value = answer[name]
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15:  # noqa: PLR2004 - as LARGEST
            return float(value)
    return None
