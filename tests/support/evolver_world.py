"""Evolvers on two nodes beside a real agent actor, on a bus in memory; time and the agent's pace are the test's."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar, cast

import anyio
import msgspec
from anyio.abc import TaskGroup

from actors.agent import Agent
from actors.breeding.log import LOG, Bred, Led
from actors.evolver import Evolver
from actors.execution.settings import Serving
from chimera import System
from chimera.bus.contract import Appended
from chimera.bus.memory import MemoryBus, MemoryHub
from chimera.clock import Timer
from chimera.errors import ChimeraError, NotRunningError, RestartingError, UnavailableError
from chimera.sandbox.contract import GuestResult, GuestSpec, Swept
from chimera.sandbox.sweep import Wish, collect
from chimera.store import Store, open_store
from chimera.testing import EventRecorder, ManualClock
from subjects.agent import AgentView, Deploy, Genes, Manifest, Parameter, ShowAgent
from subjects.evolution import Case, ListEvolutions
from subjects.experiment import Experiment
from tests.support.evolver_gate import ToldGate, decided, running
from tests.support.guests import MODULE, FakeSandbox, FakeStore

T = TypeVar("T")
AGENT = "echo"
MANIFEST = Manifest(
    name=AGENT, label="label",
    genome=[Parameter(name=name, low=0.0, high=1.0, default=0.5) for name in ("x", "y")],
)  # fmt: skip
CASES = [Case(input={"text": f"text {number}"}, label="right") for number in range(120)]
BEST: Genes = {"x": 0.8, "y": 0.3}
NODES = ("one", "two")
_STEP_S, _PAUSE_S, _LONGEST_S = 0.05, 0.0002, 60.0
_AWAKE_S = 4.0
_PATIENCE_S = 900.0
"""Of whoever asks, in the clock's seconds: 18,000 rounds of the loop, as a stop may take while a busy machine works."""

_THREADS = ("AnyIO worker thread", "chimera-store")


class FlowingClock(ManualClock):
    """Stands still until it is moved, but what is due at once happens at once: messages travel in no time."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Any:
        """At its moment; in the next round of the loop if that is now."""
        if delay > 0:
            return super().call_later(delay, callback)
        return cast("Timer", asyncio.get_running_loop().call_soon(callback))


class Ground(FakeSandbox):
    """Loads genomes and runs them as fast as it is let: a task is right if its own number is below their quality."""

    def __init__(self) -> None:
        super().__init__()
        self.left = self.most_bred = math.inf
        self.bred = 0
        self._bell = anyio.Event()

    def let(self, count: float, *, most_bred: float = math.inf) -> None:
        """So many genomes more are run, and none once so many generations are finished; the rest waits."""
        self.left, self.most_bred = count, most_bred
        self._bell.set()
        self._bell = anyio.Event()

    async def sweep(
        self, spec: GuestSpec, task: str, payloads: Sequence[bytes], fields: Sequence[str], *,  # noqa: ARG002 - the contract's
        timeout_s: float | None = None, give_up: int = 0,  # noqa: ARG002 - the contract's
    ) -> Swept:  # fmt: skip
        """One genome over some payloads, once it may."""
        while not self.left or self.bred >= self.most_bred:
            await self._bell.wait()
        self.left -= 1
        worth = quality({"x": spec.genome[0], "y": spec.genome[1]})
        answers = (_answer(payload, worth) for payload in payloads)
        return collect(answers, Wish(tuple(fields), give_up))


def quality(genes: Genes) -> float:
    """Share of tasks that a genome gets right: falls with the distance from the best place."""
    found = math.hypot(*(cast("float", genes[name]) - cast("float", BEST[name]) for name in BEST))
    return max(0.05, 0.95 - found)


def _answer(payload: bytes, worth: float) -> GuestResult:
    text = str(msgspec.json.decode(payload)["text"])
    place = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") / 2.0**64
    return GuestResult(b'{"label":"right"}' if place < worth else b'{"label":"wrong"}', 0.001, 0.001, 65536)


class CountingBus(MemoryBus):
    """Tells the ground which generations are finished, before those who finished them hear that it is stored."""

    ground: Ground

    async def append(
        self, subject: str, data: bytes, *, msg_id: str, expected_last: int | None = None, timeout_s: float = 5.0
    ) -> Appended:
        """Store."""
        stored = await super().append(subject, data, msg_id=msg_id, expected_last=expected_last, timeout_s=timeout_s)
        if subject == LOG.subject and not stored.duplicate:
            self.ground.bred += sum(isinstance(entry, Bred) for entry in LOG.unpack(data))
        return stored


@dataclass
class Instance:
    """A node with an evolver: one life of it."""

    name: str
    bus: MemoryBus
    system: System
    leave: anyio.Event = field(default_factory=anyio.Event)
    gone: anyio.Event = field(default_factory=anyio.Event)


class EvolverWorld:
    """See the module. Everything must be called in its event loop.

    Args:
        folder: For the stores.
        group: Runs the nodes.
    """

    def __init__(self, folder: Path, group: TaskGroup) -> None:
        self._folder, self._group = folder, group
        self.clock = FlowingClock()
        self.hub = MemoryHub(self.clock)
        self.ground = Ground()
        self.known: dict[str, Experiment] = {}
        self.events = EventRecorder()
        self.instances: dict[str, Instance] = {}
        self._farm: Instance | None = None

    async def begin(self, base: Genes | None = None) -> None:
        """The node with the agent and the gate."""
        self._farm = await self._node("farm", self._fill_farm)
        if base:
            await self.ask(Deploy(name=AGENT, genome=base))

    async def end(self) -> None:
        """Stop all nodes."""
        self.ground.let(math.inf)
        for name in list(self.instances):
            await self.crash(name)
        assert self._farm is not None
        await self._cut(self._farm)

    # -- instances -----------------------------------------------------------------------------------------------------

    async def start(self, name: str) -> None:
        """Start an evolver on a node."""

        async def fill(system: System, bus: MemoryBus) -> None:
            await system.spawn(Evolver, bus=bus, store=store)

        store = open_store("", self.folder_of(name))
        self.instances[name] = await self._node(name, fill, store)

    async def crash(self, name: str) -> None:
        """End a node between two awaits: nothing that it does afterwards reaches anybody."""
        await self._cut(self.instances.pop(name))

    def cut_off(self, name: str) -> None:
        """Cut its wire: it lives, and believes what it believed."""
        self.hub.disconnect(name)

    def mend(self, name: str) -> None:
        """Connect it again."""
        self.hub.reconnect(name)

    def folder_of(self, name: str) -> Path:
        """Where a node's store is."""
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        return folder

    def has(self, genome: str) -> bool:
        """Whether the store of every node that lives has a genome."""
        for name in self.instances:
            with closing(sqlite3.connect(self.folder_of(name) / "chimera.sqlite", timeout=5)) as file:
                if not file.execute("SELECT 1 FROM genomes WHERE id = ?", (genome,)).fetchall():
                    return False
        return True

    def spoil(self, genome: str, bit: int) -> None:
        """Turn over one bit of a genome's record in every store that has it."""
        for name in NODES:
            path = self.folder_of(name) / "chimera.sqlite"
            if not path.exists():
                continue
            with closing(sqlite3.connect(path, timeout=5)) as file, file:
                for (record,) in file.execute("SELECT record FROM genomes WHERE id = ?", (genome,)).fetchall():
                    place, mask = divmod(bit % (8 * len(record)), 8)
                    bad = record[:place] + bytes([record[place] ^ (1 << mask)]) + record[place + 1 :]
                    file.execute("UPDATE genomes SET record = ? WHERE id = ?", (bad, genome))

    async def _node(
        self, name: str, fill: Callable[[System, MemoryBus], Awaitable[None]], store: Store | None = None
    ) -> Instance:
        return await self._group.start(self._live, name, fill, store)

    async def _live(
        self, name: str, fill: Callable[[System, MemoryBus], Awaitable[None]], store: Store | None, *,
        task_status: anyio.abc.TaskStatus[Instance] = anyio.TASK_STATUS_IGNORED,
    ) -> None:  # fmt: skip
        bus = CountingBus(self.hub, self.clock, name=name)
        bus.ground = self.ground
        system = System(bus, node=name, clock=self.clock, events=self.events)
        instance = Instance(name, bus, system)
        try:
            if store is not None:
                await store.__aenter__()
            async with bus, system:
                await fill(system, bus)
                task_status.started(instance)
                await instance.leave.wait()
        finally:
            if store is not None:
                with anyio.CancelScope(shield=True):
                    await store.__aexit__(None, None, None)
            instance.gone.set()

    async def _cut(self, instance: Instance) -> None:
        self.hub.disconnect(instance.name)
        instance.system.force()
        instance.leave.set()
        await self.until(instance.gone.is_set)

    async def _fill_farm(self, system: System, bus: MemoryBus) -> None:
        await system.spawn(
            Agent, sandbox=self.ground, bus=bus, store=cast("Store", FakeStore()), serving=Serving(flush_s=0.001),
            shipped=((MANIFEST, MODULE),),
        )  # fmt: skip
        await system.spawn(ToldGate, known=self.known)

    # -- what a test asks of it ----------------------------------------------------------------------------------------

    async def ask(self, message: Any) -> Any:
        """The answer of whoever takes it, asked again while a leader is being found."""
        assert self._farm is not None
        return await self.while_time_passes(lambda: self._patient(message))

    async def wake(self, name: str) -> None:
        """Have a node that was cut off be asked, and learn who leads; then it hears the others' heartbeats again."""
        await self.while_time_passes(lambda: self._patient(ListEvolutions(), name))
        awake = self.clock.monotonic() + _AWAKE_S
        await self.until(lambda: self.clock.monotonic() >= awake)

    async def _patient(self, message: Any, node: str = "") -> Any:
        assert self._farm is not None
        until = self.clock.monotonic() + 30.0
        system = self._farm.system
        while True:
            try:
                if node:
                    return await system.ref("evolver", node=node).ask(message, timeout_s=_PATIENCE_S)
                return await system.ask(message, timeout_s=_PATIENCE_S)
            except (RestartingError, NotRunningError, UnavailableError):
                if self.clock.monotonic() >= until:
                    raise
            await self.clock.sleep(0.1)

    async def decide(self, *, promote: bool) -> None:
        """Have the gate decide."""
        one = running(self.known)
        assert one is not None
        self.known[one.id] = await decided(one, self.ask, self.clock.time(), promote=promote)

    async def agent(self) -> AgentView:
        """The agent as its book has it."""
        return await self.ask(ShowAgent(name=AGENT))

    async def log(self) -> list[tuple[str, Any]]:
        """Every entry of the log, with the term of whoever wrote it."""
        found: list[tuple[str, Any]] = []
        assert self._farm is not None
        async with self._farm.bus.read(LOG.stream) as messages:
            async for message in messages:
                term = (message.headers or {})["Nats-Msg-Id"].partition(".")[0]
                found += [(term, entry) for entry in LOG.unpack(message.data)]
        return found

    async def leader(self) -> str:
        """Who leads, by the log."""
        return next((entry.node for _, entry in reversed(await self.log()) if isinstance(entry, Led)), "")

    async def until(self, condition: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
        """Let time pass until something is so."""

        async def wait() -> None:
            while True:
                found = condition()
                if found if isinstance(found, bool) else await found:
                    return
                await anyio.sleep(_PAUSE_S)

        await self.while_time_passes(wait)

    async def while_time_passes(self, work: Callable[[], Awaitable[T]]) -> T:
        """The work's result; the clock moves while it is done."""
        failure: ChimeraError | None = None
        with anyio.fail_after(_LONGEST_S):
            async with anyio.create_task_group() as group:
                group.start_soon(self._pass)
                try:
                    return await work()
                except ChimeraError as error:
                    failure = error  # raised outside of the group: it would come as a group of errors
                finally:
                    group.cancel_scope.cancel()
        assert failure is not None
        raise failure

    async def _pass(self) -> None:
        """Nobody is late because the machine is busy: time stands still while threads compute, read or write."""
        while True:
            if not _is_computing():
                await self.clock.advance(_STEP_S)
            await anyio.sleep(_PAUSE_S)


def _is_computing() -> bool:
    """Whether a thread of the runtime has work, or does something else than wait for an answer of the event loop."""
    threads = [one for one in threading.enumerate() if one.name.startswith(_THREADS)]
    queues: list[Any] = [getattr(one, "queue", None) for one in threads]  # of anyio's: woken, it may not run yet
    if any(queue is not None and queue.qsize() for queue in queues):
        return True
    frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage] - documented, whatever its name
    ours = [frames.get(one.ident or 0) for one in threads]
    return any(frame is not None and frame.f_code is not threading.Condition.wait.__code__ for frame in ours)
