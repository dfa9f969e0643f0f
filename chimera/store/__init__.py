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
    Write,
)
from .follower import Follower, Projection
from .genomes import CheckRow, GenomeFilter, GenomeRow, Genomes, RunRow
from .open import open_store
from .projector import Projector, ProjectorStatistics, Regress, project
from .rebuild import Part, Progress, StreamPart
from .tasks import TaskChangeRow, TaskFilter, TaskHistory, TaskMove, TaskRow

__all__ = [
    "CheckRow",
    "Follower",
    "GenomeFilter",
    "GenomeRow",
    "Genomes",
    "MeasureFilter",
    "Measured",
    "OutcomeFilter",
    "Part",
    "PoolStatistics",
    "Progress",
    "Projection",
    "Projector",
    "ProjectorStatistics",
    "Regress",
    "Remembered",
    "RunRow",
    "Store",
    "StoreStatistics",
    "StreamPart",
    "Tally",
    "TaskChangeRow",
    "TaskFilter",
    "TaskHistory",
    "TaskMove",
    "TaskRow",
    "Write",
    "open_store",
    "project",
]
