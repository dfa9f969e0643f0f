"""What a supervisor decides, as data and pure functions; the vocabulary and the rules are Erlang/OTP's.

Source: Erlang/OTP ``supervisor`` behaviour, "Supervision Principles" (restart strategies, maximum restart intensity,
child specifications). Ours differ in two defaults: 3 restarts in 5 s (OTP: 1 in 5 s), and a jittered back-off before
each restart.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Strategy(StrEnum):
    """Who is restarted when one child fails."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"


class Restart(StrEnum):
    """When a child is restarted: always, after a failure only, or never."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delay before the n-th restart in a row: ``initial_s * factor ** n``, at most ``maximum_s``, jittered.

    The jitter takes up to that ratio off, so that children that fail together do not return together.
    """

    initial_s: float = 0.1
    maximum_s: float = 5.0
    factor: float = 2.0
    jitter: float = 0.2

    def delay(self, failures: int, rng: random.Random) -> float:
        """Seconds to wait when ``failures`` failures in a row came before this one."""
        whole = min(self.initial_s * self.factor ** min(failures, 60), self.maximum_s)
        return whole * (1.0 - self.jitter * rng.random())


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One child: what it is, when it is restarted, how long it may take to stop.

    Attributes:
        id: Its name, unique under the supervisor.
        start: What to start: an ``Actor`` class, a ``Service`` factory, or, from configuration, a string naming either.
        arguments: Keyword arguments for it, or a function that makes them anew for every start.
        restart: When it is restarted.
        shutdown_s: Seconds it may take to drain and stop before it is cancelled.
        key: Key of a keyed actor.
        exposed: True if a keyed actor is asked by its own subject from outside.
        start_s: Seconds its start may take.
    """

    id: str
    start: Any
    arguments: dict[str, Any] | Callable[[], dict[str, Any]]
    restart: Restart = Restart.PERMANENT
    shutdown_s: float = 5.0
    key: str = ""
    exposed: bool = False
    start_s: float = 30.0


@dataclass(frozen=True, slots=True)
class SupervisorSpec:
    """A supervisor and its children, in the order of start."""

    id: str
    children: tuple[ChildSpec | SupervisorSpec, ...] = ()
    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: int = 3
    period_s: float = 5.0
    backoff: Backoff = Backoff()
    restart: Restart = Restart.PERMANENT
    shutdown_s: float = 30.0


class RestartWindow:
    """Counts restarts: more than ``intensity`` within ``period_s`` is too many."""

    __slots__ = ("_intensity", "_period_s", "_times", "failures_in_row")

    def __init__(self, intensity: int, period_s: float) -> None:
        self._intensity = intensity
        self._period_s = period_s
        self._times: deque[float] = deque()
        self.failures_in_row = 0

    def record(self, now: float) -> bool:
        """Note a restart at ``now``; False if that is one too many: give up."""
        if self._times and now - self._times[-1] > self._period_s:
            self.failures_in_row = 0
        while self._times and now - self._times[0] > self._period_s:
            self._times.popleft()
        self._times.append(now)
        self.failures_in_row += 1
        return len(self._times) <= self._intensity


def should_restart(restart: Restart, *, failed: bool) -> bool:
    """Whether a child with this setting is restarted after it ended, by failure or normally."""
    return restart is Restart.PERMANENT or (restart is Restart.TRANSIENT and failed)


def affected(strategy: Strategy, order: Sequence[str], ended: str) -> list[str]:
    """The children to stop (in reverse) and start again (in order) when ``ended`` is restarted; it is among them."""
    if strategy is Strategy.ONE_FOR_ONE:
        return [ended]
    if strategy is Strategy.ONE_FOR_ALL:
        return list(order)
    return list(order[order.index(ended) :])
