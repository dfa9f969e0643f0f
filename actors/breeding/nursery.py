"""From what an engine asked for, and what was measured, to records and a generation's figures. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from actors.evolving.box import Array
from actors.evolving.codec import Codec
from actors.evolving.convergence import Convergence, Look
from actors.evolving.diversity import Columns, Variety, variety
from actors.evolving.engine import FAILED, Birth
from actors.evolving.record import DataWindow, GenomeRecord, seal
from subjects.agent import Genes, Limits
from subjects.evolution import GenerationView

from .fold import EvolutionFold, genome_id
from .score import Score


class Born(NamedTuple):
    """How a genome came about: its number on its island, vector, parents and operator."""

    number: int
    vector: Array
    parents: tuple[Birth, ...]
    operator: str


class Nursery:
    """Makes records and figures of one evolution.

    Args:
        fold: The evolution.
        codec: Genomes and vectors.
        known: How many genomes each island was given; others around them were made from these.
    """

    def __init__(self, fold: EvolutionFold, codec: Codec, known: Sequence[int]) -> None:
        self._fold, self._codec, self._known = fold, codec, known
        self.columns = Columns(codec.lower.tolist(), codec.upper.tolist(), codec.kinds)
        self.convergence = Convergence()
        for bred in fold.bred:
            self._look(bred.figures)

    def record(self, island: int, born: Born, score: Score, generation: int, at: float) -> GenomeRecord:
        """A genome's record, sealed."""
        fold, decoded = self._fold, self._codec.decode(born.vector)
        began, window = fold.began, fold.began.window
        operator, parents = self._origin(island, born)
        limits = limits_of(began.release.limits, decoded.settings)
        return seal(GenomeRecord(
            id=genome_id(fold.id, island, born.number), run=fold.id, number=born.number, agent=fold.agent,
            release=began.release.number, genes=decoded.searched, limits=limits,
            parents=[genome_id(fold.id, *parent) for parent in parents], operator=operator, seed=began.seed,
            generation=generation, island=island, fitness=score.fitness, half_width=score.half_width,
            values=list(score.values), tasks=score.tasks, cpu_s=score.cpu_s, failure=score.failure, at=at,
            window=DataWindow(first=window.first, last=window.last, count=window.train, digest=window.digest),
        ))  # fmt: skip

    def figures(
        self, number: int, at: float, vectors: Array, losses: Array, scores: Sequence[Score], *, half_width: float,
        seconds: float, action: str,
    ) -> GenerationView:  # fmt: skip
        """A generation's row: of the present population, and of what was measured for it.

        Args:
            number: Counted from 0.
            at: Unix seconds.
            vectors: The population, (m, n).
            losses: First loss of each member, (m,).
            scores: Of the genomes that were measured in this generation.
            half_width: Of the best member.
            seconds: How long it took.
            action: What was done besides.
        """
        fitness = -losses[losses < FAILED]
        found = self.variety(vectors, fitness)
        return GenerationView(
            number=number, at=at, size=len(vectors), best=_of(fitness, np.max), mean=_of(fitness, np.mean),
            worst=_of(fitness, np.min), deviation=_of(fitness, np.std), half_width=half_width if len(fitness) else None,
            distance=found.distance, entropy=found.entropy, unique=found.unique,
            mutation_rate=self._fold.mutation_rate, evaluations=len(scores),
            failed=sum(bool(score.failure) for score in scores), cached=sum(score.cached for score in scores),
            seconds=seconds, action=action,
        )  # fmt: skip

    def variety(self, vectors: Array, fitness: Array) -> Variety:
        """How different the members are."""
        return variety(vectors, self.columns, fitness)

    def look(self, figures: GenerationView) -> Convergence:
        """Where the search stands after this generation."""
        self._look(figures)
        return self.convergence

    def _look(self, figures: GenerationView) -> None:
        # all genomes meet the same tasks: what chance there is, is the same for all of them
        self.convergence = self.convergence.after(Look(figures.best, 0.0, figures.distance))

    def _origin(self, island: int, born: Born) -> tuple[str, tuple[Birth, ...]]:
        known = self._known[island]
        if born.operator == "known" and born.number >= known:
            return "mutation", ((island, (born.number - known) % known),)
        return born.operator, born.parents


def limits_of(base: Limits, settings: Genes) -> Limits | None:
    """The release's limits with the searched ones; ``None`` if none were searched."""
    if not settings:
        return None
    changed = {name: float(value) for name, value in settings.items() if isinstance(value, int | float)}
    return Limits(
        cpu_ms=changed.get("cpu_ms", base.cpu_ms), wall_ms=changed.get("wall_ms", base.wall_ms),
        memory_bytes=base.memory_bytes, output_bytes=base.output_bytes, log_bytes=base.log_bytes,
        log_lines=base.log_lines,
    )  # fmt: skip


def _of(values: Array, figure: Callable[[Array], Any]) -> float | None:
    return float(figure(values)) if len(values) else None
