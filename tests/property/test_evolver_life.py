"""The life cycle of evolutions as a state machine: a real evolver on two nodes, a real agent, acts in any order."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from actors.breeding.notes import genome_in
from chimera.errors import ConflictError
from subjects.agent import AgentView, Release
from subjects.evolution import (
    EvolutionBudget,
    ListEvolutions,
    Objective,
    PauseEvolution,
    ResumeEvolution,
    StartEvolution,
    StopEvolution,
)
from subjects.evolver import ConfigurePopulation
from subjects.experiment import Metric
from subjects.genome import DeployGenome, GetGenome, PreviewReturn, Return, ReturnView, ValidateGenomes, Validation
from tests.support.evolver_checks import FINAL, runs_of, same_as
from tests.support.evolver_gate import running
from tests.support.evolver_machine import Staged
from tests.support.evolver_reference import uninterrupted
from tests.support.evolver_world import AGENT, CASES, NODES

GENERATIONS = 3
BUDGET = EvolutionBudget(seconds=30_000_000.0)
KINDS: dict[str, dict[str, Any]] = {
    "cmaes": {"algorithm": "cmaes"},
    "islands": {"algorithm": "cmaes", "islands": 2},
    "steady": {"algorithm": "steady"},
    "nsga2": {
        "algorithm": "nsga2",
        "objectives": [Objective(), Objective(metric=Metric(name="cpu_ms", kind="mean", better="lower", high=100.0))],
    },
}
SIZES, PLACES = st.sampled_from([8, 12]), st.integers(0, 1000)


class Life(Staged):
    """Acts of people and of fate. The agent's pace is the machine's: what is not let through waits."""

    @invariant()
    def what_is_deployed_is_sound(self) -> None:
        """Every release after the first is a genome as it was told, and was not spoiled before."""
        records = {record.id: record for record in self.genomes}
        for release in self.view.releases[1:]:
            record = records[genome_in(release.note)]
            assert release.genome == {**release.genome, **record.genes}, "something else was deployed"

    # -- fate ----------------------------------------------------------------------------------------------------------

    @initialize(both=st.booleans())
    def begin(self, both: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
        """One node, or two."""
        for name in NODES[: 1 + both]:
            self.portal.call(self.world.start, name)
        self.ask(ConfigurePopulation(migrate_every=2))

    @precondition(lambda self: len(self.alive) < len(NODES))
    @rule()
    def join(self) -> None:
        """An evolver starts, again or for the first time."""
        self.portal.call(self.world.start, next(name for name in NODES if name not in self.alive))

    @precondition(lambda self: self.alive)
    @rule(leader=st.booleans())
    def crash(self, leader: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
        """The leader, or the other one, is gone between two awaits."""
        led = self.portal.call(self.world.leader)
        name = led if (leader and led in self.alive) else min(self.alive - {led} or self.alive)
        self.portal.call(self.world.crash, name)
        if self.alive:
            self.until(self._led_by_a_living_one)

    async def _led_by_a_living_one(self) -> bool:
        return await self.world.leader() in self.alive

    @precondition(lambda self: len(self.alive) == len(NODES))
    @rule(count=st.integers(0, 20))
    def sleep_and_wake(self, count: int) -> None:
        """The leader loses its wire, another one takes over, and the first comes back as if nothing had happened."""
        led = self.portal.call(self.world.leader)
        self.world.cut_off(led)
        self.portal.call(self.world.ground.let, count)
        self.until(self._led_by_another(led))
        self.portal.call(self.world.mend, led)
        self.portal.call(self.world.wake, led)

    def _led_by_another(self, than: str) -> Callable[[], Awaitable[bool]]:
        async def led() -> bool:
            return await self.world.leader() != than

        return led

    @precondition(lambda self: self.alive)
    @rule(count=st.integers(1, 40))
    def measure(self, count: int) -> None:
        """The agent runs so many genomes more."""
        self._need_one()
        self._let(count)

    @precondition(lambda self: self.alive)
    @rule()
    def go_on(self) -> None:
        """The agent runs whatever it is asked for."""
        self._need_one()
        self._let(math.inf)

    @precondition(lambda self: self.alive)
    @rule()
    def succeed(self) -> None:
        """An evolution goes on to its champion, which goes live if it is worth a trial: now there is a way back."""
        self._need_one()
        self.ask(ResumeEvolution())
        self._let(math.inf)
        self.decide(promote=True)

    def _let(self, count: float) -> None:
        self.portal.call(self.world.ground.let, count)
        self.until(self._spent)
        self.portal.call(self.world.ground.let, 0)

    async def _spent(self) -> bool:
        """Whether nothing is left to be run, or nothing is asked for."""
        if not self.world.ground.left:
            return True
        answer = await self.world.ask(ListEvolutions())
        return all(one.state != "running" or one.step == "gate" for one in answer.evolutions)

    @rule(promote=st.booleans())
    def decide(self, promote: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
        """The gate comes to an end, if it is at work."""
        one = running(self.world.known)
        if one is None:
            return
        before = self.view.live
        self.portal.call(lambda: self.world.decide(promote=promote))
        self.view = self.portal.call(self.world.agent)
        assert self.view.live == (one.variants[0].release if promote else before)
        if self.alive and one.id in self.told:
            self.until(self._is_over(one.id))

    def _is_over(self, id_: str) -> Callable[[], Awaitable[bool]]:
        async def over() -> bool:
            answer = await self.world.ask(ListEvolutions())
            return next(one.state for one in answer.evolutions if one.id == id_) in FINAL

        return over

    @precondition(lambda self: len(self.alive) == len(NODES))
    @rule(place=PLACES, bit=st.integers(0, 100_000))
    def spoil(self, place: int, bit: int) -> None:
        """A bit of a stored genome turns over on every node."""
        if not self.genomes:
            return
        id_ = self.genomes[place % len(self.genomes)].id
        self.until(lambda: self.world.has(id_))
        if id_ not in self.spoiled:
            self.world.spoil(id_, bit)
            self.spoiled.add(id_)

    # -- people --------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.alive)
    @rule(kind=st.sampled_from(sorted(KINDS)), size=SIZES, seed=st.integers(1, 2))
    def start(self, kind: str, size: int, seed: int) -> None:
        """An evolution begins, unless one is under way; the same request again is the same evolution."""
        if self.current is None:
            self._start(kind, size, seed)
        else:
            assert self.ask(StartEvolution(agent=AGENT, id="another", cases=CASES)).id == self.current.id

    def _need_one(self) -> None:
        """There is something to be done to."""
        if self.current is None:
            self._start("cmaes", 8, 1)
            self.look()
            assert self.current is not None

    def _start(self, kind: str, size: int, seed: int) -> None:
        self.portal.call(self.world.ground.let, 0)
        self.count += 1
        request = StartEvolution(
            agent=AGENT, id=f"v-{self.count}", generations=GENERATIONS, population_size=size, cases=CASES, tasks=16,
            seed=seed, budget=BUDGET, stop_when_converged=False, **KINDS[kind],
        )  # fmt: skip
        first, second = self.ask(request), self.ask(request)
        assert (first.id, first.started_at) == (second.id, second.started_at)
        assert first.state == "running", first

    @precondition(lambda self: self.alive)
    @rule(size=SIZES, rate=st.sampled_from([0.1, 0.4]))
    def configure(self, size: int, rate: float) -> None:
        """Another population from the next generation on."""
        config = self.ask(ConfigurePopulation(population_size=size, mutation_rate=rate))
        assert (config.population_size, config.mutation_rate) == (size, rate)

    @precondition(lambda self: self.alive)
    @rule()
    def pause(self) -> None:
        """It waits, however often that is said."""
        self._need_one()
        assert self.ask(PauseEvolution()).state == "paused"

    @precondition(lambda self: self.alive)
    @rule()
    def resume(self) -> None:
        """It goes on."""
        self._need_one()
        assert self.ask(ResumeEvolution()).state == "running"

    @precondition(lambda self: self.alive)
    @rule()
    def stop(self) -> None:
        """It ends, and with it its way through the gate."""
        self._need_one()
        assert self.current is not None
        ended = self.ask(StopEvolution(id=self.current.id))
        assert ended.state == "stopped"
        assert running(self.world.known) is None or ended.id not in self.world.known

    @precondition(lambda self: self.alive)
    @rule(place=PLACES)
    def deploy(self, place: int) -> None:
        """A sound genome goes to the gate; a corrupt one does not, nor the live one, nor one while another is."""
        if not self.genomes:
            return
        record = self.genomes[place % len(self.genomes)]
        id_ = record.id
        self.until(lambda: self.world.has(id_))
        message = DeployGenome(id=id_)
        if id_ in self.spoiled:
            self.refused(message, {"corrupt"})
        elif running(self.world.known) or record.genes == _live(self.view).genome:
            self.refused(message, {"conflict"})
        else:
            with suppress(ConflictError):  # the evolution's own champion may be faster
                assert self.ask(message).genome.id == id_
            assert running(self.world.known)

    @precondition(lambda self: self.alive)
    @rule()
    def validate(self) -> None:
        """Every corrupt genome is named, and no other."""
        found: Validation = self.ask(ValidateGenomes())
        assert {one.id for one in found.bad} == self.spoiled
        assert (found.status, found.missing) == ("fail" if self.spoiled else "pass", [])

    @precondition(lambda self: self.alive)
    @rule()
    def go_back(self) -> None:
        """What was live before is live again, in every respect, and nothing is on the way that would change it."""
        planned: ReturnView = self.ask(PreviewReturn(agent=AGENT))
        if not planned.how:
            self.refused(Return(agent=AGENT), {"no-release"})
            return
        done: ReturnView = self.ask(Return(agent=AGENT, expect_live=self.view.live))
        after: AgentView = self.portal.call(self.world.agent)
        wanted = self.view.live if self.view.previous is None else self.view.previous
        assert (after.live, after.candidate, running(self.world.known)) == (wanted, None, None)
        assert _live(after) == next(one for one in self.view.releases if one.number == wanted)
        assert (done.done, done.live, done.genome) == (True, wanted, planned.genome)
        answer = self.ask(ListEvolutions())
        assert all(one.state in FINAL for one in answer.evolutions), "an evolution could bring it back"

    # -- what is refused -----------------------------------------------------------------------------------------------

    @precondition(lambda self: self.alive)
    @rule()
    def refuse(self) -> None:
        """What can't be done is said, and changes nothing."""
        self.refused(StartEvolution(agent="nobody", cases=CASES), {"no-agent"})
        self.refused(GetGenome(id="v-0-0"), {"no-genome"})
        self.refused(PauseEvolution(id="v-0"), {"no-evolution"})
        self.refused(Return(agent=AGENT, expect_live=99), {"conflict", "no-release"})
        if not self.current:
            wrong = StartEvolution(agent=AGENT, cases=CASES, parameters=["z"])
            self.refused(wrong, {"bad-genome"})
            self.refused(StartEvolution(agent=AGENT, cases=CASES[:9]), {"bad-message"})
        for one in self.told.values():
            if one.state in FINAL:
                self.refused(PauseEvolution(id=one.id), {"conflict"})
                self.refused(ResumeEvolution(id=one.id), {"conflict"})


def _live(view: AgentView) -> Release:
    return next(one for one in view.releases if one.number == view.live)


class Compared(Life):
    """In the end every run is held against one that nobody disturbed."""

    def teardown(self) -> None:
        """Let what runs come to its end, and compare."""
        try:
            if self.log:
                self._finish()
                for run in runs_of(entry for _, entry in self.log):
                    if run.began.config.algorithm != "steady":
                        same_as(run, self.portal.call(uninterrupted, run))
        finally:
            super().teardown()

    def _finish(self) -> None:
        if not self.alive:
            self.portal.call(self.world.start, NODES[0])
        self.look()
        if self.current is not None:
            self.ask(ResumeEvolution())
            self._let(math.inf)
            self.look()


Compared.TestCase.settings = settings(
    max_examples=20, stateful_step_count=12, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestLife = Compared.TestCase


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_leader_that_crashes_in_a_generation_changes_nothing(kind: str) -> None:
    """Two finished generations, a crash in the third, another leader: chance finds this line of acts too rarely."""
    life = Compared()
    acts: list[Callable[[], None]] = [
        lambda: life.begin(both=True), lambda: life.start(kind=kind, size=8, seed=1),
        lambda: life.measure(count=22), lambda: life.configure(size=12, rate=0.4), lambda: life.crash(leader=True),
        lambda: life.measure(count=9), life.go_on,
    ]  # fmt: skip
    try:
        for act in acts:
            act()
            life.look()
    finally:
        life.teardown()
