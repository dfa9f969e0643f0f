"""Lending under virtual time: the broker and node actors as deployed, on the bus with a bad network, under faults.

Loop, network and processes are those of ``tests/simulation``; machines are those of ``floor``. For twenty virtual
seconds messages are dropped, doubled and delayed, acknowledgements are lost, processes are killed between any two
steps, paused or cut off, the server goes away, clocks jump, GPUs fall off the bus. Then the faults stop, everybody gets
what they asked for, and every lease ends.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import uuid
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import anyio

from actors.brokering.record import Record, unpack
from actors.brokering.streams import DEVICE, DEVICES, USAGE, device_spec, usage_spec
from actors.fencing import tokens
from actors.gpu_broker import GpuBroker
from actors.gpu_node import GpuNode
from chimera import handles
from chimera.bus import MemoryHub
from chimera.bus._memory_streams import MemoryStream
from chimera.bus.contract import Appended
from chimera.devices.reading import DeviceBackend
from chimera.errors import ChimeraError
from chimera.system import System
from chimera.wire import decode
from subjects.gpu_node import Admit, Admitted
from subjects.lease import LeaseInterval, Need
from tests.leasing.floor import Floor, Manners
from tests.leasing.overseer import Overseer
from tests.leasing.patron import Patron, Wish
from tests.simulation.loop import Process, SimClock, SimLoop
from tests.simulation.network import Network, SimBus, Weather
from tests.simulation.trace import Trace

WALL = 1_800_000_000.0
STORM_S, LIVELY_S = 20.0, 240.0
_START_S, _LOOK_S = 1_000.0, 0.5
_KINDS = ("crash", "crash", "crash", "pause", "cut", "outage", "jump", "skew", "lost", "stranger")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a seed."""

    seed: int
    broken: list[str]
    lines: list[str]
    granted: int
    admitted: int


class WatchedStream(MemoryStream):
    """The stream of records; what was stored together is seen together."""

    look: Callable[[], None]
    _inside = False

    def append_group(self, messages: Sequence[tuple[str, bytes, int]], msg_id: str) -> list[Appended]:
        """As the stream does it."""
        self._inside = True
        try:
            return super().append_group(messages, msg_id)
        finally:
            self._inside = False
            self.changed()

    def changed(self) -> None:
        """Something was stored."""
        if not self._inside:
            self.look()


class WatchedNode(GpuNode, name="gpu_node"):
    """The node actor, whose every admission is seen."""

    overseer: Overseer

    @handles
    async def admit(self, message: Admit) -> Admitted:
        """As the node does it."""
        answer = await super().admit(message)
        if message.node in {"", self.ctx.node}:
            records = self._fence.records.values()
            grants = {record.id: one for record in records if (one := record.find(message.lease)) is not None}
            self.overseer.accepted(message.lease, grants)
        return answer


class Drama:
    """One seed's history.

    Args:
        seed: Decides everything.
        keep: Whether the trace is kept.
    """

    def __init__(self, seed: int, *, keep: bool = False) -> None:
        self.seed, self.dice = seed, random.Random(seed)  # noqa: S311 - a simulation's dice
        self.loop = SimLoop(random.Random(seed ^ 0x100F))  # noqa: S311 - the same
        self._here, self._wall = self.loop.current, [WALL - _START_S]
        self.trace = Trace(self.loop.time, keep=keep)
        server = self.loop.process("server")
        clock = SimClock(server, self._wall)
        self.hub = MemoryHub(clock, rng=random.Random(seed))  # noqa: S311 - the same
        self.weather = Weather(*(self.dice.choice([0.0, 0.02, 0.1]) for _ in range(5)))
        self.network = Network(self.hub, server, random.Random(seed ^ 0x5EED), self.weather)  # noqa: S311 - the same
        self.floor = Floor(self._later, lambda: self.loop.current.name.partition("-")[0])
        self.overseer = Overseer(self.floor)
        self.records: dict[str, Record] = {}
        self._seen = 0
        self.hub.streams[USAGE] = MemoryStream(usage_spec(), clock)
        self._devices = self.hub.streams[DEVICES] = WatchedStream(device_spec(), clock)
        self._devices.look = self._look
        self._devices.listen(self._devices.changed)
        self.nodes = [f"n{number}" for number in range(self.dice.choice([1, 2]))]
        for node in self.nodes:
            self.floor.install(node, self.dice.choice([1, 2, 3]), clock)
        self.wishes = {f"h{number}": self._wishes(number) for number in range(2)}
        self._waiting = {wish.id for wishes in self.wishes.values() for wish in wishes}
        self._lives: dict[str, Process] = {}
        self._buses: dict[str, SimBus] = {}
        self._count, self._calm, self._disk = itertools.count(1), False, dict[Path, dict[str, int]]()

    def _wishes(self, number: int) -> list[Wish]:
        dice, most = self.dice, sum(len(backend.gpus) for backend in self.floor.backends.values())
        return [
            Wish(
                f"l{number}{count}", self._need(most), dice.uniform(2.0, STORM_S * 0.8), dice.uniform(0.5, 6.0),
                dice.choice([2.0, 4.0]), dice.random() < 0.2, dice.random() < 0.3,
                Manners(dice.choice([0.0, 0.5, -1.0]), dice.choice([0.0, 2.0]), dice.choice([0.0, 1.0])),
            )
            for count in range(dice.randint(2, 6))
        ]  # fmt: skip

    def _need(self, most: int) -> Need:
        if self.dice.random() < 0.4:
            return Need(milli=self.dice.choice([300, 500]))
        return Need(devices=min(most, self.dice.choice([1, 1, 2, 3])), one_node=False)

    # -- the course of events ------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Live through it."""
        ids = (uuid.UUID(int=self.dice.getrandbits(128)) for _ in itertools.count())
        with (
            warnings.catch_warnings(), self.floor.as_kernel(), mock.patch.object(uuid, "uuid4", ids.__next__),
            mock.patch.object(tokens, "_read", self._read),
            mock.patch.object(tokens, "_write", self._disk.__setitem__),
        ):  # fmt: skip
            warnings.simplefilter("ignore", RuntimeWarning)  # coroutines of killed processes are never awaited
            try:
                self.loop.run_until_complete(self._live())
            finally:
                self.loop.end()
        self.overseer.sum_up(self.records, self._usage())
        broken = [*self.overseer.broken, *(f"defect: {fault}" for fault in self.loop.faults)]
        admitted = sum(len(room) for room in self.overseer.used.values())
        return Outcome(self.seed, broken, self.trace.lines, len(self.overseer.granted), admitted)

    async def _live(self) -> None:
        for name in ["b0", "b1", *self.nodes, *self.wishes]:
            self._boot(name)
        for _ in range(self.dice.randint(1, 8)):
            self._later(self.dice.uniform(1.0, STORM_S), self._strike)
        await asyncio.sleep(STORM_S)
        self._heal()
        until = self.loop.time() + LIVELY_S
        while self.loop.time() < until and not self.overseer.broken and (self._waiting or not self._is_quiet()):  # noqa: ASYNC110 - looked at from outside
            await asyncio.sleep(_LOOK_S)
        if self._waiting and not self.overseer.broken:
            self.overseer.blame("wait", f"{sorted(self._waiting)} still wait")

    def _is_quiet(self) -> bool:
        busy = any(record.grants or record.lines for record in self.records.values())
        return not busy and not any(work.lease for work in self.floor.works.values())

    def _look(self) -> None:
        """The stream took something: all that is new is one change."""
        before, fresh = dict(self.records), self._devices.after(self._seen + 1, f"{DEVICE}.>", 1_000)
        for message in fresh:
            self._seen = message.seq
            record = unpack(message.data)
            self.records[record.key] = record
            self.trace("store", f"{record.key} v{record.version} {[(one.lease, one.ended) for one in record.grants]}")
        if fresh:
            self.overseer.committed(before, self.records)

    def _usage(self) -> dict[tuple[str, str, int], float]:
        found = dict[tuple[str, str, int], float]()
        for message in self.hub.streams[USAGE].after(1, "chimera.used.lease", 100_000):
            line = decode(message.data, LeaseInterval)
            found.setdefault((line.lease, line.device, line.token), max(0.0, line.ended_at - line.began_at))
        return found

    # -- processes -----------------------------------------------------------------------------------------------------

    def _boot(self, name: str) -> None:
        process = self._lives[name] = self.loop.process(f"{name}-{next(self._count)}")
        self.trace("world", f"{process.name} starts")
        main = process.start(self._main(name, process))
        main.add_done_callback(partial(self._ended, name, process), context=self._here.context)

    def _ended(self, name: str, process: Process, main: asyncio.Task[None]) -> None:
        if self._lives.get(name) is not process:
            return
        error = None if main.cancelled() else main.exception()
        if error is not None and not isinstance(error, ChimeraError):
            self.loop.faults.append(f"{process.name} ended: {error!r}")
        if name not in self.wishes:
            self._bury(name, 1.0)

    async def _main(self, name: str, process: Process) -> None:
        clock = SimClock(process, self._wall)
        rng = random.Random(f"{self.seed}.{process.name}")  # noqa: S311 - a simulation's dice
        bus = self._buses[name] = SimBus(self.network, clock, process)
        if not self.network.up:
            await asyncio.sleep(1.0)
        async with bus, System(bus, node=name, clock=clock, rng=rng, events=partial(self._event, name)) as system:
            if name in self.wishes:
                await self._follow(name, system, rng)
                return
            if name in self.nodes:
                WatchedNode.overseer = self.overseer
                await system.spawn(
                    WatchedNode, bus=bus, backends=self._backends, folder=Path(name),
                    interval_s=1.0, grace_s=0.5, boot=clock.monotonic,
                )  # fmt: skip
            else:
                await system.spawn(GpuBroker, bus=bus)
            await system.failed.wait()

    async def _follow(self, name: str, system: System, rng: random.Random) -> None:
        patron = Patron(system, system.clock, rng, self.floor, self.overseer, self.trace)
        began = self.loop.time() - _START_S
        async with anyio.create_task_group() as group:
            for wish in self.wishes[name]:
                if wish.at >= began:
                    group.start_soon(patron.follow, wish, self._waiting.discard)
                else:
                    self._waiting.discard(wish.id)  # it died with the process

    def _event(self, who: str, name: str, _layer: str, message: str, _level: str, _fields: dict[str, Any]) -> None:
        if not self.loop.over:
            self.trace(who, f"{name}: {message}")

    def _backends(self, node: str) -> list[DeviceBackend]:
        return [self.floor.backends[node]]

    def _read(self, path: Path) -> dict[str, int]:
        return dict(self._disk.get(path, {}))

    # -- faults --------------------------------------------------------------------------------------------------------

    def _later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._here.call(callback, delay=seconds)

    def _strike(self) -> None:
        dice = self.dice
        kind, name, seconds = dice.choice(_KINDS), dice.choice(list(self._lives)), dice.uniform(0.1, 8.0)
        if self._calm:
            return
        self.trace("world", f"{kind} {name} {seconds:.2f} s")
        process = self._lives[name]
        if kind == "crash":
            process.doom = (int(dice.expovariate(1 / 60)), partial(self._crash, name, process, seconds))
        elif kind == "pause":
            process.paused = True
            self._later(seconds, partial(setattr, process, "paused", False))
        elif kind == "cut":
            self._wire(name, up=False)
            self._later(seconds, partial(self._wire, name, up=True))
        elif kind == "outage":
            self._server(up=False)
            self._later(seconds, partial(self._server, up=True))
        elif kind == "jump":
            self._wall[0] += dice.choice([-1.0, 1.0]) * dice.choice([1.0, 60.0]) * dice.random()
        elif kind == "skew":
            process.skew_s = dice.uniform(-2.0, 2.0)
        else:
            self._strike_machine(kind, seconds)

    def _strike_machine(self, kind: str, seconds: float) -> None:
        node = self.dice.choice(self.nodes)
        uuid_of = self.dice.choice(self.floor.backends[node].gpus).uuid
        if kind == "lost":
            self.floor.backends[node].silent[uuid_of] = "GPU is lost"
            self._later(seconds, self.floor.backends[node].silent.clear)
        else:
            stranger = self.floor.start(node, "", {uuid_of: 6_000})
            self._later(seconds, partial(self.floor.stop, stranger))

    def _crash(self, name: str, process: Process, down_s: float) -> None:
        if not self._calm and not process.dead:
            self.trace("world", f"{process.name} is killed")
            self._bury(name, down_s)

    def _bury(self, name: str, down_s: float) -> None:
        self._lives[name].kill()
        self.hub.leave(self._buses[name])
        self._later(down_s, partial(self._boot, name))

    def _wire(self, name: str, *, up: bool) -> None:
        bus = self._buses.get(name)
        if bus is not None and not self._lives[name].dead and (self.network.up or not up):
            self._lives[name].call(lambda: bus.connection(up=up))

    def _server(self, *, up: bool) -> None:
        self.network.up = up
        for name in self._buses:
            self._wire(name, up=up)

    def _heal(self) -> None:
        self.trace("world", "the faults end")
        self._calm, self._wall[0] = True, WALL - _START_S
        self.weather.clear()
        self._server(up=True)
        for backend in self.floor.backends.values():
            backend.silent.clear()
        for process in self._lives.values():
            process.doom, process.paused, process.skew_s = None, False, 0.0


def perform(seed: int, *, keep: bool = False) -> Outcome:
    """One seed's history."""
    return Drama(seed, keep=keep).run()
