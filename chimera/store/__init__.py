"""Projections of streams, for questions that streams answer slowly."""

from .contract import (
    Measured,
    MeasureFilter,
    OutcomeFilter,
    PoolStatistics,
    Remembered,
    Store,
    StoreStatistics,
    Tally,
)
from .open import open_store
from .projector import Projector, ProjectorStatistics, Regress, project

__all__ = [
    "MeasureFilter",
    "Measured",
    "OutcomeFilter",
    "PoolStatistics",
    "Projector",
    "ProjectorStatistics",
    "Regress",
    "Remembered",
    "Store",
    "StoreStatistics",
    "Tally",
    "open_store",
    "project",
]
