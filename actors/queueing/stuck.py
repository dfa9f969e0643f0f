"""Whether a running task gets on: three signals, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass

from subjects.task import Signal


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each kind of silence may last, in seconds."""

    heartbeat_s: float = 15.0
    progress_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Running:
    """What is known of an attempt, in seconds of one clock.

    Attributes:
        started_at: When it began.
        limit_s: How long it may take.
        beat_at: Its last sign of life.
        moved_at: When its progress last rose; ``None`` if it never told any: then it is not expected to.
    """

    started_at: float
    limit_s: float
    beat_at: float
    moved_at: float | None = None


def signals(task: Running, now: float, patience: Patience) -> list[tuple[Signal, str]]:
    """What speaks for it being stuck, with the reason in words; empty if nothing does."""
    found: list[tuple[Signal, str]] = []
    silent = now - task.beat_at
    if silent > patience.heartbeat_s:
        found.append(("no-heartbeat", f"no sign of life for {silent:.0f} s"))
    elif task.moved_at is not None and now - task.moved_at > patience.progress_s:
        found.append(("no-progress", f"alive, but without progress for {now - task.moved_at:.0f} s"))
    running = now - task.started_at
    if running > task.limit_s:
        found.append(("over-limit", f"runs for {running:.0f} s, {task.limit_s:.0f} s are allowed"))
    return found
