"""Who watches tasks: each listener has a bounded queue, and one that reads too slowly is cut off, never waited for."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Iterable
from typing import Any

from chimera.clock import Clock
from chimera.errors import OverloadedError
from subjects import Event
from subjects.event import TaskEnded, TaskProgressed, TaskRetrying, TaskStarted, TaskSubmitted
from subjects.news import TaskNews, WatchTasks

from .alarm import Alarm

HEARTBEAT_S = 15.0
"""A listener hears something at least so often: proxies close silent connections."""

QUEUE = 256
"""Facts that a listener may be behind, on top of what its connection holds."""

_KEPT = 1000
_LISTENERS = 128
Fact = TaskSubmitted | TaskStarted | TaskProgressed | TaskRetrying | TaskEnded
_KINDS: dict[type[Event], tuple[Any, Any]] = {
    TaskSubmitted: ("submitted", ""),
    TaskStarted: ("started", "running"),
    TaskProgressed: ("progressed", "running"),
    TaskRetrying: ("retrying", "scheduled"),
    TaskEnded: ("ended", ""),
}


class Listener:
    """One watcher's queue."""

    __slots__ = ("agent", "alarm", "behind", "id", "waiting")

    def __init__(self, message: WatchTasks, clock: Clock) -> None:
        self.id, self.agent = message.id, message.agent
        self.waiting: deque[tuple[int, Fact]] = deque()
        self.alarm = Alarm(clock)
        self.behind = False

    def wants(self, fact: Fact) -> bool:
        """True if it watches this task."""
        return (not self.id or fact.id == self.id) and (not self.agent or fact.agent == self.agent)

    def offer(self, number: int, fact: Fact) -> None:
        """Queue a fact, unless it is cut off already."""
        if len(self.waiting) >= QUEUE:
            self.behind = True
        if not self.behind:
            self.waiting.append((number, fact))
        self.alarm.ring()


class Audience:
    """All listeners of the leader, and the last facts for those who come again.

    A fact has the number ``<epoch>-<n>``: numbers of another leader's time are not guessed about, they are a ``gap``.

    Args:
        clock: For heartbeats.
        most: Listeners at once.
    """

    def __init__(self, clock: Clock, most: int = _LISTENERS) -> None:
        self._clock, self._most = clock, most
        self._listeners: set[Listener] = set()
        self._kept: deque[tuple[int, Fact]] = deque(maxlen=_KEPT)
        self._count = 0
        self.epoch = 0
        self.cut_off = 0

    def __len__(self) -> int:
        return len(self._listeners)

    def tell(self, fact: Fact) -> None:
        """A fact for whoever watches its task."""
        self._count += 1
        self._kept.append((self._count, fact))
        for listener in self._listeners:
            if listener.wants(fact):
                listener.offer(self._count, fact)

    async def listen(self, message: WatchTasks, state: TaskNews | None) -> AsyncGenerator[TaskNews]:
        """News for one watcher, the first at once; ends with the watched task, or when the watcher is too slow.

        Args:
            message: What is watched.
            state: How the one watched task stands.

        Raises:
            OverloadedError: If there are too many listeners.
        """
        if len(self._listeners) >= self._most:
            raise OverloadedError(f"{self._most} watch tasks already", retry_after_s=5.0)
        listener = Listener(message, self._clock)
        missed = self._since(message.after) if state is None else ()
        for number, fact in missed or ():
            if listener.wants(fact):
                listener.waiting.append((number, fact))
        self._listeners.add(listener)
        try:
            yield self._opening(message, state, gap=missed is None)
            if state is not None and state.state in {"succeeded", "dead", "cancelled", "expired"}:
                return
            async for news in self._follow(listener):
                yield news
        finally:
            self._listeners.discard(listener)

    async def _follow(self, listener: Listener) -> AsyncGenerator[TaskNews]:
        last = self._count
        while True:
            while listener.waiting:
                last, fact = listener.waiting.popleft()
                yield self._news(last, fact)
                if listener.id and isinstance(fact, TaskEnded):
                    return
            if listener.behind:
                self.cut_off += 1
                yield self._word("behind", last)
                return
            heard = self._clock.monotonic()
            await listener.alarm.wait(HEARTBEAT_S)
            if not listener.waiting and self._clock.monotonic() - heard >= HEARTBEAT_S:
                yield self._word("heartbeat", self._count)

    def _since(self, after: str) -> Iterable[tuple[int, Fact]] | None:
        """What was told after ``after``; ``None`` if that is not known any more."""
        if not after:
            return ()
        epoch, _, number = after.partition("-")
        if epoch != str(self.epoch) or not number.isascii() or not number.isdigit():
            return None
        oldest = self._kept[0][0] if self._kept else self._count + 1
        if not oldest - 1 <= int(number) <= self._count:
            return None
        return [kept for kept in self._kept if kept[0] > int(number)]

    def _opening(self, message: WatchTasks, state: TaskNews | None, *, gap: bool) -> TaskNews:
        if state is not None:
            return state
        number = self._count if gap or not message.after else int(message.after.partition("-")[2])
        return self._word("gap" if gap else "listening", number)

    def seq(self, number: int | None = None) -> str:
        """The number of a fact, by default the last one, as it is shown."""
        return f"{self.epoch}-{self._count if number is None else number}"

    def _word(self, kind: Any, number: int) -> TaskNews:
        return TaskNews(kind=kind, seq=self.seq(number), at=self._clock.time())

    def _news(self, number: int, fact: Fact) -> TaskNews:
        kind, state = _KINDS[type(fact)]
        return TaskNews(
            kind=kind, seq=self.seq(number), at=fact.at, id=fact.id, agent=fact.agent,
            state=getattr(fact, "state", state), attempt=getattr(fact, "attempt", 0),
            progress=getattr(fact, "progress", None), note=getattr(fact, "note", ""),
            reason=getattr(fact, "reason", ""),
        )  # fmt: skip
