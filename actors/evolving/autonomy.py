"""Autonomous mode as a state machine: signs from the world go in, acts come out, each with its reason. Pure.

A cycle is one evolution with its champion's way through the gate. After a promotion the loop watches; after anything
else it rests, each time twice as long. It never begins a cycle that a budget does not cover, and one sign ends it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import msgspec

from subjects.autonomous import AutonomousBudget, AutonomousStep, Phase, SetAutonomous

LONGEST_REST_S = 3_600.0
KEPT = 1000
"""Steps that are remembered."""

Act = Literal["", "start", "stop"]
"""``start``: begin the evolution of the present cycle. ``stop``: end it, and what it put on trial."""


class Switched(msgspec.Struct, frozen=True, kw_only=True, tag="switched"):
    """A person used the switch, or changed the settings."""

    request: SetAutonomous


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag="finished"):
    """The cycle's evolution ended. ``promoted`` is the release that is live because of it."""

    evolution: str
    state: str
    promoted: int | None
    harmed: int
    cpu_s: float
    reason: str


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """The cycle's evolution could not be begun."""

    reason: str


class Drifted(msgspec.Struct, frozen=True, kw_only=True, tag="drifted"):
    """The world is not the one that the live genome was bred for."""

    reason: str


class Waited(msgspec.Struct, frozen=True, kw_only=True, tag="waited"):
    """The time of a watch or a rest is over."""


class Expired(msgspec.Struct, frozen=True, kw_only=True, tag="expired"):
    """The time of autonomous mode itself is over."""


Sign: TypeAlias = Switched | Finished | Refused | Drifted | Waited | Expired


@dataclass(frozen=True, slots=True)
class Used:
    """What was used since the switch was last turned on."""

    cycles: int = 0
    cpu_s: float = 0.0
    harmed: int = 0
    promotions: int = 0


@dataclass(slots=True)
class Autonomy:
    """Autonomous mode of one agent: the fold of its signs.

    Attributes:
        agent: Whose.
        settings: As last switched.
        phase: ``evolve`` stands for the whole cycle; the evolution says whether it validates or is at the gate.
        cycle: Counts evolutions for ever, so that each has an id of its own.
        since: When the phase began.
        on_since: When the switch was turned on; ``None`` while it is off.
        rest_s: The next rest.
        steps: What was done and why, newest last.
    """

    agent: str
    settings: SetAutonomous
    phase: Phase = "off"
    cycle: int = 0
    since: float = 0.0
    on_since: float | None = None
    used: Used = Used()
    rest_s: float = 0.0
    number: int = 0
    drift: str = ""
    reason: str = "never switched on"
    steps: deque[AutonomousStep] = field(default_factory=lambda: deque[AutonomousStep](maxlen=KEPT))

    @property
    def on(self) -> bool:
        """The switch."""
        return self.on_since is not None

    @property
    def evolution(self) -> str:
        """The id of the present cycle's evolution; empty before the first."""
        return f"auto-{self.agent[:40]}-{self.cycle}" if self.cycle else ""

    def left(self) -> AutonomousBudget:
        """What may still be used; figures that may not be zero by their type are checked by ``over`` before."""
        budget, used = self.settings.budget, self.used
        return AutonomousBudget(
            cycles=max(1, budget.cycles - used.cycles), cpu_s=max(1e-3, budget.cpu_s - used.cpu_s),
            live_share=budget.live_share, harmed=max(0, budget.harmed - used.harmed),
            promotions=max(1, budget.promotions - used.promotions), seconds=budget.seconds,
        )  # fmt: skip

    def over(self) -> str:
        """Which budget is used up, in words; empty while none is."""
        budget, used = self.settings.budget, self.used
        for spent, most, what in (
            (used.cycles, budget.cycles, "cycles"), (used.cpu_s, budget.cpu_s, "CPU seconds"),
            (used.promotions, budget.promotions, "promotions"),
        ):  # fmt: skip
            if spent >= most:
                return f"the budget of {most:g} {what} is used up"
        if used.harmed and used.harmed >= budget.harmed:
            return f"the budget of {budget.harmed} harmed live messages is used up"
        return ""

    def waits(self, now: float) -> Sign | None:
        """The sign that the clock alone gives, if any."""
        if not self.on:
            return None
        if self.on_since is not None and now >= self.on_since + self.settings.budget.seconds:
            return Expired()
        passed = now - self.since
        if self.phase == "rest" and passed >= self.rest_s:
            return Waited()
        if self.phase == "watch" and 0 < self.settings.watch_s <= passed:
            return Waited()
        return None

    def heeds_drift(self, now: float) -> bool:
        """Whether drift would begin another cycle now."""
        rested = self.phase == "rest" or now - self.since >= self.settings.watch_least_s
        return self.on and self.settings.heed_drift and self.phase in ("watch", "rest") and rested

    def take(self, sign: Sign, now: float) -> Act:
        """Take a sign; what is to be done."""
        if isinstance(sign, Switched):
            return self._switch(sign.request, now)
        if self.on:
            return self._react(sign, now)
        if isinstance(sign, Finished):
            self._spend(sign)
        return ""

    def _react(self, sign: Sign, now: float) -> Act:
        idle = self.phase in ("watch", "rest")
        act: Act = ""
        match sign:
            case Expired():
                act = self._off(f"the budget of {self.settings.budget.seconds:g} seconds is used up", now)
            case Finished() if sign.evolution == self.evolution and self.phase == "evolve":
                act = self._finish(sign, now)
            case Refused() if self.phase == "evolve":
                act = self._rest(f"cycle {self.cycle} did not begin: {sign.reason}", now)
            case Drifted() if idle:
                self.drift = sign.reason
                act = self._evolve(f"drift: {sign.reason}", now)
            case Waited() if idle:
                act = self._evolve(f"the {self.phase} is over", now)
            case _:
                pass
        return act

    def _switch(self, request: SetAutonomous, now: float) -> Act:
        was_on, self.settings = self.on, request
        who = f"by {request.by}{request.note and ': ' + request.note}"
        if not request.on:
            return self._off(f"switched off {who}", now) if was_on else ""
        if was_on:
            return self._step(self.phase, f"settings changed {who}", now)
        self.on_since, self.used, self.rest_s = now, Used(), request.rest_s
        return self._evolve(f"switched on {who}", now)

    def _finish(self, sign: Finished, now: float) -> Act:
        self._spend(sign)
        figures: dict[str, float | int | str] = {
            "cpu_s": sign.cpu_s, "harmed": sign.harmed, "state": sign.state, "evolution": sign.evolution,
        }  # fmt: skip
        if sign.promoted is None:
            return self._rest(f"cycle {self.cycle} changed nothing: {sign.reason}", now, figures)
        self.rest_s = self.settings.rest_s
        figures["release"] = sign.promoted
        return self._step("watch", f"release {sign.promoted} is live: {sign.reason}", now, figures)

    def _spend(self, sign: Finished) -> None:
        used = self.used
        self.used = replace(
            used, cpu_s=used.cpu_s + sign.cpu_s, harmed=used.harmed + sign.harmed,
            promotions=used.promotions + (sign.promoted is not None),
        )  # fmt: skip

    def _rest(self, reason: str, now: float, figures: dict[str, float | int | str] | None = None) -> Act:
        return self._step("rest", reason, now, {**(figures or {}), "rest_s": self.rest_s})

    def _evolve(self, reason: str, now: float) -> Act:
        if self.phase == "rest":
            self.rest_s = min(LONGEST_REST_S, 2 * self.rest_s)
        if over := self.over():
            return self._off(over, now)
        self.cycle += 1
        self.used = replace(self.used, cycles=self.used.cycles + 1)
        self._step("evolve", reason, now, {"cycle": self.cycle})
        return "start"

    def _off(self, reason: str, now: float) -> Act:
        evolving = self.phase == "evolve"
        self.on_since = None
        self._step("off", reason, now)
        return "stop" if evolving else ""

    def _step(self, phase: Phase, reason: str, now: float, figures: dict[str, float | int | str] | None = None) -> Act:
        if phase != self.phase:
            self.since = now
        self.phase, self.reason = phase, reason
        self.number += 1
        self.steps.append(AutonomousStep(
            number=self.number, at=now, phase=phase, cycle=self.cycle, reason=reason, figures=figures or {},
        ))  # fmt: skip
        return ""
