"""What of an evolution's log other layers are told, and in which words people read it. Pure."""

from __future__ import annotations

from typing import Any

from subjects.evolution import Evolved

from .fold import EvolutionFold
from .log import Began, Bred, Championed, Ended, Gated, Judged, Paused, RunEntry, Told


def fact_of(entry: RunEntry, fold: EvolutionFold) -> Evolved | None:
    """The fact that an entry states; ``None`` if it concerns nobody else.

    Args:
        entry: One of the evolution's.
        fold: The evolution with the entry taken in.
    """
    if isinstance(entry, Bred):
        best = fold.best_record
        return Evolved(
            evolution=fold.id, agent=fold.agent, step="migrated" if entry.migrated else "generation", at=entry.at,
            state=fold.state, figures=entry.figures, genome=best.id if best else "", reason=entry.figures.action,
        )  # fmt: skip
    if isinstance(entry, Told):
        return None
    step, reason = _step(entry, fold)
    genome = entry.genome if isinstance(entry, Championed) else ""
    if not step:
        return None
    return Evolved(
        evolution=fold.id,
        agent=fold.agent,
        step=step,
        at=entry.at,
        state=fold.state,
        genome=genome,
        reason=reason,
    )


def _step(entry: RunEntry, fold: EvolutionFold) -> tuple[Any, str]:
    """The step that an entry is, and why; empty if it concerns nobody else."""
    step: Any = ""
    reason = ""
    match entry:
        case Began():
            step, reason = "started", f"{fold.began.config.algorithm}: {entry.why}"
        case Championed():
            step, reason = "champion", entry.reason
        case Gated():
            step, reason = "experiment", entry.experiment
        case Judged():
            step, reason = "discarded" if entry.release is None else "promoted", entry.reason
        case Paused():
            step = "paused" if entry.on else "resumed"
        case Ended():
            step, reason = "ended", f"{entry.state}: {entry.reason}"
        case _:
            pass
    return step, reason


def words_of(fact: Evolved) -> tuple[str, str]:
    """The event's name and its line for people."""
    figures = fact.figures
    if figures is not None:
        best = "-" if figures.best is None else f"{figures.best:.6g}"
        mean = "-" if figures.mean is None else f"{figures.mean:.6g}"
        line = (
            f"{fact.evolution}: generation {figures.number}: best {best}, mean {mean}, "
            f"distance {figures.distance:.3f}{figures.action and ', ' + figures.action}"
        )
        return "genetic-operator" if figures.action else "fitness-score", line
    name = {"promoted": "deployment-success", "champion": "genome-update", "ended": "evolution-time"}.get(
        fact.step, "algorithm-optimization"
    )
    return name, f"{fact.evolution} of {fact.agent}: {fact.step}{fact.reason and ': ' + fact.reason}"
