"""What is particular to the store in PostgreSQL: loss and return, deadlines, refusals, the pool."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

import chimera.store._pg_pool as pool_module
from chimera.errors import BadSettingError, UnavailableError
from chimera.store import open_store
from chimera.store.postgres import PostgresStore
from tests.support.postgres import PostgresServer

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

HERE = Path()


async def well(store: PostgresStore, *, says: str = "ok") -> None:
    """Wait until the check says ``says``."""
    with anyio.fail_after(30):
        while says not in await store.check():  # noqa: ASYNC110 - the database has no event
            await anyio.sleep(0.02)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the store logged."""
    return [record.getMessage() for record in caplog.records if record.name == "chimera.store"]


@asynccontextmanager
async def blocked(server: PostgresServer, url: str) -> AsyncGenerator[None]:
    """Inside, whoever writes the setting ``x`` waits: another client holds the row."""
    async with server.connected(url) as other, other.transaction():
        await other.execute("INSERT INTO settings (name, value) VALUES ('x', '1')")
        yield


async def test_a_killed_server_is_noticed_and_its_return_too(
    own_postgres: PostgresServer, caplog: pytest.LogCaptureFixture
):
    """Calls are refused at once while it is away; afterwards the store works again by itself; both are stated."""
    async with PostgresStore(own_postgres.url()) as store:
        await store.set_setting("x", 1)
        with caplog.at_level(logging.INFO, "chimera"):
            own_postgres.kill()
            await well(store, says="Connect call failed")
            began = time.monotonic()
            with pytest.raises(UnavailableError) as refused:
                await store.setting("x")
            assert time.monotonic() - began < 1
            own_postgres.start()
            await well(store)
        assert await store.setting("x") == 1
        pool = store.statistics().pool
    assert pool is not None
    assert (pool.connected, pool.losses) == (True, 1)
    assert refused.value.retry_after_s
    assert "store.url" in refused.value.hint
    lost, back, opened = lines(caplog)
    assert "Connect call failed" in lost
    assert "again after" in back
    assert "up to 8 connections" in opened
    assert own_postgres.password not in caplog.text


async def test_a_database_that_is_away_at_the_start_is_waited_for(own_postgres: PostgresServer):
    """The node starts without it; the tables are made when it comes."""
    own_postgres.kill()
    async with PostgresStore(own_postgres.url()) as store:
        assert "Connect call failed" in await store.check()
        own_postgres.start()
        await well(store)
        await store.set_setting("x", 1)


async def test_a_server_that_hangs_holds_nobody_for_long(own_postgres: PostgresServer):
    """Its connections stay and nothing is answered: calls end with an error long before their own deadline."""
    store = PostgresStore(own_postgres.url(), timeout_s=60)
    store.pool.ping_s = store.pool.connect_s = 0.5
    async with store:
        await store.set_setting("x", 1)
        own_postgres.pause()
        try:
            with anyio.fail_after(20), pytest.raises(UnavailableError):
                await store.set_setting("x", 2)
            await well(store, says="")
        finally:
            own_postgres.resume()
        await well(store)


async def test_ended_sessions_are_replaced(own_postgres: PostgresServer):
    """An administrator ends all our sessions; the server goes on, and so does the store."""
    async with PostgresStore(own_postgres.url()) as store, own_postgres.connected() as administrator:
        await store.set_setting("x", 1)
        ours = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'chimera'"
        assert await administrator.fetchval(ours) == 2
        await well(store)
        await well(store)
        assert await store.setting("x") == 1


async def test_a_slow_answer_is_an_error_and_its_connection_is_used_again(postgres: PostgresServer):
    """A call that waits for a row longer than it may is given up, and leaves nothing behind."""
    url = await postgres.new_schema()
    async with PostgresStore(url, connections=1, timeout_s=0.3) as store:
        async with blocked(postgres, url):
            with pytest.raises(UnavailableError, match=r"within 0\.3 s"):
                await store.set_setting("x", 2)
            with anyio.fail_after(20):
                while store.pool.statistics().idle < 1:  # noqa: ASYNC110 - the server is told to give up, and answers
                    await anyio.sleep(0.01)
        store.pool.timeout_s = 15
        assert await store.setting("x") == 1
        await store.set_setting("x", 3)
        assert await store.setting("x") == 3


async def test_a_busy_pool_makes_calls_wait_and_refuses_too_many(
    postgres: PostgresServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """With one connection, the second call waits and the third is refused; a long wait is stated, each is counted."""
    monkeypatch.setattr(pool_module, "_LONG_WAIT_S", 0.0001)
    url = await postgres.new_schema()
    async with PostgresStore(url, connections=1, max_queued=1) as store, anyio.create_task_group() as group:
        async with blocked(postgres, url):
            group.start_soon(store.set_setting, "x", 2)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(store.set_setting, "y", 3)
            await anyio.wait_all_tasks_blocked()
            assert store.statistics().queued == 1
            with pytest.raises(UnavailableError, match="1 requests wait") as refused:
                await store.set_setting("z", 4)
        assert refused.value.retry_after_s
        with anyio.fail_after(20):
            while store.statistics().writes < 2:  # noqa: ASYNC110 - the database has no event
                await anyio.sleep(0.01)
        assert [await store.setting(name) for name in "xyz"] == [2, 3, None]
        pool = store.statistics().pool
        assert pool is not None
        assert (pool.limit, pool.busy, pool.waits) == (1, 0, 1)
    assert any("for one of 1 connections" in line for line in lines(caplog))


@pytest.mark.parametrize(
    ("database", "password", "said"),
    [("postgres", "wrong", "password authentication failed"), ("nowhere", None, "does not exist")],
)
async def test_what_waiting_does_not_mend_is_a_bad_setting(
    postgres: PostgresServer, database: str, password: str | None, said: str
):
    """A wrong password or database stops the start, names the setting and the place, and repeats no password."""
    with pytest.raises(BadSettingError, match=said) as refused:
        async with open_store(postgres.url(database, password=password), HERE):
            pass
    assert refused.value.detail.startswith("store.url: PostgreSQL at 127.0.0.1:")
    assert postgres.password not in refused.value.detail
    assert "wrong" not in refused.value.detail


async def test_tables_of_somebody_else_are_left_alone(postgres: PostgresServer):
    """A schema that has a table of one of our names is refused, and nothing is made in it."""
    url = await postgres.new_schema()
    async with postgres.connected(url) as other:
        await other.execute("CREATE TABLE settings (mine TEXT)")
        with pytest.raises(BadSettingError, match='"settings" already exists') as refused:
            async with PostgresStore(url):
                pass
        assert "search_path" in refused.value.hint
        assert await other.fetchval("SELECT to_regclass('agents')") is None


async def test_a_role_without_rights_is_a_bad_setting(postgres: PostgresServer):
    """Where no table may be made, the start says so."""
    async with postgres.connected() as administrator:
        await administrator.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
        await administrator.execute("CREATE SCHEMA closed")
    url = f"postgresql://guest:guest@127.0.0.1:{postgres.port}/postgres?search_path=closed"
    with pytest.raises(BadSettingError, match="PostgreSQL at"):
        async with PostgresStore(url):
            pass


@pytest.mark.parametrize(("sparing", "expected"), [(False, "on"), (True, "off")])
async def test_durability_is_not_less_than_was_chosen(postgres: PostgresServer, *, sparing: bool, expected: str):
    """A database that confirms before it syncs is told to sync first, but where loss was chosen."""
    url = await postgres.new_schema() + "&synchronous_commit=off"
    async with PostgresStore(url, sparing=sparing) as store:
        found = await store.pool.run(lambda one: one.fetchval("SHOW synchronous_commit"), writes=False)
    assert found == expected


async def test_without_the_driver_the_setting_is_refused(monkeypatch: pytest.MonkeyPatch):
    """The extra is named that brings it."""
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(BadSettingError, match="asyncpg") as refused:
        async with PostgresStore("postgresql://127.0.0.1:1/x"):
            pass
    assert "chimera-nats[postgres]" in refused.value.hint


async def test_closed_store_refuses(postgres: PostgresServer):
    """Before it is opened and after it is closed every call says so, and no session stays."""
    store = PostgresStore(await postgres.new_schema())
    with pytest.raises(UnavailableError, match="closed"):
        await store.setting("x")
    async with store:
        await store.set_setting("x", 1)
    with pytest.raises(UnavailableError, match="closed"):
        await store.setting("x")
