"""Connections to one PostgreSQL: a bounded pool, a deadline on every call, and a keeper that notices loss and heals."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio

from chimera.errors import BadSettingError, ChimeraError, UnavailableError
from chimera.logs import EventName, Layer, event

from . import _pg_errors as errors
from ._pg_connection import APPLICATION, Connection, Pool, driver, keep_as_it_is
from ._pg_statements import NO_LESS_DURABLE
from .contract import PoolStatistics

T = TypeVar("T")

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_LONG_WAIT_S = 1.0
"""A call that waits this long for a connection is worth a line in the log ..."""
_TELL_EVERY_S = 10.0
"""... and so many seconds later the next one is."""


@dataclass(slots=True)
class Counters:
    """What happened since the start."""

    calls: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    """Writes under ``True``, reads under ``False``."""
    errors: int = 0
    waits: int = 0
    losses: int = 0


@dataclass
class PostgresPool:
    """Gives each call a connection, and answers at once while the database is away.

    The keeper has a connection of its own. It asks every ``beat_s``, and when a call fails; when there is no answer it
    ends all connections, so that nobody waits for what will not come, and tries to connect with growing pauses.

    Attributes:
        url: ``postgresql://…``.
        prepare: Run on a new connection of the keeper before the database counts as there: migrations.
        look: Run now and then on the keeper's connection.
        size: Most connections beside the keeper's.
        sparing: Leave ``synchronous_commit`` as the database has it, even if it is off.
        max_waiting: Calls that may wait for a connection; one more is refused.
        timeout_s: How long a call may take, waiting included.
        connect_s: How long connecting may take.
        prepare_s: How long ``prepare`` may take; another node may be migrating.
        ping_s: How long the database may take to answer the keeper.
        beat_s: Time between two questions of the keeper.
    """

    url: str
    prepare: Callable[[Connection], Awaitable[None]]
    look: Callable[[Connection], Awaitable[None]]
    size: int = 8
    sparing: bool = False
    max_waiting: int = 1024
    timeout_s: float = 15.0
    connect_s: float = 5.0
    prepare_s: float = 60.0
    ping_s: float = 3.0
    beat_s: float = 1.0
    counters: Counters = field(default_factory=Counters)

    def __post_init__(self) -> None:
        self._pool: Pool | None = None
        self._own: Connection | None = None
        self._why: ChimeraError = UnavailableError("the store is closed", hint="it opens when the node starts")
        self._turns = anyio.CapacityLimiter(self.size)
        self._alarm = anyio.Event()
        self._told = -_TELL_EVERY_S
        self._lost_at: float | None = None

    # -- life ----------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Try to connect; a database that is only away is waited for by ``keep``.

        Raises:
            BadSettingError: If the URL, the password or the rights are wrong: waiting mends none of them.
        """
        try:
            await self._connect()
        except BadSettingError:
            raise
        except ChimeraError as error:
            self._lose(error)

    async def keep(self) -> None:
        """Notice loss and connect again, until cancelled."""
        pause = _FIRST_PAUSE_S
        while True:
            wait = self.beat_s
            try:
                await (self._beat() if self._pool is not None else self._connect())
                pause = _FIRST_PAUSE_S
            except ChimeraError as error:
                self._lose(error)
                wait, pause = pause, min(pause * 2, _LONGEST_PAUSE_S)
            with anyio.move_on_after(wait):
                await self._alarm.wait()
            self._alarm = anyio.Event()

    def close(self) -> None:
        """End all connections. What a call was answered is committed; nothing else needs a farewell."""
        self._drop()
        self._why = UnavailableError("the store is closed", hint="it opens when the node starts")

    # -- calls ---------------------------------------------------------------------------------------------------------

    async def run(self, work: Callable[[Connection], Awaitable[T]], *, writes: bool) -> T:
        """The result of ``work``; what it wrote is committed when this returns.

        Raises:
            UnavailableError: If the database is away, refused, or took too long, or too many calls wait.
        """
        pool = self._pool
        if pool is None:
            self.counters.errors += 1
            raise UnavailableError(self._why.detail, hint=self._why.hint, retry_after_s=1.0)
        try:
            with anyio.fail_after(self.timeout_s):
                async with self._turn(pool) as connection:
                    result = await work(connection)
        except Exception as error:
            self.counters.errors += 1
            raise self._failure(error) from error
        self.counters.calls[writes] += 1
        return result

    @property
    def waiting(self) -> int:
        """Calls that wait for a connection."""
        return self._turns.statistics().tasks_waiting

    def statistics(self) -> PoolStatistics:
        """How the pool does."""
        idle = self._pool.get_idle_size() if self._pool else 0
        return PoolStatistics(
            connected=self._pool is not None, limit=self.size, busy=self._turns.borrowed_tokens, idle=idle,
            waits=self.counters.waits, losses=self.counters.losses,
        )  # fmt: skip

    @asynccontextmanager
    async def _turn(self, pool: Pool) -> AsyncGenerator[Connection]:
        if self.waiting >= self.max_waiting:
            raise UnavailableError(f"{self.max_waiting} requests wait for the store", retry_after_s=0.5)
        began = time.monotonic()
        self.counters.waits += self._turns.available_tokens < 1
        async with self._turns:
            self._tell_wait(time.monotonic() - began)
            async with pool.acquire(timeout=self.timeout_s) as connection:
                yield connection

    def _tell_wait(self, waited: float) -> None:
        now = time.monotonic()
        if waited < _LONG_WAIT_S or now - self._told < _TELL_EVERY_S:
            return
        self._told = now
        event(
            EventName.CONNECTION_POOL, Layer.STORE, f"a call waited {waited:.1f} s for one of {self.size} connections",
            level="warning", waited_s=waited, limit=self.size, waiting=self.waiting,
        )  # fmt: skip

    def _failure(self, error: Exception) -> ChimeraError:
        if isinstance(error, ChimeraError):
            return error
        if isinstance(error, TimeoutError):
            self._alarm.set()
            return UnavailableError(f"the store did not answer within {self.timeout_s:g} s", retry_after_s=1.0)
        if errors.is_loss(error):
            self._alarm.set()
        return errors.translate(error, self.url)

    # -- the keeper ----------------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        """Connect, prepare, and make the pool.

        Raises:
            BadSettingError: For what waiting does not mend, unless the database was there before.
            UnavailableError: For all else.
        """
        self._own = await self._dial()
        self._pool = await driver().create_pool(
            self.url, min_size=0, max_size=self.size, init=self._set_up, reset=keep_as_it_is, **self._options()
        )
        self._state_connected()

    async def _dial(self) -> Connection:
        """A prepared connection."""
        connection: Connection | None = None
        try:
            with anyio.fail_after(self.connect_s):
                connection = await driver().connect(self.url, **self._options())
            with anyio.fail_after(self.prepare_s):
                await self.prepare(_ready(connection))
                await self.look(_ready(connection))
        except BaseException as error:
            if connection is not None:
                connection.terminate()
            if isinstance(error, Exception):
                raise self._refused(error) from error
            raise
        return _ready(connection)

    async def _beat(self) -> None:
        """Ask the database. Where only the keeper's connection is gone, a new one tells; the calls are left alone.

        Raises:
            UnavailableError: If it does not answer.
        """
        try:
            with anyio.fail_after(self.ping_s):
                await self.look(_ready(self._own))
        except TimeoutError as error:
            raise UnavailableError(
                f"PostgreSQL at {errors.place(self.url)} did not answer within {self.ping_s:g} s"
            ) from error
        except Exception as error:  # noqa: BLE001 - whatever it is, a new connection tells
            self._own = self._end(self._own)
            self._own = await self._dial()
            if self._pool is not None:
                await self._pool.expire_connections()
            self._state_lost(errors.translate(error, self.url))
            self._state_connected()

    def _lose(self, error: ChimeraError) -> None:
        self._drop()
        self._why = error
        if self._lost_at is None:
            self._state_lost(error)

    def _drop(self) -> None:
        self._own = self._end(self._own)
        self._pool = self._end(self._pool)

    def _end(self, thing: Connection | Pool | None) -> None:
        if thing is not None:
            with suppress(Exception):  # it was broken before
                thing.terminate()

    def _refused(self, error: Exception) -> ChimeraError:
        if isinstance(error, ChimeraError):
            return error
        if isinstance(error, TimeoutError) and not str(error):
            error = TimeoutError(f"no connection within {self.connect_s:g} s")
        return errors.refusal(error, self.url) or errors.translate(error, self.url)

    async def _set_up(self, connection: Connection) -> None:
        if not self.sparing:
            await connection.execute(NO_LESS_DURABLE)

    def _options(self) -> dict[str, Any]:
        return {
            "timeout": self.connect_s, "command_timeout": self.timeout_s,
            "server_settings": {"application_name": APPLICATION},
        }  # fmt: skip

    # -- events --------------------------------------------------------------------------------------------------------

    def _state_connected(self) -> None:
        away = None if self._lost_at is None else time.monotonic() - self._lost_at
        self._lost_at = None
        where = errors.place(self.url)
        text = f"connected to PostgreSQL at {where}" + (f" again after {away:.1f} s" if away is not None else "")
        event(EventName.DATABASE_CONNECTION, Layer.STORE, text, state="connected", place=where, away_s=away)
        event(
            EventName.CONNECTION_POOL, Layer.STORE, f"up to {self.size} connections to {where}", state="open",
            limit=self.size,
        )  # fmt: skip

    def _state_lost(self, error: ChimeraError) -> None:
        self._lost_at = time.monotonic()
        self.counters.losses += 1
        event(
            EventName.DATABASE_CONNECTION, Layer.STORE, error.detail, level="warning", state="lost",
            place=errors.place(self.url),
        )  # fmt: skip


def _ready(connection: Connection | None) -> Connection:
    if connection is None:
        raise UnavailableError("the store is closed")
    return connection
