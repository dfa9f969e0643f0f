"""``chimera performance``: the runbook's performance_check.sh: measures each target now and says pass or fail."""

from __future__ import annotations

import argparse
import statistics
import uuid
from dataclasses import asdict, dataclass
from typing import Any

from chimera.errors import NoCapacityError

from .command import Command, Exit
from .output import emit_json, table
from .ports import Answered, base_urls, fetch, need_node
from .settings import load_settings

TEXT = "I love this, it works great!"


@dataclass(frozen=True, slots=True)
class Measured:
    """One target of the runbook. ``passed`` is ``None`` where the layer that could tell does not run."""

    what: str
    target: str
    measured: str
    passed: bool | None


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, default=200, metavar="N", help="tasks to run (default 200)")


def _run(options: argparse.Namespace) -> int:
    settings = load_settings(options).settings
    urls = base_urls(settings)
    health = {role: fetch(url, "/health") for role, url in urls.items()}
    need_node(health)
    base = urls["agent"]
    decision = [_decision(settings)] if health.get("refinement") else []
    evolution = [_evolution(urls["evolution"])] if health.get("evolution") else []
    lending = [_lending(settings)] if health.get("resources") else []
    rows = [
        _execution(base, options.requests), *decision, *evolution, *_absent(health), _availability(base),
        _cross_layer(settings), *lending,
    ]  # fmt: skip
    usage = _usage(base)
    if options.json:
        emit_json({"targets": [asdict(row) for row in rows], "responses_ms": _responses(health), "usage": usage})
    else:
        _show(rows, health, usage)
    return Exit.FAILED if any(row.passed is False for row in rows) else Exit.DONE


def _show(rows: list[Measured], health: dict[str, Answered], usage: dict[str, Any]) -> None:
    words = {True: "pass", False: "FAIL", None: "no figure"}
    table(("target", "wanted", "measured now", "result"), [
        (row.what, row.target, row.measured, words[row.passed]) for row in rows
    ])  # fmt: skip
    print()
    table(("service", "/health ms"), list(_responses(health).items()))
    print()
    table(("resource", "now"), list(usage.items()))


def _execution(base: str, requests: int) -> Measured:
    answers = [_predict(base) for _ in range(requests)]
    good = [answer.seconds for answer in answers if answer.status == 200]  # noqa: PLR2004 - HTTP's OK
    what, target = f"execution p95 over {requests} tasks, one at a time", "< 500 ms"
    if len(good) < max(2, requests // 2):
        failure = next((answer for answer in answers if answer.status != 200), None)  # noqa: PLR2004 - HTTP's OK
        return Measured(what, target, f"{len(good)} of {requests} answered: {failure.body if failure else ''}", False)
    cuts = statistics.quantiles(good, n=100)
    text = f"p50 {cuts[49] * 1000:.1f} ms, p95 {cuts[94] * 1000:.1f} ms, {requests - len(good)} failed"
    return Measured(what, target, text, cuts[94] < 0.5 and len(good) == requests)  # noqa: PLR2004 - the target


def _predict(base: str) -> Answered:
    body = {"job_id": f"performance-{uuid.uuid4().hex}", "agent": "sentiment", "input": {"text": TEXT}}
    return fetch(base, "/predict", body=body)


def _absent(health: dict[str, Answered]) -> list[Measured]:
    layers = {"refinement": ("optimization decision", "< 100 ms"), "evolution": ("evolution", "< 100 generations")}
    return [
        Measured(what, target, "the layer is not running here", None)
        for role, (what, target) in layers.items()
        if role not in health
    ]


def _decision(settings: Any) -> Measured:
    """How long a proposal takes, once the libraries behind it are loaded."""
    from subjects.optimizer import PROPOSE

    times = _ask_often(settings, PROPOSE, {"agent": "sentiment"}, 6)[1:]
    median, worst = statistics.median(times), max(times)
    text = f"median {median * 1000:.1f} ms, worst {worst * 1000:.1f} ms"
    return Measured("optimization decision", "< 100 ms", text, median < 0.1)  # noqa: PLR2004 - the target


def _evolution(base: str) -> Measured:
    """In which generation the newest evolution came within 1 % of the best that it found."""
    answer = fetch(base, "/api/evolution/progress?limit=100000")
    best = [one["best"] for one in answer.member("history", []) if one["best"] is not None]
    what, target = "evolution to within 1 % of its best", "< 100 generations"
    if not best:
        return Measured(what, target, "nothing was evolved yet", None)
    enough = max(best) - 0.01 * abs(max(best))
    needed = next(number for number, value in enumerate(best, 1) if value >= enough)
    shown = answer.member("evolution", {})
    text = f"generation {needed} of {len(best)} ({shown.get('algorithm')}, {shown.get('id')})"
    return Measured(what, target, text, needed < 100)  # noqa: PLR2004 - the target


def _availability(base: str) -> Measured:
    """Tasks that got an answer since the node started, the agent's own refusals included: from the node's counters."""
    answer = fetch(base, "/health/agents")
    agents: list[dict[str, Any]] = answer.member("agents", [])
    tasks, errors = sum(one["tasks_total"] for one in agents), sum(one["errors_total"] for one in agents)
    what, target = "availability since start", ">= 99.9 %"
    if not tasks:
        return Measured(what, target, "no task yet", None)
    ratio = 1 - errors / tasks
    return Measured(what, target, f"{ratio:.3%} of {tasks} tasks", ratio >= 0.999)  # noqa: PLR2004 - the target


def _cross_layer(settings: Any) -> Measured:
    """A round trip from here through NATS to the node layer and back."""
    from subjects.node import STATUS

    times = _ask_often(settings, STATUS, {"actors": 0}, 20)
    median, worst = statistics.median(times), max(times)
    text = f"median {median * 1000:.1f} ms, worst {worst * 1000:.1f} ms over NATS"
    return Measured("cross-layer round trip", "< 50 ms", text, median < 0.05)  # noqa: PLR2004 - the target


def _lending(settings: Any) -> Measured:
    """A thousandth of a processor, leased and given back."""
    from subjects.lease import ALLOCATE, RELEASE

    body = {"need": {"kind": "cpu", "milli": 1}, "layer": "performance", "ttl_s": 5}
    try:
        times = _ask_often(settings, ALLOCATE, body, 20, undo=RELEASE)
    except NoCapacityError as error:
        return Measured("lease of a processor share", "< 50 ms", error.detail, None)
    median, worst = statistics.median(times), max(times)
    text = f"median {median * 1000:.1f} ms, worst {worst * 1000:.1f} ms, stored"
    return Measured("lease of a processor share", "< 50 ms", text, median < 0.05)  # noqa: PLR2004 - the target


def _ask_often(settings: Any, operation: Any, body: dict[str, Any], count: int, undo: Any = None) -> list[float]:
    """Seconds of each of several requests, one after the other; what each gave is undone by its id."""
    from .client import Client, with_client

    async def measure(client: Client) -> list[float]:
        import time

        times: list[float] = []
        for _ in range(count):
            started = time.perf_counter()
            answer = await client.ask(operation, body)
            times.append(time.perf_counter() - started)
            if undo is not None:
                await client.ask(undo, {"id": answer["id"]})
        return times

    return with_client(settings, measure)


def _responses(health: dict[str, Answered]) -> dict[str, float | None]:
    return {role: round(answer.seconds * 1000, 2) if answer.status else None for role, answer in health.items()}


def _usage(base: str) -> dict[str, Any]:
    answer = fetch(base, "/metrics")
    wanted = ("chimera_process_resident_memory_bytes", "chimera_process_cpu_seconds_total", "chimera_process_open_fds")
    found: dict[str, Any] = {}
    for line in str(answer.body).splitlines():
        name = line.partition("{")[0].partition(" ")[0]
        if name in wanted:
            found[name] = float(line.rpartition(" ")[2])
    return found


COMMAND = Command("performance", "measure the runbook's targets: pass or fail", "chimera performance", _arguments, _run)
