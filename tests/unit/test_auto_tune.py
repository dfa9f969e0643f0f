"""Auto-tune: it finds what is better, only the gate makes it live, and it goes on wherever it was killed."""

from __future__ import annotations

from itertools import pairwise

import anyio
import pytest

from actors.refining.tunedata import NEEDED
from actors.refining.tunelog import Judged, Tried
from actors.refining.tuner import Tuner
from actors.tuning import Asked
from chimera.errors import (
    BadGenomeError,
    ChimeraError,
    ConflictError,
    DeadlineError,
)
from subjects.optimizer import AutoTune, GetTune, StopTune, Tune
from subjects.trial import Evaluate
from tests.support.tuning_world import (
    BEST,
    POOR,
    CrashingLog,
    FakeGate,
    Life,
    World,
    gene,
    quality,
    request,
    tuned,
)
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


def points(log: CrashingLog) -> list[dict[str, object]]:
    """Every point that was asked, in order."""
    return [
        dict(entry.event.point) for entry in log.entries if isinstance(entry, Tried) and isinstance(entry.event, Asked)
    ]


def outcome(tune: Tune) -> tuple[object, ...]:
    """What a tune came to, without its times and spending."""
    trials = [(trial.number, trial.state, trial.genome, trial.value, trial.reason) for trial in tune.trials]
    return tune.state, tune.reason, trials, tune.experiments, tune.promoted


async def test_a_poor_genome_recovers_most_of_the_gap():
    """From 0.34 of tasks right to at least nine tenths of the way to the best, every step through the gate."""
    world = World()
    gate = FakeGate(world)
    tune, _ = await tuned(world, gate, request(algorithm="bayesian", budget={"trials": 60}))
    assert world.recovered >= 0.9
    assert tune.promoted
    assert set(tune.promoted) <= {number for number in world.releases if number > 1}
    assert [world.live] == tune.promoted[-1:]
    assert sorted(gate.created) == sorted(tune.experiments)
    assert tune.improvement is not None
    assert tune.improvement > 0.3
    assert tune.start_value == pytest.approx(quality(POOR), abs=0.06)
    assert tune.best is not None
    assert tune.best.value == pytest.approx(BEST, abs=0.06)


async def test_what_the_gate_discards_does_not_go_live_and_is_not_tried_twice():
    """A gate that refuses all: the live release stays, and each candidate is a better point than the one before."""
    world = World()
    gate = FakeGate(world, refuse=True)
    tune, log = await tuned(world, gate, request())
    assert world.live == 1
    assert tune.promoted == []
    assert tune.state == "exhausted"
    genomes = [message.genomes[0] for message in gate.created.values()]
    assert len(genomes) >= 1
    assert all(one != two for one, two in pairwise(genomes))
    assert [quality(genome) for genome in genomes] == sorted(quality(genome) for genome in genomes)
    assert all(entry.release is None for entry in log.entries if isinstance(entry, Judged))


@pytest.mark.parametrize("stored", [True, False])
async def test_killed_at_any_entry_it_comes_to_the_same(*, stored: bool):
    """Whichever entry the process dies at, before or after it was stored: same points, same values, same release."""
    world = World(tasks=400)
    wanted, log = await tuned(world, FakeGate(world), request(budget={"trials": 6}))
    assert wanted.promoted, "the plain run must hold everything that a kill may hit"
    for place in range(len(log.data)):
        world = World(tasks=400)
        gate = FakeGate(world)
        found, again = await tuned(world, gate, request(budget={"trials": 6}), CrashingLog(place, stored=stored))
        assert points(again) == points(log), place
        assert outcome(found) == outcome(wanted), place
        told = [entry.event.number for entry in again.entries if isinstance(entry, Tried) and entry.event.at]
        assert all(told.count(number) == 2 for number in told), "asked once and told once"
        assert world.live == wanted.promoted[-1]
        assert len(gate.created) == len(set(found.experiments))


async def test_a_second_request_gives_the_one_under_way():
    """One tune per agent at a time, however many ask at once; an id is of one request for ever."""
    world = World()
    life = Life(world, FakeGate(world), CrashingLog())
    seen: list[Tune] = []

    async def ask(tuner: Tuner) -> None:
        async def one(message: AutoTune) -> None:
            seen.append(await tuner.auto_tune(message))

        async with anyio.create_task_group() as group:
            for id_ in ("a", "b", ""):
                group.start_soon(one, request(id=id_, budget={"trials": 3}))

    await life.live(ask)
    assert len({tune.id for tune in seen}) == 1
    with pytest.raises(ConflictError, match="another one"):
        await life.tuner.auto_tune(request(id=seen[0].id, budget={"trials": 4}))


async def test_without_enough_judged_tasks_it_waits_and_says_so_and_begins_when_they_come():
    """It waits for judged tasks, names how many there are, and goes on by itself."""
    world = World(tasks=20)
    life = Life(world, FakeGate(world), CrashingLog())

    async def ask(tuner: Tuner) -> None:
        await tuner.auto_tune(request(budget={"trials": 3}))
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        while "of" not in (shown := await tuner.tune(GetTune(id="t"))).reason:
            await anyio.lowlevel.checkpoint()
        assert shown.state == "running"
        assert f"of {NEEDED}" in shown.reason
        assert not shown.trials
        world.record(500)

    await life.live(ask)
    shown = await life.tuner.tune(GetTune(id="t"))
    assert len(shown.trials) == 3


async def test_the_wait_for_tasks_ends_with_the_budget_of_time():
    """Nobody judges anything: when its time is over it ends and says what was missing."""
    world = World(tasks=20)
    tune, _ = await tuned(world, FakeGate(world), request(budget={"seconds": 60.0}))
    assert tune.state == "exhausted"
    assert "60 seconds" in tune.reason
    assert f"of {NEEDED}" in tune.reason


@pytest.mark.parametrize(
    ("budget", "word"),
    [({"trials": 4}, "4 trials"), ({"replayed": 900}, "900 replayed"), ({"promotions": 1, "trials": 60}, "1 promo")],
)
async def test_each_budget_ends_it(budget: dict[str, int], word: str):
    """Trials, replayed tasks and promotions are each an end of their own."""
    world = World()
    tune, _ = await tuned(world, FakeGate(world), request(budget=budget))
    assert tune.state == "exhausted"
    assert word in tune.reason
    assert tune.used_replayed <= world.run <= tune.budget.replayed + 2 * 800


async def test_harmed_messages_stop_the_experiment_and_the_tune():
    """A candidate that harms as many live messages as allowed is taken back at once, and nothing follows."""
    world = World()
    gate = FakeGate(world, looks=1000, harmed=7)
    tune, _ = await tuned(world, gate, request(budget={"harmed": 7}))
    assert [(stop.act, "harmed" in stop.note) for stop in gate.stopped] == [("stop", True)]
    assert tune.state == "exhausted"
    assert tune.used_harmed == 7
    assert "harmed" in tune.reason
    assert world.live == 1


async def test_a_stop_takes_the_candidate_back():
    """Stopped in the middle of an experiment: that ends without a change, the live release stays, twice is once."""
    world = World()
    gate = FakeGate(world, looks=10**9)
    life = Life(world, gate, CrashingLog())

    async def ask(tuner: Tuner) -> None:
        await tuner.auto_tune(request())
        await until(lambda: gate.created)
        shown = await tuner.stop_tune(StopTune(id="t", note="enough"))
        assert shown.state == "stopped"
        assert shown.reason == "enough"
        assert shown.step == "done"
        assert await tuner.stop_tune(StopTune(id="t")) == shown

    await life.live(ask)
    assert len(gate.stopped) == 1
    assert world.live == 1


async def test_a_crashing_genome_is_a_failed_trial():
    """What traps is told as a failure with its reason, costs a piece only, and the search goes on."""
    world = World()
    world.crashes = lambda genome: gene(genome, "x") > 0.6
    tune, _ = await tuned(world, FakeGate(world), request(budget={"trials": 12}))
    failed = [trial for trial in tune.trials if trial.state == "failed"]
    assert failed
    assert all("agent-trap" in trial.reason and trial.messages <= 32 for trial in failed)
    assert all(gene(trial.genome, "x") > 0.6 for trial in failed)
    assert any(trial.state == "told" for trial in tune.trials[1:])


async def test_a_refused_genome_is_a_failed_trial_and_a_slow_one_is_cut_down():
    """The guest's own refusal is the trial's end; a request that took too long is sent again in halves."""
    world = World()

    def trouble(message: Evaluate) -> ChimeraError | None:
        if gene(message.genome, "y") < 0.15:
            return BadGenomeError("too little y")
        return DeadlineError() if len(message.inputs) > 100 else None

    world.trouble = trouble
    tune, _ = await tuned(world, FakeGate(world), request(seed=3, budget={"trials": 40}))
    refused = [trial for trial in tune.trials if trial.state == "failed"]
    assert {trial.reason for trial in refused} == {"too little y"}
    assert max(len(message.inputs) for message in world.evaluations) <= 100
    assert world.recovered > 0.5
