"""Several scheduler processes on one real server: one leads, the others pass on; a leader that sleeps is replaced."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from actors.queueing.records import unpack
from actors.scheduling.journal import STREAM
from chimera.bus.nats import NatsBus
from chimera.errors import ChimeraError, NotFoundError
from chimera.system import System
from subjects import Request
from subjects.agent import Predict
from subjects.scheduler import CancelTask, CheckScheduler, GetQueue, GetTask, Pause, Resume, Submit
from tests.chaos.history import History
from tests.support.nats_server import NatsServer
from tests.support.running import RunningSystem
from tests.support.scheduling import FakeAgent

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(120)]


class Trio:
    """Three nodes that host nothing but a scheduler, and this process with the agent that their tasks run on."""

    def __init__(self, system: System, bus: NatsBus, nodes: dict[str, RunningSystem]) -> None:
        self.system, self.bus, self.nodes = system, bus, nodes

    async def ask(self, node: str, message: Request[Any], timeout_s: float = 5.0) -> Any:
        """Ask the scheduler of one node."""
        return await self.system.ref("scheduler", node=node).ask(message, timeout_s=timeout_s)

    async def patiently(self, node: str, message: Request[Any]) -> Any:
        """Ask again while it restarts or nobody leads."""
        with anyio.fail_after(20):
            while True:
                try:
                    return await self.ask(node, message)
                except NotFoundError:
                    raise
                except ChimeraError:
                    await anyio.sleep(0.05)

    async def until_led(self, epoch: int, *, asking: str) -> str:
        """Wait until ``asking`` says that this epoch's leader leads; its name."""
        with anyio.fail_after(30):
            while (health := await self.patiently(asking, CheckScheduler())).epoch != epoch:  # noqa: ASYNC110 - another process
                await anyio.sleep(0.05)
        return health.leader

    def signal(self, node: str, number: signal.Signals) -> None:
        """To the process of one node."""
        os.kill(self.nodes[node].pid, number)

    async def history(self) -> History:
        """What the log says from its beginning."""
        told = History()
        async with self.bus.read(STREAM) as messages:
            async for message in messages:
                told.take(message.seq, unpack(message.data))
        return told


async def echo_slowly(message: Predict) -> dict[str, Any]:
    """The input is the output, a moment later."""
    await anyio.sleep(0.05)
    return message.input


@asynccontextmanager
async def trio(folder: Path) -> AsyncGenerator[Trio]:
    """Three scheduler processes; ``s1`` leads."""
    server = NatsServer(folder / "nats")
    server.start()
    made = {name: RunningSystem(folder / name, _options(name, server.url)) for name in ("s1", "s2", "s3")}
    try:
        async with AsyncExitStack() as stack:
            bus = await stack.enter_async_context(NatsBus(server.url, name="test"))
            system = await stack.enter_async_context(System(node="hands"))
            await system.attach(bus)
            await system.spawn(FakeAgent, work=echo_slowly, jobs=[])
            await anyio.to_thread.run_sync(_start, [made["s1"]])
            await anyio.to_thread.run_sync(_start, [made["s2"], made["s3"]])
            yield Trio(system, bus, made)
    finally:
        for node in made.values():
            if node.process is not None and node.process.poll() is None:
                os.kill(node.pid, signal.SIGCONT)
                node.kill()
        server.kill()


def _start(nodes: list[RunningSystem]) -> None:
    for node in nodes:
        node.launch()
    for node in nodes:
        node.until_it_says()


def _options(name: str, url: str) -> list[str]:
    return ["--set", f"node.name={name}", "--set", "node.roles=scheduler", "--set", f"nats.url={url}"]


async def test_one_of_three_leads_and_all_answer(tmp_path: Path):
    """All name the same leader; whoever is asked, a task is stored, shown, cancelled and counted as by one."""
    async with trio(tmp_path) as crew:
        healths = [await crew.patiently(name, CheckScheduler()) for name in crew.nodes]
        assert {(health.leader, health.epoch) for health in healths} == {("s1", 1)}
        for asked, reader in (("s1", "s2"), ("s2", "s3"), ("s3", "s1")):
            assert (await crew.ask(asked, Submit(id=f"by-{asked}", input={"x": 1}))).accepted == 1
            again = await crew.ask(reader, Submit(id=f"by-{asked}", input={"x": 1}))
            assert (again.accepted, again.duplicates) == (0, 1)
            view = await crew.ask(reader, GetTask(id=f"by-{asked}", wait_ms=5000), 10.0)
            assert (view.state, view.output) == ("succeeded", {"x": 1})
        await crew.ask("s2", Pause())
        await crew.ask("s3", Submit(id="held", input={"x": 2}))
        assert (await crew.ask("s2", CancelTask(id="held"))).state == "cancelled"
        assert [(await crew.ask(name, GetQueue())).finished for name in crew.nodes] == [4, 4, 4]


async def test_a_leader_that_sleeps_is_replaced_and_refused_when_it_wakes(tmp_path: Path):
    """SIGSTOP under load: another takes over; after SIGCONT the zombie's append is refused; nothing lost or doubled."""
    acknowledged: set[str] = set()
    done, leader = anyio.Event(), ""

    async with trio(tmp_path) as crew:

        async def caller(number: int) -> None:
            count = 0
            while not done.is_set():
                count += 1
                await _submit_patiently(crew, f"c{number}-{count}", acknowledged)
                await anyio.sleep(0.1)

        async with anyio.create_task_group() as group:
            for number in range(12):
                group.start_soon(caller, number)
            await _grow(acknowledged, 100)
            crew.signal("s1", signal.SIGSTOP)
            leader = await crew.until_led(2, asking="s2")
            await _grow(acknowledged, 100)
            crew.signal("s1", signal.SIGCONT)
            assert await crew.until_led(2, asking="s1") == leader
            await _grow(acknowledged, 100)
            done.set()
        for task in sorted(acknowledged):
            view = await crew.patiently("s1", GetTask(id=task, wait_ms=5000))
            assert (view.state, view.output) == ("succeeded", {"id": task})
        told = await crew.history()
        assert told.broken == []
        assert told.leaders == {1: "s1", 2: leader}
        assert told.ends.keys() == acknowledged
        stepped_down = [line for line in crew.nodes["s1"].events() if line["event"] == "actor-restarted"]
        assert ["FencedError" in line["message"] or "another" in line["message"] for line in stepped_down] == [True]


async def test_a_zombie_that_nobody_writes_to_does_not_answer_for_the_present(tmp_path: Path):
    """An idle leader sleeps, another takes over and takes a task; woken, it knows better at the first question."""
    async with trio(tmp_path) as crew:
        await crew.ask("s1", Submit(id="before", input={"x": 1}))
        await crew.ask("s1", GetTask(id="before", wait_ms=5000), 10.0)
        crew.signal("s1", signal.SIGSTOP)
        leader = await crew.until_led(2, asking="s3")
        await crew.patiently("s3", Submit(id="meanwhile", input={"x": 2}))
        crew.signal("s1", signal.SIGCONT)
        answers: Counter[str] = Counter()
        with anyio.fail_after(20):
            while not answers["right"]:
                try:
                    assert (await crew.ask("s1", GetTask(id="meanwhile"))).input == {"x": 2}
                    answers["right"] += 1
                except NotFoundError:
                    pytest.fail("the zombie spoke for the present")
                except ChimeraError as error:
                    answers[error.code] += 1
                    await anyio.sleep(0.02)
        assert (await crew.ask("s1", CheckScheduler())).leader == leader
        assert (await crew.patiently("s1", Resume())).paused is False


async def _submit_patiently(crew: Trio, task: str, acknowledged: set[str]) -> None:
    while task not in acknowledged:
        with suppress(ChimeraError):
            await crew.system.ask(Submit(id=task, input={"id": task}), timeout_s=1.5)
            acknowledged.add(task)


async def _grow(acknowledged: set[str], count: int) -> None:
    goal = len(acknowledged) + count
    with anyio.fail_after(30):
        while len(acknowledged) < goal:  # noqa: ASYNC110 - the callers append, nobody notifies
            await anyio.sleep(0.01)
