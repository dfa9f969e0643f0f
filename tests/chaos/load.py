"""Callers that submit tasks with ids and retry until acknowledged, cancel some, and ask for the ends of others."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import anyio
import httpx

from chimera.bus.contract import Bus
from chimera.cli.client import raise_problem
from chimera.errors import ChimeraError, NotFoundError
from chimera.wire import decode_any, encode
from tests.chaos.judge import Promise
from tests.chaos.worker import digest

CALLERS = 12
UNFINISHED = 300
"""Acknowledged tasks without an end at most: the load is steady, the queue short."""

PATIENCE_S, PAUSE_S = 3.0, 0.1
_FINAL = frozenset({"succeeded", "dead", "cancelled", "expired"})
_RETRIES = {"attempts": 20, "first_s": 0.2, "most_s": 2.0}


class Load:
    """The callers of one run.

    Args:
        bus: A connection with the client's or operator's credentials.
        http: Base URL of the scheduler's port.
        rng: Chooses who does what.
        ended: How many tasks have ended, as the log says.
    """

    def __init__(self, bus: Bus, http: str, rng: random.Random, ended: Callable[[], int]) -> None:
        self._bus, self._http, self._rng, self._ended = bus, http, rng, ended
        self.promises: dict[str, Promise] = {}
        self.errors: Counter[str] = Counter()
        self.repeated = 0
        self.submits = 0
        self._stop = False

    async def run(self) -> None:
        """Until ``stop``; what was begun is ended, so that every task is acknowledged at the end."""
        async with (
            httpx.AsyncClient(base_url=self._http, timeout=PATIENCE_S, trust_env=False) as client,
            anyio.create_task_group() as group,
        ):
            for number in range(CALLERS):
                group.start_soon(self._caller, client if number % 3 == 0 else None)

    def stop(self) -> None:
        """Begin nothing new."""
        self._stop = True

    def acknowledged(self) -> int:
        """Tasks whose submit was acknowledged."""
        return sum(promise.acknowledged for promise in self.promises.values())

    async def _caller(self, client: httpx.AsyncClient | None) -> None:
        while not self._stop:
            if len(self.promises) - self._ended() > UNFINISHED:
                await anyio.sleep(PAUSE_S)
                continue
            kind = self._rng.random()
            made = [self._make(kind) for _ in range(10 if kind < 0.05 else 1)]
            await self._submit(client, made)
            if kind > 0.98:
                await self._cancel(made[0]["id"])
            elif kind > 0.8:
                await self._ask(made[0]["id"])
            await anyio.sleep(self._rng.uniform(0.0, 0.3))

    def _make(self, kind: float) -> dict[str, Any]:
        number = len(self.promises) + 1
        wanted = {"succeeded"}
        task: dict[str, Any] = {"id": f"t{number}", "input": {"text": f"I love this, number {number}"}}
        task |= {"limit_s": 3.0, "retries": _RETRIES}
        if kind > 0.98:
            wanted.add("cancelled")
        elif kind > 0.96:
            task["deadline"] = time.time() + 4.0
            wanted.add("expired")
        elif kind > 0.94:
            task["agent"], wanted = "nobody", {"dead"}
        self.promises[task["id"]] = Promise(task["id"], wanted=frozenset(wanted))
        return task

    async def _submit(self, client: httpx.AsyncClient | None, tasks: list[dict[str, Any]]) -> None:
        body = tasks[0] if len(tasks) == 1 else {"tasks": tasks}
        open_ids = {task["id"] for task in tasks}
        while open_ids:
            self.submits += 1
            with suppress(ChimeraError, httpx.HTTPError):
                answer = await self._patiently("submit", body, client)
                self._note(answer["receipts"], open_ids)
            if tasks[0].get("deadline", math.inf) < time.time():
                return  # nobody wants it any more
            if open_ids:
                self.repeated += 1
                await anyio.sleep(self._rng.uniform(PAUSE_S, 3 * PAUSE_S))

    def _note(self, receipts: Sequence[dict[str, Any]], open_ids: set[str]) -> None:
        for receipt in receipts:
            if receipt["state"] != "refused":
                self.promises[receipt["id"]].acknowledged = True
                open_ids.discard(receipt["id"])
            else:
                self.errors[f"receipt {receipt.get('code')}"] += 1

    async def _cancel(self, task: str) -> None:
        with suppress(ChimeraError):
            await self._over_nats("cancel", {"id": task})

    async def _ask(self, task: str) -> None:
        """What is told of an end must stay true."""
        with suppress(ChimeraError):
            view = await self._over_nats("task", {"id": task, "wait_ms": 2000})
            if view["state"] in _FINAL:
                self.promises[task].told.append((view["state"], view["attempt"], output_of(view)))

    async def _patiently(self, verb: str, body: Any, client: httpx.AsyncClient | None) -> Any:
        try:
            return await (self._over_nats(verb, body) if client is None else self._over_http(client, body))
        except (ChimeraError, httpx.HTTPError) as error:
            self.errors[getattr(error, "code", type(error).__name__)] += 1
            raise

    async def _over_http(self, client: httpx.AsyncClient, body: Any) -> Any:
        response = await client.post("/api/tasks", json=body)
        answer = response.json()
        if response.is_error:
            raise httpx.HTTPError(answer.get("code", str(response.status_code)))
        return answer

    async def _over_nats(self, verb: str, body: Any) -> Any:
        subject = f"chimera.scheduler.{verb}"
        answer = await self._bus.request(subject, encode(body, "json"), timeout_s=PATIENCE_S)
        raise_problem(answer)
        return decode_any(answer.data)


def output_of(view: dict[str, Any]) -> str:
    """The digest of a task's output; empty without one."""
    return "" if view.get("output") is None else digest(view["output"])


async def ask_patiently(bus: Bus, verb: str, body: Any, timeout_s: float = 30.0) -> Any:
    """An answer of the scheduler, asked again while it restarts; ``None`` if the task is not known."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            answer = await bus.request(f"chimera.scheduler.{verb}", encode(body, "json"), timeout_s=PATIENCE_S)
            raise_problem(answer)
            return decode_any(answer.data)
        except NotFoundError:
            return None
        except ChimeraError:
            if time.monotonic() > deadline:
                raise
            await anyio.sleep(PAUSE_S)
