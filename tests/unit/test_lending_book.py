"""A gang's records are written together, those that stay as they are included: only so are they known to be so."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import anyio
import pytest

from actors.brokering import changes
from actors.brokering.book import Book
from actors.brokering.changes import Ask
from actors.brokering.record import Record, Refusal
from actors.brokering.registry import Registry
from actors.brokering.streams import device_spec
from chimera.bus.memory import MemoryBus, MemoryHub
from chimera.clock import SystemClock

pytestmark = pytest.mark.anyio
KEYS = ("n.a", "n.b")


def granted(records: list[Record], ask: Ask) -> list[Record] | Refusal:
    """What a broker makes of a gang's records."""
    made = [changes.grant(record, ask, 1_000.0) for record in records]
    refused = next((one for one in made if isinstance(one, Refusal)), None)
    return refused or [one for one in made if isinstance(one, Record)]


def ended(records: list[Record], lease: str) -> list[Record] | Refusal:
    """Likewise, when it is over."""
    made = [changes.end(record, lease, "released", 1_001.0) for record in records]
    return [one for one in made if isinstance(one, Record)]


async def test_a_gang_is_not_completed_around_a_grant_that_is_gone() -> None:
    """A broker that missed how one device's grant ended, and knows of the other's end, grants both anew or none."""
    clock, ask = SystemClock(), Ask("gang", KEYS, 1_000, 0, 60.0)
    async with MemoryBus(MemoryHub(clock), clock) as bus, anyio.create_task_group() as group:
        await bus.declare(device_spec())

        def spawn(work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
            group.start_soon(work, *arguments)

        late, other = (Book(bus, clock, Registry(), spawn, name) for name in ("late", "other"))
        for name in ("a", "b"):
            await other.create(Record("n", name, memory_mib=16_000))
        await other.change(KEYS, partial(granted, ask=ask))
        await late.load()
        await other.change(KEYS, partial(ended, lease="gang"))
        await late.refresh("n.b")
        made = await late.change(KEYS, partial(granted, ask=ask))
        assert not isinstance(made, Refusal)
        await other.refresh("n.a")
        await other.refresh("n.b")
        tokens = [{grant.lease: grant.token for grant in record.grants} for record in other.registry.records()]
        assert tokens == [{grant.lease: grant.token for grant in record.grants} for record in made]
        assert all(one["gang"] == max(record.token for record in made) for one in tokens)
        group.cancel_scope.cancel()
