"""``chimera experiment``: put candidates through the gate, watch them, and see why it decided as it did."""

from __future__ import annotations

import argparse
from typing import Any

from chimera.errors import BadMessageError

from .command import Command, Exit
from .genes import genes_of
from .metric import metric_of
from .output import emit_json, note, table
from .settings import load_settings

_ACTIONS = ("list", "start", "show", "stop", "promote", "roll-back", "approve", "explain")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=_ACTIONS, default="list", help="default: list")
    parser.add_argument("name", nargs="?", default="", help="start: the agent; else the experiment's id")
    parser.add_argument("--candidate", metavar="rN", action="append", default=[], help="start: an existing release")
    parser.add_argument(
        "--gene", metavar="NAME=VALUE", action="append", default=[], help="start: one changed parameter"
    )
    parser.add_argument("--stage", action="append", default=[], choices=("replay", "shadow", "split"), help="in order")
    parser.add_argument("--metric", default="", help="primary: correct, score_error, failed, slow, output.FIELD ...")
    parser.add_argument("--alpha", type=float, help="a level of its own instead of one from the error budget")
    parser.add_argument("--max-messages", type=int, help="give up after so many messages of a stage")
    parser.add_argument("--wait-approval", action="store_true", help="a person must agree to the promotion")
    parser.add_argument("--id", default="", help="start: an id, to make the request repeatable")
    parser.add_argument("--by", default="operator", help="who decides")
    parser.add_argument("--note", default="", help="kept with the decision")


def _run(options: argparse.Namespace) -> int:
    from .client import with_client

    operation, body = _request(options)
    settings = load_settings(options).settings
    answer = with_client(settings, lambda client: client.ask(operation, body))
    if options.json:
        emit_json(answer)
    elif options.action == "list":
        _list(answer)
    elif options.action == "explain":
        _explain(answer)
    else:
        _show(answer)
    return Exit.DONE if options.action != "explain" or answer["exact"] else Exit.FAILED


def _request(options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    from subjects import experiment as contract

    if options.action == "list":
        return contract.EXPERIMENTS, {"agent": options.name}
    if not options.name:
        what = "the agent's name" if options.action == "start" else "the experiment's id"
        raise BadMessageError(f"chimera experiment {options.action} needs {what}", hint="list: chimera experiment")
    if options.action == "start":
        return contract.CREATE_EXPERIMENT, _start(options)
    if options.action in {"show", "explain"}:
        return {"show": contract.EXPERIMENT, "explain": contract.EXPLAIN}[options.action], {"id": options.name}
    body = {"id": options.name, "act": options.action, "by": options.by, "note": options.note}
    return contract.STOP_EXPERIMENT, body


def _start(options: argparse.Namespace) -> dict[str, Any]:
    plan: dict[str, Any] = {"approve": options.wait_approval}
    if options.stage:
        plan["stages"] = options.stage
    if options.metric:
        plan["primary"] = metric_of(options.metric)
    if options.alpha is not None:
        plan.update(budget="fixed", alpha=options.alpha)
    if options.max_messages is not None:
        plan["max_messages"] = options.max_messages
    body: dict[str, Any] = {"agent": options.name, "plan": plan, "note": options.note, "proposer": options.by}
    if options.id:
        body["id"] = options.id
    if options.candidate:
        body["candidates"] = [_number(text) for text in options.candidate]
    if options.gene:
        body["genomes"] = [genes_of(options.gene)]
    return body


def _number(text: str) -> int:
    digits = text.removeprefix("r")
    if not digits.isdecimal():
        raise BadMessageError(f"--candidate {text}: write r7, or 7")
    return int(digits)


def _list(answer: dict[str, Any]) -> None:
    table(("id", "agent", "state", "candidates", "stage", "share", "messages", "effect", "e-value"), [
        (one["id"], one["agent"], one["state"], ", ".join(f"r{each['release']}" for each in one["variants"]),
         one["variants"][0]["stage"], f"{one['variants'][0]['share']:.0%}", one["messages"],
         _effect(one["variants"][0]["primary"]), f"{one['variants'][0]['primary']['e_better']:.3g}")
        for one in answer["experiments"]
    ])  # fmt: skip
    budget = answer["budget"]
    note(
        f"error budget: of all automatic promotions at most {budget['rate']:.0%} in expectation are no improvement; "
        f"{budget['tests']} tests, {budget['promotions']} promotions, next level {budget['next_level']:.3g}"
    )


def _show(one: dict[str, Any]) -> None:
    print(f"{one['id']}: {one['agent']}, {one['state']}, {one['messages']} messages, {one['harmed']} harmed")
    for variant in one["variants"]:
        share = f", {variant['share']:.0%} of traffic" if variant["share"] else ""
        needed = len(one["variants"]) / one["level"]
        evidence = f"e-value {variant['e_total']:.4g} of {needed:.4g}"
        print(f"r{variant['release']} against r{one['incumbent']}: {variant['stage']}{share}, {evidence}")
        if variant["reason"]:
            print(f"  out: {variant['reason']}")
        columns = ("metric", "live", "candidate", "effect", "e better", "e worse", "messages")
        table(columns, [
            (row["metric"], row["live"], row["candidate"], _effect(row), f"{row['e_better']:.3g}",
             f"{row['e_worse']:.3g}", f"{row['n_live']} + {row['n_candidate']}")
            for row in (variant["primary"], *variant["guardrails"])
        ])  # fmt: skip
    for decision in one["decisions"]:
        print(f"{decision['by']}: {decision['verdict']}, {decision['reason']}")
    if one["waits_for_approval"]:
        note(f"it waits for: chimera experiment approve {one['id']}")


def _explain(answer: dict[str, Any]) -> None:
    for sentence in answer["words"]:
        print(sentence)
    if not answer["exact"]:
        note("a decision could not be made again exactly: the log and this version disagree")


def _effect(row: dict[str, Any]) -> str:
    if row["effect"] is None:
        return "-"
    low, high = row["interval"]["low"], row["interval"]["high"]
    return f"{row['effect']:+.3g}" if low is None or high is None else f"{row['effect']:+.3g} [{low:+.3g}, {high:+.3g}]"


COMMAND = Command(
    "experiment", "put a candidate through the gate; watch, stop, explain",
    "chimera experiment start sentiment --candidate r7", _arguments, _run,
)  # fmt: skip
