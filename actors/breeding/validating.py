"""Which of the best genomes is champion, by tasks that none of them was bred on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from actors.evolving.record import GenomeRecord
from chimera.clock import Clock

from .fold import EvolutionFold
from .log import Championed
from .measuring import Measuring

RIVALS = 8
"""Genomes that are validated, the best by the training tasks."""


class Validator:
    """Measures the best genomes and the live one on all validation tasks.

    The best of many figures is mostly lucky, so the figure that bred a genome is not the one that it is judged by.

    Args:
        fold: The evolution.
        measuring: Measures genomes.
        write: Stores an entry, then has the fold take it.
        clock: Time.
    """

    def __init__(
        self, fold: EvolutionFold, measuring: Measuring, *, write: Callable[[Any], Awaitable[None]], clock: Clock
    ) -> None:  # fmt: skip
        self._fold, self._measuring, self._write, self._clock = fold, measuring, write, clock

    async def run(self) -> None:
        """Choose the champion, and say whether it is worth a trial."""
        fold = self._fold
        entry = await self._championed(fold.finalists(RIVALS))
        with anyio.CancelScope(shield=True):
            await self._write(entry)

    async def _championed(self, finalists: list[GenomeRecord]) -> Championed:
        fold, at = self._fold, self._clock.time()
        nobody = Championed(
            id=fold.id, at=at, genome="", value=None, incumbent=None, low=None, better=False, reason="none was sound",
        )  # fmt: skip
        if not finalists:
            return nobody
        verdict = await self._measuring.verdict(finalists)
        if verdict is None:
            return nobody
        if verdict.better:
            reason = f"better by {verdict.gain:.4g} on {verdict.tasks} validation tasks"
        else:
            reason = f"not better than the live genome on {verdict.tasks} validation tasks: {verdict.gain:+.4g}"
        return Championed(
            id=fold.id, at=at, genome=verdict.genome, value=verdict.value, incumbent=verdict.incumbent,
            low=verdict.low, better=verdict.better, reason=reason,
        )  # fmt: skip
