"""Releases change while clients hammer the agent: no request fails, and every answer fits the release it names."""

from __future__ import annotations

import base64
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from edge.guests import corrupted, shipped_guest
from tests.support.running import RunningSystem
from tests.support.traffic import Call, Traffic

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

TEXT = "This is GREAT stuff"
VALENCE_OF_GREAT, ALPHA, CAPITALS = 3.1, 15.0, 0.733
KEYS = 400
SHARE = 0.1


def compound(capitals_increment: float) -> float:
    """The score of ``TEXT`` by the formula of Hutto and Gilbert 2014: s / sqrt(s * s + alpha), to four digits."""
    valence = VALENCE_OF_GREAT + capitals_increment
    return round(valence / (valence**2 + ALPHA) ** 0.5, 4)


def shout(number: int) -> dict[str, Any]:
    """The same text again and again, under one of ``KEYS`` keys."""
    return {"input": {"text": TEXT}, "key": f"key-{number % KEYS}"}


def other_module() -> bytes:
    """The shipped module with other bytes that mean the same: a custom section is appended."""
    name = b"test-build"
    section = bytes([len(name)]) + name + b"2"
    return shipped_guest("sentiment").module + bytes([0, len(section)]) + section


async def post(system: RunningSystem, path: str, body: dict[str, Any]) -> httpx.Response:
    """POST to the sentiment agent, in a thread, so that the clients go on."""
    url = f"{system.base}/api/agents/sentiment/{path}"
    return await anyio.to_thread.run_sync(partial(httpx.post, url, json=body, timeout=40, trust_env=False))


async def change(system: RunningSystem, path: str, **body: Any) -> dict[str, Any]:
    """POST what must work; the view."""
    response = await post(system, path, body)
    assert response.status_code == 200, response.text
    return response.json()


def check_answers(calls: Sequence[Call], table: dict[int, float]) -> None:
    """Each answer is what the release that it names says."""
    for call in calls:
        score, release = call.answer["output"]["compound"], call.answer["release"]
        assert score == pytest.approx(table[release], abs=1e-4), f"release {release} answered {score}"


def between(calls: Sequence[Call], begin: float, end: float) -> list[Call]:
    """The calls that were asked and answered between two moments."""
    return [call for call in calls if begin < call.began and call.ended < end]


async def test_deploys_under_load_fail_no_request(own_system: RunningSystem, capsys: pytest.CaptureFixture[str]):
    """New genome, new module, candidate, promotion and rollback: nobody notices but by the answers' release."""
    system, table = own_system, {1: compound(CAPITALS), 2: compound(1.5), 3: compound(1.5), 4: compound(2.5)}
    assert len({table[1], table[2], table[4]}) == 3
    module = base64.b64encode(other_module()).decode()
    alone: list[tuple[float, float, int]] = []
    async with Traffic(system, http=3, nats=3, make=shout) as traffic:

        async def serves(release: int) -> None:
            begin = time.monotonic()
            await traffic.flow(40, "http")
            await traffic.flow(40, "nats")
            alone.append((begin, time.monotonic(), release))

        await serves(1)
        assert (await change(system, "deploy", genome={"capitals_increment": 1.5}))["live"] == 2
        await serves(2)
        assert (await change(system, "deploy", module=module))["live"] == 3
        await serves(3)
        view = await change(system, "deploy", genome={"capitals_increment": 2.5}, share=SHARE)
        assert (view["live"], view["candidate"]) == (3, {"release": 4, "share": SHARE})
        begin = time.monotonic()
        await traffic.flow(3 * KEYS, timeout_s=40)
        end = time.monotonic()
        view = await change(system, "deploy", release=4)
        assert (view["live"], view["candidate"], view["previous"]) == (4, None, 3)
        await serves(4)
        view = await change(system, "rollback")
        assert (view["live"], view["candidate"]) == (3, None)
        await serves(3)
    served: dict[str, set[int]] = defaultdict(set)
    for call in between(traffic.calls, begin, end):
        served[call.body["key"]].add(call.answer["release"])
    on_trial = sum(releases == {4} for releases in served.values())
    with capsys.disabled():
        print(f"\n  deploys under load: {traffic.summary()}; {SHARE:.0%} of traffic: {on_trial} of {len(served)} keys")
    assert traffic.bad() == []
    check_answers(traffic.calls, table)
    for first, last, release in alone:
        assert {call.answer["release"] for call in between(traffic.calls, first, last)} == {release}
    assert len(served) == KEYS
    assert all(releases in ({3}, {4}) for releases in served.values()), "a key changed sides while the share stood"
    spread = 4 * (KEYS * SHARE * (1 - SHARE)) ** 0.5
    assert abs(on_trial - KEYS * SHARE) <= spread


async def test_concurrent_and_bad_deploys_under_load(own_system: RunningSystem, capsys: pytest.CaptureFixture[str]):
    """Of deploys at once each is done or refused as a conflict, never half; bad ones change nothing; nobody notices."""
    system, results = own_system, list[httpx.Response]()

    async def deploy(increment: float) -> None:
        results.append(await post(system, "deploy", {"genome": {"capitals_increment": increment}}))

    async with Traffic(system, make=shout) as traffic:
        async with anyio.create_task_group() as group:
            for number in range(6):
                group.start_soon(deploy, 1 + number / 10)
        await traffic.flow(60)
        before = system.http.get("/api/agents/sentiment").json()
        broken = base64.b64encode(corrupted(shipped_guest("sentiment").module)["flipped-opcodes"]).decode()
        bad = [
            await post(system, "deploy", {"module": broken}),
            await post(system, "deploy", {"genome": {"capitals_increment": 99.0}}),
            await post(system, "deploy", {"genome": {"no_such_gene": 1.0}}),
            await post(system, "deploy", {"release": 999}),
        ]
        await traffic.flow(60)
    with capsys.disabled():
        print(f"\n  six deploys at once: {[response.status_code for response in results]}; {traffic.summary()}")
    done = [response.json() for response in results if response.status_code == 200]
    refused = [response.json()["code"] for response in results if response.status_code != 200]
    assert done
    assert set(refused) <= {"fenced", "conflict"}
    assert [(one.status_code, one.json()["code"]) for one in bad] == [
        (422, "bad-module"), (422, "bad-genome"), (422, "bad-genome"), (404, "no-release")
    ]  # fmt: skip
    assert system.http.get("/api/agents/sentiment").json() == before
    numbers = [view["live"] for view in done]
    assert len(set(numbers)) == len(numbers), "two deploys were given the same release"
    assert before["live"] in numbers
    assert set(numbers) <= {release["number"] for release in before["releases"]}
    table = {one["number"]: compound(one["genome"]["capitals_increment"]) for one in before["releases"]}
    assert traffic.bad() == []
    check_answers(traffic.calls, table)
