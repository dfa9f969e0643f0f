"""Diversity figures of a population of a thousand genomes with 32 genes of every kind, and those of its bounds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from actors.evolving.diversity import Columns, Kind, variety
from actors.evolving.estimates import Running
from tests.bench.figures import Benchmark, Figure, Rounds, Trial

GENOMES, GENES = 1_000, 32
_KINDS: tuple[Kind, ...] = ("real", "real", "integer", "choice")


def population(rng: np.random.Generator) -> tuple[Any, Any]:
    """Genomes of real, whole and chosen genes, a tenth of them copies, and their fitness."""
    genomes = rng.random((GENOMES, GENES))
    for column in range(GENES):
        if _KINDS[column % 4] != "real":
            genomes[:, column] = np.floor(genomes[:, column] * 8.0)
    genomes[-GENOMES // 10 :] = genomes[: GENOMES // 10]
    return genomes, rng.random(GENOMES)


def timed(work: Callable[[], object], times: int) -> Trial:
    """Milliseconds of CPU for one."""
    began = time.process_time()
    for _ in range(times):
        work()
    return {"ms": (time.process_time() - began) / times * 1e3}


def measure(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one argument of a benchmark
    """All figures of a population, and the same by pairs; bounds of a thousand estimates."""
    genomes, fitness = population(np.random.default_rng(1))
    kinds: list[Kind] = [_KINDS[column % 4] for column in range(GENES)]
    columns = Columns([0.0] * GENES, [1.0 if kind == "real" else 7.0 for kind in kinds], kinds)
    rng = np.random.default_rng(2)
    estimates = [Running().add((rng.random(32) < 0.7).astype(float).tolist()) for _ in range(GENOMES)]
    times, count = (20, 5) if quick else (100, 16)
    rounds = Rounds({
        "all": lambda: timed(lambda: variety(genomes, columns, fitness), times),
        "pairs": lambda: timed(lambda: by_pairs(genomes), 1),
        "bounds": lambda: timed(lambda: [one.upper_bound() for one in estimates], 3),
    }, count)  # fmt: skip
    return [
        rounds.figure(
            "every diversity figure of 1,000 x 32 genes", lambda trials: trials["all"]["ms"], 1.0, unit="ms", holds="<="
        ),
        rounds.figure(
            "  over mean distance by pairs (scipy)", lambda trials: trials["all"]["ms"] / trials["pairs"]["ms"],
            unit="x", holds="<=",
        ),
        rounds.figure("upper bounds of 1,000 estimates", lambda trials: trials["bounds"]["ms"], unit="ms", holds="<="),
    ]  # fmt: skip


def by_pairs(genomes: Any) -> float:
    """Mean distance over all pairs."""
    from scipy.spatial.distance import pdist  # pyright: ignore[reportUnknownVariableType] - scipy has no stubs

    return float(pdist(genomes).mean())


BENCHMARK = Benchmark("diversity", "how different the genomes of a population are", measure)
