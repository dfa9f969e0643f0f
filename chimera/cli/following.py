"""Following tasks: news as they come, again and again from where they stopped, whoever leads meanwhile."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from chimera.errors import ChimeraError

from .output import note

if TYPE_CHECKING:
    from .client import Client

AGAIN = frozenset({"restarting", "unavailable", "not-running", "overloaded", "deadline", "connection-lost", "bus-down"})
"""Codes of errors that pass: somebody else takes over, or the server comes back."""

_PAUSE_S = 0.5


async def follow(client: Client, **what: str) -> AsyncGenerator[dict[str, Any]]:
    """News of tasks, for ever; a stream that ends or breaks is begun again.

    Raises:
        ChimeraError: What coming again will not mend.
    """
    import anyio

    from subjects.scheduler import WATCH

    after = ""
    while True:
        try:
            async with aclosing(client.stream(WATCH, {**what, "after": after})) as source:
                async for news in source:
                    after = news["seq"]
                    if news["kind"] not in {"heartbeat", "listening", "behind"}:
                        yield news
        except ChimeraError as error:
            if error.code not in AGAIN:
                raise
        await anyio.sleep(_PAUSE_S)


async def until_ended(client: Client, task_id: str) -> None:
    """Return when a task has ended; show meanwhile what becomes of it."""
    async with aclosing(follow(client, id=task_id)) as source:
        async for news in source:
            if news["kind"] == "progressed":
                share = "" if news["progress"] is None else f"{news['progress']:.0%} "
                note(f"{task_id}: {share}{news['note']}".rstrip())
            elif news["kind"] == "retrying":
                note(f"{task_id}: attempt {news['attempt']} failed, there will be another: {news['reason']}")
            if news["state"] in {"succeeded", "dead", "cancelled", "expired"}:
                return
