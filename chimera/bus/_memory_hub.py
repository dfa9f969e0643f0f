"""The wires between in-memory buses: routing, queue groups, and faults on demand."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from chimera.clock import Clock, SystemClock

from ._guard import hand
from ._memory_streams import MemoryStream
from .contract import Delivery, Handler, KeyEntry
from .subject import matches

PENDING_MESSAGES = 65_536


@dataclass(frozen=True, slots=True)
class Passage:
    """A delivery about to be made, shown to the fault hook."""

    source: str
    target: str
    subject: str
    size: int


Faults = Callable[[Passage], Sequence[float]]
"""The delays, in seconds, with which a delivery is made: ``(0.0,)`` as it should be, ``()`` lost, two of them twice."""


class Node(Protocol):
    """What the hub needs of a bus."""

    name: str
    connected: bool

    def failed(self, error: BaseException) -> None:
        """A handler raised."""
        ...

    def dropped(self) -> None:
        """A delivery was thrown away because too many were waiting."""
        ...

    def arrived(self) -> None:
        """A delivery was made."""
        ...

    def connection(self, *, up: bool) -> None:
        """The wire to the hub was cut or mended."""
        ...


@dataclass(eq=False, slots=True)
class Interest:
    """A subscription of a bus."""

    node: Node
    subject: str
    handler: Handler
    queue: str = ""
    live: bool = True
    waiting: int = 0


@dataclass(slots=True)
class Bucket:
    """A key-value bucket's content and those to be told of changes."""

    entries: dict[str, KeyEntry] = field(default_factory=dict[str, KeyEntry])
    revision: int = 0
    watchers: set[Callable[[KeyEntry], None]] = field(default_factory=set[Callable[[KeyEntry], None]])


class MemoryHub:
    """What several ``MemoryBus`` nodes share, in place of a server.

    Args:
        clock: Time of every delivery, redelivery and expiry.
        rng: Chooses members of queue groups.
        max_payload: Largest message, headers included, in bytes.
    """

    def __init__(
        self, clock: Clock | None = None, *, rng: random.Random | None = None, max_payload: int = 1024 * 1024
    ) -> None:
        self.clock = clock or SystemClock()
        self.rng = rng or random.Random(0)  # noqa: S311 - a choice among equals
        self.max_payload = max_payload
        self.faults: Faults | None = None
        self.streams: dict[str, MemoryStream] = {}
        self.buckets: dict[str, Bucket] = {}
        self.objects: dict[str, dict[str, bytes]] = {}
        self._nodes: dict[str, Node] = {}
        self._exact: dict[str, list[Interest]] = {}
        self._wild: list[Interest] = []
        self._ready: deque[tuple[Interest, Delivery]] = deque()
        self._draining = False

    def join(self, node: Node) -> None:
        """A bus comes."""
        self._nodes[node.name] = node

    def leave(self, node: Node) -> None:
        """A bus goes; its subscriptions end."""
        self._nodes.pop(node.name, None)
        for interest in [*self._wild, *(row for rows in self._exact.values() for row in rows)]:
            if interest.node is node:
                self.remove(interest)

    def disconnect(self, name: str) -> None:
        """Cut the wire of the bus called ``name``: nothing comes or goes, its requests in flight fail."""
        self._nodes[name].connection(up=False)

    def reconnect(self, name: str) -> None:
        """Mend it."""
        self._nodes[name].connection(up=True)

    def add(self, interest: Interest) -> None:
        """Route to it from now on."""
        if "*" in interest.subject or interest.subject.endswith(">"):
            self._wild.append(interest)
        else:
            self._exact.setdefault(interest.subject, []).append(interest)

    def remove(self, interest: Interest) -> None:
        """Route to it no more."""
        interest.live = False
        rows = self._exact.get(interest.subject, self._wild)
        if interest in rows:
            rows.remove(interest)
        if not rows:
            self._exact.pop(interest.subject, None)

    def stream_of(self, subject: str) -> MemoryStream | None:
        """The stream that captures ``subject``."""
        return next((stream for stream in self.streams.values() if stream.captures(subject)), None)

    def route(
        self, source: str, subject: str, data: bytes, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> bool:
        """Deliver to every subscriber, and to one member of every queue group; False if there is nobody."""
        targets = self._targets(subject)
        for interest in targets:
            delays: Sequence[float] = (0.0,)
            if self.faults is not None:
                delays = self.faults(Passage(source, interest.node.name, subject, len(data)))
            for delay in delays:
                copy = dict(headers) if headers else None
                self._post(interest, Delivery(subject, bytes(data), reply, copy), delay)
        return bool(targets)

    def _targets(self, subject: str) -> list[Interest]:
        rows = [*self._exact.get(subject, ()), *(row for row in self._wild if matches(row.subject, subject))]
        rows = [row for row in rows if row.node.connected]
        targets = [row for row in rows if not row.queue]
        groups: dict[str, list[Interest]] = {}
        for row in rows:
            if row.queue:
                groups.setdefault(row.queue, []).append(row)
        return targets + [self.rng.choice(members) for members in groups.values()]

    def _post(self, interest: Interest, delivery: Delivery, delay: float) -> None:
        if delay > 0:
            self.clock.call_later(delay, lambda: self._post(interest, delivery, 0.0))
        elif interest.waiting >= PENDING_MESSAGES:
            interest.node.dropped()
        else:
            interest.waiting += 1
            self._ready.append((interest, delivery))
            if not self._draining:
                self._draining = True
                self.clock.call_later(0.0, self._drain)

    def _drain(self) -> None:
        self._draining = False
        for _ in range(len(self._ready)):
            interest, delivery = self._ready.popleft()
            interest.waiting -= 1
            if interest.live and interest.node.connected:
                interest.node.arrived()
                hand(interest.handler, delivery, interest.node.failed)
        if self._ready and not self._draining:
            self._draining = True
            self.clock.call_later(0.0, self._drain)
