"""What people ask the tuner for: settings that are kept, a status that was measured, proposals that deploy nothing."""

from __future__ import annotations

import pytest

from actors.refining.racing import Race, gain, half_width
from actors.refining.recorded import part_of
from actors.refining.replaying import digest_of, shuffled
from actors.refining.tuner import Tuner
from actors.refining.tuneround import searched
from chimera.errors import BadGenomeError, BadMessageError, BusDownError, NoAgentError, NoTuneError
from subjects.agent import Manifest, Parameter
from subjects.experiment import Metric
from subjects.optimizer import Configure, GetStatus, GetTune, Propose, StopTune, TuneEvent
from tests.support.tuning_world import CrashingLog, FakeGate, Life, World, request, tuned

pytestmark = pytest.mark.anyio


def life_of(world: World, log: CrashingLog | None = None) -> Life:
    """A tuner that runs nothing yet."""
    return Life(world, FakeGate(world), log or CrashingLog())


async def test_settings_are_kept_and_hold_for_tunes_that_name_no_algorithm():
    """What was configured is in the log; a tune under way that left the choice open follows at its next trial."""
    world, log = World(), CrashingLog()
    life = life_of(world, log)

    async def act(tuner: Tuner) -> None:
        await tuner.configure(Configure(algorithm="random", convergence_threshold=0.01))
        tune = await tuner.auto_tune(request(algorithm=None, budget={"trials": 4}))
        assert (tune.algorithm, tune.threshold) == ("random", 0.01)
        await tuner.configure(Configure(convergence_threshold=0.02))
        assert (await tuner.tune(GetTune(id="t"))).threshold == 0.02
        assert (await tuner.configure(Configure())).algorithm == "random"

    await life.live(act)
    again = life_of(world, log)
    await again.live()
    assert (await again.tuner.status(GetStatus())).settings.convergence_threshold == 0.02
    assert await again.tuner.tune(GetTune(id="t")) == await life.tuner.tune(GetTune(id="t"))


async def test_the_status_of_an_agent_is_what_was_measured():
    """Trials, best, start, last decision, percentiles of proposals; nothing of an agent that was not tuned."""
    world = World()
    life = life_of(world)
    await life.live(lambda tuner: tuner.auto_tune(request()))
    status = await life.tuner.status(GetStatus())
    tune = await life.tuner.tune(GetTune(id="t"))
    row = status.agents[0]
    assert tune.best is not None
    assert (row.agent, row.trials, row.open, row.best, row.start) == ("echo", 24, 0, tune.best.value, tune.start_value)
    assert row.last_decision == f"exhausted: {tune.reason}"
    assert row.decision_ms_p50 is not None
    assert row.half_width is not None
    assert [(one.id, one.trials) for one in status.tunes] == [("t", [])]
    assert not (await life.tuner.status(GetStatus(agent="other"))).agents
    times = [fields for name, fields in life.events.events if name == "optimization-time"]
    assert len(times) == 24
    assert all(fields["ms"] >= 0 for fields in times)


async def test_every_step_is_a_fact_and_a_line():
    """Started, proposed, told, experiment, its end, and ended, in this order, each with an id of its own."""
    world = World()
    life = life_of(world)
    await life.live(lambda tuner: tuner.auto_tune(request(budget={"trials": 6})))
    facts = [fact for fact in life.facts.values() if isinstance(fact, TuneEvent)]
    steps = [fact.step for fact in facts]
    assert steps[:3] == ["started", "proposed", "told"]
    assert steps[-1] == "ended"
    assert steps.count("proposed") == steps.count("told") == 6
    assert steps[steps.index("experiment") + 1] in ("promoted", "discarded")
    lines = [fields["message"] for name, fields in life.events.events if name == "auto-tune"]
    assert len(lines) == len(facts)
    assert all("None" not in line for line in lines)


async def test_facts_that_are_not_heard_do_not_end_a_tune():
    """The bus is away for facts: the log holds what happened, the tune goes on, and the loss is a warning."""
    world = World()
    life = life_of(world)

    async def deaf(_fact: object, _id: str) -> None:
        raise BusDownError

    life.tuner._tell = deaf  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue] - a fault put in
    await life.live(lambda tuner: tuner.auto_tune(request(budget={"trials": 3})))
    assert len((await life.tuner.tune(GetTune(id="t"))).trials) == 3
    assert any(fields["level"] == "warning" for name, fields in life.events.events if name == "auto-tune")


async def test_a_proposal_deploys_nothing_and_learns_from_the_last_tune():
    """A first point where nothing was tried; after a tune the next point of its search; none after it converged."""
    world = World()
    life = life_of(world)
    await life.live()
    first = await life.tuner.propose(Propose(agent="echo"))
    assert set(first.genome) == {"x", "y"}
    assert (first.number, "no trials" in first.reason) == (0, True)
    gate = FakeGate(world, refuse=True)
    _, log = await tuned(world, gate, request())
    before = (world.live, len(world.releases), len(log.data))
    again = life_of(world, log)
    await again.live()
    found = await again.tuner.propose(Propose(agent="echo"))
    assert found.number == 24
    assert "24 trials" in found.reason
    assert found == await again.tuner.propose(Propose(agent="echo"))
    assert (world.live, len(world.releases), len(log.data)) == before
    flat = World()
    flat.flat = True
    _, log = await tuned(flat, FakeGate(flat), request(budget={"trials": 60}))
    last = life_of(flat, log)
    await last.live()
    none = await last.tuner.propose(Propose(agent="echo"))
    assert none.genome == {}
    assert none.number is None
    assert "converged" in none.reason


async def test_what_cannot_be_is_refused_with_a_reason():
    """Unknown agents, tunes and parameters, quantiles, and ranges that are none; nothing of it is in the log."""
    life = life_of(World())
    await life.live()
    tuner = life.tuner
    with pytest.raises(NoAgentError):
        await tuner.auto_tune(request(agent="nobody"))
    with pytest.raises(NoAgentError):
        await tuner.propose(Propose(agent="nobody"))
    with pytest.raises(BadGenomeError, match="no parameter 'z'"):
        await tuner.auto_tune(request(parameters=["z"]))
    with pytest.raises(BadMessageError, match="quantile"):
        await tuner.auto_tune(request(metric=Metric(name="run_ms", kind="quantile", high=100.0)))
    with pytest.raises(BadMessageError, match="below high"):
        await tuner.auto_tune(request(metric=Metric(name="run_ms", kind="mean", low=1.0, high=1.0)))
    with pytest.raises(BadMessageError, match="no proportion"):
        await tuner.auto_tune(request(metric=Metric(name="score_error", better="lower")))
    with pytest.raises(NoTuneError):
        await tuner.tune(GetTune(id="t"))
    with pytest.raises(NoTuneError):
        await tuner.stop_tune(StopTune(id="t"))
    assert not life.log.data


async def test_tasks_with_scores_alone_are_tuned_by_the_distance():
    """Where nobody gave a label, the tune compares what was judged, and says so."""
    world = World()
    for task in world.recorder.tasks("echo"):
        task.label, task.score = None, 0.4
    tune, _ = await tuned(world, FakeGate(world), request(budget={"trials": 2}))
    assert tune.metric == "score_error"


async def test_only_the_named_parameters_are_searched_and_vectors_only_if_named():
    """The rest stays as it is live; of many dimensions the vectors are left out unless somebody names them."""
    world = World()
    tune, _ = await tuned(world, FakeGate(world), request(parameters=["x"], budget={"trials": 8}))
    assert all(set(trial.genome) == {"x"} for trial in tune.trials)
    assert all(release.genome["y"] == 0.95 for release in world.releases.values())
    manifest = Manifest(
        name="echo",
        genome=[
            Parameter(name="a", low=0.0, high=1.0),
            Parameter(name="w", low=0.0, high=1.0, size=64),
        ],
    )
    assert searched(manifest, {}, []) == ["a"]
    assert searched(manifest, {}, ["w"]) == ["w"]


def test_a_race_is_fair():
    """Of 200 races between equals at most one in ten is lost at any look; a clear loser is out long before the end."""
    tasks = shuffled(World(tasks=4000).recorder.tasks("echo", part="tune"))
    levels = [float(str((task.input or {})["level"])) for task in tasks[:600]]
    lost = 0
    for shift in range(200):
        race = Race(1.0)
        for begin in range(0, 600, 30):
            part = levels[begin : begin + 30]
            tried = [float((level + shift / 200) % 1.0 < 0.6) for level in part]
            race.add(tried, [float((level + shift / 200 + 0.3) % 1.0 < 0.6) for level in part])
            if race.lost:
                lost += 1
                break
    assert lost <= 20
    race = Race(1.0)
    race.add([0.0, 1.0] * 100, [1.0] * 200)
    assert race.lost
    assert gain([0.0, 1.0] * 100, [1.0] * 200)[0] == -0.5


def test_tasks_come_in_an_order_of_their_own_and_are_known_again():
    """The order depends on ids only; another judgement or a missing task is another set; all are of the tuning half."""
    tasks = list(World().recorder.tasks("echo", part="tune"))
    mixed = shuffled(tasks)
    assert mixed == shuffled(reversed(tasks))
    assert mixed != tasks
    assert {part_of(task.job_id) for task in mixed} == {"tune"}
    digest = digest_of(tasks)
    assert digest_of(tasks[1:]) != digest
    tasks[0].judged_seq += 1
    assert digest_of(tasks) != digest


def test_unknown_values_count_for_nothing():
    """Tasks that do not tell are left out of a comparison; less than two tell nothing."""
    assert gain([None, 1.0, 0.0], [1.0, None, 0.0]) == (0.0, float("inf"))
    assert gain([1.0, 1.0, None], [0.0, 0.0, 1.0]) == (1.0, 0.0)
    assert half_width([0.5, None] * 500, 0.0, 1.0) < 0.05
