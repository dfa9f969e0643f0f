"""The bearer token: who changes something must show it where it is asked for."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support.running import RunningSystem

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    """A system that asks for the token on loopback too."""
    running = RunningSystem(tmp_path_factory.mktemp("guarded"), ["--set", "http.token=always"])
    try:
        running.start()
        yield running
    finally:
        running.close()


def change(system: RunningSystem, **headers: str) -> httpx.Response:
    """A call that changes something."""
    body = {"batch_size": 9, "batch_timeout_ms": 2}
    return system.http.post("/api/config/batching", json=body, headers=headers)


def failures(system: RunningSystem) -> float:
    """``chimera_auth_failures_total``, all reasons together."""
    lines = system.http.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("chimera_auth_failures_total"))


def test_changes_need_the_token(guarded: RunningSystem):
    """Without it and with a wrong one 401 with a challenge, and counted; with the one in the data folder it works."""
    before = failures(guarded)
    bare, wrong = change(guarded), change(guarded, Authorization="Bearer nonsense")
    assert [(answer.status_code, answer.json()["code"]) for answer in (bare, wrong)] == [(401, "unauthorized")] * 2
    assert bare.headers["www-authenticate"].startswith("Bearer")
    assert "secrets/http-token" in bare.json()["hint"]
    assert failures(guarded) == before + 2
    path = guarded.data / "secrets" / "http-token"
    assert path.stat().st_mode & 0o077 == 0
    assert change(guarded, Authorization=f"Bearer {path.read_text().strip()}").status_code == 200
    assert failures(guarded) == before + 2


def test_what_is_safe_or_open_needs_none(guarded: RunningSystem):
    """Reading and asking an agent go without a token."""
    assert guarded.http.get("/health/agents").status_code == 200
    assert guarded.predict("open", "fine").status_code == 200


def test_failures_stand_in_the_event_log(guarded: RunningSystem):
    """A refused change is a security event."""
    change(guarded)
    done = guarded.command("logs", "--event", "security-event", "--json")
    assert "batching" in done.stdout


def test_loopback_needs_none_by_default(system: RunningSystem):
    """On loopback the default asks for no token."""
    assert change(system).status_code == 200
