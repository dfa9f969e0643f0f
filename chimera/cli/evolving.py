"""Evolutions between options, requests and what people read of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from chimera.errors import BadMessageError

from .cases import read_cases
from .generations import left, number, where
from .metric import objective_of
from .output import note, table

_PARTS = 4


def evolution_of(agent: str, options: argparse.Namespace) -> dict[str, Any]:
    """The request to start an evolution; what was not said is left to the evolver.

    Raises:
        BadMessageError: If an option can't be understood, or the data can't be read.
    """
    given: dict[str, Any] = {
        "population_size": options.population, "algorithm": options.algorithm, "mutation_rate": options.mutation_rate,
        "reach": options.reach,
        "islands": options.islands, "tasks": options.tasks,
    }  # fmt: skip
    budget = {"seconds": options.seconds, "cpu_s": options.cpu_s}
    body: dict[str, Any] = {
        "agent": agent, "id": options.id, "generations": options.generations, "seed": options.seed,
        "deploy": not options.no_deploy, "settings": options.limits, "note": options.note,
        "stop_when_converged": not options.keep_going,
        **{name: value for name, value in given.items() if value is not None},
    }  # fmt: skip
    if any(value is not None for value in budget.values()):
        body["budget"] = {name: value for name, value in budget.items() if value is not None}
    if options.objective:
        body["objectives"] = [objective_of(text) for text in options.objective]
    if options.parameters:
        body["parameters"] = [name.strip() for name in options.parameters.split(",") if name.strip()]
    if options.descriptor:
        body["descriptors"] = [_descriptor(text) for text in options.descriptor]
    if options.data:
        body["cases"] = read_cases(Path(options.data))
    return body


def _descriptor(text: str) -> dict[str, Any]:
    parts = text.split(":")
    try:
        if len(parts) == 1:
            return {"name": text}
        if len(parts) == _PARTS:
            return {"name": parts[0], "low": float(parts[1]), "high": float(parts[2]), "cells": int(parts[3])}
    except ValueError:
        pass
    raise BadMessageError(f"--descriptor {text}: write NAME:LOW:HIGH:CELLS", hint="such as strictness:0:1:16")


def show_evolution(one: dict[str, Any], convergence: str = "") -> None:
    """One evolution."""
    champion = one["champion"]
    rows = [
        ("agent", f"{one['agent']}, release {one['release']}"),
        ("state", where(one)),
        ("algorithm", f"{one['algorithm']}: {one['why']}"),
        ("generations", f"{one['generation']} of {one['generations']}, {one['population_size']} genomes each"),
        ("evaluations", f"{one['evaluations']:,}, {one['rate_per_s']:.3g}/s, {one['tasks_run']:,} tasks"),
        ("fitness", f"best {number(one['best'])}, mean {number(one['mean'])}, live genome {number(one['baseline'])}"),
        ("diversity", number(one["diversity"])),
        ("champion", champion["id"] if champion else "-"),
        ("validation", f"champion {number(one['champion_value'])}, live genome {number(one['incumbent_value'])}"),
        ("seed", f"{one['seed']}{'' if one['repeatable'] else ', not repeatable any more'}"),
    ]
    if one["experiment"]:
        rows.append(("experiment", f"{one['experiment']}: {one['outcome'] or 'under way'}"))
    if one["eta_s"] is not None:
        rows.append(("time left", left(one["eta_s"])))
    if convergence:
        rows.append(("convergence", convergence))
    table(("evolution", one["id"]), rows)
    if champion and champion["genes"]:
        note(f"its genes: chimera genome show {champion['id']}")


def show_progress(told: dict[str, Any]) -> None:
    """One evolution and where the search stands."""
    show_evolution(told["evolution"], told["convergence"])


def show_list(told: dict[str, Any]) -> None:
    """A row per evolution."""
    head = ("id", "agent", "state", "algorithm", "generation", "best", "live", "champion", "reason")
    table(head, [
        (one["id"], one["agent"], one["state"], one["algorithm"], f"{one['generation']}/{one['generations']}",
         one["best"], one["baseline"], one["champion"]["id"] if one["champion"] else None,
         one["reason"] or one["outcome"])
        for one in told["evolutions"]
    ])  # fmt: skip


def show_members(told: dict[str, Any], limit: int) -> None:
    """The front, or the best of the population where there is one objective."""
    members = told["front"] or told["members"]
    what = "the front" if told["front"] else "the population, best first"
    if not members:
        note(f"{told['evolution'] or 'no evolution'}: nothing was measured yet")
        return
    table(("genome", "values", "±", "age", "operator", ""), [
        (one["genome"], _values(one), one["half_width"], one["age"], one["operator"],
         "knee" if one["genome"] == told["knee"] else "")
        for one in members[:limit]
    ], title=f"{told['evolution']}: {what}")  # fmt: skip
    note(f"{min(limit, len(members))} of {len(members)}; choose one with: chimera genome deploy ID")


def show_map(told: dict[str, Any]) -> None:
    """The cells of the map."""
    if not told["archive"]:
        note(f"{told['evolution'] or 'no evolution'} has no map: it is made by --algorithm map-elites")
        return
    table(("cell", "genome", "values", "±"), [
        (", ".join(map(str, one["cell"])), one["genome"], _values(one), one["half_width"])
        for one in sorted(told["archive"], key=lambda one: one["cell"])
    ], title=f"{told['evolution']}: {told['coverage'] or 0:.1%} of the map is filled")  # fmt: skip


def _values(one: dict[str, Any]) -> str:
    return ", ".join(number(value) for value in one["values"])
