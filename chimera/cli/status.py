"""``chimera status``: what runs where, as the node itself says."""

from __future__ import annotations

import argparse
from typing import Any

from subjects.node import STATUS

from .command import Command, Exit
from .output import emit_json, table
from .settings import load_settings


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--actors", type=int, default=20, help="most actors to list (default 20)")


def _run(options: argparse.Namespace) -> int:
    from .client import with_client

    settings = load_settings(options).settings
    answer = with_client(settings, lambda client: client.ask(STATUS, {"actors": options.actors}))
    ready = all(state == "ok" for state in answer["ready"].values())
    if options.json:
        emit_json(answer)
    else:
        _show(answer)
    return Exit.DONE if ready else Exit.NOT_READY


def _show(answer: dict[str, Any]) -> None:
    checks = ", ".join(f"{name} {state}" for name, state in answer["ready"].items())
    print(f"{answer['node']}  {answer['version']}  profile {answer['profile']}  up {answer['uptime_s']:.0f} s")
    print(f"ready: {checks}")
    for alarm in answer.get("alarms", []):
        print(f"ALARM: {alarm}")
    print(f"durability: {answer['durability']}\n")
    rows = [(row["name"], row["state"], row["restarts"], row["where"]) for row in answer["services"]]
    table(("service", "state", "restarts", "where"), rows)
    print()
    actors = answer["snapshot"]["actors"]
    columns = ("actor", "state", "waiting", "running", "requests", "errors", "restarts")
    table(columns, [_actor(actor) for actor in actors])


def _actor(actor: dict[str, Any]) -> tuple[Any, ...]:
    verbs = actor["verbs"].values()
    requests, errors = sum(verb["requests"] for verb in verbs), sum(verb["errors"] for verb in verbs)
    waiting = f"{actor['waiting']}/{actor['capacity']}"
    return actor["address"], actor["state"], waiting, actor["running"], requests, errors, actor["restarts"]


COMMAND = Command("status", "what runs where, as the node says", "chimera status", _arguments, _run)
