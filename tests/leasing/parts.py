"""The parties of a world of leases: who knows what when. What they decide, the project's own code decides."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from actors.brokering import changes
from actors.brokering.changes import Ask
from actors.brokering.record import Record, Refusal
from actors.brokering.witness import Facts, witness
from actors.fencing.fence import Fence
from chimera.clock import Clock
from chimera.devices.processes import census
from chimera.devices.tenure import Tenure
from chimera.errors import ChimeraError
from tests.leasing.floor import DOCILE, Floor, Manners, Work
from tests.leasing.store import Change, Store

T = TypeVar("T")
Updates = dict[str, Record]


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


class Disk:
    """Tokens of a node, kept while its agent comes and goes."""

    def __init__(self, known: dict[str, int]) -> None:
        self._known = known

    def highest(self, device: str) -> int:
        """As ``TokenFile``."""
        return self._known.get(device, 0)

    async def raise_to(self, device: str, token: int) -> None:
        """As ``TokenFile``."""
        self._known[device] = max(self.highest(device), token)


@dataclass(slots=True)
class Broker:
    """A broker: what it believes of the store, and its clock.

    Attributes:
        life: Counts its starts: what was sent to an earlier one is lost.
        behind: By how much its wall clock is off.
        known: Records with the numbers of their last writes, as far as it has heard.
    """

    name: str
    life: int = 0
    behind: float = 0.0
    known: dict[str, tuple[int, Record]] = field(default_factory=dict[str, tuple[int, Record]])

    def believe(self, store: Store, keys: Mapping[str, object] | None = None) -> None:
        """Hear from the leader how records stand; all of them after a start."""
        for key in store.rows if keys is None else keys:
            self.known[key] = store.read(key)

    def change(self, make: Callable[[Record], Record | Refusal], keys: tuple[str, ...]) -> Change | Refusal | None:
        """All records changed, or a refusal; ``None`` if there is nothing to change."""
        fresh: Updates = {}
        for key in keys:
            record = self.known[key][1]
            result = make(record)
            if isinstance(result, Refusal):
                return result
            if result is not record:
                fresh[key] = result
        return Change(fresh, {key: self.known[key][0] for key in fresh}) if fresh else None

    def took(self, store: Store, change: Change) -> None:
        """Its own change is stored."""
        for key, record in change.records.items():
            if store.read(key)[1] == record:
                self.known[key] = store.read(key)

    def to_end(self, now: float) -> list[tuple[str, str, bool]]:
        """Leases whose time is over: (key, lease, whether it had notice)."""
        return [
            (key, one.lease, bool(one.revoke_at))
            for key, (_, record) in self.known.items()
            for one in record.grants
            if changes.is_due(one, now)
        ]


@dataclass(slots=True)
class Box:
    """A node: its machine's fence and what the agent was told.

    Attributes:
        tokens: On its disk.
        told: What the agent reports of a device's health beside its readings: NVML may hang.
    """

    name: str
    clock: Clock
    floor: Floor
    boot: Callable[[], float]
    tokens: dict[str, int] = field(default_factory=dict[str, int])
    fence: Fence = field(init=False)
    life: int = 0
    up: bool = True

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """The agent starts: it knows its disk and its machine, and soon what the records say."""
        self.life += 1
        self.up = True
        self.fence = Fence(self.name, Path("unused"), self.clock, self.boot)
        self.fence.tokens = Disk(self.tokens)  # pyright: ignore[reportAttributeAccessIssue] - it does what the file does

    def round(self) -> list[tuple[str, Facts]]:
        """Read the devices, end who must go, and say what is true: the order of ``actors.fencing.rounds``."""
        fence = self.fence
        self._read()
        fence.begin_ends()
        for holder in list(fence.holders.values()):
            if holder.ending is not None and not holder.processes_gone and holder.ending.step(self.boot()):
                holder.processes_gone, holder.gone_at = True, self.boot()
        self._read()
        fence.settle()
        return [(f"{self.name}.{uuid}", self._facts(reading)) for uuid, reading in fence.readings.items()]

    def _read(self) -> None:
        self.fence.readings = {one.uuid: one for one in at_once(self.floor.backends[self.name].read())}
        self.fence.read_at = self.boot()
        self.fence.adopt(census(), set(self.fence.records))

    def _facts(self, reading: Any) -> Facts:
        fence, uuid = self.fence, reading.uuid
        return Facts(
            reading.milli, (reading.memory_mib or 0) - (reading.memory_reserved_mib or 0), reading.kind, reading.model,
            "", "", reading.trouble, fence.foreign(uuid), fenced=True, token=fence.tokens.highest(uuid),
            seen=fence.seen(uuid), held=tuple(fence.held(uuid)),
        )  # fmt: skip


@dataclass(slots=True)
class Client:
    """A holder: what it asked for, what it was told, and its processes.

    Attributes:
        tokens: Per key, once granted.
        deaf: It does not look at its own time.
        over: It wants nothing any more.
    """

    ask: Ask
    tenure: Tenure
    tokens: dict[str, int] = field(default_factory=dict[str, int])
    works: dict[str, Work] = field(default_factory=dict[str, Work])
    manners: Manners = DOCILE
    deaf: bool = False
    stopped: bool = False
    over: bool = False

    @property
    def token(self) -> int:
        """What it presents."""
        return max(self.tokens.values(), default=0)


def admitted(box: Box, client: Client, pid: int) -> bool:
    """Whether the fence lets it use its devices there."""
    try:
        at_once(box.fence.admit(client.ask.lease, client.token, pid))
    except ChimeraError:
        return False
    return True


def by_witness(facts: Facts, now: float) -> Callable[[Record], Record]:
    """The change that a node's word makes."""
    return lambda record: witness(record, facts, now)
