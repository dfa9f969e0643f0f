"""Genomes evaluated on real nodes: the agent's own answers, through the death of a node, and hostile agents scored."""

from __future__ import annotations

import random
from collections.abc import Iterator

import anyio
import pytest

from actors.breeding.caseload import Caseload, of_request
from actors.breeding.examination import Candidate, Examination
from actors.breeding.yardstick import Yardstick
from chimera import System
from edge.guests import shipped_guest
from subjects.agent import Limits, RegisterAgent, Release, ShowAgent
from subjects.evolution import Case, Objective
from subjects.experiment import Metric
from subjects.trial import Evaluate
from tests.support.agent_nodes import AgentNode, asking, evaluator_on

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]

OBJECTIVES = [
    Objective(metric=Metric(name="score_error", kind="mean", better="lower", high=2.0)),
    Objective(metric=Metric(name="correct")),
]
WORDS = (
    "good", "great", "bad", "awful", "not", "very", "so", "but", "happy", "sad", "LOVE", "hate", "okay", "nice",
    "never", "terrible", "fine!", "ugly?", "best", "worst",
)  # fmt: skip


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[AgentNode]]:
    """Two nodes with one worker each; the last test kills one."""
    folder = tmp_path_factory.mktemp("nodes")
    made = [AgentNode(folder, "one")]
    try:
        made[0].start()
        made.append(AgentNode(folder, "two", made[0]))
        made[1].start()
        yield made
    finally:
        for node in reversed(made):
            node.close()


def cases_of(count: int) -> Caseload:
    """Made-up sentences with made-up scores."""
    rng = random.Random(5)  # noqa: S311 - sentences
    cases = [
        Case(input={"text": f"{n} " + " ".join(rng.choices(WORDS, k=8))}, score=rng.uniform(-1, 1), label="positive")
        for n in range(count)
    ]
    return of_request(cases, most=count).train


async def live(system: System, agent: str) -> Release:
    """The agent's live release."""
    view = await system.ask(ShowAgent(name=agent), timeout_s=10.0)
    return next(one for one in view.releases if one.number == view.live)


def genomes(count: int) -> list[Candidate]:
    """Different ones."""
    return [Candidate({"negation_scalar": -1.0 + n / count, "capitals_increment": n / count}) for n in range(count)]


@pytest.mark.parametrize(
    ("agent", "limits", "why"),
    [
        ("trap", None, "tasks failed: agent-trap"),
        ("infinite_loop", Limits(cpu_ms=20.0, wall_ms=500.0), "given up after 3 tasks: agent-limit"),
        ("sentiment", Limits(memory_bytes=65_536), "its memory does not fit"),
        ("memory_bomb", None, "agent-"),
    ],
)
async def test_a_genome_that_does_harm_only_has_no_figure(
    nodes: list[AgentNode], agent: str, limits: Limits | None, why: str
) -> None:
    """Whatever a guest does, its evaluation ends soon with the reason, and others are measured as before."""
    caseload = cases_of(200)
    async with asking(nodes[0]) as system, anyio.create_task_group() as group:
        if agent != "sentiment":
            guest = shipped_guest(agent)
            await system.ask(RegisterAgent(module=guest.module, manifest=guest.manifest), timeout_s=30.0)
        bad, good = await live(system, agent), await live(system, "sentiment")
        evaluator = evaluator_on(system)
        group.start_soon(evaluator.run)
        with anyio.fail_after(30):
            [harmful] = await evaluator.evaluate(
                Examination(bad, caseload, Yardstick([Objective()], [], bad.manifest)), [Candidate({}, limits)],
                [range(100)],
            )  # fmt: skip
            sound = await evaluator.evaluate(
                Examination(good, caseload, Yardstick(OBJECTIVES, [], good.manifest)), genomes(3), [range(32)]
            )
        assert why in harmful.failure
        assert [one.failure for one in sound] == ["", "", ""]
        group.cancel_scope.cancel()


async def test_a_killed_node_changes_no_figure(nodes: list[AgentNode]) -> None:
    """Both nodes work; one is killed in the middle; figures are those of the agent's own answers, task by task."""
    caseload = cases_of(400)
    rungs = [range(32), range(32, 128), range(128, len(caseload))]
    candidates = genomes(120)
    async with asking(nodes[0]) as system, anyio.create_task_group() as group:
        release = await live(system, "sentiment")
        examination = Examination(release, caseload, Yardstick(OBJECTIVES, [], release.manifest))
        evaluator = evaluator_on(system)
        group.start_soon(evaluator.run)

        async def kill() -> None:
            while evaluator.tally.nodes.get("two") is None or evaluator.tally.tasks < 4000:  # noqa: ASYNC110 - it only counts
                await anyio.sleep(0.005)
            nodes[1].kill()

        group.start_soon(kill)
        results = await evaluator.evaluate(examination, candidates, rungs)
        assert evaluator.tally.nodes["two"].tasks > 0
        assert evaluator.tally.tasks < sum(map(len, rungs)) * len(candidates) * 1.2
        assert all(one.tasks == len(caseload) and not one.failure for one in results)
        for place in (0, 57, 119):
            inputs = [case.input for case in caseload.cases]
            said = await system.ask(
                Evaluate(name="sentiment", genome=candidates[place].genes, inputs=inputs), timeout_s=60.0
            )
            assert said.checksum == results[place].checksum
            errors = [
                abs((tried.output or {})["compound"] - (case.score or 0.0))
                for tried, case in zip(said.results, caseload.cases, strict=True)
            ]
            assert [figure for _, figure in results[place].figures(0)] == errors
        with anyio.fail_after(20):
            while evaluator.nodes != ["one"]:
                await anyio.sleep(0.1)
                await evaluator.evaluate(examination, genomes(7), [range(5, 9)])
        again = await evaluator.evaluate(examination, candidates, rungs)
        assert all(one.cached for one in again)
        group.cancel_scope.cancel()
