"""The store in one SQLite file: WAL, one thread, writes committed in groups."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self, TypeVar

from chimera.errors import BadSettingError, ChimeraError, StartError
from subjects.agent import AgentView, Release
from subjects.event import TaskJudged, TaskProcessed

from . import rows, statements
from .contract import Measured, MeasureFilter, OutcomeFilter, Remembered, StoreStatistics, Tally, Write
from .mark import StreamMark
from .migrations import migrate
from .worker import SqliteWorker, as_unavailable

T = TypeVar("T")
_BUSY_S = 5.0
_WAL_LIMIT_BYTES = 16 << 20
_FORGET_AT_ONCE = 5_000


class SqliteStore:
    """Projections in one SQLite file.

    Every write is durable when its call returns: ``synchronous=FULL`` (a power cut loses nothing that was answered), or
    ``NORMAL`` with ``sparing`` (a power cut can lose the last moments, a crash of the process nothing).
    """

    def __init__(
        self, path: Path, *, sparing: bool = False, setting: str = "store.url", max_queued: int = 1024
    ) -> None:
        self._path = path
        self._sparing = sparing
        self._setting = setting
        self._size = 0
        self._worker = SqliteWorker(self._open, self._measure, max_queued=max_queued)

    async def __aenter__(self) -> Self:
        """Open, check the file after an unclean stop, migrate.

        Raises:
            BadSettingError: If the place can't be written.
            StartError: If the file is damaged.
        """
        await self._worker.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Finish what waits and close."""
        await self._worker.close()

    async def save_agent(self, view: AgentView) -> None:
        """Insert or replace an agent's pointers and insert its new releases."""
        pointers = rows.agent_parameters(view)
        releases = [rows.release_parameters(release) for release in view.releases]

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(statements.SAVE_AGENT, pointers)
            connection.executemany(statements.SAVE_RELEASE, releases)

        await self._write(work)

    async def agents(self) -> list[AgentView]:
        """Every agent with its releases, by name."""

        def work(connection: sqlite3.Connection) -> list[AgentView]:
            found: list[rows.Row] = connection.execute(statements.AGENTS).fetchall()
            return [rows.agent_view(row, _releases(connection, row[0])) for row in found]

        return await self._read(work)

    async def release(self, agent: str, number: int) -> Release | None:
        """One release."""
        row = await self._one(statements.RELEASE, {"agent": agent, "number": number})
        return None if row is None else rows.release_from(row)

    async def save_outcomes(self, outcomes: Sequence[tuple[int, TaskProcessed]], *, stream: str) -> int:
        """Insert outcomes and move the stream's position in one transaction; how many were new."""
        if not outcomes:
            return 0
        batch = [{**rows.outcome_parameters(outcome), "stream": stream, "seq": seq} for seq, outcome in outcomes]
        last = max(seq for seq, _ in outcomes)

        def work(connection: sqlite3.Connection) -> int:
            mark = _mark(connection, stream)
            for row in batch:
                row.update(generation=mark.generation, base=mark.base)
            before = connection.total_changes
            connection.executemany(statements.SAVE_OUTCOME, batch)
            new = connection.total_changes - before
            connection.execute(statements.SAVE_STREAM, mark.saved(last).parameters(stream))
            return new

        return await self._write(work)

    async def save_judgement(self, judged: TaskJudged) -> None:
        """Insert feedback; a later one for the same job replaces it."""
        await self._execute(statements.SAVE_JUDGEMENT, rows.judgement_parameters(judged))

    async def outcome(self, job_id: str) -> TaskProcessed | None:
        """The newest outcome of a job."""
        row = await self._one(statements.OUTCOME_OF_JOB, {"job_id": job_id})
        return None if row is None else rows.outcome_from(row)

    async def outcomes(self, where: OutcomeFilter) -> list[TaskProcessed]:
        """Outcomes by filter, newest first."""
        parameters = asdict(where)
        used = [sql for name, sql in statements.OUTCOME_CONDITIONS.items() if parameters[name] not in ("", None)]
        query = statements.OUTCOMES.format(where="WHERE " + " AND ".join(used) if used else "")
        found = await self._read(lambda connection: connection.execute(query, parameters).fetchall())
        return [rows.outcome_from(row) for row in found]

    async def measured(self, where: MeasureFilter) -> list[Measured]:
        """Figures of tasks, oldest first."""
        query = statements.MEASURED.format(agent="AND o.agent = :agent" if where.agent else "")
        found = await self._read(lambda connection: connection.execute(query, asdict(where)).fetchall())
        return [rows.measured_from(row) for row in found]

    async def tally(self, since: float, until: float) -> list[Tally]:
        """Sums per agent over a window."""
        window = {"since": since, "until": until}
        found = await self._read(lambda connection: connection.execute(statements.TALLY, window).fetchall())
        return [rows.tally_from(row) for row in found]

    async def position(self, stream: str) -> int:
        """Last sequence projected from a stream; 0 = none."""
        return (await self._read(lambda connection: _mark(connection, stream))).position

    async def mark(self, stream: str, last_seq: int, generation: str = "") -> None:
        """Raise the high-water mark. A new ``generation`` says that the stream has gone back to ``last_seq``."""

        def work(connection: sqlite3.Connection) -> None:
            mark = _mark(connection, stream).marked(last_seq, generation)
            connection.execute(statements.SAVE_STREAM, mark.parameters(stream))

        await self._write(work)

    async def high_water(self, stream: str) -> int:
        """The high-water mark; a stream that ends below it has gone back."""
        return (await self._read(lambda connection: _mark(connection, stream))).high_water

    async def setting(self, name: str) -> Any:
        """A persisted setting, or ``None``."""
        row = await self._one(statements.SETTING, {"name": name})
        return None if row is None else rows.from_json(row[0])

    async def set_setting(self, name: str, value: Any) -> None:
        """Persist a setting."""
        await self._execute(statements.SAVE_SETTING, {"name": name, "value": rows.to_json(value)})

    async def remembered(self, key: str) -> Remembered | None:
        """The answer stored for an Idempotency-Key."""
        row = await self._one(statements.REMEMBERED, {"key": key})
        return None if row is None else Remembered(*row)

    async def remember(self, entry: Remembered, *, keep_s: float = 86_400.0) -> None:
        """Store an answer; entries older than ``keep_s`` go."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(statements.FORGET_REMEMBERED, {"before": entry.at - keep_s})
            connection.execute(statements.REMEMBER, asdict(entry))

        await self._write(work)

    async def transact(self, writes: Sequence[Write]) -> None:
        """Do all of it in one transaction."""

        def work(connection: sqlite3.Connection) -> None:
            for sql, many in writes:
                connection.executemany(sql, many)

        await self._write(work)

    async def fetch(self, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows of a question."""
        return await self._read(lambda connection: connection.execute(sql, parameters).fetchall())

    async def forget(self, *, outcomes_before: float) -> int:
        """Delete outcomes older than a Unix time, and feedback as old; in steps, so that others get their turn."""
        before = {"before": outcomes_before, "limit": _FORGET_AT_ONCE}
        await self._execute(statements.FORGET_JUDGEMENTS, before)
        gone = step = await self._execute(statements.FORGET_OUTCOMES, before)
        while step == _FORGET_AT_ONCE:
            step = await self._execute(statements.FORGET_OUTCOMES, before)
            gone += step
        return gone

    async def check(self) -> str:
        """``ok``, or what is wrong: a committed write and its answer."""
        try:
            await self._write(lambda connection: connection.execute(statements.PULSE).fetchone())
        except ChimeraError as error:
            return error.detail
        return "ok"

    def statistics(self) -> StoreStatistics:
        """Counters since the start; the size as of the last commit."""
        counters = self._worker.counters
        return StoreStatistics(
            "sqlite", str(self._path), counters.writes, counters.reads, counters.errors, self._worker.queued, self._size
        )

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._worker.run(work, writes=True)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._worker.run(work, writes=False)

    async def _execute(self, sql: str, parameters: rows.Parameters) -> int:
        return await self._write(lambda connection: connection.execute(sql, parameters).rowcount)

    async def _one(self, sql: str, parameters: rows.Parameters) -> rows.Row | None:
        return await self._read(lambda connection: connection.execute(sql, parameters).fetchone())

    def _open(self) -> sqlite3.Connection:
        try:
            unclean = _prepare(self._path)
            connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, cached_statements=256)
        except (OSError, sqlite3.Error) as error:
            raise self._not_writable(error) from error
        try:
            self._configure(connection)
            if unclean:
                _check_integrity(connection, self._path)
            migrate(connection)
        except sqlite3.Error as error:
            connection.close()
            raise self._why(error) from error
        except BaseException:
            connection.close()
            raise
        self._measure()
        return connection

    def _configure(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'NORMAL' if self._sparing else 'FULL'}")
        connection.execute(f"PRAGMA journal_size_limit={_WAL_LIMIT_BYTES}")
        connection.execute("PRAGMA temp_store=MEMORY")

    def _why(self, error: sqlite3.Error) -> ChimeraError:
        if "readonly" in str(error) or "unable to open" in str(error):
            return self._not_writable(error)
        found = as_unavailable(error)
        return StartError(f"{self._path}: {found.detail}", hint=found.hint)

    def _not_writable(self, error: Exception) -> BadSettingError:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return BadSettingError(
            f"the store {self._path} can't be written: {reason}", hint=f"change {self._setting}, or the folder's rights"
        )

    def _measure(self) -> None:
        self._size = sum(_size(self._path.with_name(self._path.name + tail)) for tail in ("", "-wal"))


def _prepare(path: Path) -> bool:
    """Make the folder (0700) and the file (0600); true if the file was not closed properly last time."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    return _size(path.with_name(path.name + "-wal")) > 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _check_integrity(connection: sqlite3.Connection, path: Path) -> None:
    try:
        found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.DatabaseError as error:  # so damaged that it can't be checked
        found = [str(error)]
    if found != ["ok"]:
        raise StartError(
            f"{path} is damaged: {'; '.join(found)}",
            hint="move the file away and start again: it is rebuilt from the streams",
        )


def _releases(connection: sqlite3.Connection, agent: str) -> list[Release]:
    found: list[rows.Row] = connection.execute(statements.RELEASES, {"agent": agent}).fetchall()
    return [rows.release_from(row) for row in found]


def _mark(connection: sqlite3.Connection, stream: str) -> StreamMark:
    row = connection.execute(statements.STREAM, {"name": stream}).fetchone()
    return StreamMark(*row) if row else StreamMark()
