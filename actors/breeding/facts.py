"""What of an evolution's log other layers are told, and in which words people read it. Pure."""

from __future__ import annotations

from subjects.evolution import Evolved

from .fold import EvolutionFold
from .log import Began, Bred, Championed, Ended, Gated, Judged, Paused, RunEntry


def fact_of(entry: RunEntry, fold: EvolutionFold) -> Evolved | None:
    """The fact that an entry states; ``None`` if it concerns nobody else.

    Args:
        entry: One of the evolution's.
        fold: The evolution with the entry taken in.
    """
    state = fold.state
    match entry:
        case Began():
            return _fact(fold, "started", entry.at, f"{fold.began.config.algorithm}: {entry.why}")
        case Bred():
            return Evolved(
                evolution=fold.id, agent=fold.agent, step="migrated" if entry.migrated else "generation", at=entry.at,
                state=state, figures=entry.figures, genome=fold.best_record.id if fold.best_record else "",
                reason=entry.figures.action,
            )  # fmt: skip
        case Championed():
            return Evolved(
                evolution=fold.id, agent=fold.agent, step="champion", at=entry.at, state=state, genome=entry.genome,
                reason=entry.reason,
            )  # fmt: skip
        case Gated():
            return _fact(fold, "experiment", entry.at, entry.experiment)
        case Judged():
            return _fact(fold, "discarded" if entry.release is None else "promoted", entry.at, entry.reason)
        case Paused():
            return _fact(fold, "paused" if entry.on else "resumed", entry.at, "")
        case Ended():
            return _fact(fold, "ended", entry.at, f"{entry.state}: {entry.reason}")
        case _:
            return None


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


def _fact(fold: EvolutionFold, step: str, at: float, reason: str) -> Evolved:
    return Evolved(
        evolution=fold.id, agent=fold.agent, step=step, at=at, state=fold.state, reason=reason,  # pyright: ignore[reportArgumentType] - one of the literals above
    )  # fmt: skip
