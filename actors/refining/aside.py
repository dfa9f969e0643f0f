"""Heavy work beside the event loop: in a worker thread, and given up as soon as nobody waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

T = TypeVar("T")
Stop = Callable[[], bool]
"""True once the result is wanted no more; asked by the work between its steps."""


class Aside:
    """A lane for work that takes long: one piece at a time, so that it never takes more than one core.

    The work must touch nothing that the event loop changes: give it copies.
    """

    def __init__(self) -> None:
        self._lane = CapacityLimiter(1)

    async def run(self, work: Callable[[Stop], T]) -> T:
        """What ``work`` gives. A cancelled caller goes at once; the thread ends when the work next asks ``Stop``."""
        gone = threading.Event()
        try:
            return await to_thread.run_sync(work, gone.is_set, abandon_on_cancel=True, limiter=self._lane)
        finally:
            gone.set()
