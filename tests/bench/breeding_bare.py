"""The bare loop: the same genomes and cases put to a sandbox in this process, directly. ``breeding_bare FOLDER``."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import msgspec

from actors.execution.genome import complete_genome, flatten_genome
from chimera.clock import SystemClock
from chimera.interpreter import calm
from chimera.sandbox import GuestResult, GuestSpec, SandboxSettings
from chimera.sandbox.local import LocalSandbox
from edge.guests import shipped_guest
from subjects.agent import Genes
from tests.bench.breeding_load import MANIFEST, RUNGS, genome, tweets
from tests.bench.child import obey, run

Measure = Callable[[GuestSpec], Awaitable[float]]


async def main() -> None:
    """Sandboxes with one and with two workers, then obey."""
    cases = tweets().cases
    payloads = [msgspec.json.encode(case.input) for case in cases]
    scores = [case.score or 0.0 for case in cases]
    module = shipped_guest("sentiment").module

    def error(said: list[Any], begin: int) -> float:
        return sum(abs(one - scores[begin + place]) for place, one in enumerate(said))

    async with (
        LocalSandbox(SandboxSettings(Path(sys.argv[1]), workers=1), SystemClock()) as one,
        LocalSandbox(SandboxSettings(Path(sys.argv[1]), workers=2), SystemClock()) as two,
    ):
        digest = (await one.check(module)).digest
        boxes = {1: one, 2: two}
        live = [await box.load(spec_of(digest, {})) for box in boxes.values()]
        calm()

        async def evaluate(workers: int, way: str, genomes: int) -> dict[str, float]:
            box, todo = boxes[workers], [spec_of(digest, genome()) for _ in range(genomes)]

            async def swept(spec: GuestSpec) -> float:
                total = 0.0
                for rung in RUNGS:
                    part = payloads[rung.start : rung.stop]
                    found = await box.sweep(spec, "predict", part, ["compound"], timeout_s=30.0)
                    total += error(found.outputs[0], rung.start)
                return total

            async def loaded(spec: GuestSpec) -> float:
                guest, total = await box.load(spec), 0.0
                for rung in RUNGS:
                    outcomes = await guest.run("predict", payloads[rung.start : rung.stop], timeout_s=30.0)
                    answers = [msgspec.json.decode(one.output) for one in outcomes if isinstance(one, GuestResult)]
                    total += error([answer["compound"] for answer in answers], rung.start)
                await guest.close()
                return total

            began = time.perf_counter()
            errors = await all_of(todo, swept if way == "sweep" else loaded, workers)
            took = time.perf_counter() - began
            assert len(errors) == genomes
            return {"per_s": genomes / took, "genomes": genomes}

        await obey({"evaluate": evaluate})
        for guest in live:
            await guest.close()


async def all_of(todo: list[GuestSpec], measure: Measure, workers: int) -> list[float]:
    """Each genome measured, one per worker at a time and one waiting."""
    waiting, errors = iter(todo), list[float]()

    async def lane() -> None:
        for spec in waiting:
            errors.append(await measure(spec))

    async with anyio.create_task_group() as group:
        for _ in range(workers + 1):
            group.start_soon(lane)
    return errors


def spec_of(digest: str, genes: Genes) -> GuestSpec:
    """A configured guest."""
    genes = complete_genome(MANIFEST.genome, genes)
    return GuestSpec(
        "sentiment", digest, flatten_genome(MANIFEST.genome, genes), limits=MANIFEST.limits, reuse=MANIFEST.reuse
    )


if __name__ == "__main__":
    run(main)
