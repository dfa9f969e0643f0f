"""Guests' log lines on their way to the event log: so many a second per agent, the rest counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_BURST_S = 5.0
_LONGEST_LINE = 500


@dataclass(slots=True)
class _Allowance:
    left: float
    at: float
    dropped: int = 0


class GuestLog:
    """A token bucket per agent in front of the event log.

    Args:
        report: Writes an event: name, message, level and fields.
        now: Monotonic seconds.
        lines_per_s: Lines of one agent per second; five seconds' worth may come at once.
    """

    def __init__(self, report: Callable[..., Any], now: Callable[[], float], lines_per_s: float) -> None:
        self._report = report
        self._now = now
        self._rate = lines_per_s
        self._agents: dict[str, _Allowance] = {}

    def add(self, agent: str, job_id: str, lines: Sequence[str]) -> None:
        """Write a task's lines, as far as the agent's allowance goes."""
        allowance = self._refill(agent)
        for line in lines:
            if allowance.left < 1:
                allowance.dropped += 1
                continue
            allowance.left -= 1
            dropped, allowance.dropped = allowance.dropped, 0
            self._report("wasm-runtime", line[:_LONGEST_LINE], agent=agent, job_id=job_id, dropped_before=dropped)

    def _refill(self, agent: str) -> _Allowance:
        now, most = self._now(), self._rate * _BURST_S
        allowance = self._agents.setdefault(agent, _Allowance(most, now))
        allowance.left = min(most, allowance.left + (now - allowance.at) * self._rate)
        allowance.at = now
        return allowance
