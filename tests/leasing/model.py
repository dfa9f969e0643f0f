"""A world of leases, moved one step at a time by whoever plays it: hypothesis, or a seed.

Stores, brokers, nodes and holders exchange messages that wait in ``mail`` until they are delivered, in any order, once,
twice or never. What they decide is decided by ``actors.brokering.changes``, ``actors.brokering.witness`` and
``actors.fencing.fence``, as deployed. After every step ``overseer`` has looked.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from actors.brokering import changes
from actors.brokering.changes import Ask
from actors.brokering.record import Record, Refusal
from actors.brokering.witness import Facts
from chimera.devices.tenure import Tenure
from tests.leasing.floor import DOCILE, GPU_MIB, Floor, Manners
from tests.leasing.overseer import Overseer
from tests.leasing.parts import Box, Broker, Client, admitted, by_witness
from tests.leasing.store import Change, Store

WALL = 1_800_000_000.0
NOTICE_S = 3.0


@dataclass(frozen=True, slots=True)
class Letter:
    """A message on its way; it is lost if one of its ends is cut off when it arrives."""

    name: str
    ends: tuple[str, str]
    arrive: Callable[[], None]


class WorldClock:
    """Virtual time, as a node's ``Clock`` tells it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def monotonic(self) -> float:
        """Virtual seconds."""
        return self._world.now

    def time(self) -> float:
        """Unix seconds."""
        return WALL + self._world.now


class World:
    """Everything there is. Enter it: the kernel is its own.

    Args:
        nodes: Machines.
        gpus: GPUs of each.
        brokers: Brokers, all of which decide.
    """

    def __init__(self, nodes: int = 2, gpus: int = 2, brokers: int = 2) -> None:
        self.now, self.here = 0.0, ""
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.floor = Floor(self._later, lambda: self.here)
        self.overseer = Overseer(self.floor)
        self.store = Store()
        self.mail: list[Letter] = []
        self.cut: set[str] = set()
        self.brokers = {f"b{number}": Broker(f"b{number}") for number in range(brokers)}
        self.boxes: dict[str, Box] = {}
        self.clients: dict[str, Client] = {}
        self.keys: list[str] = []
        self._stack = ExitStack()
        for number in range(nodes):
            self._install(f"n{number}", gpus)
        for broker in self.brokers.values():
            broker.believe(self.store)

    def __enter__(self) -> Self:
        self._stack.enter_context(self.floor.as_kernel())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _install(self, node: str, gpus: int) -> None:
        clock = WorldClock(self)
        self.floor.install(node, gpus, clock)  # pyright: ignore[reportArgumentType] - nothing of it waits
        self.boxes[node] = Box(node, clock, self.floor, lambda: self.now)  # pyright: ignore[reportArgumentType] - as above
        first = {
            f"{node}.{sample.uuid}": Record(node, sample.uuid, memory_mib=GPU_MIB, fenced=True)
            for sample in self.floor.backends[node].gpus
        }
        self.keys += first
        for key, record in first.items():
            self.store.commit(Change({key: record}, {key: 0}))
        self.store.past.clear()

    # -- time and mail -------------------------------------------------------------------------------------------------

    def _later(self, wait_s: float, act: Callable[[], None]) -> None:
        if wait_s <= 0:
            act()
        else:
            heapq.heappush(self._timers, (self.now + wait_s, next(self._order), act))

    def wait(self, seconds: float) -> None:
        """Time goes by; processes that were told to end do."""
        until = self.now + seconds
        while self._timers and self._timers[0][0] <= until:
            self.now, _, act = heapq.heappop(self._timers)
            act()
        self.now = until

    def post(self, name: str, source: str, target: str, arrive: Callable[[], None]) -> None:
        """Put a message on its way."""
        self.mail.append(Letter(name, (source, target), arrive))

    def deliver(self, index: int, *, keep: bool = False) -> str:
        """Hand a message over; ``keep`` = it will arrive again."""
        letter = self.mail[index] if keep else self.mail.pop(index)
        if not self.cut.intersection(letter.ends):
            letter.arrive()
        return letter.name

    def wall(self, broker: Broker) -> float:
        """Unix time as a broker sees it."""
        return WALL + self.now + broker.behind

    # -- brokers -------------------------------------------------------------------------------------------------------

    def _write(self, broker: Broker, name: str, change: Change, then: Callable[[bool], None]) -> None:
        """Send a change to the store; whether it was taken comes back, or does not."""
        life = broker.life

        def answered(taken: bool) -> None:  # noqa: FBT001 - the answer itself
            if broker.life != life:
                return
            if taken:
                broker.took(self.store, change)
            else:
                broker.believe(self.store, change.records)
            then(taken)

        def at_store() -> None:
            before = self.store.records()
            taken = self.store.commit(change)
            if taken:
                self.overseer.committed(before, self.store.records())
            self.post(f"{name}: {taken}", "store", broker.name, lambda: answered(taken))

        self.post(name, broker.name, "store", at_store)

    def ask(self, name: str, ask: Ask, manners: Manners = DOCILE) -> None:
        """A new client sends its request to a broker."""
        if ask.lease not in self.clients:
            self.clients[ask.lease] = Client(ask, Tenure(ask.ttl_s, self.now), manners=manners)
        self.again(name, ask.lease)

    def again(self, name: str, lease: str) -> None:
        """The request is sent, perhaps once more: the same id, to any broker."""
        client, broker = self.clients[lease], self.brokers[name]
        if not client.over and not client.stopped:
            sent_at = self.now
            self.post(f"ask {lease}", lease, name, lambda: self._allocate(broker, client, sent_at))

    def _allocate(self, broker: Broker, client: Client, sent_at: float) -> None:
        ask = client.ask
        now = self.wall(broker)
        change = broker.change(lambda record: changes.grant(record, ask, now), ask.devices)
        if isinstance(change, Refusal):
            if change.code == "conflict":
                client.over = True
        elif change is None:
            self._confirm(broker, client, sent_at)
        else:
            self._write(
                broker, f"grant {ask.lease}", change,
                lambda taken: self._tell(broker, client, sent_at) if taken else None,
            )  # fmt: skip

    def _confirm(self, broker: Broker, client: Client, sent_at: float) -> None:
        """Its memory has the lease already: the leader is asked before that is said."""

        def at_store() -> None:
            broker.believe(self.store, dict.fromkeys(client.ask.devices))
            self._tell(broker, client, sent_at)

        self.post(f"confirm {client.ask.lease}", broker.name, "store", at_store)

    def _tell(self, broker: Broker, client: Client, sent_at: float) -> None:
        lease = client.ask.lease
        grants = {key: broker.known[key][1].find(lease) for key in client.ask.devices}
        tokens = {key: grant.token for key, grant in grants.items() if grant is not None and not grant.ended}
        if len(tokens) < len(grants):
            return

        def arrive() -> None:
            if not client.tokens:
                client.tokens = tokens
                client.tenure = Tenure(client.ask.ttl_s, sent_at)

        self.post(f"granted {lease}", broker.name, lease, arrive)

    def renew(self, name: str, lease: str) -> None:
        """A holder asks for more time."""
        client, broker, sent_at = self.clients[lease], self.brokers[name], self.now

        def at_broker() -> None:
            now, token = self.wall(broker), client.token
            change = broker.change(lambda record: changes.renew(record, lease, token, now), client.ask.devices)
            if isinstance(change, Change):
                self._write(broker, f"renew {lease}", change, lambda taken: renewed() if taken else None)

        def renewed() -> None:
            self.post(
                f"renewed {lease}", name, lease, lambda: client.tenure.renewed(sent_at, client.ask.ttl_s)
            )  # fmt: skip

        if client.tokens:
            self.post(f"renew {lease}", lease, name, at_broker)

    def end(self, name: str, lease: str, how: changes.End) -> None:
        """A broker ends a lease: on request, or because its time is over."""
        broker, client = self.brokers[name], self.clients[lease]
        now = self.wall(broker)

        def make(record: Record) -> Record | Refusal:
            result = changes.end(record, lease, how, now)
            return record if isinstance(result, Refusal) else result

        change = broker.change(make, client.ask.devices)
        if isinstance(change, Change):
            self._write(broker, f"{how} {lease}", change, lambda _: None)

    def give_notice(self, name: str, lease: str) -> None:
        """A broker tells a holder that its lease will be taken back."""
        broker, client = self.brokers[name], self.clients[lease]
        now = self.wall(broker)
        change = broker.change(
            lambda record: changes.notice(record, lease, now + NOTICE_S, "room is needed", now), client.ask.devices
        )
        if isinstance(change, Change):
            self._write(broker, f"notice {lease}", change, lambda _: None)

    def sweep(self, name: str) -> None:
        """A broker ends what its clock says is over."""
        broker = self.brokers[name]
        for lease in sorted({row[1] for row in broker.to_end(self.wall(broker))}):
            if lease in self.clients:
                self.end(name, lease, "expired")

    def listen(self, name: str) -> None:
        """A broker hears of changes that others made."""
        if name not in self.cut:
            self.brokers[name].believe(self.store)

    def drain(self, name: str, key: str, reason: str) -> None:
        """A broker lends nothing more of a device, or lends it again."""
        broker = self.brokers[name]
        change = broker.change(lambda record: changes.drain(record, reason), (key,))
        if isinstance(change, Change):
            self._write(broker, f"drain {key}", change, lambda _: None)

    def book(self, name: str) -> None:
        """A broker brings lines of usage into the ledger, and then has the records forget them."""
        broker = self.brokers[name]
        for key, (_, record) in list(broker.known.items()):
            if record.lines:
                self._book(broker, key, record)

    def _book(self, broker: Broker, key: str, record: Record) -> None:
        parts = {(line.lease, record.id, line.token): line for line in record.lines}
        life = broker.life

        def at_store() -> None:
            for part, line in parts.items():
                self.store.usage.setdefault(part, max(0.0, line.ended_at - line.began_at))
            self.post(f"booked {key}", "store", broker.name, booked)

        def booked() -> None:
            if broker.life == life:
                tokens = {(lease, token) for lease, _, token in parts}
                change = broker.change(lambda now: changes.stored(now, tokens), (key,))
                if isinstance(change, Change):
                    self._write(broker, f"forget lines {key}", change, lambda _: None)

        self.post(f"book {key}", broker.name, "store", at_store)

    def crash(self, name: str) -> None:
        """A broker is killed and started: its memory is what the store says."""
        broker = self.brokers[name]
        broker.life += 1
        broker.believe(self.store)

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def follow(self, node: str) -> None:
        """A node hears how its devices' records stand."""
        box = self.boxes[node]
        if node not in self.cut and box.up:
            for record in self.store.records().values():
                if record.node == node:
                    box.fence.see(record)

    def round(self, node: str) -> None:
        """A node's agent does its round and reports to every broker."""
        box, self.here = self.boxes[node], node
        if not box.up:
            return
        for key, facts in box.round():
            for name in self.brokers:
                self._report(name, node, key, facts)

    def _report(self, name: str, node: str, key: str, facts: Facts) -> None:
        broker = self.brokers[name]

        def at_broker() -> None:
            change = broker.change(by_witness(facts, self.wall(broker)), (key,))
            if isinstance(change, Change):
                self._write(broker, f"witness {key}", change, lambda _: None)

        self.post(f"report {key}", node, name, at_broker)

    def agent_down(self, node: str) -> None:
        """A node's agent is killed; the processes go on."""
        self.boxes[node].up = False

    def agent_up(self, node: str) -> None:
        """It is started."""
        if not self.boxes[node].up:
            self.here = node
            self.boxes[node].restart()

    # -- holders -------------------------------------------------------------------------------------------------------

    def use(self, lease: str) -> None:
        """A holder uses its devices, if its own time and every fence let it."""
        client = self.clients[lease]
        if not client.tokens or client.stopped:
            return
        if not client.deaf and client.tenure.is_over(self.now):
            self.stop(lease)
            return
        for node in sorted({key.partition(".")[0] for key in client.tokens}):
            self._use_on(node, client)

    def _use_on(self, node: str, client: Client) -> None:
        box, self.here = self.boxes[node], node
        lease, work = client.ask.lease, client.works.get(node)
        if not box.up or lease in self.cut or node in self.cut:
            return
        if lease not in box.fence.holders:
            self.follow(node)
        if not admitted(box, client, 0) or (work is not None and not work.alive):
            return
        grants = {
            record.id: grant for record in box.fence.records.values() if (grant := record.find(lease)) is not None
        }
        self.overseer.accepted(lease, grants)
        if work is None:
            holds = {device: grant.memory_mib for device, grant in grants.items()}
            work = client.works[node] = self.floor.start(node, lease, holds, client.manners)
            for device in holds:
                self.overseer.began(device)
        if not admitted(box, client, work.pid):
            self.floor.stop(work)

    def stop(self, lease: str) -> None:
        """A holder ends its own processes."""
        client = self.clients[lease]
        client.stopped = True
        for work in client.works.values():
            self.floor.stop(work)

    def release(self, name: str, lease: str) -> None:
        """A holder gives its lease back."""
        self.stop(lease)
        self.post(f"release {lease}", lease, name, lambda: self.end(name, lease, "released"))

    # -- the store -----------------------------------------------------------------------------------------------------

    def fall_back(self, writes: int) -> None:
        """The store loses its last changes and is started again: what was on its way to or from it is lost."""
        before = self.store.records()
        if not self.store.fall_back(writes):
            return
        self.overseer.fell_back(before, self.store.records())
        self.mail = [letter for letter in self.mail if "store" not in letter.ends]
        for broker in self.brokers.values():
            broker.life += 1
            broker.believe(self.store)
