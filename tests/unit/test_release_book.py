"""The release book: two books on one bus, and failures between its writes."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from actors.execution.drafts import Draft
from actors.execution.releases import ReleaseBook
from chimera.bus.memory import MemoryBus, MemoryHub
from chimera.errors import BusDownError, ConflictError, FencedError, NoAgentError
from subjects.agent import Limits, Manifest
from tests.support.waiting import until

pytestmark = pytest.mark.anyio
_ids = itertools.count()


def draft(digest: str = "a") -> Draft:
    """A draft that differs by its digest."""
    return Draft(digest * 64, Manifest(name="echo"), {}, Limits())


@asynccontextmanager
async def books(count: int = 2) -> AsyncGenerator[list[ReleaseBook]]:
    """Books of as many nodes on one bus."""
    hub = MemoryHub()
    async with MemoryBus(hub, name="n") as bus:
        made = [ReleaseBook(bus, time=lambda: 0.0, new_id=lambda: f"act-{next(_ids)}") for _ in range(count)]
        for book in made:
            await book.open()
        yield made


async def test_of_two_deploys_at_once_one_wins_and_the_other_is_fenced() -> None:
    """Both read the same state; the second to commit is fenced, and its release is not left behind."""
    async with books() as (one, two):
        await one.register(draft("a"), by="x", note="")
        mine, theirs = await one.read("echo"), await two.read("echo")
        won = await one.deploy(mine, draft("b"), 1.0, by="x", note="")
        with pytest.raises(FencedError):
            await two.deploy(theirs, draft("c"), 1.0, by="y", note="")
        seen = await two.read("echo")
        assert seen.pointers == won.record.pointers
        assert seen.release(2).digest == "b" * 64
        assert await two._bucket.keys() == ["echo", "echo.1", "echo.2"]


async def test_two_registrations_at_once() -> None:
    """The same agent twice is one agent; another of the same name is a conflict."""
    async with books() as (one, two):
        await one.register(draft("a"), by="x", note="")
        assert (await two.register(draft("a"), by="y", note="")).act is None
        with pytest.raises(ConflictError):
            await two.register(draft("b"), by="y", note="")


async def test_a_number_left_by_a_dead_act_is_skipped() -> None:
    """A release that was written by an act that died is never taken over: the next act uses the next number."""
    async with books() as (one, two):
        await one.register(draft("a"), by="x", note="")
        await one._create(draft("b"), 1, parent=1, by="x", note="")
        change = await two.deploy(await two.read("echo"), draft("b"), 1.0, by="y", note="")
        assert change.record.pointers.live == 3


async def test_a_commit_whose_acknowledgement_was_lost_is_recognised() -> None:
    """A fenced write that turns out to be our own is a success."""
    async with books(1) as (book,):
        await book.register(draft("a"), by="x", note="")
        record, keys = await book.read("echo"), book._bucket
        update = keys.update

        async def twice(key: str, value: bytes, revision: int) -> int:
            await update(key, value, revision)
            return await update(key, value, revision)

        keys.update = twice  # pyright: ignore[reportAttributeAccessIssue] - a fault put in on purpose
        change = await book.deploy(record, draft("b"), 1.0, by="x", note="")
        assert change.record.pointers.live == 2
        assert (await book.read("echo")).release(2).digest == "b" * 64


async def test_an_outage_in_between_can_be_repeated() -> None:
    """If the pointers could not be written the act is repeated and succeeds once."""
    async with books(1) as (book,):
        await book.register(draft("a"), by="x", note="")
        keys = book._bucket
        update = keys.update

        async def down(key: str, value: bytes, revision: int) -> int:
            raise BusDownError(f"{key} {revision} {len(value)}")

        keys.update = down  # pyright: ignore[reportAttributeAccessIssue] - a fault put in on purpose
        with pytest.raises(BusDownError):
            await book.deploy(await book.read("echo"), draft("b"), 1.0, by="x", note="")
        assert (await book.read("echo")).pointers.live == 1
        keys.update = update  # pyright: ignore[reportAttributeAccessIssue] - and taken out again
        change = await book.deploy(await book.read("echo"), draft("b"), 1.0, by="x", note="")
        assert change.record.release(change.record.pointers.live).digest == "b" * 64


async def test_a_follower_sees_acts_of_others() -> None:
    """The cache of a book that follows is brought up to date, and each move is told."""
    async with books() as (one, two), anyio.create_task_group() as group:
        moved: list[str] = []
        group.start_soon(two.follow, moved.append)
        with anyio.fail_after(5):
            await two.synced.wait()
            await one.register(draft("a"), by="x", note="")
            await one.deploy(await one.read("echo"), draft("b"), 0.5, by="x", note="")
            await until(lambda: len(moved) == 2)
        record = two.cached("echo")
        assert record is not None
        assert (record.pointers.candidate, record.release(2).digest) == (2, "b" * 64)
        group.cancel_scope.cancel()


async def test_an_unreadable_entry_is_named_and_does_not_stop_the_rest() -> None:
    """Garbage in the bucket is reported by key; other agents are read."""
    async with books(1) as (book,), anyio.create_task_group() as group:
        await book.register(draft("a"), by="x", note="")
        await book._bucket.put("junk", b"{not json")
        moved: list[str] = []
        group.start_soon(book.follow, moved.append)
        with anyio.fail_after(5):
            await book.synced.wait()
        assert (list(book.unreadable), book.names()) == (["junk"], ["echo"])
        with pytest.raises(NoAgentError):
            await book.read("nobody")
        group.cancel_scope.cancel()
