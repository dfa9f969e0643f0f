"""Records as they are shown. Pure."""

from __future__ import annotations

from actors.evolving.record import GenomeRecord
from subjects.genome import GenomeView


def genome_view(record: GenomeRecord) -> GenomeView:
    """A genome for people and other layers."""
    return GenomeView(
        id=record.id, evolution=record.run, agent=record.agent, release=record.release, genes=record.genes,
        limits=record.limits, parents=record.parents, operator=record.operator, seed=record.seed,
        generation=record.generation, island=record.island, fitness=record.fitness, half_width=record.half_width,
        values=record.values, tasks=record.tasks, window=record.window.digest, failure=record.failure, at=record.at,
        checksum=record.checksum,
    )  # fmt: skip
