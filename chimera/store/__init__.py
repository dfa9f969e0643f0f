"""Projections of streams, for questions that streams answer slowly."""

from .contract import OutcomeFilter, PoolStatistics, Remembered, Store, StoreStatistics
from .open import open_store
from .projector import Projector, ProjectorStatistics, Regress, project

__all__ = [
    "OutcomeFilter",
    "PoolStatistics",
    "Projector",
    "ProjectorStatistics",
    "Regress",
    "Remembered",
    "Store",
    "StoreStatistics",
    "open_store",
    "project",
]
