"""What happens to trials: the facts of which a study consists, and nothing else."""

from __future__ import annotations

from typing import Literal

import msgspec

Value = bool | float | int | str
"""A dimension's value: real, integer, category or boolean."""

Point = dict[str, Value]
"""Values by the dimensions' keys, those that count only; ``Space.decode`` makes a genome of it."""

Fault = Literal["setting", "elsewhere"]
"""Whether a trial failed because of its point, or because of something that says nothing about it."""

By = Literal["start", "given", "bayesian", "gp", "cmaes", "random"]
"""Who proposed a trial: the known-good setting, a person or another layer, or an algorithm."""


class _Fact(msgspec.Struct, frozen=True, kw_only=True, tag_field="fact"):
    """A fact about the trial ``number``, at Unix time ``at`` in seconds."""

    number: int
    at: float


class Asked(_Fact, frozen=True, kw_only=True, tag="asked"):
    """A trial was opened: its point, who proposed it, and when its lease runs out."""

    point: Point
    by: By
    expires_at: float


class Renewed(_Fact, frozen=True, kw_only=True, tag="renewed"):
    """An open trial goes on: a later end of its lease, and what it has used in all so far."""

    expires_at: float
    messages: int = 0
    harmed: int = 0


class Told(_Fact, frozen=True, kw_only=True, tag="told"):
    """A trial was measured.

    Attributes:
        value: The objective, in the metric's own unit and direction.
        stderr: Its standard error; 0 for an exact value, ``None`` if unknown.
        constraints: Every guardrail of the plan by name; at most 0 is kept, above 0 is broken.
        messages: Messages that the trial answered, in all.
        harmed: Those of them that it answered worse than the live release would have, or not at all.
    """

    value: float
    stderr: float | None = None
    constraints: dict[str, float] = {}
    messages: int = 0
    harmed: int = 0


class Failed(_Fact, frozen=True, kw_only=True, tag="failed"):
    """A trial ended without a value. ``fault`` "setting" makes its point count as bad as the worst that was seen."""

    reason: str
    fault: Fault = "setting"
    messages: int = 0
    harmed: int = 0


class Expired(_Fact, frozen=True, kw_only=True, tag="expired"):
    """A trial's lease ran out; a result that comes later still counts."""


TrialEvent = Asked | Renewed | Told | Failed | Expired
"""Decode a log with ``msgspec.json.decode(line, type=TrialEvent)``: floats come back to the last digit."""
