"""Trials as they stand after the events so far."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from .events import By, Expired, Failed, Fault, Point, Renewed, Told

State = Literal["open", "told", "failed", "expired"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial; every change makes a new one, so that a snapshot can't change.

    Attributes:
        number: Its place in the study, from 0.
        point: What was tried.
        by: Who proposed it.
        state: ``open`` until it is told, fails, or its lease runs out.
        asked_at: Unix seconds.
        expires_at: End of its lease, Unix seconds.
        ended_at: Unix seconds, once it is not open any more.
        order: Its place among the trials that ended with a result or by their own fault, from 0.
        value: The objective in its own direction.
        stderr: Standard error of ``value``, if it is known.
        constraints: Guardrails by name; at most 0 is kept.
        fault: Why it failed, if it did.
        reason: In words.
        messages: Messages it answered so far.
        harmed: Those answered worse than the live release would have.
    """

    number: int
    point: Point
    by: By
    state: State
    asked_at: float
    expires_at: float
    ended_at: float | None = None
    order: int | None = None
    value: float | None = None
    stderr: float | None = None
    constraints: dict[str, float] = field(default_factory=dict[str, float])
    fault: Fault | None = None
    reason: str = ""
    messages: int = 0
    harmed: int = 0

    @property
    def feasible(self) -> bool:
        """True if it was measured and no guardrail was broken."""
        return self.state == "told" and all(value <= 0.0 for value in self.constraints.values())

    @property
    def teaches(self) -> bool:
        """True if it says something about its point: measured, or failed because of it."""
        return self.order is not None

    @property
    def cell(self) -> tuple[tuple[str, object], ...]:
        """The point as something that can be a key: measurements of equal points belong together."""
        return tuple(self.point.items())


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a proposer may know: an unchanging picture of the trials by number."""

    trials: tuple[Trial, ...]

    @property
    def number(self) -> int:
        """The number of the trial to be proposed."""
        return len(self.trials)

    def results(self) -> list[Trial]:
        """Trials that say something about their points, in the order in which they ended."""
        return sorted((trial for trial in self.trials if trial.order is not None), key=lambda trial: trial.order or 0)

    def pending(self) -> list[Trial]:
        """Open trials by number."""
        return [trial for trial in self.trials if trial.state == "open"]


def after(trial: Trial, event: Renewed | Told | Failed | Expired, order: int) -> Trial:
    """The trial after a sound event of its own; counts are totals, so the greatest one said so far holds.

    Args:
        trial: Before.
        event: See ``check_event``.
        order: The place it gets if it says something about its point now.
    """
    if isinstance(event, Expired):
        return replace(trial, state="expired", ended_at=event.at, reason="its lease ran out")
    used = replace(trial, messages=max(trial.messages, event.messages), harmed=max(trial.harmed, event.harmed))
    if isinstance(event, Renewed):
        return replace(used, expires_at=max(trial.expires_at, event.expires_at))
    if isinstance(event, Failed):
        taught = order if event.fault == "setting" else None
        return replace(used, state="failed", ended_at=event.at, fault=event.fault, reason=event.reason, order=taught)
    return replace(
        used, state="told", ended_at=event.at, order=order, value=float(event.value), stderr=event.stderr,
        constraints=dict(event.constraints), reason="",
    )  # fmt: skip
