"""What an auto-tune learned about its metric, as a model on the shelf: a surface over the settings that were tried.

It is a record, and says what a proposal may be expected to bring. The searches' own models are not stored: they are
made anew from the log, to the last bit.
"""

from __future__ import annotations

import numpy as np

from actors.insight.model import Model
from actors.insight.surrogate import estimate, train_surrogate
from actors.tuning import Point, Space, Study
from actors.tuning.cube import Cube
from chimera.errors import ChimeraError

from .lessons import model_name

WHAT = "tuning"


def surrogate_of(agent: str, study: Study, at: float, unit: str) -> Model:
    """The surface through a study's measured points, in the unit cube; its error is that of held-out trials.

    Args:
        agent: Whose genome was searched.
        study: Has the trials.
        at: Unix time of the training.
        unit: Of the metric.

    Raises:
        BadMessageError: If there are too few trials, or too many parameters for such a surface.
    """
    told = [trial for trial in study.trials if trial.value is not None]
    cube = Cube(study.space)
    points = np.array([cube.row(trial.point) for trial in told]).reshape(len(told), cube.width)
    values = np.array([trial.value for trial in told], dtype=np.float64)
    window = (min(trial.asked_at for trial in told), max(trial.ended_at or at for trial in told)) if told else (at, at)
    return train_surrogate(
        model_name(agent, WHAT), columns(cube), points, values, window=window, trained_at=at, unit=unit
    )


def expected_at(model: Model, space: Space, point: Point) -> float | None:
    """The metric at a point; ``None`` where the model was not taught: outside of what was tried, or another space."""
    cube = Cube(space)
    row: list[float] = cube.row(point).tolist()
    try:
        return estimate(model, dict(zip(columns(cube), row, strict=True)))[0]
    except ChimeraError:
        return None


def columns(cube: Cube) -> list[str]:
    """A name for each column: the dimension's, with the choice if it has some."""
    named: list[str] = []
    for axis in cube.axes:
        key, choices = axis.dimension.key, axis.dimension.choices
        named += [f"{key}={choice}" for choice in choices] or [key]
    return named
