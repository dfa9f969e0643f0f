"""``chimera autonomous``: let an agent evolve by itself within a budget, or not; and see why it did what it did."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

from chimera.errors import BadMessageError
from subjects.autonomous import AUTONOMOUS, AUTONOMY

from .command import Command, Exit
from .generations import left
from .metric import objective_of
from .output import emit_json, note, table
from .settings import load_settings

_ACTIONS = ("show", "on", "off")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=_ACTIONS, default="show", help="default: show")
    parser.add_argument("agent", nargs="?", default="", help="the agent; show: empty = all")
    parser.add_argument("--generations", type=int, metavar="N", help="on: of each evolution (default: 20)")
    parser.add_argument("--population", type=int, metavar="N", help="on: genomes of a generation (default: 20)")
    parser.add_argument(
        "--objective", action="append", default=[], metavar="NAME[:KEY=VALUE]", help="on: as in chimera evolve"
    )
    parser.add_argument(
        "--watch-s", type=float, metavar="N", help="on: longest pause without drift; 0 = only drift counts"
    )
    parser.add_argument("--rest-s", type=float, metavar="N", help="on: pause after a cycle without a promotion")
    parser.add_argument("--no-drift", action="store_true", help="on: do not react to drift")
    parser.add_argument("--cycles", type=int, metavar="N", help="on: most evolutions")
    parser.add_argument("--promotions", type=int, metavar="N", help="on: most changes of the live release")
    parser.add_argument("--harmed", type=int, metavar="N", help="on: most live messages that candidates answer worse")
    parser.add_argument("--live-share", type=float, metavar="P", help="on: most of the traffic that a candidate gets")
    parser.add_argument("--cpu-s", type=float, metavar="N", help="on: most CPU time of genomes on trial")
    parser.add_argument("--seconds", type=float, metavar="N", help="on: how long")
    parser.add_argument("--steps", type=int, default=20, metavar="N", help="show: most steps (default: 20)")
    parser.add_argument("--by", default="operator", help="who decides")
    parser.add_argument("--note", default="", help="kept with the decision")


def _run(options: argparse.Namespace) -> int:
    from .client import with_client

    if options.action != "show" and not options.agent:
        raise BadMessageError(f"chimera autonomous {options.action} needs an agent's name")
    settings = load_settings(options).settings
    operation, body = (AUTONOMY, _question(options)) if options.action == "show" else (AUTONOMOUS, _switch(options))
    answer = with_client(settings, lambda client: client.ask(operation, body))
    if options.json:
        emit_json(answer)
        return Exit.DONE
    views = answer["agents"] if options.action == "show" else [answer]
    for view in views:
        _show(view, options.steps)
    if not views:
        note("no agent was ever autonomous; switch it on with: chimera autonomous on AGENT")
    return Exit.DONE


def _question(options: argparse.Namespace) -> dict[str, Any]:
    return {"agent": options.agent, "steps": options.steps}


def _switch(options: argparse.Namespace) -> dict[str, Any]:
    body: dict[str, Any] = {
        "agent": options.agent, "on": options.action == "on", "by": options.by, "note": options.note,
    }  # fmt: skip
    if options.action == "off":
        return body
    evolution = {"generations": options.generations or 20, "population_size": options.population or 20}
    if options.objective:
        evolution["objectives"] = [objective_of(text) for text in options.objective]
    limits = {
        name: getattr(options, name) for name in ("cycles", "promotions", "harmed", "live_share", "cpu_s", "seconds")
    }
    pauses = {"watch_s": options.watch_s, "rest_s": options.rest_s}
    return {
        **body, "evolution": evolution, "heed_drift": not options.no_drift,
        "budget": {name: value for name, value in limits.items() if value is not None},
        **{name: value for name, value in pauses.items() if value is not None},
    }  # fmt: skip


def _show(view: dict[str, Any], steps: int) -> None:
    budget = view["budget"]
    state = (
        f"on since {_moment(view['since'])}"
        if view["on"] and view["since"] is not None
        else "on"
        if view["on"]
        else "off"
    )
    table(("agent", view["agent"]), [
        ("autonomous", state), ("phase", f"{view['phase']}: {view['reason']}" if view["reason"] else view["phase"]),
        ("cycle", f"{view['cycle']} of {budget['cycles']}"),
        ("promotions", f"{view['promotions']} of {budget['promotions']}"),
        ("CPU", f"{left(view['used_cpu_s'])} of {left(budget['cpu_s'])}"),
        ("harmed messages", f"{view['used_harmed']} of {budget['harmed']}"),
        ("evolution", view["evolution"] or None), ("experiment", view["experiment"] or None),
        ("drift", view["drift"] or "none"),
    ])  # fmt: skip
    if view["steps"] and steps:
        print()
        table(("step", "at", "cycle", "phase", "why"), [
            (one["number"], _moment(one["at"]), one["cycle"], one["phase"], one["reason"])
            for one in view["steps"][:steps]
        ])  # fmt: skip


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


COMMAND = Command(
    "autonomous", "let an agent evolve by itself within a budget, or stop it", "chimera autonomous on sentiment",
    _arguments, _run,
)  # fmt: skip
