"""The scheduler with an agent beside it, and a client of it, each in a process (``URL asker|worker|starter``)."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from contextlib import AsyncExitStack
from typing import Any

import anyio
import msgspec

from actors.scheduler import Scheduler
from chimera import Actor, System, handles
from chimera.bus.contract import Delivery
from chimera.bus.nats import NatsBus
from chimera.interpreter import calm
from subjects.agent import Predict, Prediction, Timings
from subjects.event import TaskEnded
from subjects.scheduler import CheckScheduler, Pause, Submit
from subjects.task import NewTask
from tests.bench.child import load, obey, run
from tests.bench.task_hand import ANSWER_S, SIZE

AGENT = "doer"
AT_ONCE, BULK = 256, 500
LATER_S = 86_400.0
_TIMINGS = Timings(queue_ms=0.0, run_ms=0.01, total_ms=0.01)
_PATIENCE_S = 300.0


class Doer(Actor, name="agent", mailbox=4096, concurrency=1024):
    """Does what the peers' workers do with a task: gives it back."""

    @handles
    async def predict(self, message: Predict) -> Prediction:
        """The input is the output."""
        return Prediction(
            job_id=message.job_id, agent=message.agent, release=1, output=message.input, timings=_TIMINGS,
            node=self.ctx.node,
        )  # fmt: skip


class Asker:
    """Submits tasks; the result comes to a callback subject."""

    def __init__(self, system: System, bus: NatsBus) -> None:
        self._system, self._bus = system, bus
        self._inbox = f"chimera.callback.{system.node}"
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[TaskEnded]] = {}
        self._decode = msgspec.json.Decoder(TaskEnded).decode

    async def open(self) -> None:
        """Listen for results."""
        await self._bus.subscribe(f"{self._inbox}.*", self._take)

    async def ask(self, payload: bytes) -> bytes:
        """One task, to its result."""
        reply = f"{self._inbox}.{next(self._numbers)}"
        future = self._waiting[reply] = asyncio.get_running_loop().create_future()
        await self._submit(payload, callback=reply)
        ended = await future
        if ended.output is None:
            raise AssertionError(f"{ended.id} ended {ended.state}: {ended.reason}")
        return ended.output["body"].encode("latin-1")

    async def submit(self, payload: bytes) -> bytes:
        """One task that starts tomorrow, to its acknowledgement."""
        await self._submit(payload, not_before=time.time() + LATER_S)
        return payload

    async def fill(self, count: int) -> dict[str, Any]:
        """So many tasks for a paused agent, in bulk."""
        await self._system.ask(Pause(agent=AGENT))
        for start in range(0, count, BULK):
            batch = [NewTask(agent=AGENT, input=_document(b"x" * SIZE)) for _ in range(start, min(count, start + BULK))]
            done = await self._system.ask(Submit(tasks=batch), timeout_s=ANSWER_S)
            assert done.accepted == len(batch), done
        return {"count": count}

    async def work(self, count: int) -> dict[str, Any]:
        """So many tasks to their results, some hundreds at once."""
        left, done = iter(range(count)), 0

        async def caller() -> None:
            nonlocal done
            for number in left:
                payload = number.to_bytes(8, "big") + b"x" * (SIZE - 8)
                if await self.ask(payload) == payload:
                    done += 1

        with anyio.fail_after(_PATIENCE_S):
            async with anyio.create_task_group() as group:
                for _ in range(AT_ONCE):
                    group.start_soon(caller)
        return {"done": done}

    async def _submit(self, payload: bytes, **more: Any) -> None:
        done = await self._system.ask(Submit(agent=AGENT, input=_document(payload), **more), timeout_s=ANSWER_S)
        if done.accepted != 1:
            raise AssertionError(f"{done} acknowledges nothing")

    def _take(self, delivery: Delivery) -> None:
        self._waiting.pop(delivery.subject).set_result(self._decode(delivery.data))


def _document(payload: bytes) -> dict[str, Any]:
    return {"body": payload.decode("latin-1")}


async def main() -> None:
    """Connect, then obey."""
    url, role = sys.argv[1:]
    node = "bench-asker" if role == "asker" else "bench-worker"  # to start again is to come back by the same name
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(NatsBus(url, name=node))
        system = await stack.enter_async_context(System(bus, node=node))
        if role == "worker":
            await system.spawn(Doer)
            await system.spawn(Scheduler, bus=bus)
        asker = Asker(system, bus)
        await asker.open()
        calm()

        async def ask(concurrency: int, seconds: float) -> dict[str, Any]:
            with anyio.fail_after(seconds + ANSWER_S):
                return await load(asker.ask, SIZE, concurrency, seconds)

        async def submit(concurrency: int, seconds: float) -> dict[str, Any]:
            with anyio.fail_after(seconds + ANSWER_S):
                return await load(asker.submit, SIZE, concurrency, seconds)

        async def start() -> dict[str, Any]:
            began = time.perf_counter()
            await system.spawn(Scheduler, bus=bus)
            health = await system.ask(CheckScheduler())
            return {"seconds": time.perf_counter() - began, "depth": sum(health.depth.values())}

        await obey({"ask": ask, "submit": submit, "fill": asker.fill, "work": asker.work, "start": start})


if __name__ == "__main__":
    run(main)
