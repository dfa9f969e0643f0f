"""How the execution layer is shown: one row per agent, and its health, computed from what runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from chimera import __version__
from chimera.sandbox.contract import SandboxStatistics
from subjects.agent import AgentHealth, BreakerState, Candidate, Health

from .answers import breaker_state
from .breaker import Breaker
from .outcomes import Outbox
from .runtime import AgentRuntime

_NO_BREAKER = BreakerState(state="closed", failures=0)


def agent_row(runtime: AgentRuntime, workers: int, now: float) -> AgentHealth:
    """One agent as it runs here. ``instances`` counts its loaded guests, one per worker (one in all if inline)."""
    figures, trial, previous = runtime.tasks.figures(), runtime.candidate, runtime.previous
    live = runtime.live
    return AgentHealth(
        name=runtime.name, release=live.release.number if live else 0,
        candidate=Candidate(release=trial.release.number, share=runtime.share) if trial else None,
        previous=previous.release.number if previous else None,
        instances=sum(workers if slot.guest.spec.placement == "worker" else 1 for slot in runtime.slots),
        in_flight=runtime.in_flight, queued=runtime.queued, tasks_total=figures.tasks_total,
        errors_total=figures.errors_total, window=figures.window, p50_ms=_ms(figures.p50_s), p95_ms=_ms(figures.p95_s),
        error_rate=figures.error_rate, accuracy=runtime.accuracy.share,
        breaker=breaker_state(live.breaker, now) if live else _NO_BREAKER,
    )  # fmt: skip


def layer_health(
    *,
    node: str,
    uptime_s: float,
    now: float,
    runtimes: list[AgentRuntime],
    sandbox: SandboxStatistics,
    bus_state: str,
    store: str,
    outboxes: Mapping[str, Outbox],
    unreadable: Mapping[str, str],
) -> Health:
    """Status of the layer: ``fail`` if nothing can be served, ``warn`` if something can't, and each check by name."""
    checks = {f"agent:{runtime.name}": _agent_check(runtime, now) for runtime in runtimes}
    checks |= {f"book:{key}": f"warn: {text}" for key, text in unreadable.items()}
    checks |= {f"outbox:{name}": _outbox_check(outbox) for name, outbox in outboxes.items()}
    checks["sandbox"] = "ok" if sandbox.workers else "fail: no worker is running"
    checks["bus"] = "ok" if bus_state == "connected" else f"warn: {bus_state}"
    checks["store"] = "ok" if store == "ok" else f"warn: {store}"
    return Health(
        status=_worst(checks), node=node, version=__version__, uptime_s=uptime_s,
        agents=[runtime.name for runtime in runtimes if runtime.live is not None],
        in_flight=sum(runtime.in_flight for runtime in runtimes), workers=sandbox.workers, checks=checks,
    )  # fmt: skip


def _worst(checks: Mapping[str, str]) -> Literal["pass", "warn", "fail"]:
    if any(text.startswith("fail") for text in checks.values()):
        return "fail"
    return "warn" if any(text.startswith("warn") for text in checks.values()) else "pass"


def _agent_check(runtime: AgentRuntime, now: float) -> str:
    if runtime.problem:
        return f"warn: {runtime.problem}"
    for what, slot in (("live", runtime.live), ("candidate", runtime.candidate)):
        if slot is not None and _is_open(slot.breaker, now):
            return f"warn: the breaker of the {what} release {slot.release.number} is {slot.breaker.state(now)}"
    return "ok"


def _is_open(breaker: Breaker, now: float) -> bool:
    return breaker.state(now) != "closed"


def _outbox_check(outbox: Outbox) -> str:
    if outbox.lost:
        return f"warn: {outbox.lost} lost, {len(outbox)} waiting"
    return f"warn: {outbox.trouble}; {len(outbox)} waiting" if outbox.trouble else "ok"


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3
