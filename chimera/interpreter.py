"""Python's interpreter, set for a server: one thread serves, others compute beside it."""

from __future__ import annotations

import gc
import sys

THRESHOLDS = (20_000, 20, 20)
"""New containers until a young collection, young ones until a middle one, middle ones until a full one."""

SWITCH_S = 0.001
"""How long a thread that computes keeps the interpreter's lock while another waits for it; Python's own is 5 ms."""


def calm() -> None:
    """Let neither the garbage collector nor threads that compute hold up the event loop, once a node has started.

    What exists now is left out of every later collection, and a collection comes after 20,000 new containers, not 700:
    a request keeps a few hundred objects for a while (its answer, its record), and none in circles; looking at them
    every 700 found nothing and took a tenth to a fifth of the processor under load.

    Whenever the loop comes back from waiting it must get the lock again, and every thread that computes may keep it for
    a whole interval first: with four of them at 5 ms the loop stood still for 20 (``just bench stalls``).
    """
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    sys.setswitchinterval(SWITCH_S)
