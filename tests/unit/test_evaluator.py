"""Genomes spread over nodes: the same figures whoever runs them, whatever goes wrong meanwhile."""

from __future__ import annotations

import anyio
import msgspec
import pytest

from actors.breeding.evaluator import PATIENCE_S, Evaluator
from actors.breeding.examination import Candidate
from actors.breeding.sheet import Result
from actors.evolving.correlation import Correlating
from chimera.errors import (
    BadModuleError,
    ChimeraError,
    DeadlineError,
    OverloadedError,
    TooLargeError,
    UnavailableError,
)
from chimera.testing import ManualClock
from subjects.agent import Limits
from subjects.evolution import Descriptor, Objective
from subjects.experiment import Metric
from subjects.trial import EvaluateGenomes
from tests.support.examining import (
    CORRECT,
    RELEASE,
    FakeNodes,
    evaluating,
    examination_of,
    once,
    place_of,
    split_of,
    with_skill,
)

pytestmark = pytest.mark.anyio
SKILLS = tuple(n / 20 for n in range(20))


def right(result: Result) -> float:
    """Share of right answers."""
    figures = [figure for _, figure in result.figures(0)]
    return sum(figures) / len(figures)


def expected(skill: float, texts: list[str]) -> float:
    """The same from the texts alone."""
    return sum(place_of(text) < skill for text in texts) / len(texts)


async def advance(clock: ManualClock, seconds: float) -> None:
    """Let what is ready run, then move the clock."""
    await anyio.wait_all_tasks_blocked()
    await clock.advance(seconds)
    await anyio.wait_all_tasks_blocked()


async def test_every_genome_gets_the_figures_of_its_cases() -> None:
    """One result per genome, in order, each with the figure of every case."""
    cases = split_of().train
    async with evaluating(FakeNodes()) as evaluator:
        results = await evaluator.evaluate(examination_of(cases), with_skill(*SKILLS), [range(len(cases))])
    texts = [case.input["text"] for case in cases.cases]
    assert [right(one) for one in results] == [expected(skill, texts) for skill in SKILLS]
    assert all(one.tasks == one.ran == len(cases) and not one.failure for one in results)
    status = evaluator.status(["v"])
    assert (status.done, status.pending, status.failed, status.running) == (20, 0, 0, ["v"])
    assert status.tasks_run == 20 * len(cases)
    assert status.cpu_s == pytest.approx(20 * len(cases) * 1e-4)


async def test_all_nodes_work_and_none_gets_more_than_it_can_run() -> None:
    """Work goes to every node; each has at most one request more than it has workers."""
    nodes, cases = FakeNodes(["one", "two", "three"], workers=2), split_of().train
    async with evaluating(nodes) as evaluator:
        await evaluator.evaluate(examination_of(cases), with_skill(*(n / 200 for n in range(200))), [range(32)])
        assert {node for node, _ in nodes.asked} == {"one", "two", "three"}
        assert max(nodes.most_under_way.values()) <= 3
        assert {one.node: one.most for one in evaluator.status().nodes} == {"one": 3, "two": 3, "three": 3}
    assert nodes.tasks == 200 * 32


async def test_genomes_share_a_request_that_carries_their_cases_once() -> None:
    """Far fewer requests than genomes, none with more than a request may hold."""
    nodes, cases = FakeNodes(workers=1), split_of().train
    async with evaluating(nodes) as evaluator:
        await evaluator.evaluate(examination_of(cases), with_skill(*(n / 300 for n in range(300))), [range(8)])
    assert len(nodes.asked) < 30
    assert max(len(message.genomes) for _, message in nodes.asked) <= 64


async def test_a_race_stops_those_who_cannot_win_and_spares_their_tasks() -> None:
    """After a rung the caller says who goes on; the others keep what they have and are not run further."""
    nodes, cases = FakeNodes(), split_of().train
    rungs = [range(32), range(32, 128), range(128, 200)]
    asked: list[tuple[int, int]] = []

    def go_on(index: int, result: Result) -> str:
        asked.append((index, result.tasks))
        return "too bad" if right(result) < 0.5 else ""

    async with evaluating(nodes) as evaluator:
        results = await evaluator.evaluate(examination_of(cases), with_skill(0.1, 0.95), rungs, go_on)
        status = evaluator.status()
    assert [(one.tasks, one.stopped) for one in results] == [(32, "too bad"), (200, "")]
    assert sorted(asked) == [(0, 32), (1, 32), (1, 128)]
    assert (status.tasks_run, status.tasks_spared) == (232, 168)


async def test_what_is_known_is_not_run_again() -> None:
    """A genome that was measured is answered from the cache, also in another order; twins are run once."""
    nodes, cases = FakeNodes(), split_of().train
    examination = examination_of(cases)
    async with evaluating(nodes) as evaluator:
        first = await evaluator.evaluate(examination, with_skill(0.3, 0.3, 0.6), [range(64)])
        assert nodes.tasks == 128
        assert [one.cached for one in first] == [False, True, False]
        again = await evaluator.evaluate(examination, with_skill(0.6, 0.3), [list(reversed(range(64)))])
        assert nodes.tasks == 128
        assert [right(one) for one in again] == [right(first[2]), right(first[0])]
        more = await evaluator.evaluate(examination, with_skill(0.3), [range(32), range(32, 96)])
        assert nodes.tasks == 128 + 32
        assert (more[0].tasks, more[0].ran) == (96, 32)
        status = evaluator.status()
    assert (status.cache_hits, status.cache_size_bytes > 0) == (3, True)


async def test_a_twin_of_a_known_genome_is_answered() -> None:
    """Two of the same genome, of which everything is known before: nothing is run, and nobody waits for ever."""
    nodes, cases = FakeNodes(), split_of().train
    examination = examination_of(cases)
    async with evaluating(nodes) as evaluator:
        [known] = await evaluator.evaluate(examination, with_skill(0.3), [range(64)])
        with anyio.fail_after(5):
            twins = await evaluator.evaluate(examination, with_skill(0.3, 0.3), [range(64)])
    assert [right(one) for one in twins] == [right(known)] * 2
    assert nodes.tasks == 64


async def test_other_limits_are_another_genome() -> None:
    """The cache tells genomes apart by their limits, too, and the node is told of them."""
    nodes, cases = FakeNodes(), split_of().train
    one = Candidate({"skill": 0.3})
    other = Candidate({"skill": 0.3}, Limits(cpu_ms=5.0))
    async with evaluating(nodes) as evaluator:
        results = await evaluator.evaluate(examination_of(cases), [one, other], [range(8)])
    assert results[0].checksum != results[1].checksum
    limits = [limit for _, message in nodes.asked for limit in message.limits or [None] * len(message.genomes)]
    assert sorted(str(limit and limit.cpu_ms) for limit in limits) == ["5.0", "None"]


async def test_what_another_cap_gave_is_not_remembered() -> None:
    """A node whose operator allows less runs another genome than the one that was asked for: its figures stay out."""
    nodes, cases = FakeNodes(checksum="of other limits"), split_of().train
    async with evaluating(nodes) as evaluator:
        for _ in range(2):
            await evaluator.evaluate(examination_of(cases), with_skill(0.3), [range(16)])
    assert nodes.tasks == 32


async def test_an_agent_that_draws_lots_is_measured_every_time() -> None:
    """An agent with a clock or randomness has no figure that could be remembered."""
    manifest = msgspec.structs.replace(RELEASE.manifest, grants=["random"])
    chancy = msgspec.structs.replace(RELEASE, manifest=manifest)
    nodes, cases = FakeNodes(), split_of().train
    async with evaluating(nodes) as evaluator:
        for _ in range(2):
            await evaluator.evaluate(examination_of(cases, release=chancy), with_skill(0.3), [range(16)])
        assert len(evaluator.cache) == 0
    assert nodes.tasks == 32


async def test_a_genome_that_crashes_or_does_not_fit_is_scored() -> None:
    """Half of the tasks failing, or a gene out of bounds, is a failure of that genome and of nobody else."""
    cases = split_of().train
    genomes = [*with_skill(0.5, crash=0.9), *with_skill(0.5, crash=0.1), Candidate({"skill": 7.0}), *with_skill(0.5)]
    async with evaluating(FakeNodes()) as evaluator:
        crashed, shaky, unfit, sound = await evaluator.evaluate(
            examination_of(cases), genomes, [range(32), range(32, 64)]
        )
    assert "tasks failed: agent-trap: as its gene says" in crashed.failure
    assert crashed.tasks == 32
    assert "outside" in unfit.failure
    assert shaky.failure == sound.failure == ""
    assert right(shaky) < right(sound), "a failed task is a wrong one"
    assert evaluator.status().failed == 2


@pytest.mark.parametrize("error", [OverloadedError("full", retry_after_s=0.1), UnavailableError("starting")])
async def test_a_node_that_is_busy_is_asked_again(error: ChimeraError) -> None:
    """What it could not take is run later, and once."""
    clock, nodes = ManualClock(), FakeNodes(workers=1)
    nodes.hook = once(error)
    found: list[Result] = []
    async with evaluating(nodes, clock) as evaluator:
        async with anyio.create_task_group() as group:
            group.start_soon(_collect, evaluator, found, 32)
            for _ in range(4):
                await advance(clock, 0.2)
        assert [one.ran for one in found] == [32]


async def _collect(evaluator: Evaluator, found: list[Result], count: int) -> None:
    cases = split_of().train
    found += await evaluator.evaluate(examination_of(cases), with_skill(0.4), [range(count)])


async def test_a_node_that_goes_away_loses_nothing() -> None:
    """Work that was on a dead node is done by another one, with the same figures as if nothing had happened."""
    clock, cases = ManualClock(), split_of().train
    dead = FakeNodes(["one", "two"], workers=1)
    hung = anyio.Event()

    async def hang(node: str, _message: EvaluateGenomes) -> None:
        if node == "one":
            hung.set()
            await anyio.sleep_forever()

    dead.hook = hang
    examination = examination_of(cases)
    results: list[Result] = []

    async def work(evaluator: Evaluator) -> None:
        results.extend(await evaluator.evaluate(examination, with_skill(*SKILLS), [range(32), range(32, 128)]))

    async with evaluating(dead, clock) as evaluator, anyio.create_task_group() as group:
        group.start_soon(work, evaluator)
        await hung.wait()
        dead.names.remove("one")
        for _ in range(4):
            await advance(clock, 1.0)
        assert evaluator.nodes == ["two"]
    async with evaluating(FakeNodes()) as other:
        calm = await other.evaluate(examination, with_skill(*SKILLS), [range(32), range(32, 128)])
    assert [one.figures(0) for one in results] == [one.figures(0) for one in calm]


@pytest.mark.parametrize("error", [DeadlineError(stage="sent"), TooLargeError("an answer of 2 MiB")])
async def test_what_takes_too_long_is_cut_into_smaller_pieces(error: ChimeraError) -> None:
    """A request that is not answered in time, or whose answer is too large, is sent again in halves."""
    nodes, cases = FakeNodes(workers=1), split_of().train

    async def slow(_node: str, message: EvaluateGenomes) -> None:
        if len(message.inputs) * len(message.genomes) > 10:
            raise error

    nodes.hook = slow
    async with evaluating(nodes) as evaluator:
        results = await evaluator.evaluate(examination_of(cases), with_skill(0.2, 0.8), [range(40)])
    texts = [case.input["text"] for case in cases.cases[:40]]
    assert [right(one) for one in results] == [expected(skill, texts) for skill in (0.2, 0.8)]


async def test_a_case_that_nobody_can_run_in_time_is_the_genomes_failure() -> None:
    """It is tried alone several times; then the genome has no figure, and the others have theirs."""
    nodes, cases = FakeNodes(workers=1), split_of().train
    poison = cases.cases[5].input["text"]

    async def slow(_node: str, message: EvaluateGenomes) -> None:
        slow_one = any(genes["skill"] == 0.2 for genes in message.genomes)
        if slow_one and any(one["text"] == poison for one in message.inputs):
            raise DeadlineError("no answer", stage="sent")

    nodes.hook = slow
    async with evaluating(nodes) as evaluator:
        results = await evaluator.evaluate(examination_of(cases), with_skill(0.2, 0.8), [range(16)])
    assert results[0].failure == "one task alone: no answer"
    assert (results[1].failure, results[1].tasks) == ("", 16)


async def test_other_errors_are_raised_as_they_are() -> None:
    """An error that concerns the agent ends the evaluation, and the next one is not disturbed."""
    nodes, cases = FakeNodes(), split_of().train
    nodes.hook = once(BadModuleError("lost"))
    async with evaluating(nodes) as evaluator:
        with pytest.raises(BadModuleError, match="lost"):
            await evaluator.evaluate(examination_of(cases), with_skill(0.2), [range(16)])
        assert (await evaluator.evaluate(examination_of(cases), with_skill(0.2), [range(16)]))[0].ran == 16
        assert evaluator.status().pending == 0


async def test_patience_ends() -> None:
    """With no node for two minutes an evaluation says so instead of waiting for ever."""
    clock, cases = ManualClock(), split_of().train
    raised: list[ChimeraError] = []

    async def work(evaluator: Evaluator) -> None:
        try:
            await evaluator.evaluate(examination_of(cases), with_skill(0.2), [range(16)])
        except UnavailableError as error:
            raised.append(error)

    async with evaluating(FakeNodes([]), clock) as evaluator, anyio.create_task_group() as group:
        group.start_soon(work, evaluator)
        for _ in range(int(PATIENCE_S) + 2):
            await advance(clock, 1.0)
    assert [error.hint for error in raised] == ["start one with: chimera run"]


async def test_a_caller_who_leaves_takes_its_work_along() -> None:
    """Cancelling an evaluation removes what waits; what comes in later harms nobody."""
    nodes, cases = FakeNodes(workers=1), split_of().train
    gate = anyio.Event()

    async def wait(_node: str, _message: EvaluateGenomes) -> None:
        await gate.wait()

    nodes.hook = wait
    async with evaluating(nodes) as evaluator:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                many = with_skill(*(n / 500 for n in range(500)))
                group.start_soon(evaluator.evaluate, examination_of(cases), many, [range(200)])
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        under_way = nodes.tasks
        gate.set()
        done = await evaluator.evaluate(examination_of(cases), with_skill(0.77), [range(16)])
        assert done[0].ran == 16
        assert nodes.tasks == under_way + 16
        assert evaluator.status().pending == 0


async def test_an_islands_genomes_stay_on_its_node_while_there_is_one() -> None:
    """A preferred node gets all of the work; a name that nobody has means any node."""
    nodes, cases = FakeNodes(["one", "two"], workers=1), split_of().train
    async with evaluating(nodes) as evaluator:
        await evaluator.evaluate(examination_of(cases, node="two"), with_skill(*SKILLS), [range(64)])
        assert {node for node, _ in nodes.asked} == {"two"}
        done = await evaluator.evaluate(examination_of(cases, node="gone"), with_skill(0.5), [range(64)])
        assert done[0].tasks == 64


async def test_a_correlation_and_descriptors_come_with_it() -> None:
    """Several objectives and descriptors at once: means with bounds, a correlation of the score, behaviour."""
    cases = split_of().train
    yardsticks = [
        CORRECT, Objective(metric=Metric(name="cpu_ms", kind="mean", better="lower", high=10.0)),
        Objective(metric=Metric(name="score_error"), statistic="correlation"),
    ]  # fmt: skip
    examination = examination_of(cases, yardsticks, descriptors=[Descriptor(name="warmth")])
    assert set(examination.yardstick.fields) == {"label", "score", "warmth"}
    async with evaluating(FakeNodes()) as evaluator:
        [shaky] = await evaluator.evaluate(examination, with_skill(0.5, crash=0.2), [range(len(cases))])
    stick = examination.yardstick
    figures = [stick.estimate(gauge, shaky, cases) for gauge in range(4)]
    assert figures[1].value > 0.1, "a failed task costs as much as can be"
    assert isinstance(figures[2], Correlating)
    assert -1.0 <= figures[2].value <= 1.0
    assert figures[3].value == 0.5
    assert figures[3].n < figures[2].n == len(cases), "a failed task has no behaviour, but it has a score"
