"""A seed plays the world: it chooses every step, and the same seed chooses the same ones."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from actors.brokering.changes import Ask
from tests.leasing.ending import settle
from tests.leasing.floor import GPU_MIB, Manners
from tests.leasing.model import World

STEPS = 400


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a seed: invariants that broke, the steps taken, and how much happened."""

    seed: int
    broken: list[str]
    steps: list[str]
    granted: int
    admitted: int


class Player:
    """Chooses steps. Every choice comes from ``dice``.

    Args:
        world: Is played.
        dice: Chooses.
    """

    def __init__(self, world: World, dice: random.Random) -> None:
        self.world, self.dice = world, dice
        self.story: list[str] = []
        self._number = 0
        self._acts: list[tuple[int, Callable[[], str]]] = [
            (34, self.deliver), (3, self.deliver_twice), (2, self.drop), (6, self.ask), (3, self.again), (16, self.use),
            (5, self.renew), (2, self.release), (6, self.sweep), (6, self.listen), (9, self.follow), (9, self.round),
            (9, self.wait), (3, self.book), (1, self.give_notice), (1, self.crash), (1, self.agent_down),
            (3, self.agent_up), (1, self.cut), (3, self.mend), (1, self.fall_back), (1, self.jump), (1, self.drain),
            (1, self.lose_gpu), (1, self.find_gpu), (1, self.stranger), (1, self.doze),
        ]  # fmt: skip

    def step(self) -> None:
        """One step."""
        weights, acts = zip(*self._acts, strict=True)
        (act,) = self.dice.choices(acts, weights)
        self.story.append(f"{self.world.now:8.2f}  {act.__name__:<13} {act()}")

    # -- choices -------------------------------------------------------------------------------------------------------

    def _lease(self) -> str:
        """One that has a lease mostly, else a recent one."""
        clients = self.world.clients
        holding = [lease for lease, client in clients.items() if client.tokens and not client.stopped]
        recent = list(clients)[-4:]
        return self.dice.choice(holding if holding and self.dice.random() < 0.7 else recent) if recent else ""

    def _broker(self) -> str:
        return self.dice.choice(list(self.world.brokers))

    def _node(self) -> str:
        return self.dice.choice(list(self.world.boxes))

    # -- steps ---------------------------------------------------------------------------------------------------------

    def deliver(self) -> str:
        """Some messages: the oldest mostly, else any."""
        names: list[str] = []
        for _ in range(self.dice.choice((1, 2, 6, 20))):
            if self.world.mail:
                first = self.dice.random() < 0.7
                names.append(self.world.deliver(0 if first else self.dice.randrange(len(self.world.mail))))
        return ", ".join(names)

    def deliver_twice(self) -> str:
        """A message that will come again."""
        return self.world.deliver(self.dice.randrange(len(self.world.mail)), keep=True) if self.world.mail else ""

    def drop(self) -> str:
        """A message is lost."""
        return self.world.mail.pop(self.dice.randrange(len(self.world.mail))).name if self.world.mail else ""

    def ask(self) -> str:
        """A new client: a share, a whole GPU, or a gang."""
        dice = self.dice
        count = dice.choice((1, 1, 1, 2, 3))
        keys = tuple(sorted(dice.sample(self.world.keys, min(count, len(self.world.keys)))))
        milli = dice.choice((1000, 1000, 300, 500, 700))
        memory = GPU_MIB if milli == 1000 else dice.choice((0, 2_000, 9_000))
        self._number += 1
        lease = f"l{self._number}"
        manners = Manners(
            dice.choice((0.0, 0.2, 7.0, -1.0)), dice.choice((0.0, 0.0, 4.0)), dice.choice((0.0, 0.5, 3.0))
        )
        self.world.ask(self._broker(), Ask(lease, keys, milli, memory, dice.choice((2.0, 5.0, 12.0))), manners)
        self.world.clients[lease].deaf = dice.random() < 0.3
        return f"{lease}: {milli} of {keys}"

    def again(self) -> str:
        """A request is repeated."""
        if lease := self._lease():
            self.world.again(self._broker(), lease)
        return lease

    def use(self) -> str:
        """A holder uses its devices."""
        if lease := self._lease():
            self.world.use(lease)
        return lease

    def renew(self) -> str:
        """A holder renews."""
        if lease := self._lease():
            self.world.renew(self._broker(), lease)
        return lease

    def release(self) -> str:
        """A holder gives back."""
        if lease := self._lease():
            self.world.release(self._broker(), lease)
        return lease

    def sweep(self) -> str:
        """A broker ends what is over."""
        self.world.sweep(name := self._broker())
        return name

    def listen(self) -> str:
        """A broker hears the news."""
        self.world.listen(name := self._broker())
        return name

    def follow(self) -> str:
        """A node hears the news."""
        self.world.follow(name := self._node())
        return name

    def round(self) -> str:
        """A node's round."""
        self.world.round(name := self._node())
        return name

    def wait(self) -> str:
        """Time goes by."""
        self.world.wait(seconds := self.dice.choice((0.05, 0.3, 1.0, 2.5)))
        return f"{seconds} s"

    def doze(self) -> str:
        """Everything stands still for long: a suspended machine, where boot time goes on."""
        self.world.wait(20.0)
        return "20 s"

    def book(self) -> str:
        """A broker stores usage."""
        self.world.book(name := self._broker())
        return name

    def give_notice(self) -> str:
        """A lease is to be taken back."""
        if lease := self._lease():
            self.world.give_notice(self._broker(), lease)
        return lease

    def crash(self) -> str:
        """A broker dies and comes back."""
        self.world.crash(name := self._broker())
        return name

    def agent_down(self) -> str:
        """A node's agent dies."""
        self.world.agent_down(name := self._node())
        return name

    def agent_up(self) -> str:
        """It comes back."""
        self.world.agent_up(name := self._node())
        return name

    def cut(self) -> str:
        """Somebody is cut off."""
        name = self.dice.choice([*self.world.brokers, *self.world.boxes, *list(self.world.clients)[-3:]])
        self.world.cut.add(name)
        return name

    def mend(self) -> str:
        """Everybody is connected again."""
        self.world.cut.clear()
        return ""

    def fall_back(self) -> str:
        """The store forgets."""
        self.world.fall_back(writes := self.dice.randint(1, 4))
        return f"{writes} writes"

    def jump(self) -> str:
        """A broker's clock goes wrong, or right again."""
        broker = self.world.brokers[self._broker()]
        broker.behind = 0.0 if broker.behind else self.dice.choice((-3_600.0, -2.0, 2.0, 3_600.0))
        return f"{broker.name} {broker.behind:g} s"

    def drain(self) -> str:
        """A device is drained, or lent again."""
        key, reason = self.dice.choice(self.world.keys), self.dice.choice(("", "", "repair"))
        self.world.drain(self._broker(), key, reason)
        return f"{key} {reason}"

    def lose_gpu(self) -> str:
        """A GPU falls off the bus, or its NVML hangs."""
        backend = self.world.floor.backends[self._node()]
        uuid = self.dice.choice(backend.gpus).uuid
        backend.silent[uuid] = "GPU is lost"
        return uuid

    def find_gpu(self) -> str:
        """All GPUs of a node answer again."""
        self.world.floor.backends[node := self._node()].silent.clear()
        return node

    def stranger(self) -> str:
        """A process that nobody knows takes memory of a GPU, or all such processes end."""
        floor, node = self.world.floor, self._node()
        strangers = [work for work in floor.works.values() if not work.lease]
        if strangers:
            floor.stop(strangers[0])
            return "ends"
        uuid = self.dice.choice(floor.backends[node].gpus).uuid
        floor.start(node, "", {uuid: self.dice.choice((1_000, 12_000))})
        return uuid


def play(seed: int, steps: int = STEPS) -> Outcome:
    """One seed's history."""
    dice = random.Random(seed)  # noqa: S311 - a simulation's dice
    with World(nodes=dice.choice((1, 2)), gpus=dice.choice((1, 2, 3)), brokers=dice.choice((1, 2, 3))) as world:
        player = Player(world, dice)
        for _ in range(steps):
            player.step()
            if world.overseer.broken:
                break
        else:
            settle(world)
        seen = world.overseer
        admitted = sum(len(room) for room in seen.used.values())
        return Outcome(seed, seen.broken, player.story, len(seen.granted), admitted)
