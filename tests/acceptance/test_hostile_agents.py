"""Agents that break the rules: each ends in its own clear error, and the agents beside it notice nothing."""

from __future__ import annotations

import base64
from typing import Any

import anyio
import httpx
import msgspec
import pytest

from edge.guests import hostile_guests, shipped_guest
from tests.support.running import RunningSystem
from tests.support.traffic import Traffic

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(120)]

REFUSED = {
    "missing_export": ("bad-module", "chimera_alloc"),
    "unknown_import": ("bad-module", "env.system"),
    "slow_start": ("bad-module", "cpu limit of 200 ms"),
}
"""Guests that never become an agent: code and a word of the detail."""

FAILS = {
    "infinite_loop": ("agent-limit", "cpu limit of 200 ms"),
    "memory_bomb": ("agent-limit", "memory"),
    "huge_output": ("agent-limit", "its limit is 65536"),
    "trap": ("agent-trap", "unreachable"),
    "stack_overflow": ("agent-limit", "call stack"),
    "lying_pointer": ("agent-contract", ""),
    "lying_alloc": ("agent-contract", ""),
}
"""Guests that are registered: code and a word of the detail of every task they run."""

BOUND_S = 20.0
"""Far over every limit of these guests (200 ms of CPU, 2 s of wall time), and far under hanging."""


def registration(name: str) -> dict[str, Any]:
    """The body that registers a shipped guest."""
    guest = shipped_guest(name)
    return {"module": base64.b64encode(guest.module).decode(), "manifest": msgspec.to_builtins(guest.manifest)}


async def test_hostile_agents_end_in_their_own_errors_and_disturb_nobody(system: RunningSystem):
    """Every hostile guest is refused or fails as itself, while not one task of the sentiment agent fails beside it."""
    assert {guest.name for guest in hostile_guests()} == REFUSED.keys() | FAILS.keys()
    outcomes: dict[str, tuple[str, str]] = {}
    async with (
        Traffic(system) as traffic,
        httpx.AsyncClient(base_url=system.base, timeout=BOUND_S, trust_env=False) as client,
    ):
        await traffic.flow(20)
        for guest in hostile_guests():
            outcomes[guest.name] = await provoke(client, guest.name)
            await traffic.flow(20)
    assert traffic.bad() == []
    assert len(traffic.good()) >= 20 * (len(outcomes) + 1)
    wrong = {name: found for name, found in outcomes.items() if not fits(found, {**REFUSED, **FAILS}[name])}
    assert wrong == {}
    health = system.http.get("/health")
    assert health.status_code == 200
    assert health.json()["workers"] == 2


async def provoke(client: httpx.AsyncClient, name: str) -> tuple[str, str]:
    """Register a guest and run three of its tasks; gives code and detail, the same for all three."""
    with anyio.fail_after(BOUND_S):
        answer = await client.post("/api/agents", json=registration(name))
        if answer.status_code != 201:
            return answer.json()["code"], answer.json()["detail"]
    found: set[str] = set()
    for turn in range(3):
        with anyio.fail_after(BOUND_S):
            body = {"job_id": f"{name}-{turn}", "agent": name, "input": {"text": "go"}}
            answer = await client.post("/predict", json=body)
        assert answer.status_code == 502, answer.text
        found.add(answer.json()["code"])
    assert len(found) == 1, f"{name} failed in different ways: {found}"
    await client.delete(f"/api/agents/{name}")
    return answer.json()["code"], answer.json()["detail"]


def fits(found: tuple[str, str], wanted: tuple[str, str]) -> bool:
    """The code is the wanted one, and the detail has the word in it."""
    return found[0] == wanted[0] and wanted[1] in found[1].lower()


def test_a_corrupted_module_is_refused(system: RunningSystem):
    """A module with one byte of its header changed is refused before it is compiled."""
    body = registration("echo")
    module = bytearray(base64.b64decode(body["module"]))
    module[4] ^= 0xFF
    answer = system.http.post("/api/agents", json={**body, "module": base64.b64encode(module).decode()})
    assert (answer.status_code, answer.json()["code"]) == (422, "bad-module")


def test_a_guest_that_keeps_failing_is_shut_off_by_its_own_breaker(system: RunningSystem):
    """After enough failures the agent's tasks are refused at once with ``breaker-open``; sentiment goes on."""
    assert (
        system.http.post("/api/agents", json={**registration("trap"), "manifest": {"name": "tripper"}}).status_code
        == 201
    )
    codes = [system.predict(f"trip-{turn}", "x", agent="tripper").json()["code"] for turn in range(40)]
    assert codes[0] == "agent-trap"
    assert codes[-1] == "breaker-open"
    assert system.predict("beside", "fine").status_code == 200
    breaker = next(row for row in system.http.get("/health/agents").json()["agents"] if row["name"] == "tripper")[
        "breaker"
    ]
    assert breaker["state"] == "open"
    assert system.command("logs", "--event", "circuit-breaker", "--json").stdout.count("tripper") >= 1
