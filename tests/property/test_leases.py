"""No device is lent twice, whatever fails: a simulated world of brokers, nodes, holders and a store.

The world is ``tests/leasing``. What decides is the project's own code: changes of records, what
nodes witness, and the fence.
"""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from actors.brokering.changes import Ask
from tests.leasing.drama import perform
from tests.leasing.ending import settle
from tests.leasing.floor import GPU_MIB, Manners
from tests.leasing.model import World
from tests.leasing.mutations import MUTATIONS
from tests.leasing.play import play

SEEDS, DRAMAS = 150, 120
ONCE_BROKEN = (191, 302, 329, 1243, 1469, 5055, 5141, 5688, 7327)
"""Dramas in which something once broke."""

FOUND_WITHIN, SEEN_WITHIN = 120, 80

names = st.integers(0, 5)
MANNERS = st.builds(
    Manners, st.sampled_from([0.0, 7.0, -1.0]), st.sampled_from([0.0, 4.0]), st.sampled_from([0.0, 3.0])
)


class Leases(RuleBasedStateMachine):
    """Hypothesis plays the world; what breaks it shrinks to the fewest steps."""

    world: World

    @initialize(nodes=st.integers(1, 2), gpus=st.integers(1, 2), brokers=st.integers(1, 3))
    def build(self, nodes: int, gpus: int, brokers: int) -> None:
        """A world."""
        self.world = World(nodes, gpus, brokers).__enter__()
        self.asked = 0

    def broker(self, number: int) -> str:
        """One of the brokers."""
        return list(self.world.brokers)[number % len(self.world.brokers)]

    def node(self, number: int) -> str:
        """One of the nodes."""
        return list(self.world.boxes)[number % len(self.world.boxes)]

    def lease(self, number: int) -> str:
        """One of the last leases."""
        leases = list(self.world.clients)[-6:]
        return leases[number % len(leases)]

    def mail(self) -> bool:
        """Whether messages are on their way."""
        return bool(self.world.mail)

    def clients(self) -> bool:
        """Whether anybody ever asked."""
        return bool(self.world.clients)

    def checked(self) -> None:
        """What must hold, holds."""
        assert self.world.overseer.broken == []

    @rule(
        broker=names, first=names, count=st.sampled_from([1, 1, 2, 3]), milli=st.sampled_from([1000, 1000, 300, 700]),
        ttl_s=st.sampled_from([2.0, 8.0]), manners=MANNERS, deaf=st.booleans(),
    )  # fmt: skip
    def ask(
        self, *, broker: int, first: int, count: int, milli: int, ttl_s: float, manners: Manners, deaf: bool
    ) -> None:  # fmt: skip
        """A client wants a share, a GPU or a gang, and all goes well unless something else happens first."""
        keys = self.world.keys
        wanted = {keys[(first + number) % len(keys)] for number in range(count)}
        self.asked += 1
        lease = f"l{self.asked}"
        memory = GPU_MIB if milli == 1000 else 0
        self.world.ask(self.broker(broker), Ask(lease, tuple(sorted(wanted)), milli, memory, ttl_s), manners)
        self.world.clients[lease].deaf = deaf

    @precondition(mail)
    @rule(index=st.integers(0, 40), count=st.sampled_from([1, 3, 12]), keep=st.booleans())
    def deliver(self, *, index: int, count: int, keep: bool) -> None:
        """Messages arrive in any order, some of them twice."""
        self.world.deliver(index % len(self.world.mail), keep=keep)
        for _ in range(count - 1):
            if self.world.mail:
                self.world.deliver(0)
        self.checked()

    @precondition(mail)
    @rule(index=st.integers(0, 40))
    def drop(self, index: int) -> None:
        """A message is lost."""
        self.world.mail.pop(index % len(self.world.mail))

    @precondition(clients)
    @rule(broker=names, number=names, what=st.sampled_from(["again", "renew", "release", "use", "use", "give_notice"]))
    def holder(self, broker: int, number: int, what: str) -> None:
        """A holder does something."""
        lease, world = self.lease(number), self.world
        if what == "use":
            world.use(lease)
        else:
            getattr(world, what)(self.broker(broker), lease)
        self.checked()

    @rule(broker=names, what=st.sampled_from(["sweep", "listen", "book", "crash"]))
    def brokers(self, broker: int, what: str) -> None:
        """A broker does something, or is killed and started."""
        getattr(self.world, what)(self.broker(broker))
        self.checked()

    @rule(node=names, what=st.sampled_from(["follow", "round", "round", "agent_down", "agent_up"]))
    def nodes(self, node: int, what: str) -> None:
        """A node's agent does something, or is killed or started."""
        getattr(self.world, what)(self.node(node))
        self.checked()

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 20.0]))
    def wait(self, seconds: float) -> None:
        """Time goes by; 20 s is a machine that was suspended."""
        self.world.wait(seconds)

    @rule(broker=names, node=names, whom=st.sampled_from(["broker", "node", "nobody", "nobody"]))
    def cut(self, broker: int, node: int, whom: str) -> None:
        """Somebody is cut off, or everybody is back."""
        if whom == "nobody":
            self.world.cut.clear()
        else:
            self.world.cut.add(self.broker(broker) if whom == "broker" else self.node(node))

    @rule(writes=st.integers(1, 4))
    def fall_back(self, writes: int) -> None:
        """The store loses its last writes."""
        self.world.fall_back(writes)

    @rule(broker=names, behind=st.sampled_from([0.0, -3_600.0, 3_600.0]))
    def jump(self, broker: int, behind: float) -> None:
        """A broker's clock jumps."""
        self.world.brokers[self.broker(broker)].behind = behind

    @rule(node=names, what=st.sampled_from(["lost", "back", "stranger"]))
    def gpu(self, node: int, what: str) -> None:
        """A GPU is lost or hangs, all are back, or a process without a lease takes its memory."""
        name = self.node(node)
        backend = self.world.floor.backends[name]
        if what == "lost":
            backend.silent[backend.gpus[0].uuid] = "GPU is lost"
        elif what == "back":
            backend.silent.clear()
        else:
            self.world.floor.start(name, "", {backend.gpus[0].uuid: 12_000})

    def teardown(self) -> None:
        """The faults end, and every lease with them; the ledger has every second once."""
        if hasattr(self, "world"):
            with self.world:
                if not self.world.overseer.broken:
                    settle(self.world)
            self.checked()


TestLeases = Leases.TestCase
TestLeases.settings = settings(max_examples=40, stateful_step_count=120, deadline=None, derandomize=True)


def test_no_invariant_breaks_in_many_histories() -> None:
    """Longer histories, chosen by seeds: all invariants hold, and much was lent and used in them."""
    outcomes = [play(seed) for seed in range(SEEDS)]
    assert [(outcome.seed, outcome.broken) for outcome in outcomes if outcome.broken] == []
    assert sum(outcome.granted for outcome in outcomes) > 3 * SEEDS
    assert sum(outcome.admitted for outcome in outcomes) > SEEDS


def test_a_seed_is_the_same_history_again() -> None:
    """Or no failure could be looked into."""
    assert play(5).steps == play(5).steps


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_lending_is_found_out(name: str) -> None:
    """Each defect that is put in on purpose breaks an invariant that it should, within a hundred seeds or so."""
    mutation = MUTATIONS[name]
    with mutation.apply():
        for seed in range(mutation.first, mutation.first + FOUND_WITHIN):
            if any(broken.startswith(mutation.rules) for broken in play(seed).broken):
                return
    pytest.fail(f"nobody saw that {mutation.what}")


@pytest.mark.timeout(300)
def test_no_invariant_breaks_with_the_actors_as_deployed() -> None:
    """Brokers and nodes on a bad network in virtual time: nothing is lent twice, everybody gets an answer, all ends."""
    outcomes = [perform(seed) for seed in (*range(DRAMAS), *ONCE_BROKEN)]
    assert [(outcome.seed, outcome.broken) for outcome in outcomes if outcome.broken] == []
    assert sum(outcome.granted for outcome in outcomes) > 5 * DRAMAS
    assert sum(outcome.admitted for outcome in outcomes) > 4 * DRAMAS


def test_a_drama_is_the_same_again() -> None:
    """Or no failure could be looked into."""
    assert perform(3, keep=True).lines == perform(3, keep=True).lines


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["no-line", "no-capacity-check", "same-token", "unheard-holders", "impatient-fence"])
def test_actors_that_are_broken_are_found_out(name: str) -> None:
    """Defects of the actors' own code break an invariant in the drama, too."""
    with MUTATIONS[name].apply():
        assert any(perform(seed).broken for seed in range(SEEN_WITHIN))
