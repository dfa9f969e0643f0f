"""What both sides of the benchmark run: rated tweets, and genomes of the sentiment agent that are always new."""

from __future__ import annotations

import random

from actors.breeding.caseload import Caseload, of_request
from chimera.cli.dataset import load
from edge.guests import shipped_guest
from subjects.agent import Genes
from subjects.evolution import Case, Objective
from subjects.experiment import Metric

TASKS = 384
RUNGS = (range(32), range(32, 128), range(128, TASKS))
OBJECTIVES = [Objective(metric=Metric(name="score_error", kind="mean", better="lower", high=2.0))]
MANIFEST = shipped_guest("sentiment").manifest
_rng = random.Random(11)  # noqa: S311 - genomes of a benchmark


def tweets() -> Caseload:
    """The first tweets, with their ratings as scores from -1 to 1."""
    cases = [
        Case(input={"text": one.text}, score=max(-1.0, min(1.0, one.rating / 2.5))) for one in load("tweets")[:1000]
    ]
    return of_request(cases, most=TASKS).train


def genome() -> Genes:
    """A random one."""
    scalars = [one for one in MANIFEST.genome if one.type == "real" and one.size == 1]
    return {
        one.name: _rng.uniform(one.low, one.high) for one in scalars[:8] if one.low is not None and one.high is not None
    }
