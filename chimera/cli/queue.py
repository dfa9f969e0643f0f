"""``chimera queue``: how the queue of durable tasks does; pause, resume, drain it."""

from __future__ import annotations

import argparse
from typing import Any

from .command import Command, Exit
from .output import emit_json, note, table
from .settings import load_settings


def _arguments(parser: argparse.ArgumentParser) -> None:
    verbs = ("show", "pause", "resume", "drain")
    parser.add_argument("verb", nargs="?", default="show", choices=verbs, help="what to do (default: show)")
    parser.add_argument("--agent", default="", help="pause or resume this agent only")


def _run(options: argparse.Namespace) -> int:
    from subjects.scheduler import DRAIN, PAUSE, QUEUE, RESUME

    from .client import with_client

    settings = load_settings(options).settings
    operation = {"show": QUEUE, "pause": PAUSE, "resume": RESUME, "drain": DRAIN}[options.verb]
    body = {"agent": options.agent} if options.verb in {"pause", "resume"} else {}
    answer = with_client(settings, lambda client: client.ask(operation, body))
    if options.json:
        emit_json(answer)
    elif options.verb == "show":
        _show(answer)
    else:
        note(_standing(answer))
    return Exit.DONE


def _show(view: dict[str, Any]) -> None:
    held = " (paused)" if view["paused"] else " (draining)" if view["draining"] else ""
    print(
        f"{view['depth']} queued{held}, {view['scheduled']} scheduled, {view['in_flight']} running, "
        f"{view['dead']} dead; oldest {view['oldest_age_s']:.1f} s; "
        f"in {view['in_per_s']:.1f}/s, out {view['out_per_s']:.1f}/s"
    )
    table(("priority", "queued"), view["by_priority"].items())
    columns = ("agent", "queued", "running", "limit", "oldest s", "in/s", "out/s", "run p95 ms", "workers wanted")
    table(columns, [
        (row["agent"] + (" (paused)" if row["paused"] else ""), row["depth"], row["in_flight"], row["limit"],
         row["oldest_age_s"], row["in_per_s"], row["out_per_s"], row["run_p95_ms"], row["desired_workers"])
        for row in view["agents"]
    ])  # fmt: skip


def _standing(answer: dict[str, Any]) -> str:
    if answer["draining"]:
        return f"draining: {answer['in_flight']} tasks are still running"
    held = "everything is paused" if answer["paused"] else "running"
    return f"{held}; paused agents: {', '.join(answer['agents']) or 'none'}"


COMMAND = Command("queue", "the queue of durable tasks; pause, resume, drain", "chimera queue", _arguments, _run)
