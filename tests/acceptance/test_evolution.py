"""Evolution on a whole system: it finds what people agree with, through a kill -9, and without losing an evaluation."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from chimera.cli.dataset import Labelled
from chimera.reference import cached_archive, cached_path
from tests.acceptance.conftest import MakeSystem
from tests.support.evolving import (
    CORRELATION,
    POOR,
    Evolver,
    agreement,
    cases,
    deploy,
    gain_low,
    live_genome,
    over,
    scores,
    texts,
)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        cached_archive() is None,
        reason=f"the rated texts are not at {cached_path()}; `just guests --check` fetches them",
    ),
]

FOLDS = 4
"""The reviews are split so; a genome is judged by the part that it was not bred on (cross-fitting)."""

SCALARS = [
    "booster_increment", "booster_decrement", "capitals_increment", "negation_scalar", "normalisation_alpha",
    "exclamation_increment", "question_increment", "but_before", "but_after", "second_word_damping",
]  # fmt: skip


async def test_a_spoiled_population_recovers_on_tweets(make_system: MakeSystem):
    """35 generations of 20 genomes, from a spoiled one, agree with people on unseen texts as the shipped one does."""
    system = make_system()
    await anyio.to_thread.run_sync(system.start)
    evolver, everything = Evolver(system), texts("tweets")
    held_out, seen = everything[:1000], everything[1000:3000]
    shipped = await live_genome(system)
    await deploy(system, POOR)
    await evolver.post("/api/evolution/start", {
        "agent": "sentiment", "id": "tweets", "generations": 35, "population_size": 20, "objectives": [CORRELATION],
        "cases": cases(seen), "deploy": False, "seed": 3, "stop_when_converged": False,
        "parameters": [*SCALARS, "exclamation_limit", "question_ceiling", "third_word_damping"],
    })  # fmt: skip
    ended = await evolver.until("tweets", over, 600)
    assert (ended["state"], ended["generation"]) == ("exhausted", 35), ended
    good = agreement(await scores(system, held_out, shipped), held_out)
    poor = agreement(await scores(system, held_out), held_out)
    found = agreement(await scores(system, held_out, ended["champion"]["genes"]), held_out)
    assert good - poor > 0.05, "the spoiled genome must be poor"
    assert found >= good, (poor, found, good)
    assert ended["champion_value"] > ended["incumbent_value"]


async def test_the_domain_genes_beat_the_shipped_genome_on_reviews(make_system: MakeSystem):
    """Where the shipped genome is weak, evolution beats it on unseen texts, beyond chance."""
    system = make_system()
    await anyio.to_thread.run_sync(system.start)
    evolver, everything, shipped = Evolver(system), texts("reviews"), await live_genome(system)
    held_out: list[Labelled] = []
    better: list[float] = []
    before: list[float] = []
    for fold in range(FOLDS):
        unseen = everything[fold::FOLDS]
        seen = [text for place, text in enumerate(everything) if place % FOLDS != fold]
        await evolver.post("/api/evolution/start", {
            "agent": "sentiment", "id": f"reviews-{fold}", "generations": 20, "population_size": 24, "seed": 11,
            "objectives": [CORRELATION], "cases": cases(seen), "tasks": len(seen), "deploy": False,
            "stop_when_converged": False, "parameters": [*SCALARS, "domain"], "algorithm": "cmaes",
        })  # fmt: skip
        ended = await evolver.until(f"reviews-{fold}", over, 400)
        better += await scores(system, unseen, ended["champion"]["genes"])
        before += await scores(system, unseen, shipped)
        held_out += unseen
    low = gain_low(better, before, held_out)
    assert low > 0.0, (agreement(better, held_out), agreement(before, held_out), low)


async def test_a_killed_cma_es_run_ends_with_the_same_champion(make_system: MakeSystem):
    """The same seed gives the same champion, whether or not the node was killed in the middle."""
    request: dict[str, Any] = {
        "agent": "sentiment", "id": "same", "generations": 10, "population_size": 12, "objectives": [CORRELATION],
        "cases": cases(texts("tweets")[:400]), "tasks": 128, "deploy": False, "seed": 5, "algorithm": "cmaes",
        "parameters": SCALARS, "stop_when_converged": False,
    }  # fmt: skip
    champions: list[Any] = []
    for kill in (False, True):
        system = make_system()
        await anyio.to_thread.run_sync(system.start)
        evolver = Evolver(system)
        await evolver.post("/api/evolution/start", request)
        if kill:
            await evolver.until("same", lambda seen: seen["generation"] >= 3, 200)
            system.kill()
            await anyio.to_thread.run_sync(system.start)
            assert (await evolver.progress("same"))["evolution"]["generation"] < 10, "it was killed too late"
        ended = await evolver.until("same", over, 300)
        assert ended["repeatable"]
        champions.append((ended["champion"]["genes"], ended["champion_value"], ended["best"], ended["evaluations"]))
        system.close()
    assert champions[0] == champions[1]


async def test_a_killed_steady_run_neither_loses_nor_repeats_an_evaluation(make_system: MakeSystem):
    """After a kill -9 every genome measured before is still there, measured once, and the numbers have no gap."""
    system = make_system()
    await anyio.to_thread.run_sync(system.start)
    evolver, size, generations = Evolver(system), 12, 8
    await evolver.post("/api/evolution/start", {
        "agent": "sentiment", "id": "steady", "generations": generations, "population_size": size,
        "objectives": [CORRELATION], "cases": cases(texts("tweets")[:400]), "tasks": 128, "deploy": False, "seed": 9,
        "algorithm": "steady", "parameters": [*SCALARS, "exclamation_limit"], "stop_when_converged": False,
    })  # fmt: skip
    await evolver.until("steady", lambda seen: seen["evaluations"] >= 2 * size + 3, 200)
    before = {one["id"]: one for one in (await evolver.get("/api/genomes?evolution=steady&limit=1000"))["genomes"]}
    system.kill()
    await anyio.to_thread.run_sync(system.start)
    ended = await evolver.until("steady", over, 300)
    after = (await evolver.get("/api/genomes?evolution=steady&limit=1000"))["genomes"]
    numbers = sorted(int(one["id"].rsplit("-", 1)[1]) for one in after)
    assert ended["evaluations"] == len(after) == len(set(numbers))
    assert len(after) >= size * generations
    assert {one["id"]: one for one in after if one["id"] in before} == before
    checked = await evolver.get("/api/genome/validate?evolution=steady")
    assert (checked["status"], checked["checked"], checked["missing"]) == ("pass", len(after), [])
