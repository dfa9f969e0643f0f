"""Whether a setting that was changed may stay: what was measured after it, beside what was measured before. Pure.

Before and after are no experiment: what else changed at that moment is blamed on the setting too. So a change stays
only while nothing got worse that can be measured, and one that nothing was measured of goes back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from subjects.agent import ConfigureBatching
from subjects.insight import Change

from .link import LinkSettings

LEVEL = 0.01
"""Chance that a change which did no harm is taken back."""

PATIENCE_S = 3600.0
"""How long it may take to measure enough."""

Verdict = Literal["kept", "worse", "unmeasured"]


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """So many messages or checks, and how many of them were bad."""

    count: int
    bad: int


class OnTrial(msgspec.Struct, frozen=True, kw_only=True):
    """A change that is in force and still to be verified.

    Attributes:
        what: ``agent.batching``, or the name of a link.
        changes: Its settings.
        since: When it was put in force, Unix time.
        least: How much must be measured.
        before: What was measured before it.
        slow_ms: Above it a task counts as bad, for batching: what 95 % took before.
        link: What was in force before, if it is a link.
        batching: The same, if it is the batching.
    """

    what: str
    changes: list[Change]
    since: float
    least: int
    before: Sample
    slow_ms: float = 0.0
    link: LinkSettings | None = None
    batching: ConfigureBatching | None = None


def judge(trial: OnTrial, after: Sample, now: float) -> Verdict | None:
    """Whether it stays; ``None`` = not known yet. One look, at the first moment when enough was measured."""
    if after.count >= trial.least:
        return "worse" if chance_of_more(trial.before, after) < LEVEL else "kept"
    return "unmeasured" if now - trial.since >= PATIENCE_S else None


def chance_of_more(before: Sample, after: Sample) -> float:
    """Chance of at least so many bad ones afterwards if the share were the same (Fisher, 1935: exact, one-sided)."""
    bad, count = before.bad + after.bad, before.count + after.count
    least, most = max(after.bad, after.count - (count - bad)), min(bad, after.count)
    whole = _log_ways(count, after.count)
    return math.fsum(
        math.exp(_log_ways(bad, many) + _log_ways(count - bad, after.count - many) - whole)
        for many in range(least, most + 1)
    )


def _log_ways(count: int, taken: int) -> float:
    return math.lgamma(count + 1) - math.lgamma(taken + 1) - math.lgamma(count - taken + 1)


def slow_sample(total_ms: Sequence[float | None], slow_ms: float) -> Sample:
    """Tasks, and those of them that failed (``None``) or took longer."""
    bad = sum(passed is None or passed > slow_ms for passed in total_ms)
    return Sample(count=len(total_ms), bad=bad)


def words(trial: OnTrial, after: Sample, verdict: Verdict) -> str:
    """What was found, for people."""
    unit = f"failed or took over {trial.slow_ms:.2f} ms" if trial.batching else "checks failed"
    found = (
        f"{trial.what}: {trial.before.bad} of {trial.before.count} {unit} before, {after.bad} of {after.count} after"
    )
    return {
        "kept": f"{found}; it stays",
        "worse": f"{found}; taken back, by chance alone at most {chance_of_more(trial.before, after):.2g}",
        "unmeasured": f"{found}; taken back, too little was measured in {PATIENCE_S:g} s",
    }.get(verdict, found)
