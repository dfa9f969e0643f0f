"""Python's garbage collector, set for a server: it looks when there is something to find."""

from __future__ import annotations

import gc

THRESHOLDS = (20_000, 20, 20)
"""New containers until a young collection, young ones until a middle one, middle ones until a full one."""


def calm() -> None:
    """Leave what exists now out of every later collection, and collect after 20,000 new containers, not 700.

    A request keeps a few hundred objects for a while (its answer, its record), and none in circles: looking at them
    every 700 found nothing and took a tenth to a fifth of the processor under load. Called once a node has started.
    """
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
