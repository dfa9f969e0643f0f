"""A broker with nodes that are played, and a client of it, each in a process (``URL asker|broker|starter``)."""

from __future__ import annotations

import itertools
import sys
import time
from contextlib import AsyncExitStack
from typing import Any

import anyio
import nats

from actors.gpu_broker import GpuBroker
from chimera.bus.nats import NatsBus
from chimera.interpreter import calm
from chimera.system import System
from chimera.wire import encode
from subjects.device import NODE_REPORTED, NodeReported, Told
from subjects.gpu_broker import CheckBroker
from subjects.lease import Allocate, GiveBack, Need
from tests.bench.child import load, obey, run
from tests.bench.task_hand import ANSWER_S
from tests.support import lending

NODES, GPUS = 16, 8
_REPORT_S = 1.0
_TTL_S = 3_600.0
_BARE = b"x" * 512
"""As large as a record with a few grants."""

_PAUSE_S = 0.003
"""Between one and the next, so that neither waits for what the other left to be done."""

_LIVE_MILLI = 20
"""Of each GPU this much goes to each lease that is only there to be many."""


class Asker:
    """Leases a whole GPU and gives it back."""

    def __init__(self, system: System) -> None:
        self._system = system
        self.took: list[float] = []

    async def cycle(self, payload: bytes) -> bytes:
        """A grant and a release."""
        began = time.perf_counter()
        lease = await self._system.ask(Allocate(ttl_s=60.0, wait_s=20.0), timeout_s=ANSWER_S)
        self.took.append(time.perf_counter() - began)
        await self._system.ask(GiveBack(id=lease.id, token=lease.token), timeout_s=ANSWER_S)
        return payload

    async def ask(self, concurrency: int, seconds: float) -> dict[str, Any]:
        """So many callers for so long: pairs, and how long grants took."""
        self.took = []
        with anyio.fail_after(seconds + ANSWER_S):
            found = await load(self.cycle, 8, concurrency, seconds)
        took = sorted(self.took)
        return {**found, "p50_us": took[len(took) // 2] * 1e6, "p99_us": took[int(0.99 * len(took))] * 1e6}

    async def in_turn(self, url: str, seconds: float) -> dict[str, Any]:
        """One at a time, in turn: a bare compare-and-set publish by hand, a grant, and the release that undoes it."""
        client: Any = await nats.connect(url)  # pyright: ignore[reportUnknownMemberType] - nats-py's
        stream, took = client.jetstream(), {"bare": list[float](), "grant": list[float]()}
        await stream.add_stream(name="BARE", subjects=["bench.bare"], max_msgs_per_subject=1)
        seq, now = (await stream.publish("bench.bare", _BARE)).seq, time.perf_counter
        end = now() + seconds
        while (began := now()) < end:
            headers = {"Nats-Expected-Last-Subject-Sequence": str(seq)}
            seq = (await stream.publish("bench.bare", _BARE, headers=headers)).seq
            took["bare"].append(now() - began)
            await anyio.sleep(_PAUSE_S)
            began = now()
            lease = await self._system.ask(Allocate(ttl_s=60.0), timeout_s=ANSWER_S)
            took["grant"].append(now() - began)
            await self._system.ask(GiveBack(id=lease.id, token=lease.token), timeout_s=ANSWER_S)
            await anyio.sleep(_PAUSE_S)
        await client.close()
        return {f"{name}_us": sorted(values)[len(values) // 2] * 1e6 for name, values in took.items()}

    async def fill(self, count: int) -> dict[str, Any]:
        """So many leases that nobody gives back."""
        need = Need(milli=_LIVE_MILLI, memory_mib=100)
        left = iter(range(count))

        async def caller() -> None:
            for _ in left:
                await self._system.ask(Allocate(need=need, ttl_s=_TTL_S), timeout_s=ANSWER_S)

        async with anyio.create_task_group() as group:
            for _ in range(64):
                group.start_soon(caller)
        return {"leases": (await self._system.ask(CheckBroker())).leases}


async def report(bus: NatsBus) -> None:
    """The nodes tell of their devices, again and again."""
    for turn in itertools.count():
        for node in range(NODES):
            name = f"n{node}"
            gpus = [
                Told(
                    id=f"GPU-{node}-{number}", model="NVIDIA A100", capability="8.0", memory_mib=81_920,
                    utilization=0.5, power_w=100.0 + turn % 7,
                )
                for number in range(GPUS)
            ]  # fmt: skip
            cpu = Told(id=f"CPU-{name}", kind="cpu", model="x86_64", milli=96_000, memory_mib=393_216)
            told = NodeReported(
                node=name, at=time.time(), interval_s=_REPORT_S, devices=[*gpus, cpu], fences=False
            )  # fmt: skip
            await bus.publish(NODE_REPORTED, encode(told))
        await anyio.sleep(_REPORT_S)


async def main() -> None:
    """Connect, then obey."""
    url, role = sys.argv[1:]
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(NatsBus(url, name=role))
        system = await stack.enter_async_context(System(bus, node=f"bench-{role}"))
        asker = Asker(system)

        async def start() -> dict[str, Any]:
            began = time.perf_counter()
            await system.spawn(GpuBroker, bus=bus)
            await system.ask(Allocate())
            seconds = time.perf_counter() - began
            return {"seconds": seconds, "leases": (await system.ask(CheckBroker())).leases}

        async def known() -> dict[str, Any]:
            await lending.known(system, NODES * (GPUS + 1))
            return {}

        async def in_turn(seconds: float) -> dict[str, Any]:
            with anyio.fail_after(seconds + ANSWER_S):
                return await asker.in_turn(url, seconds)

        if role == "broker":
            await system.spawn(GpuBroker, bus=bus)
        calm()
        async with anyio.create_task_group() as group:
            if role == "broker":
                group.start_soon(report, bus)
            await obey({"ask": asker.ask, "in_turn": in_turn, "fill": asker.fill, "start": start, "known": known})
            group.cancel_scope.cancel()


if __name__ == "__main__":
    run(main)
