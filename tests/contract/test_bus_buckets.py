"""Key-value and object buckets: the in-memory bus and JetStream keep the same contract."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from chimera.bus import Bus, KeyEntry
from chimera.errors import BadMessageError, FencedError

pytestmark = pytest.mark.anyio


async def test_put_get_delete_keys(bus: Bus, unique: str):
    """Values come and go; deleted and absent keys are ``None`` and are not listed."""
    keys = await bus.key_value(unique)
    assert await keys.get("a.b") is None
    first = await keys.put("a.b", b"1")
    second = await keys.put("a.b", b"2")
    await keys.put("c", b"")
    assert second > first
    assert await keys.get("a.b") == KeyEntry("a.b", b"2", second)
    assert await keys.get("c") == KeyEntry("c", b"", second + 1)
    assert await keys.keys() == ["a.b", "c"]
    await keys.delete("a.b")
    assert await keys.get("a.b") is None
    assert await keys.keys() == ["c"]


async def test_compare_and_set(nodes: Any, unique: str):
    """``create`` wants no value, ``update`` the last revision; who comes second is fenced."""
    one, two = await (await nodes.join()).key_value(unique), await (await nodes.join()).key_value(unique)
    revision = await one.create("lease", b"one")
    with pytest.raises(FencedError):
        await two.create("lease", b"two")
    newer = await one.update("lease", b"one again", revision)
    with pytest.raises(FencedError):
        await two.update("lease", b"two", revision)
    await one.delete("lease")
    with pytest.raises(FencedError):
        await one.update("lease", b"late", newer)
    assert await two.create("lease", b"two") > newer


@pytest.mark.parametrize("key", ["", "a b", "a..b", "*", "a.>", "ä", "x" * 3000])
async def test_bad_keys_are_refused(bus: Bus, unique: str, key: str):
    """A key that is no subject is refused before it is sent."""
    keys = await bus.key_value(unique)
    with pytest.raises(BadMessageError):
        await keys.put(key, b"")
    with pytest.raises(BadMessageError):
        await keys.get(key)


async def test_watch_begins_with_what_is_there(nodes: Any, unique: str):
    """Present values, one ``None``, then every change by anybody."""
    here, there = await (await nodes.join()).key_value(unique), await (await nodes.join()).key_value(unique)
    a, b = await here.put("a", b"1"), await here.put("b", b"2")
    await here.put("gone", b"")
    await here.delete("gone")
    with anyio.fail_after(20):
        async with here.watch() as changes:
            seen = [await anext(changes) for _ in range(3)]
            assert seen == [KeyEntry("a", b"1", a), KeyEntry("b", b"2", b), None]
            c = await there.put("a", b"3")
            assert await anext(changes) == KeyEntry("a", b"3", c)
            await there.delete("b")
            entry = await anext(changes)
            assert (entry.key, entry.value) == ("b", None)


async def test_watch_of_nothing(bus: Bus, unique: str):
    """An empty bucket is told as such at once."""
    keys = await bus.key_value(unique)
    with anyio.fail_after(20):
        async with keys.watch() as changes:
            assert await anext(changes) is None
            revision = await keys.put("a", b"1")
            assert await anext(changes) == KeyEntry("a", b"1", revision)


@pytest.mark.parametrize("size", [0, 1, 128 * 1024, 300_001])
async def test_objects_round_trip(bus: Bus, unique: str, size: int):
    """An object of any size comes back as it was, under any name; storing it again changes nothing."""
    objects = await bus.objects(unique)
    data = bytes(index * 31 % 256 for index in range(size))
    name = f"sha256:{size}/ä b"
    assert await objects.get(name) is None
    await objects.put(name, data)
    await objects.put(name, data)
    assert await objects.get(name) == data
    assert await objects.names() == [name]
    await objects.delete(name)
    await objects.delete(name)
    assert await objects.get(name) is None
    assert await objects.names() == []


async def test_object_over_the_largest_message(nodes: Any, unique: str):
    """An object may be larger than a message, and another node reads it."""
    one, two = await (await nodes.join()).objects(unique), await (await nodes.join()).objects(unique)
    data = bytes(range(256)) * 12_000
    await one.put("module", data)
    assert await two.get("module") == data
