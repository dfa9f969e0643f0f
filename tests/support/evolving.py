"""Rated texts as labelled tasks, the evolver's port, and how well a release agrees with people."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import httpx

from chimera.cli.dataset import Labelled, load
from tests.support.running import RunningSystem

RANGE = {"tweets": 2.5, "reviews": 2.5}
"""Nearly all mean ratings lie between minus and plus this: that is the agent's -1 to 1."""

CORRELATION = {
    "metric": {"name": "score_error", "kind": "mean", "better": "lower", "low": 0.0, "high": 2.0},
    "statistic": "correlation",
}  # fmt: skip
POOR: dict[str, Any] = {
    "normalisation_alpha": 0.1, "negation_scalar": 0.9, "booster_increment": 2.0, "capitals_increment": 4.0,
    "but_before": 2.0, "but_after": 0.0, "exclamation_increment": 2.0,
}  # fmt: skip
"""Scores jump to either end, 'but' and negations count the wrong way round."""


def texts(name: str, seed: int = 1) -> list[Labelled]:
    """The texts of a set in a drawn order."""
    found = load(name)
    random.Random(seed).shuffle(found)  # noqa: S311 - the sets are not in random order
    return found


def cases(some: Sequence[Labelled], scale: float = 2.5) -> list[dict[str, Any]]:
    """Texts as labelled tasks."""
    return [{"input": {"text": one.text}, "score": max(-1.0, min(1.0, one.rating / scale))} for one in some]


class Evolver:
    """The evolver's port of a running system."""

    def __init__(self, system: RunningSystem) -> None:
        self._system = system

    async def get(self, path: str) -> Any:
        """A JSON answer."""
        return await self._send("GET", path)

    async def post(self, path: str, body: Any) -> Any:
        """A JSON answer to a JSON body."""
        return await self._send("POST", path, body)

    async def progress(self, id_: str) -> Any:
        """An evolution with its generations."""
        return await self.get(f"/api/evolution/progress?id={id_}")

    async def until(self, id_: str, condition: Callable[[dict[str, Any]], bool], timeout_s: float) -> Any:
        """The first state of an evolution for which the condition holds."""
        found: Any = None
        with anyio.move_on_after(timeout_s):
            while not condition(found := (await self.progress(id_))["evolution"]):  # noqa: ASYNC110 - it tells only who asks
                await anyio.sleep(0.25)
            return found
        raise AssertionError(f"not within {timeout_s:g} s: {found}")

    async def _send(self, method: str, path: str, body: Any = None) -> Any:
        async with httpx.AsyncClient(timeout=60.0, trust_env=False) as client:
            answer = await client.request(method, self._system.announced["http"]["evolution"] + path, json=body)
            assert answer.is_success, answer.text
            return answer.json()


def over(evolution: dict[str, Any]) -> bool:
    """Whether an evolution has ended."""
    return evolution["state"] not in ("running", "paused")


async def scores(
    system: RunningSystem, some: Sequence[Labelled], genome: dict[str, Any] | None = None, release: int | None = None
) -> list[float]:
    """What a release says of texts, with these genes instead of its own, beside live traffic."""
    found: list[float] = []
    async with httpx.AsyncClient(base_url=system.base, timeout=60.0, trust_env=False) as client:
        for begin in range(0, len(some), 500):
            body: dict[str, Any] = {
                "name": "sentiment", "inputs": [{"text": one.text} for one in some[begin : begin + 500]],
                "genome": genome or {}, "release": release,
            }  # fmt: skip
            answer = await client.post("/api/agents/sentiment/evaluate", json=body)
            assert answer.is_success, answer.text
            found += [one["output"]["compound"] for one in answer.json()["results"]]
    return found


def agreement(said: Sequence[float], some: Sequence[Labelled]) -> float:
    """The correlation of scores with people's ratings."""
    return statistics.correlation(said, [one.rating for one in some])


def gain_low(better: Sequence[float], worse: Sequence[float], some: Sequence[Labelled], draws: int = 2000) -> float:
    """The 2.5 % quantile of the gain in correlation, by a paired bootstrap over the texts (Efron 1979)."""
    rng, count, gains = random.Random(5), len(some), list[float]()  # noqa: S311 - a simulation
    for _ in range(draws):
        rows = rng.choices(range(count), k=count)
        chosen = [some[row] for row in rows]
        gains.append(agreement([better[row] for row in rows], chosen) - agreement([worse[row] for row in rows], chosen))
    return sorted(gains)[int(0.025 * draws)]


async def live_genome(system: RunningSystem, number: int | None = None) -> dict[str, Any]:
    """The genome of a release, or of the live one."""
    async with httpx.AsyncClient(base_url=system.base, timeout=30.0, trust_env=False) as client:
        shown = (await client.get("/api/agents/sentiment")).json()
    wanted = shown["live"] if number is None else number
    return next(release["genome"] for release in shown["releases"] if release["number"] == wanted)


async def deploy(system: RunningSystem, genome: dict[str, Any]) -> None:
    """Make a genome live, past the gate, as a person may."""
    async with httpx.AsyncClient(base_url=system.base, timeout=30.0, trust_env=False) as client:
        done = await client.post("/api/agents/sentiment/deploy", json={"name": "sentiment", "genome": genome})
        assert done.is_success, done.text
