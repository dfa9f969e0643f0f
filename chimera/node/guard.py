"""Watches that no stream goes back: compares each with its mark before anybody writes, and moves the marks after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
from anyio import to_thread

from chimera.bus.contract import Bus
from chimera.clock import Clock
from chimera.errors import ChimeraError, NotFoundError, StartError
from chimera.events import EventSink
from chimera.highwater import HighWater, WentBack

STREAMS = ("TASKS", "KPI", "EVENTS", "DEAD")
"""Streams whose end says something: what they lose, nobody has elsewhere."""

_PATIENCE_S = 30.0
_AGAIN_S = 0.2


class Guard:
    """A service of the tree, above everything that writes to a stream.

    ``start`` returns when every stream that has a mark was held against it. A stream that went back is an alarm that
    stands until it is accepted (see ``HighWater``); the node runs on, because what is left is better served than not,
    and says so in its health, its metrics and its log.

    Args:
        bus: Gives the bus, once it is there.
        folder: Where the marks are kept.
        clock: For pauses.
        emit: Takes events.
        every_s: Time between two looks, and so the most that a mark is behind, and the most often it is written.
    """

    def __init__(
        self, bus: Callable[[], Bus], folder: Path, clock: Clock, emit: EventSink, *, every_s: float = 2.0
    ) -> None:
        self._find_bus, self._clock, self._emit, self._every_s = bus, clock, emit, every_s
        self._folder = folder
        self.marks = HighWater(folder)
        self._stop = anyio.Event()
        self._wake = anyio.Event()
        self._doubted = False

    async def start(self) -> None:
        """Compare every stream that has a mark.

        Raises:
            StartError: If the bus does not say how far they are.
        """
        self._stop = anyio.Event()
        for path in self.marks.damaged:
            self._tell(f"{path} can't be read: whether a stream went back before this start is not known")
        for text in self.marks.texts.values():
            self._tell(text)
        deadline = self._clock.monotonic() + _PATIENCE_S
        while True:
            try:
                await self._compare(self.marks.known())
                break
            except ChimeraError as error:
                if self._clock.monotonic() > deadline:
                    raise StartError(f"the streams can't be compared with their marks: {error.detail}") from error
            await self._clock.sleep(_AGAIN_S)
        self._find_bus().on_state(self._moved)

    async def wait(self) -> None:
        """Look again and again until ``stop``."""
        while not self._stop.is_set():
            await self._look()
            timer = self._clock.call_later(self._every_s, self._wake.set)
            await self._wake.wait()
            timer.cancel()
            self._wake = anyio.Event()

    async def stop(self) -> None:
        """A last look, so that the marks are right for the next start."""
        with anyio.move_on_after(2.0):
            await self._look()
        self._stop.set()
        self._wake.set()

    def went_back(self, stream: str, epoch: int) -> None:
        """Who writes a stream is in this epoch. One that is behind its mark is an older copy that was written on."""
        found = self.marks.compare(stream, epoch=epoch, at=self._clock.time())
        if found is not None:
            self._tell(found.detail)
        self.marks.note(stream, epoch=epoch)

    def _moved(self, state: str) -> None:
        """A server that comes back may have lost its tail."""
        if state == "connected":
            self._doubted = True
            self._wake.set()

    async def _look(self) -> None:
        for stream in self.marks.refresh():
            self._emit("stream-accepted", "node", f"stream {stream} is accepted as it is", "info", {"stream": stream})
        try:
            if self._doubted:
                await self._compare(self.marks.known())
                self._doubted = False
            for stream in STREAMS:
                seq = await self._last(stream)
                if self._doubted:
                    return
                if seq:
                    self.marks.note(stream, seq=seq)
            await to_thread.run_sync(self.marks.save)
        except ChimeraError:  # the bus is away, and says so itself
            return
        except OSError as error:
            self._emit("data-access", "node", f"the marks can't be written: {error}", "warning", {})

    async def _compare(self, streams: tuple[str, ...]) -> list[WentBack]:
        found: list[WentBack] = []
        for stream in streams:
            alarm = self.marks.compare(stream, seq=await self._last(stream), at=self._clock.time())
            if alarm is not None:
                found.append(alarm)
                self._tell(alarm.detail)
        return found

    async def _last(self, stream: str) -> int:
        try:
            _, last, _ = await self._find_bus().stream_state(stream)
        except NotFoundError:
            return 0
        return last

    def _tell(self, text: str) -> None:
        self._emit("store-regressed", "node", text, "error", {})
