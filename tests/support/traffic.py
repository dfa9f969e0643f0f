"""Clients that ask a running system for predictions, over HTTP and NATS at once, and note every answer."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import anyio
import httpx
from anyio.abc import TaskGroup

from chimera.bus.nats import NatsBus
from chimera.cli.client import raise_problem
from chimera.errors import ChimeraError
from chimera.server import read_context
from chimera.server.roles import RoleName
from chimera.wire import decode, decode_any, encode
from subjects.agent import PREDICT
from subjects.event import TaskProcessed
from tests.support.running import RunningSystem

Way = Literal["http", "nats"]
Body = dict[str, Any]
PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class Call:
    """One question and what came of it; ``code`` is ``ok`` or the problem's code."""

    way: Way
    body: Body
    began: float
    took_s: float
    code: str
    answer: Body

    @property
    def ended(self) -> float:
        """When the answer came, in monotonic seconds."""
        return self.began + self.took_s


def loves(number: int) -> Body:
    """The rest of a question's body: a plain text for the sentiment agent."""
    return {"input": {"text": f"I love this, number {number}"}}


@dataclass
class Traffic:
    """Enter it to start the clients; leave it to let them finish what they asked, and stop.

    Args:
        system: Who is asked.
        http: Clients over HTTP, each with one question at a time.
        nats: The same over NATS, all on one connection with the role ``client``.
        make: The body of a question but its ``job_id``, from a number that counts up.
        timeout_s: How long a client waits for an answer.
        first: The number of the first question: a ``job_id`` asked before is answered from what was stored.
    """

    system: RunningSystem
    http: int = 2
    nats: int = 2
    make: Callable[[int], Body] = loves
    timeout_s: float = 10.0
    first: int = 1
    calls: list[Call] = field(default_factory=list[Call])
    _asked: int = field(init=False, default=0)
    _stop: bool = False
    _group: TaskGroup | None = None

    async def __aenter__(self) -> Self:
        """Start."""
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(self._run)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let every client end its last question."""
        assert self._group is not None
        self._stop = True
        await self._group.__aexit__(kind, error, trace)

    async def flow(self, count: int, way: Way | None = None, timeout_s: float = 20.0) -> None:
        """Wait until so many more questions were answered, over one way or any."""
        target = len(self.good(way)) + count
        with anyio.move_on_after(timeout_s) as scope:
            while len(self.good(way)) < target:  # noqa: ASYNC110 - the clients append, nobody notifies
                await anyio.sleep(0.005)
        last = [(call.way, call.code, round(call.took_s, 2), call.answer) for call in self.calls[-8:]]
        assert not scope.cancelled_caught, f"no {count} answers in {timeout_s:g} s: {self.summary()}, last {last}"

    def good(self, way: Way | None = None) -> list[Call]:
        """The calls that were answered."""
        return [call for call in self.calls if call.code == "ok" and way in {None, call.way}]

    def bad(self, way: Way | None = None) -> list[Call]:
        """The calls that failed."""
        return [call for call in self.calls if call.code != "ok" and way in {None, call.way}]

    def summary(self) -> dict[str, int]:
        """How many calls ended how, by way."""
        return dict(Counter(f"{call.way} {call.code}" for call in self.calls))

    async def _run(self) -> None:
        async with (
            httpx.AsyncClient(base_url=self.system.base, timeout=self.timeout_s, trust_env=False) as client,
            connect(self.system, "client") as bus,
            anyio.create_task_group() as group,
        ):
            for _ in range(self.http):
                group.start_soon(self._lane, "http", partial(self._over_http, client))
            for _ in range(self.nats):
                group.start_soon(self._lane, "nats", partial(self._over_nats, bus))

    async def _lane(self, way: Way, ask: Callable[[Body], Awaitable[tuple[str, Body]]]) -> None:
        while not self._stop:
            number, self._asked = self.first + self._asked, self._asked + 1
            body = {"job_id": f"{way}-{number}", **self.make(number)}
            began = time.monotonic()
            code, answer = await ask(body)
            self.calls.append(Call(way, body, began, time.monotonic() - began, code, answer))
            if code != "ok":
                await anyio.sleep(PAUSE_S)

    async def _over_http(self, client: httpx.AsyncClient, body: Body) -> tuple[str, Body]:
        try:
            response = await client.post("/predict", json=body)
        except httpx.TransportError as error:
            return f"transport: {type(error).__name__}", {}
        answer = response.json()
        return "ok" if response.status_code == 200 else answer["code"], answer

    async def _over_nats(self, bus: NatsBus, body: Body) -> tuple[str, Body]:
        try:
            answer = await bus.request(PREDICT.subject, encode(body), timeout_s=self.timeout_s)
            raise_problem(answer)
        except ChimeraError as error:
            return error.code, {"detail": error.detail, "executed": error.executed}
        return "ok", decode_any(answer.data)


@asynccontextmanager
async def connect(system: RunningSystem, role: RoleName) -> AsyncGenerator[NatsBus]:
    """A connection to the system's server with the credentials of a role."""
    context = read_context(system.data, role)
    assert context is not None, "the node writes the contexts when it starts"
    seed = Path(context.nkey).read_text().strip()  # noqa: ASYNC240 - a few bytes of a local file
    async with NatsBus(context.url, name=f"test-{role}", seed=seed, inbox_prefix=context.inbox_prefix) as bus:
        yield bus


async def task_records(system: RunningSystem) -> list[TaskProcessed]:
    """Every record of the KPI stream."""
    async with connect(system, "operator") as bus, bus.read("KPI") as messages:
        return [decode(message.data, TaskProcessed) async for message in messages]
