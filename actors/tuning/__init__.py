"""Bayesian proposals: what of an agent may be tuned, studies as folds over their events, and when to stop."""

from .dimensions import Dimension
from .events import Asked, Expired, Failed, Point, Renewed, Told, TrialEvent
from .knobs import execution_parameters, limits_of
from .plan import Algorithm, Budget, StudyPlan
from .progress import Best, Convergence, Row, Spent
from .space import Proposal, Space
from .study import Study
from .trials import Trial

__all__ = [
    "Algorithm",
    "Asked",
    "Best",
    "Budget",
    "Convergence",
    "Dimension",
    "Expired",
    "Failed",
    "Point",
    "Proposal",
    "Renewed",
    "Row",
    "Space",
    "Spent",
    "Study",
    "StudyPlan",
    "Told",
    "Trial",
    "TrialEvent",
    "execution_parameters",
    "limits_of",
]
