"""The door to the heavy libraries: opened ahead of time, or by the first proposal, in the thread that makes it."""

from __future__ import annotations

import threading
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

from chimera.errors import ConflictError
from chimera.threads import one_thread_each

from .events import Point
from .plan import StudyPlan
from .space import Space
from .trials import Snapshot

if TYPE_CHECKING:
    from .proposer import Proposer


def warm_up() -> None:
    """Load what proposals need, which takes a second or two: call it in a thread. No effect without the extra."""
    one_thread_each()
    with suppress(ImportError):
        for name in ("proposer", "gaussian"):
            import_module(f"{__package__}.{name}")


class Proposing:
    """Proposals for a plan, one at a time; optuna, numpy and scipy are imported with the first, if not before."""

    def __init__(self, plan: StudyPlan, space: Space) -> None:
        self._plan = plan
        self._space = space
        self._proposer: Proposer | None = None
        self._lock = threading.Lock()

    def propose(self, snapshot: Snapshot) -> Point:
        """The algorithm's next point.

        Raises:
            ConflictError: If another thread is at it.
        """
        if not self._lock.acquire(blocking=False):
            raise ConflictError("another proposal of this study is being made", hint="wait for its trial")
        try:
            return self._made().propose(snapshot)
        finally:
            self._lock.release()

    def _made(self) -> Proposer:
        if self._proposer is None:
            one_thread_each()
            from .proposer import Proposer  # noqa: PLC0415 - optuna loads only where proposals are made

            self._proposer = Proposer(self._plan, self._space)
        return self._proposer
