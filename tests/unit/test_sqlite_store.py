"""What is particular to the SQLite store: durability, groups, refusals, damage."""

# The store's thread is the subject here:
# pyright: reportPrivateUsage=false

from __future__ import annotations

import sqlite3
import stat
import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread
import pytest
from blockbuster import blockbuster_ctx

from chimera.errors import BadSettingError, StartError, UnavailableError
from chimera.store import open_store
from chimera.store.sqlite import SqliteStore
from subjects.event import TaskJudged, TaskProcessed

pytestmark = pytest.mark.anyio


def outcome(job_id: str = "job") -> TaskProcessed:
    """An outcome."""
    return TaskProcessed(
        job_id=job_id, agent="a", release=1, task="predict", outcome="ok", at=1.0, queue_ms=0, run_ms=0, cpu_ms=0,
        memory_bytes=0, node="n",
    )  # fmt: skip


async def pragma(store: SqliteStore, name: str) -> object:
    """A pragma as it is in the store's own connection."""
    return (await store._read(lambda connection: connection.execute(f"PRAGMA {name}").fetchone()))[0]


@asynccontextmanager
async def busy(store: SqliteStore) -> AsyncGenerator[anyio.abc.TaskGroup]:
    """Inside, the store's thread is held up, and everything that is asked waits; it goes on at the end."""
    hold, begun = threading.Event(), threading.Event()

    def block(_: sqlite3.Connection) -> None:
        begun.set()
        hold.wait(20)

    async with anyio.create_task_group() as group:
        group.start_soon(store._read, block)
        await anyio.to_thread.run_sync(begun.wait)
        try:
            yield group
            await anyio.wait_all_tasks_blocked()
        finally:
            hold.set()


@pytest.mark.parametrize(("sparing", "synchronous"), [(False, 2), (True, 1)])
async def test_durability_is_set_not_hoped_for(tmp_path: Path, *, sparing: bool, synchronous: int):
    """WAL with FULL sync by default, NORMAL only when sparing was chosen."""
    async with SqliteStore(tmp_path / "s.sqlite", sparing=sparing) as store:
        assert await pragma(store, "synchronous") == synchronous
        assert await pragma(store, "journal_mode") == "wal"
        assert await pragma(store, "busy_timeout") == 5_000


async def test_only_the_owner_may_read(tmp_path: Path):
    """The file is 0600 and a folder that was made is 0700."""
    async with SqliteStore(tmp_path / "data" / "s.sqlite"):
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "data" / "s.sqlite").stat().st_mode) == 0o600


async def test_waiting_writes_are_committed_together(tmp_path: Path):
    """Writes that wait behind one another share a commit."""
    async with SqliteStore(tmp_path / "s.sqlite") as store:
        async with busy(store) as group:
            for number in range(40):
                group.start_soon(store.set_setting, f"s{number}", number)
        assert store.statistics().writes == 40
        assert store._worker.counters.commits == 1


async def test_a_failing_write_is_undone_alone(tmp_path: Path):
    """In one group, a write that fails half-way leaves nothing behind, and its neighbours are committed."""

    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO settings (name, value) VALUES ('half', '1')")
        connection.execute("INSERT INTO nowhere VALUES (1)")

    failures: list[UnavailableError] = []
    async with SqliteStore(tmp_path / "s.sqlite") as store:

        async def fail() -> None:
            try:
                await store._write(half)
            except UnavailableError as error:
                failures.append(error)

        async with busy(store) as group:
            group.start_soon(store.set_setting, "before", 1)
            group.start_soon(fail)
            group.start_soon(store.set_setting, "after", 2)
        assert store._worker.counters.commits == 1
        assert [await store.setting(name) for name in ("before", "half", "after")] == [1, None, 2]
        assert "no such table" in failures[0].detail


async def test_a_lost_transaction_fails_its_whole_group(tmp_path: Path):
    """When SQLite gives up the transaction, nobody of the group is told that it was stored."""
    async with SqliteStore(tmp_path / "s.sqlite") as store:
        with pytest.raises(UnavailableError):
            await store._write(lambda connection: connection.execute("ROLLBACK"))
        await store.set_setting("x", 1)
        assert await store.setting("x") == 1


async def test_full_queue_refuses(tmp_path: Path):
    """One request more than may wait is refused at once, with a time to try again."""
    async with SqliteStore(tmp_path / "s.sqlite", max_queued=2) as store:
        async with busy(store) as group:
            for name in ("a", "b"):
                group.start_soon(store.set_setting, name, 1)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(UnavailableError, match="2 requests wait") as refused:
                await store.set_setting("c", 1)
        assert refused.value.retry_after_s
        assert [await store.setting(name) for name in ("a", "b", "c")] == [1, 1, None]


async def test_cancelled_write_that_waits_is_not_done(tmp_path: Path):
    """A caller that went away before its turn leaves no trace."""
    async with SqliteStore(tmp_path / "s.sqlite") as store:
        async with busy(store), anyio.create_task_group() as group:
            group.start_soon(store.set_setting, "gone", 1)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert await store.check() == "ok"
        assert await store.setting("gone") is None


async def test_slow_answer_is_an_error_not_a_hang(tmp_path: Path):
    """A request that is not answered within the limit is given up."""
    async with SqliteStore(tmp_path / "s.sqlite") as store:
        hold = threading.Event()
        store._worker.timeout_s = 0.05
        with pytest.raises(UnavailableError, match="did not answer"):
            await store._read(lambda _: hold.wait(5))
        hold.set()


async def test_closed_store_refuses(tmp_path: Path):
    """Before it is opened and after it is closed every call says so."""
    store = SqliteStore(tmp_path / "s.sqlite")
    with pytest.raises(UnavailableError, match="closed"):
        await store.setting("x")
    async with store:
        pass
    with pytest.raises(UnavailableError, match="closed"):
        await store.setting("x")
    assert "closed" in await store.check()


async def test_closing_finishes_what_waits(tmp_path: Path):
    """Writes that were queued before closing are committed."""
    path = tmp_path / "s.sqlite"
    async with anyio.create_task_group() as group, SqliteStore(path) as store:
        for number in range(20):
            group.start_soon(store.set_setting, f"s{number}", number)
        await anyio.wait_all_tasks_blocked()
    async with SqliteStore(path) as store:
        assert [await store.setting(f"s{number}") for number in range(20)] == list(range(20))


async def test_place_that_cannot_be_written(tmp_path: Path):
    """A folder that can't be made is a bad setting, and the detail names the place, the hint the setting."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BadSettingError, match="can't be written") as refused:
        async with open_store("", tmp_path / "file" / "below"):
            pass
    assert "node.data_dir" in refused.value.hint
    with pytest.raises(BadSettingError) as refused:
        async with open_store(f"sqlite://{tmp_path}/file/below/x.sqlite", tmp_path):
            pass
    assert "store.url" in refused.value.hint


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://me:hunter2@db:port/x", "is no URL"),
        ("mysql://me:hunter2@db/x", "is no store"),
        ("sqlite://relative/path", "is no store"),
        ("sqlite://", "is no store"),
    ],
)
def test_urls_that_are_no_store(tmp_path: Path, url: str, said: str):
    """An unknown URL is a bad setting that tells what may stand there; no password is repeated."""
    with pytest.raises(BadSettingError, match=said) as refused:
        open_store(url, tmp_path)
    assert "hunter2" not in str(refused.value)
    assert "postgresql://" in refused.value.hint


async def test_url_names_the_file(tmp_path: Path):
    """sqlite:///path is taken as it is written, percent signs decoded."""
    async with open_store(f"sqlite://{tmp_path}/a%20b.sqlite", tmp_path / "unused") as store:
        assert await store.check() == "ok"
    assert (tmp_path / "a b.sqlite").exists()
    assert not (tmp_path / "unused").exists()


async def _fill(path: Path) -> None:
    async with SqliteStore(path) as store:
        await store.save_outcomes([(seq, outcome(f"j{seq}")) for seq in range(1, 2_000)], stream="KPI")


def _damage(path: Path, *, unclean: bool) -> None:
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = b"\xaa" * 4096
    path.write_bytes(data)
    if unclean:
        path.with_name(path.name + "-wal").write_bytes(b"left behind")


async def test_damage_after_an_unclean_stop_is_found_at_open(tmp_path: Path):
    """A file with a broken page, left behind by a crash, is refused at the start with what to do."""
    await _fill(tmp_path / "s.sqlite")
    _damage(tmp_path / "s.sqlite", unclean=True)
    with pytest.raises(StartError, match="damaged") as refused:
        async with SqliteStore(tmp_path / "s.sqlite"):
            pass
    assert "rebuilt from the streams" in refused.value.hint


async def test_clean_file_is_not_searched(tmp_path: Path):
    """After a clean stop the whole file is not read again: that is why the crash must be told apart."""
    await _fill(tmp_path / "s.sqlite")
    _damage(tmp_path / "s.sqlite", unclean=False)
    async with SqliteStore(tmp_path / "s.sqlite") as store:
        assert await store.check() == "ok"


async def test_a_file_that_is_no_database(tmp_path: Path):
    """Another file under our name is refused with a clear error, and not overwritten."""
    path = tmp_path / "s.sqlite"
    path.write_bytes(b"my holiday photographs, not a database at all" * 100)
    with pytest.raises(StartError, match="not a database"):
        async with SqliteStore(path):
            pass
    assert path.read_bytes().startswith(b"my holiday")


async def test_warm_start_does_not_load_the_migration_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A file with the newest schema opens without sqlite-utils; one that lacks a step does not."""
    async with SqliteStore(tmp_path / "s.sqlite"):
        pass
    monkeypatch.setitem(sys.modules, "sqlite_utils", None)
    async with SqliteStore(tmp_path / "s.sqlite") as store:
        await store._write(
            lambda connection: connection.execute("DELETE FROM _sqlite_migrations WHERE name LIKE '0003%'")
        )
    with pytest.raises(ImportError):
        async with SqliteStore(tmp_path / "s.sqlite"):
            pass


async def test_newest_feedback_stays(tmp_path: Path):
    """The newest feedback of a job stays, whatever the order in which they come."""
    first = TaskJudged(job_id="j", agent="a", release=1, at=10.0, label="negative", correct=False)
    later = TaskJudged(job_id="j", agent="a", release=1, at=20.0, label="positive", score=0.5, correct=True)
    async with SqliteStore(tmp_path / "s.sqlite") as store:
        for judged in (first, later, first):
            await store.save_judgement(judged)
        query = "SELECT label, score, correct FROM judgements"
        assert await store._read(lambda connection: connection.execute(query).fetchall()) == [("positive", 0.5, 1)]


async def test_the_loop_is_never_blocked(tmp_path: Path):
    """Opening, writing, reading and closing make no blocking call in the event loop's thread."""
    store = SqliteStore(tmp_path / "s.sqlite")
    with blockbuster_ctx():
        async with store:
            await store.save_outcomes([(1, outcome())], stream="KPI")
            await store.outcome("job")
            assert await store.check() == "ok"
            store.statistics()
