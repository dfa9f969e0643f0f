"""Projections thrown away and made again from the streams, beside a running node if need be.

What is begun is noted in the store, in the transaction that throws away; what is replayed is noted as it goes. So a
rebuild that was killed is taken up where it was, by the next one or by the node's own projector, whichever comes first.
Replaying is harmless to a node that projects at the same time: every row knows which message it is from.

What the streams no longer hold (their retention is shorter than the store's) can't be made again, and is kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chimera.bus.contract import Bus, Stored

from . import rows, statements
from .contract import Store, Write

Progress = Callable[[int, int], None]
"""Takes how many messages are done, and of how many."""

_BATCH = 500


class Part(Protocol):
    """One projection that can be made again."""

    @property
    def name(self) -> str:
        """What a person calls it."""
        ...

    async def rebuild(self, progress: Progress) -> str:
        """Throw away and make again; what was done, in words."""
        ...


@dataclass(frozen=True, slots=True)
class StreamPart:
    """The projection of a stream.

    Attributes:
        name: What a person calls it; the note in the store has this name.
        stream: What is replayed.
        save: Projects messages; repeats are ignored.
        clearing: What throws away all that messages from a first to a last one told.
        subject: Filter of the stream.
        settle: Called with the stream's first sequence when all is replayed.
    """

    name: str
    bus: Bus
    store: Store
    stream: str
    save: Callable[[Sequence[Stored]], Awaitable[object]]
    clearing: Callable[[int, int], list[Write]]
    subject: str = ""
    settle: Callable[[int], Awaitable[None]] | None = None

    async def rebuild(self, progress: Progress) -> str:
        """Throw away and replay, or go on with a replay that was cut off."""
        note = await self._note()
        resumed = note is not None
        if note is None:
            note = await self._begin()
        count = await self._replay(note, progress)
        return f"{count} messages of {self.stream}" + (", from where an earlier rebuild was cut off" if resumed else "")

    async def resume(self) -> bool:
        """Go on with a replay that was cut off, if there is one."""
        note = await self._note()
        if note is None:
            return False
        await self._replay(note, lambda _done, _total: None)
        return True

    @property
    def _setting(self) -> str:
        return f"rebuild.{self.name}"

    async def _note(self) -> dict[str, Any] | None:
        return await self.store.setting(self._setting)

    async def _begin(self) -> dict[str, Any]:
        first, last, _ = await self.bus.stream_state(self.stream)
        note = {"next": max(1, first)}
        entry = {"name": self._setting, "value": rows.to_json(note)}
        await self.store.transact([*self.clearing(max(1, first), last), Write(statements.SAVE_SETTING, [entry])])
        return note

    async def _replay(self, note: dict[str, Any], progress: Progress) -> int:
        """To the present end, not to the end as it was: a node beside us may have passed over what was not there."""
        begin, count = int(note["next"]), 0
        _, last, _ = await self.bus.stream_state(self.stream)
        async with self.bus.read(self.stream, start_seq=begin, subject=self.subject) as messages:
            batch: list[Stored] = []
            async for message in messages:
                batch.append(message)
                if len(batch) >= _BATCH:
                    count += await self._save(batch)
                    progress(batch[-1].seq - begin + 1, max(batch[-1].seq, last) - begin + 1)
                    batch = []
            count += await self._save(batch) if batch else 0
        progress(1, 1)
        if self.settle is not None:
            first, _, _ = await self.bus.stream_state(self.stream)
            await self.settle(first)
        await self.store.set_setting(self._setting, None)
        return count

    async def _save(self, batch: Sequence[Stored]) -> int:
        await self.save(batch)
        await self.store.set_setting(self._setting, {"next": batch[-1].seq + 1})
        return len(batch)
