"""A champion goes live through the gate under traffic, the way back is exact, and autonomous mode meets drift."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

from chimera.cli.dataset import Labelled
from chimera.reference import cached_archive, cached_path
from tests.acceptance.conftest import MakeSystem
from tests.support.evolving import POOR, Evolver, deploy, live_genome, over, texts
from tests.support.running import RunningSystem

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        cached_archive() is None,
        reason=f"the rated texts are not at {cached_path()}; `just guests --check` fetches them",
    ),
]

GENES = ["normalisation_alpha", "negation_scalar", "booster_increment", "capitals_increment", "but_before", "but_after",
         "exclamation_increment"]  # fmt: skip
ERROR: dict[str, Any] = {"metric": {"name": "score_error", "kind": "mean", "better": "lower", "low": 0.0, "high": 2.0}}
PLAN: dict[str, Any] = {"ramp": [0.2, 0.5], "step_messages": 40, "min_messages": 60, "max_messages": 1500, "max_s": 90}
LANES, PAUSE_S = 4, 0.04


class Crowd:
    """Users who send texts of one kind or another, say how positive each one was, and count what went wrong."""

    def __init__(self, system: RunningSystem, kind: Sequence[Labelled]) -> None:
        self._system, self.kind = system, kind
        self._numbers = itertools.count()
        self._rng = random.Random(4)  # noqa: S311 - a simulation
        self.judged = 0
        self.failures: list[str] = []

    @asynccontextmanager
    async def talking(self) -> AsyncGenerator[None]:
        """Live traffic for as long as it is entered."""
        async with anyio.create_task_group() as group:
            for _ in range(LANES):
                group.start_soon(self._lane)
            yield
            group.cancel_scope.cancel()

    async def until(self, judged: int) -> None:
        """Wait until so many answers were judged."""
        with anyio.fail_after(180):
            while self.judged < judged:  # noqa: ASYNC110 - the lanes count, nobody notifies
                await anyio.sleep(0.05)

    async def _lane(self) -> None:
        async with httpx.AsyncClient(timeout=20.0, trust_env=False) as client:
            while True:
                await self._one(client, f"crowd-{next(self._numbers)}", self._rng.choice(self.kind))
                if self.judged > 500:
                    await anyio.sleep(PAUSE_S)

    async def _one(self, client: httpx.AsyncClient, job: str, text: Labelled) -> None:
        body = {"job_id": job, "agent": "sentiment", "input": {"text": text.text}}
        answer = await client.post(f"{self._system.base}/predict", json=body)
        if not answer.is_success:
            self.failures.append(answer.text)
            return
        score = max(-1.0, min(1.0, text.rating / 2.5))
        said = await client.post(f"{self._system.base}/api/feedback", json={"job_id": job, "score": score})
        self.judged += said.is_success


async def answers(system: RunningSystem, probe: Sequence[Labelled]) -> list[bytes]:
    """What the live release says of a probe set, as it is sent."""
    found: list[bytes] = []
    async with httpx.AsyncClient(base_url=system.base, timeout=30.0, trust_env=False) as client:
        for text in probe:
            body = {"name": "sentiment", "inputs": [{"text": text.text}]}
            answer = await client.post("/api/agents/sentiment/evaluate", json=body)
            found.append(repr(answer.json()["results"][0]["output"]).encode())
    return found


async def test_a_champion_goes_live_under_traffic_and_the_way_back_is_exact(make_system: MakeSystem):
    """No request fails while a champion passes the gate; a rollback restores the old answers byte by byte."""
    system = make_system()
    await anyio.to_thread.run_sync(system.start)
    tweets = texts("tweets")
    probe, stream, evolver = tweets[:60], tweets[60:], Evolver(system)
    await deploy(system, POOR)
    before, crowd = await answers(system, probe), Crowd(system, stream)
    async with crowd.talking():
        await crowd.until(900)
        await evolver.post("/api/evolution/start", {
            "agent": "sentiment", "id": "live", "generations": 6, "population_size": 12, "objectives": [ERROR],
            "parameters": GENES, "plan": PLAN, "seed": 2, "stop_when_converged": False,
        })  # fmt: skip
        ended = await evolver.until("live", over, 400)
        assert "promoted" in ended["outcome"], ended
        assert ended["champion"]["id"].startswith("live-")
        live = await live_genome(system)
        assert {name: live[name] for name in GENES} == ended["champion"]["genes"]
        assert await answers(system, probe) != before
        preview = await evolver.get("/api/evolution/rollback?agent=sentiment")
        assert (preview["done"], preview["changes"]["but_after"]) == (False, POOR["but_after"])
        back = await evolver.post("/api/evolution/rollback", {"agent": "sentiment", "note": "the test wants it back"})
        assert (back["done"], back["live"]) == (True, preview["target"])
        assert await answers(system, probe) == before
    assert crowd.failures == []


async def test_autonomous_mode_meets_a_drifting_world(make_system: MakeSystem):
    """It improves a poor release, reacts when the texts change, keeps its bounds, and can explain every step."""
    system = make_system()
    await anyio.to_thread.run_sync(system.start)
    evolver, crowd = Evolver(system), Crowd(system, texts("tweets"))
    await deploy(system, POOR)
    budget = {"cycles": 6, "harmed": 400, "promotions": 5, "live_share": 0.5, "cpu_s": 600}
    async with crowd.talking():
        await crowd.until(900)
        begun = await evolver.post("/api/evolution/autonomous", {
            "agent": "sentiment", "on": True, "budget": budget, "watch_s": 0, "watch_least_s": 5, "rest_s": 2,
            "evolution": {
                "agent": "sentiment", "generations": 5, "population_size": 12, "objectives": [ERROR],
                "parameters": GENES, "plan": PLAN, "seed": 8, "stop_when_converged": False,
            },
        })  # fmt: skip
        assert begun["on"]
        watching = await until(evolver, lambda seen: seen["phase"] == "watch", 300)
        assert watching["promotions"] >= 1
        crowd.kind = texts("reviews")  # the world changes: longer, more sober texts
        drifted = await until(evolver, lambda seen: bool(seen["drift"]) and seen["cycle"] > watching["cycle"], 200)
        assert any(step["reason"].startswith("drift: ") for step in drifted["steps"])
        await until(
            evolver, lambda seen: seen["cycle"] > watching["cycle"] + 1 or seen["phase"] in ("watch", "rest"), 300
        )
        off = await evolver.post("/api/evolution/autonomous", {"agent": "sentiment", "on": False})
        assert (off["on"], off["phase"]) == (False, "off")
        assert off["used_harmed"] <= budget["harmed"]
        assert off["promotions"] <= budget["promotions"]
    assert crowd.failures == []
    assert [step["number"] for step in reversed(off["steps"])] == list(range(1, len(off["steps"]) + 1))
    assert all(step["reason"] for step in off["steps"])
    await explained(system, evolver)


async def until(evolver: Evolver, condition: Callable[[Any], bool], timeout_s: float) -> Any:
    """The first state of autonomous mode for which the condition holds."""
    seen: Any = None
    with anyio.move_on_after(timeout_s):
        while True:
            [seen] = (await evolver.get("/api/evolution/autonomous?agent=sentiment"))["agents"]
            if condition(seen):
                return seen
            await anyio.sleep(0.25)
    raise AssertionError(f"not within {timeout_s:g} s: {seen}")


async def explained(system: RunningSystem, evolver: Evolver) -> None:
    """Every experiment that the mode began can be recomputed, and kept its guardrails."""
    evolutions = (await evolver.get("/api/evolution?agent=sentiment"))["evolutions"]
    async with httpx.AsyncClient(
        base_url=system.announced["http"]["refinement"], timeout=30, trust_env=False
    ) as client:
        for one in evolutions:
            if one["experiment"]:
                told = (await client.get(f"/api/experiments/{one['experiment']}/explain")).json()
                assert told["exact"], told
