"""A run that nobody disturbs: one node, no crash, the same seed, the same settings from the same generations on."""

from __future__ import annotations

import math
import tempfile
from functools import partial
from pathlib import Path

import anyio
from msgspec.structs import replace

from chimera.wire import encode
from subjects.evolution import GetProgress, Progress
from subjects.evolver import ConfigurePopulation, PopulationConfig
from tests.support.evolver_checks import FINAL, Run, runs_of
from tests.support.evolver_world import CASES, EvolverWorld

_known: dict[bytes, Run] = {}


async def uninterrupted(run: Run) -> Run:
    """The run again, from its beginning to its champion; known ones are remembered."""
    began = run.began
    request = replace(
        began.request, cases=CASES, deploy=False, population_size=began.config.population_size,
        mutation_rate=began.config.mutation_rate, algorithm=began.config.algorithm, islands=len(began.islands),
        tasks=began.config.tasks, seed=began.seed,
    )  # fmt: skip
    key = encode([request, began.release.genome, began.config, run.changes], "msgpack")
    if key not in _known:
        with tempfile.TemporaryDirectory() as folder:
            async with anyio.create_task_group() as group:
                world = EvolverWorld(Path(folder), group)
                await world.begin(began.release.genome)
                await world.start("one")
                await world.ask(_settings(began.config))
                world.ground.let(0)
                await world.ask(request)
                _known[key] = await _to_its_end(world, run)
                await world.end()
    return _known[key]


async def _to_its_end(world: EvolverWorld, run: Run) -> Run:
    for finished, config in run.changes:
        world.ground.let(math.inf, most_bred=finished)
        await world.until(partial(_bred, world, finished))
        await world.ask(_settings(config))
    world.ground.let(math.inf)
    await world.until(partial(_over, world, run.id))
    return next(one for one in runs_of(entry for _, entry in await world.log()) if one.id == run.id)


async def _bred(world: EvolverWorld, finished: int) -> bool:
    await anyio.lowlevel.checkpoint()
    return world.ground.bred >= finished


async def _over(world: EvolverWorld, id_: str) -> bool:
    told: Progress = await world.ask(GetProgress(id=id_))
    return told.evolution.state in FINAL


def _settings(config: PopulationConfig) -> ConfigurePopulation:
    return ConfigurePopulation(
        population_size=config.population_size, mutation_rate=config.mutation_rate, migrate_every=config.migrate_every
    )
