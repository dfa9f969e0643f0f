"""One simulated history: the plan carried out, the faults ended, and everything waited for."""

from __future__ import annotations

import asyncio
import random
import warnings
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock

from actors.queueing.stuck import Patience
from actors.scheduler import Scheduler
from actors.scheduling import clockwork
from actors.scheduling.core import Policy
from actors.scheduling.journal import STREAM, stream_spec
from chimera.bus import MemoryHub
from chimera.bus._memory_streams import MemoryStream
from chimera.errors import ChimeraError
from chimera.system import System
from tests.simulation.customer import Customer, Order
from tests.simulation.judge import Judge
from tests.simulation.loop import Process, SimClock, SimLoop
from tests.simulation.network import Network, SimBus
from tests.simulation.plan import STORM_S, Fault, make_plan
from tests.simulation.trace import Trace
from tests.simulation.worker import Worker

WALL = 1_800_000_000.0
LIVELY_S = 240.0
"""So long after the last fault all must have ended: attempts times (limit, backoff, silence, change of leader)."""

_START_S = 1_000.0
_AGAIN_S, _TELL_TALE_S, _SILENCE_S = 1.0, 0.5, 5.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a seed."""

    seed: int
    broken: list[str]
    digest: str
    lines: list[str]
    steps: int
    seconds: float
    tasks: int
    epochs: int


class World:
    """Carries a seed's plan out.

    Args:
        seed: Decides everything.
        keep: Whether the trace is kept.
    """

    def __init__(self, seed: int, *, keep: bool = False) -> None:
        self.seed = seed
        self.rng = random.Random(seed ^ 0x5EED)  # noqa: S311 - a simulation's dice
        self.loop = SimLoop(random.Random(seed ^ 0x100F))  # noqa: S311 - the same
        self._wall = [WALL - _START_S]
        self.plan = make_plan(seed, WALL)
        self.trace = Trace(self.loop.time, keep=keep)
        self._here = self.loop.current
        self._lives: dict[str, Process] = {}
        self._buses: dict[str, SimBus] = {}
        self._count = 0
        self._calm = False
        self._waiting = {order.task.id for orders in self.plan.customers.values() for order in orders}
        server = self.loop.process("server")
        clock = SimClock(server, self._wall)
        self.hub = MemoryHub(clock, rng=random.Random(seed))  # noqa: S311 - the same
        stream = self.hub.streams[STREAM] = MemoryStream(stream_spec(), clock)
        self.network = Network(self.hub, server, self.rng, self.plan.weather)
        self.judge = Judge(stream, self.loop.time, self.trace)

    def run(self) -> Outcome:
        """Live through it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # coroutines of killed processes are never awaited
            try:
                with mock.patch.object(clockwork, "COMPACT_MESSAGES", self.plan.compact_at):
                    self.loop.run_until_complete(self._live())
            finally:
                seconds = self.loop.time() - _START_S
                self.loop.end()
        self.judge.sum_up()
        broken = [*self.judge.broken, *(f"defect: {fault}" for fault in self.loop.faults)]
        return Outcome(
            self.seed, broken, self.trace.digest, self.trace.lines, self.loop.steps, seconds,
            len(self.judge.history), self.judge.epoch,
        )  # fmt: skip

    # -- the course of events ------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        self.trace("world", f"weather {self.plan.weather}")
        for name in [*self.plan.workers, *self.plan.schedulers, *self.plan.customers]:
            self._boot(name)
        for fault in self.plan.faults:
            self._here.call(self._strike, fault, delay=fault.at)
        await asyncio.sleep(STORM_S)
        self._heal()
        until = self.loop.time() + LIVELY_S
        while self.loop.time() < until and not self.judge.broken and (self._waiting or self.judge.unfinished()):  # noqa: ASYNC110 - looked at from outside
            await asyncio.sleep(_TELL_TALE_S)
        if self._waiting and not self.judge.broken:
            self.judge.blame("liveness", f"clients still wait for {sorted(self._waiting)}")

    def _boot(self, name: str) -> None:
        self._count += 1
        process = self._lives[name] = self.loop.process(f"{name}-{self._count}")
        self.trace("world", f"{process.name} starts")
        main = process.start(self._main(name, process))
        main.add_done_callback(partial(self._ended, name, process), context=self._here.context)

    def _ended(self, name: str, process: Process, main: asyncio.Task[None]) -> None:
        if self._lives.get(name) is not process:
            return
        error = None if main.cancelled() else main.exception()
        self.trace("world", f"{process.name} ended: {error}")
        if error is not None and not isinstance(error, ChimeraError):
            self.loop.faults.append(f"{process.name} ended: {error!r}")
        self._bury(name)

    async def _main(self, name: str, process: Process) -> None:
        clock = SimClock(process, self._wall)
        rng = random.Random(f"{self.seed}.{process.name}")  # noqa: S311 - a simulation's dice
        bus = SimBus(self.network, clock, process)
        self._buses[name] = bus
        if not self.network.up:
            await asyncio.sleep(_AGAIN_S)
        async with bus, System(node=name, clock=clock, rng=rng, events=partial(self._event, name)) as system:
            await system.attach(bus)
            await self._cast(name, system, rng)
            await system.failed.wait()

    def _cast(self, name: str, system: System, rng: random.Random) -> Coroutine[Any, Any, object]:
        bus = self._buses[name]
        if name in self.plan.schedulers:
            return system.spawn(Scheduler, bus=bus, policy=Policy(patience=Patience(heartbeat_s=_SILENCE_S)))
        if name in self.plan.workers:
            return system.spawn(Worker, bus=bus, dice=rng, calm=lambda: self._calm, worked=self._worked)
        orders: list[Order] = self.plan.customers[name]
        return Customer(system, system.clock, self.judge, self.trace).run(orders, self._waiting.discard)

    def _worked(self, job: str) -> int:
        number = len(self.judge.runs) + 1
        self.judge.runs[number] = job
        return number

    def _event(self, who: str, name: str, _layer: str, message: str, _level: str, _fields: dict[str, Any]) -> None:
        if not self.loop.over:
            self.trace(who, f"{name}: {message}")

    # -- faults --------------------------------------------------------------------------------------------------------

    def _strike(self, fault: Fault) -> None:
        if self._calm:
            return
        name, process = fault.target, self._lives[fault.target]
        self.trace("world", f"{fault.kind} {name} steps {fault.steps} seconds {fault.seconds:.3f}")
        if fault.kind == "crash":
            process.doom = (fault.steps, partial(self._crash, name, process, fault.seconds))
        elif fault.kind == "pause":
            process.paused = True
            self._later(fault.seconds, partial(self._resume, process))
        elif fault.kind == "cut":
            self._wire(name, up=False)
            self._later(fault.seconds, partial(self._wire, name, up=True))
        elif fault.kind == "outage":
            self._server(up=False)
            self._later(fault.seconds, partial(self._server, up=True))
        elif fault.kind == "jump":
            self._wall[0] += fault.seconds
        else:
            process.skew_s = fault.seconds

    def _later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._here.call(callback, delay=seconds)

    def _crash(self, name: str, process: Process, down_s: float) -> None:
        if self._calm or process.dead:
            return
        self.trace("world", f"{process.name} is killed")
        self._bury(name, down_s)

    def _bury(self, name: str, down_s: float = _AGAIN_S) -> None:
        self._lives[name].kill()
        self.hub.leave(self._buses[name])
        self._later(down_s, partial(self._boot, name))

    def _resume(self, process: Process) -> None:
        self.trace("world", f"{process.name} wakes")
        process.paused = False

    def _wire(self, name: str, *, up: bool) -> None:
        bus = self._buses[name]
        if not self._lives[name].dead and (self.network.up or not up):
            self.trace("world", f"{name} is {'connected' if up else 'cut off'}")
            self._lives[name].call(lambda: bus.connection(up=up))

    def _server(self, *, up: bool) -> None:
        self.network.up = up
        for name in self._buses:
            self._wire(name, up=up)

    def _heal(self) -> None:
        self.trace("world", "the faults end")
        self._calm = True
        self.plan.weather.clear()
        self._wall[0] = WALL - _START_S
        self._server(up=True)
        for process in self._lives.values():
            process.doom, process.paused, process.skew_s = None, False, 0.0


def simulate(seed: int, *, keep: bool = False) -> Outcome:
    """One seed's history."""
    return World(seed, keep=keep).run()
