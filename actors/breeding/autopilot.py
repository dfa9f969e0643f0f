"""Autonomous mode at work: looks for signs, writes them down, and does what the state machine says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import replace

from actors.evolving.autonomy import Act, Autonomy, Drifted, Finished, Refused, Sign, Switched
from actors.refining.recorded import Recorded
from chimera.clock import Clock
from chimera.errors import ChimeraError, RestartingError
from subjects.autonomous import AutonomousStepped, AutonomousView, GetAutonomy, SetAutonomous
from subjects.autonomous import Autonomy as Shown
from subjects.evolution import StartEvolution

from .breeder import Breeder
from .drift import DriftWatch
from .log import Moved
from .passage import within

LOOK_S = 0.5


class Autopilot:
    """Autonomous mode of every agent.

    Args:
        breeder: Runs evolutions.
        write: Stores an entry.
        watch: Makes what watches an agent for drift from what is recorded by now; ``None`` if too little is.
        clock: Time.
        report: Writes an event.
        tell: Publishes a fact under an id that makes it repeatable.
    """

    def __init__(
        self, *, breeder: Breeder, write: Callable[..., Awaitable[None]],
        watch: Callable[[str], Awaitable[DriftWatch | None]], clock: Clock, report: Callable[..., Any],
        tell: Callable[[Any, str], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._breeder, self._write_log, self._watch = breeder, write, watch
        self._clock, self._report, self._tell = clock, report, tell
        self.loops: dict[str, Autonomy] = {}
        self._watches: dict[str, DriftWatch] = {}
        self._asked: dict[str, int] = {}

    def apply(self, entry: Moved) -> Act:
        """Take an entry that is stored; what it asks for."""
        loop = self.loops.get(entry.agent)
        if loop is None:
            loop = self.loops[entry.agent] = Autonomy(entry.agent, SetAutonomous(agent=entry.agent, on=False))
        return loop.take(entry.sign, entry.at)

    # -- what is asked for ---------------------------------------------------------------------------------------------

    async def switch(self, message: SetAutonomous) -> AutonomousView:
        """Use the switch. Off stops the evolution that the loop began; the live release stays."""
        loop = self.loops.get(message.agent)
        if message.on or (loop is not None and loop.on):
            await self._move(message.agent, Switched(request=message))
        return self.view(message.agent)

    def shown(self, message: GetAutonomy) -> Shown:
        """Where autonomous mode of each agent stands."""
        names = [name for name in self.loops if not message.agent or name == message.agent]
        return Shown(agents=[self.view(name, message.steps) for name in names])

    def view(self, agent: str, steps: int = 50) -> AutonomousView:
        """Autonomous mode of an agent as it stands."""
        loop = self.loops.get(agent) or Autonomy(agent, SetAutonomous(agent=agent, on=False))
        fold = self._breeder.book.evolutions.get(loop.evolution)
        phase = loop.phase
        if phase == "evolve" and fold is not None:
            phase = {"validate": "validate", "gate": "gate"}.get(fold.show(self._clock.time()).step, "evolve")
        return AutonomousView(
            agent=agent, on=loop.on, phase=phase, cycle=loop.cycle, since=loop.on_since, budget=loop.settings.budget,  # pyright: ignore[reportArgumentType] - a phase
            used_cpu_s=loop.used.cpu_s, used_harmed=loop.used.harmed, promotions=loop.used.promotions,
            evolution=loop.evolution, experiment=fold.gated.experiment if fold and fold.gated else "",
            drift=loop.drift, steps=list(reversed(loop.steps))[:steps], reason=loop.reason,
        )  # fmt: skip

    # -- at work -------------------------------------------------------------------------------------------------------

    def served(self, task: Recorded) -> None:
        """A message of an agent was answered."""
        watch = self._watches.get(task.agent)
        if watch is not None:
            watch.served(task)

    def judged(self, task: Recorded) -> None:
        """Somebody said how right an answer was."""
        watch = self._watches.get(task.agent)
        if watch is not None:
            watch.judged(task)

    async def run(self) -> None:
        """Look at every loop, for ever."""
        while True:
            for agent in list(self.loops):
                await self.look(agent)
            await self._clock.sleep(LOOK_S)

    async def look(self, agent: str) -> None:
        """Take the next step of an agent's loop, if there is a sign for one."""
        loop = self.loops[agent]
        if not loop.on:
            self._watches.pop(agent, None)
            return
        sign = loop.waits(self._clock.time()) or await self._sign(loop)
        if sign is not None:
            await self._move(agent, sign)

    async def _sign(self, loop: Autonomy) -> Sign | None:
        if loop.phase == "evolve":
            fold = self._breeder.book.evolutions.get(loop.evolution)
            if fold is None:
                return await self._start(loop)
            return self._ended(loop) if fold.ended is not None else None
        return await self._drift(loop)

    def _ended(self, loop: Autonomy) -> Finished:
        fold = self._breeder.book.find(loop.evolution)
        judged, ended = fold.judged, fold.ended
        return Finished(
            evolution=fold.id, state=fold.state, promoted=judged.release if judged else None,
            harmed=judged.harmed if judged else 0, cpu_s=fold.cpu_s, reason=ended.reason if ended else "",
        )  # fmt: skip

    async def _drift(self, loop: Autonomy) -> Drifted | None:
        watch = self._watches.get(loop.agent)
        if watch is None:
            made = await self._watch(loop.agent)
            if made is not None and made.watches:
                self._watches[loop.agent] = made
            return None
        if watch.reason and loop.heeds_drift(self._clock.time()):
            return Drifted(reason=watch.reason)
        return None

    async def _start(self, loop: Autonomy) -> Refused | None:
        """Begin the cycle's evolution; its id makes a repeat harmless."""
        self._watches.pop(loop.agent, None)
        try:
            await self._breeder.start(self._request(loop))
        except RestartingError:
            return None
        except ChimeraError as error:
            return Refused(reason=error.detail)
        return None

    def _request(self, loop: Autonomy) -> StartEvolution:
        """The cycle's evolution, within what is left of the budgets."""
        template, left = loop.settings.evolution, loop.left()
        budget = template.budget
        return replace(
            template, agent=loop.agent, id=loop.evolution, seed=template.seed + loop.cycle, deploy=True,
            budget=replace(budget, cpu_s=min(budget.cpu_s, left.cpu_s), harmed=min(budget.harmed, left.harmed)),
            plan=within(template.plan, left.live_share), note=f"autonomous cycle {loop.cycle}: {loop.reason}"[:2000],
        )  # fmt: skip

    async def _move(self, agent: str, sign: Sign) -> None:
        entry = Moved(agent=agent, at=self._clock.time(), sign=sign)
        await self._write_log(entry)
        act = self.apply(entry)
        loop = self.loops[agent]
        if loop.steps:
            step = loop.steps[-1]
            self._report(
                "autonomous", f"{agent}: {step.phase}: {step.reason}", agent=agent, phase=step.phase, cycle=step.cycle
            )
            await self._tell(AutonomousStepped(agent=agent, step=step), f"auto-{agent}.{loop.number}")
        fold = self._breeder.book.evolutions.get(loop.evolution)
        if act == "stop" and fold is not None:
            await self._breeder.stop(fold, loop.reason)
            if fold.ended is not None:  # what it used still counts
                spent = Moved(agent=agent, at=self._clock.time(), sign=self._ended(loop))
                await self._write_log(spent)
                self.apply(spent)
