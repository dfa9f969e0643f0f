"""The store in PostgreSQL, for nodes that share one: the same tables, a bounded pool, row locks for one thread."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Any, Self, TypeVar

import anyio

from chimera.errors import ChimeraError
from subjects.agent import AgentView, Release
from subjects.event import TaskJudged, TaskProcessed

from . import _pg_statements as own
from . import rows, statements
from ._pg_connection import Connection, settle_cancellations
from ._pg_errors import place
from ._pg_migrations import migrate
from ._pg_pool import PostgresPool
from .contract import Measured, MeasureFilter, OutcomeFilter, Remembered, StoreStatistics, Tally, Write
from .mark import StreamMark
from .schema import STEPS

T = TypeVar("T")
_FORGET_AT_ONCE = 5_000
_MEASURE_EVERY_S = 30.0
_TABLES = [table.name for step in STEPS for table in step.tables]


class PostgresStore:
    """Projections in a PostgreSQL database; several nodes may use the same one.

    A write is committed when its call returns, with ``synchronous_commit`` on at least (unless ``sparing``). A database
    that is away at the start or later is no failure of the node: calls answer ``UnavailableError`` at once until it is
    back, which is noticed without anybody asking.
    """

    def __init__(
        self, url: str, *, connections: int = 8, sparing: bool = False, max_queued: int = 1024, timeout_s: float = 15.0
    ) -> None:
        self._url = url
        self._size = 0
        self._measured = 0.0
        self._stack = AsyncExitStack()
        self.pool = PostgresPool(
            url, migrate, self._look, connections, sparing=sparing, max_waiting=max_queued, timeout_s=timeout_s
        )

    async def __aenter__(self) -> Self:
        """Connect and migrate; where the database is only away, go on and keep trying.

        Raises:
            BadSettingError: If the URL, the password or the rights are wrong; the detail names ``store.url``.
        """
        await self.pool.open()
        group = await self._stack.enter_async_context(anyio.create_task_group())
        group.start_soon(self.pool.keep)
        self._stack.callback(group.cancel_scope.cancel)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop keeping, and close the connections."""
        await self._stack.aclose()
        self.pool.close()
        await settle_cancellations()

    async def save_agent(self, view: AgentView) -> None:
        """Insert or replace an agent's pointers and insert its new releases."""
        pointers = rows.agent_parameters(view)
        releases = [rows.release_parameters(release) for release in view.releases]

        async def work(connection: Connection) -> None:
            async with connection.transaction():
                await _execute(connection, statements.SAVE_AGENT, pointers)
                await _execute_many(connection, statements.SAVE_RELEASE, releases)

        await self._write(work)

    async def agents(self) -> list[AgentView]:
        """Every agent with its releases, by name."""

        async def work(connection: Connection) -> list[AgentView]:
            async with connection.transaction():
                found = await connection.fetch(statements.AGENTS)
                return [rows.agent_view(row, await _releases(connection, row[0])) for row in found]

        return await self._read(work)

    async def release(self, agent: str, number: int) -> Release | None:
        """One release."""
        row = await self._one(statements.RELEASE, {"agent": agent, "number": number})
        return None if row is None else rows.release_from(row)

    async def save_outcomes(self, outcomes: Sequence[tuple[int, TaskProcessed]], *, stream: str) -> int:
        """Insert outcomes and move the stream's position in one transaction; how many were new."""
        if not outcomes:
            return 0
        arrays = own.batch([{**rows.outcome_parameters(outcome), "seq": seq} for seq, outcome in outcomes])
        last = max(seq for seq, _ in outcomes)

        async def work(connection: Connection) -> int:
            async with connection.transaction():
                mark = await _lock_mark(connection, stream)
                done = await connection.execute(own.SAVE_OUTCOMES, stream, mark.generation, mark.base, *arrays)
                await _execute(connection, statements.SAVE_STREAM, mark.saved(last).parameters(stream))
                return _count(done)

        return await self._write(work)

    async def save_judgement(self, judged: TaskJudged) -> None:
        """Insert feedback; a later one for the same job replaces it."""
        await self._change(statements.SAVE_JUDGEMENT, rows.judgement_parameters(judged))

    async def outcome(self, job_id: str) -> TaskProcessed | None:
        """The newest outcome of a job."""
        row = await self._one(statements.OUTCOME_OF_JOB, {"job_id": job_id})
        return None if row is None else rows.outcome_from(row)

    async def outcomes(self, where: OutcomeFilter) -> list[TaskProcessed]:
        """Outcomes by filter, newest first."""
        parameters = asdict(where)
        used = [sql for name, sql in statements.OUTCOME_CONDITIONS.items() if parameters[name] not in ("", None)]
        query = statements.OUTCOMES.format(where="WHERE " + " AND ".join(used) if used else "")
        return [rows.outcome_from(row) for row in await self._many(query, parameters)]

    async def measured(self, where: MeasureFilter) -> list[Measured]:
        """Figures of tasks, oldest first."""
        found = await self._many(
            statements.MEASURED.format(agent="AND o.agent = :agent" if where.agent else ""), asdict(where)
        )
        return [rows.measured_from(row) for row in found]

    async def tally(self, since: float, until: float) -> list[Tally]:
        """Sums per agent over a window."""
        return [rows.tally_from(row) for row in await self._many(statements.TALLY, {"since": since, "until": until})]

    async def position(self, stream: str) -> int:
        """Last sequence projected from a stream; 0 = none."""
        return (await self._mark(stream)).position

    async def mark(self, stream: str, last_seq: int, generation: str = "") -> None:
        """Raise the high-water mark. A new ``generation`` says that the stream has gone back to ``last_seq``."""

        async def work(connection: Connection) -> None:
            async with connection.transaction():
                mark = (await _lock_mark(connection, stream)).marked(last_seq, generation)
                await _execute(connection, statements.SAVE_STREAM, mark.parameters(stream))

        await self._write(work)

    async def high_water(self, stream: str) -> int:
        """The high-water mark; a stream that ends below it has gone back."""
        return (await self._mark(stream)).high_water

    async def setting(self, name: str) -> Any:
        """A persisted setting, or ``None``."""
        row = await self._one(statements.SETTING, {"name": name})
        return None if row is None else rows.from_json(row[0])

    async def set_setting(self, name: str, value: Any) -> None:
        """Persist a setting."""
        await self._change(statements.SAVE_SETTING, {"name": name, "value": rows.to_json(value)})

    async def remembered(self, key: str) -> Remembered | None:
        """The answer stored for an Idempotency-Key."""
        row = await self._one(statements.REMEMBERED, {"key": key})
        return None if row is None else Remembered(*row)

    async def remember(self, entry: Remembered, *, keep_s: float = 86_400.0) -> None:
        """Store an answer; entries older than ``keep_s`` go."""

        async def work(connection: Connection) -> None:
            async with connection.transaction():
                await _execute(connection, own.FORGET_REMEMBERED, {"before": entry.at - keep_s})
                await _execute(connection, statements.REMEMBER, asdict(entry))

        await self._write(work)

    async def transact(self, writes: Sequence[Write]) -> None:
        """Do all of it in one transaction."""

        async def work(connection: Connection) -> None:
            async with connection.transaction():
                for sql, many in writes:
                    await _execute_many(connection, sql, many)

        await self._write(work)

    async def fetch(self, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows of a question."""
        text, names = own.numbered(sql)
        found = await self._read(lambda connection: connection.fetch(text, *own.arguments(names, parameters)))
        return [tuple(row) for row in found]

    async def forget(self, *, outcomes_before: float) -> int:
        """Delete outcomes older than a Unix time, and feedback as old; in steps, so that others get their turn."""
        before = {"before": outcomes_before, "limit": _FORGET_AT_ONCE}
        await self._change(statements.FORGET_JUDGEMENTS, before)
        gone = step = await self._change(statements.FORGET_OUTCOMES, before)
        while step == _FORGET_AT_ONCE:
            step = await self._change(statements.FORGET_OUTCOMES, before)
            gone += step
        return gone

    async def check(self) -> str:
        """``ok``, or what is wrong: a committed write and its answer."""
        try:
            await self._change(statements.PULSE, {})
        except ChimeraError as error:
            return error.detail
        return "ok"

    def statistics(self) -> StoreStatistics:
        """Counters since the start; the size as of the last half minute."""
        counters = self.pool.counters
        return StoreStatistics(
            backend="postgres", location=place(self._url), writes=counters.calls[True], reads=counters.calls[False],
            errors=counters.errors, queued=self.pool.waiting, size_bytes=self._size, pool=self.pool.statistics(),
        )  # fmt: skip

    async def _write(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        return await self.pool.run(work, writes=True)

    async def _read(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        return await self.pool.run(work, writes=False)

    async def _change(self, sql: str, parameters: rows.Parameters) -> int:
        """Run one statement; how many rows it changed."""
        return await self._write(lambda connection: _execute(connection, sql, parameters))

    async def _one(self, sql: str, parameters: rows.Parameters) -> Any:
        numbered, names = own.numbered(sql)
        return await self._read(lambda connection: connection.fetchrow(numbered, *own.arguments(names, parameters)))

    async def _many(self, sql: str, parameters: rows.Parameters) -> Sequence[Any]:
        numbered, names = own.numbered(sql)
        return await self._read(lambda connection: connection.fetch(numbered, *own.arguments(names, parameters)))

    async def _mark(self, stream: str) -> StreamMark:
        row = await self._one(statements.STREAM, {"name": stream})
        return StreamMark(*row) if row else StreamMark()

    async def _look(self, connection: Connection) -> None:
        """Ask for something small; now and then for the size."""
        now = time.monotonic()
        if self._size and now - self._measured < _MEASURE_EVERY_S:
            await connection.fetchval("SELECT 1")
            return
        self._size = await connection.fetchval(own.SIZE, _TABLES)
        self._measured = now


async def _execute(connection: Connection, sql: str, parameters: rows.Parameters) -> int:
    numbered, names = own.numbered(sql)
    return _count(await connection.execute(numbered, *own.arguments(names, parameters)))


async def _execute_many(connection: Connection, sql: str, many: Sequence[Mapping[str, Any]]) -> None:
    numbered, names = own.numbered(sql)
    await connection.executemany(numbered, [own.arguments(names, parameters) for parameters in many])


def _count(tag: str) -> int:
    """Rows changed, from a command tag such as ``INSERT 0 3``."""
    return int(tag.rpartition(" ")[2])


async def _lock_mark(connection: Connection, stream: str) -> StreamMark:
    """The stream's row, held until the transaction ends; made if it is new."""
    sql, _ = own.numbered(own.LOCK_STREAM)
    row = await connection.fetchrow(sql, stream)
    if row is None:
        await _execute(connection, own.TOUCH_STREAM, {"name": stream})
        row = await connection.fetchrow(sql, stream)
    return StreamMark(*row)


async def _releases(connection: Connection, agent: str) -> list[Release]:
    sql, _ = own.numbered(statements.RELEASES)
    return [rows.release_from(row) for row in await connection.fetch(sql, agent)]
