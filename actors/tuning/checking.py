"""Whether an event about a trial is sound: the one gate before anything is learned from it."""

from __future__ import annotations

import math

from chimera.errors import BadMessageError, ConflictError

from .events import Expired, Failed, Renewed, Told
from .plan import StudyPlan
from .trials import Trial

MOST = 1e100
"""Greatest size of a figure: what is larger is no measurement, and its square would overflow."""


def check_event(plan: StudyPlan, trial: Trial, event: Renewed | Told | Failed | Expired) -> None:
    """Refuse what does not follow from the trial's state or carries unsound figures.

    Raises:
        ConflictError: If the trial has ended in a way that does not allow it.
        BadMessageError: With the figure that is wrong.
    """
    _check_state(trial, event)
    _check_figure("at", event.at)
    if isinstance(event, Expired):
        return
    _check_counts(event)
    if isinstance(event, Renewed):
        _check_figure("expires_at", event.expires_at)
    if isinstance(event, Told):
        _check_result(plan, event)


def _check_state(trial: Trial, event: Renewed | Told | Failed | Expired) -> None:
    late = trial.state == "expired" and isinstance(event, Told | Failed)
    if trial.state != "open" and not late:
        ended = {"told": "has its result", "failed": "has failed", "expired": "has lost its lease"}[trial.state]
        raise ConflictError(f"trial {trial.number} {ended} already", hint="ask for another trial")


def _check_counts(event: Renewed | Told | Failed) -> None:
    if event.messages < 0 or not 0 <= event.harmed <= event.messages:
        raise BadMessageError(
            f"trial {event.number}: {event.harmed} harmed of {event.messages} messages can't be",
            hint="both are totals of the trial so far, and harmed is the part of messages",
        )


def _check_result(plan: StudyPlan, event: Told) -> None:
    _check_figure("value", event.value)
    if event.stderr is not None:
        _check_figure("stderr", event.stderr)
        if event.stderr < 0.0:
            raise BadMessageError(f"stderr: {event.stderr} is below 0")
    if missing := [name for name in plan.guardrails if name not in event.constraints]:
        raise BadMessageError(f"trial {event.number}: the guardrail '{missing[0]}' is missing from its result")
    for name, value in event.constraints.items():
        if name not in plan.guardrails:
            known = ", ".join(plan.guardrails) or "none"
            raise BadMessageError(f"the plan has no guardrail '{name}'", hint=f"it has: {known}")
        _check_figure(name, value)


def _check_figure(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        raise BadMessageError(f"{name}: a number is needed, not {value!r:.80}")
    if not math.isfinite(value) or abs(value) > MOST:
        raise BadMessageError(f"{name}: {value} is no measurement", hint="fail the trial if it could not be measured")
