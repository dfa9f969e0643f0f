"""What a tune does when something is in its way: other people, guardrails, restarts, too few tasks or too many."""

from __future__ import annotations

import pytest

from actors.refining.tunelog import RoundBegun, Tried
from actors.refining.tuner import Tuner
from actors.tuning import Asked
from chimera.errors import BusDownError, NoAgentError, OverloadedError, RestartingError
from subjects.experiment import CreateExperiment, Guardrail, Metric, Plan
from subjects.optimizer import GetTune
from subjects.trial import Evaluate
from tests.support.tuning_world import POOR, CrashingLog, FakeGate, Life, World, gene, quality, request, tuned
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


async def test_a_race_is_stopped_when_it_is_lost():
    """Trials that are clearly worse than the best do not run to the end, and those that are not do."""
    world = World(tasks=3000)
    tune, _ = await tuned(world, FakeGate(world), request())
    told = [trial for trial in tune.trials if trial.state == "told"]
    whole = told[0].messages
    stopped = [trial for trial in told if trial.messages < whole]
    best = max(quality(trial.genome) for trial in told)
    assert len(stopped) >= 5
    assert all(quality(trial.genome) < best for trial in stopped)
    assert all(trial.half_width is None for trial in stopped)
    assert sum(trial.messages for trial in told) < 0.7 * whole * len(told)


async def test_a_guardrail_keeps_a_better_point_from_the_gate():
    """A point that is right more often and yet breaks a guardrail on the recorded tasks is no candidate."""
    world = World()
    plan = Plan(guardrails=[Guardrail(metric=Metric(name="output.cost", kind="mean", better="lower"), bound=0.2)])
    world.beside = lambda genome: {"cost": gene(genome, "x")}
    tune, _ = await tuned(world, FakeGate(world), request(plan=plan, budget={"trials": 40}))
    limit = gene(POOR, "x") + 0.2
    assert any(quality(trial.genome) > 0.6 and gene(trial.genome, "x") > limit for trial in tune.trials)
    assert tune.best is not None
    assert gene(tune.best.genome, "x") <= limit
    for number in tune.promoted:
        assert gene(world.releases[number].genome, "x") <= limit


async def test_a_metric_of_which_less_is_better():
    """A score's error is brought down; values are shown so that higher is better."""
    world = World()
    world.beside = lambda genome: {"score": 1.0 - quality(genome)}
    metric = Metric(name="score_error", kind="mean", better="lower")
    gate = FakeGate(world)
    tune, _ = await tuned(world, gate, request(metric=metric, budget={"trials": 40}))
    assert tune.start_value is not None
    assert tune.start_value == pytest.approx(quality(POOR) - 1.0)
    assert world.recovered > 0.5
    assert all(message.plan.primary == metric for message in gate.created.values())


async def test_the_live_share_allowed_bounds_every_ramp():
    """No candidate gets more of the live traffic than the budget says; none at all means no split."""
    for share, ramp, stages in ((0.1, [0.05], ["replay", "split"]), (0.01, [0.01], ["replay", "split"])):
        world = World()
        gate = FakeGate(world)
        await tuned(world, gate, request(budget={"live_share": share}))
        plans = [message.plan for message in gate.created.values()]
        assert plans
        assert all((plan.ramp, plan.stages) == (ramp, stages) for plan in plans)
    world = World()
    gate = FakeGate(world)
    await tuned(world, gate, request(budget={"live_share": 0.0}))
    assert {tuple(message.plan.stages) for message in gate.created.values()} == {("replay",)}


async def test_it_waits_while_another_experiment_is_under_way():
    """The agent's gate is taken by somebody else: the candidate waits for it instead of being lost."""
    world = World()
    gate = FakeGate(world, looks=40)
    other = CreateExperiment(agent="echo", id="other", genomes=[{"x": 0.0}])
    await gate.create(other)
    creations: list[int] = []

    async def free(tuner: Tuner) -> None:
        await tuner.auto_tune(request())
        await until(lambda: gate.creations >= 4)
        creations.append(gate.creations)
        assert list(gate.created) == ["other"]
        assert "waits for the gate" in (await tuner.tune(GetTune(id="t"))).reason
        gate.finish("other")

    life = Life(world, gate, CrashingLog())
    await life.live(free)
    assert creations
    assert (await life.tuner.tune(GetTune(id="t"))).promoted


async def test_a_release_made_live_by_somebody_else_ends_it():
    """The search was around a release that is not live any more: nothing is tried on top of another's act."""
    world = World()

    def deploy(_message: Evaluate) -> None:
        if world.run > 1000 and world.live == 1:
            world.releases[9] = world.release(9, {"x": 0.5, "y": 0.5})
            world.live = 9

    world.trouble = deploy
    gate = FakeGate(world)
    tune, _ = await tuned(world, gate, request(budget={"trials": 40}))
    assert tune.state == "stopped"
    assert "release 9" in tune.reason
    assert world.live == 9


async def test_an_agent_that_is_away_for_a_while_costs_nothing():
    """Restarts and overload of the agent are waited out; an agent that is gone ends the tune with the reason."""
    world = World()
    away = iter([RestartingError(), OverloadedError(), BusDownError()])
    world.trouble = lambda _message: next(away, None)
    tune, _ = await tuned(world, FakeGate(world), request(budget={"trials": 3}))
    assert [trial.state for trial in tune.trials] == ["told"] * 3
    assert tune.state == "exhausted"
    world = World()
    world.trouble = lambda _message: NoAgentError() if world.run > 1000 else None
    tune, _ = await tuned(world, FakeGate(world), request())
    assert tune.state == "failed"
    assert tune.reason.startswith("no-agent")
    assert not any(trial.state == "open" for trial in tune.trials)


async def test_twice_the_tasks_begin_a_round_that_starts_from_the_best():
    """When many more tasks were judged a round on all of them begins, with the live point and the best ones first."""
    world = World(tasks=300)
    grown: list[int] = []

    def grow(_message: Evaluate) -> None:
        if not grown and world.run > 1500:
            world.record(900)
            grown.append(world.run)

    world.trouble = grow
    tune, log = await tuned(world, FakeGate(world), request())
    rounds = [entry for entry in log.entries if isinstance(entry, RoundBegun)]
    assert len(rounds) == 2
    assert rounds[1].tasks >= 2 * rounds[0].tasks
    assert len(tune.trials) == 24
    assert [trial.number for trial in tune.trials] == list(range(24))
    first = [entry.event for entry in log.entries if isinstance(entry, Tried) and isinstance(entry.event, Asked)]
    second = [event.by for event in first if event.at and event.number < 4][4:]
    assert second[0] == "start"
    assert "given" in second[1:]


async def test_a_round_whose_tasks_are_gone_is_given_up():
    """After a restart that finds other tasks, values would not compare: a new round begins, its trials count on."""
    world = World(tasks=400)
    log = CrashingLog(8)
    life = Life(world, FakeGate(world), log)
    await life.live(lambda tuner: tuner.auto_tune(request()))
    assert life.crashed
    assert life.tuner.oldest() is not None
    world.recorder = type(world.recorder)()
    world.record(600)
    log.left = None
    tune, _ = await tuned(world, FakeGate(world), request(), log)
    rounds = [entry for entry in log.entries if isinstance(entry, RoundBegun)]
    assert len(rounds) == 2
    assert tune.state == "exhausted"
    assert not any(trial.state == "open" for trial in tune.trials)


async def test_a_flat_world_converges():
    """Where nothing is better, twenty results without improvement end the search, and the gate is never bothered."""
    world = World()
    world.flat = True
    gate = FakeGate(world)
    tune, _ = await tuned(world, gate, request(budget={"trials": 60}))
    assert tune.state == "converged"
    assert 20 <= len(tune.trials) <= 30
    assert not gate.created
    assert world.live == 1
