"""How long to wait before the next attempt, and which failures are worth one."""

from __future__ import annotations

import random

from .records import Spec

NEVER = frozenset({"bad-message", "agent-error", "too-large", "denied", "no-agent", "unauthorized", "not-found"})
"""Errors that the same input meets again: it goes to the dead letters at once."""

NOT_BEGUN = frozenset({"overloaded", "breaker-open", "layer-not-running", "not-running", "restarting", "bus-down"})
"""Errors that say for sure that nothing ran: the attempt does not count."""

_FAR = 64


def backoff_s(spec: Spec, used: int, rng: random.Random) -> float:
    """Seconds before the attempt after ``used`` attempts: ``first_s * factor^(used-1)``, at most ``most_s``.

    Jitter takes away up to its share, so that tasks that failed together do not come back together.
    """
    base = min(spec.most_s, spec.first_s * spec.factor ** min(max(used - 1, 0), _FAR))
    return base * (1.0 - spec.jitter * rng.random())
